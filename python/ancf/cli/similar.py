"""``ancf similar`` and ``ancf explain``: what is like what, and why something stands where it stands."""

from typing import Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import (
    as_id,
    as_ids,
    customers_option,
    history_option,
    load,
    name_of,
    number_option,
    threads_option,
)
from ancf.cli.output import output_options, plain_rows, write

_ASKED = "What is asked"


@command(
    "similar",
    examples=["ancf similar shop.ancf --item 85123A", "ancf similar shop.ancf --user 17850 -n 5 --format csv"],
)
@click.argument("model_file", metavar="MODEL")
@option(
    "--item", "-i", multiple=True, metavar="ID", section=_ASKED, from_environment=False, help="An item; again for more."
)
@customers_option(_ASKED)
@number_option(_ASKED)
@option(
    "--metric",
    type=click.Choice(("cosine", "inner")),
    default="cosine",
    section=_ASKED,
    help="The cosine of two vectors, or their inner product. [cosine]",
)
@threads_option
@output_options
def similar(model_file: str, form: str | None, output: str, **options: Any) -> None:
    """What is most like an item, or who is most like a customer."""
    items, users = list(options["item"]), list(options["user"])
    if bool(items) == bool(users):
        raise Failure("give --item ID or --user ID, one or more of one kind.", 2)
    model = load(model_file, options["num_threads"])
    if items:
        answer = model.similar_items(as_ids(items, model.item_ids_), options["number"], metric=options["metric"])
    else:
        answer = model.similar_users(as_ids(users, model.user_ids_), options["number"], metric=options["metric"])
    columns = list(answer.to_dict())
    rows = plain_rows(answer.rows())
    if items and model.item_names_ is not None:
        columns.append("name")
        rows = [[*row, name_of(model, row[1])] for row in rows]
        shown: tuple[int, ...] = (0, 1, 5, 2)
    else:
        shown = (0, 1, 2)
    write(columns, rows, form=form, output=output, shown=shown)


@command(
    "explain",
    examples=[
        "ancf explain shop.ancf --user 17850 --item 22423",
        "ancf explain shop.ancf --history 85123A --history 71053 --item 22423",
    ],
)
@click.argument("model_file", metavar="MODEL")
@option("--user", "-u", metavar="ID", section=_ASKED, from_environment=False, help="A customer of the table.")
@history_option(_ASKED)
@option(
    "--item",
    "-i",
    required=True,
    metavar="ID",
    section=_ASKED,
    from_environment=False,
    help="The item to be explained.",
)
@threads_option
@output_options
def explain(model_file: str, form: str | None, output: str, **options: Any) -> None:
    """Which purchases carry a recommendation.

    What each purchase adds to the item's score; the numbers add up to it.
    """
    history = list(options["history"])
    if (options["user"] is None) == (not history):
        raise Failure("give --user ID, or --history ITEM for somebody unknown.", 2)
    model = load(model_file, options["num_threads"])
    item = as_id(options["item"], model.item_ids_)
    if history:
        why = model.explain(item=item, history=as_ids(history, model.item_ids_))
    else:
        why = model.explain(as_id(options["user"], model.user_ids_), item)
    frame = why.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {
        "user_id": why.user_id,
        "item_id": why.item_id,
        "name": why.name,
        "score": why.score,
        "reasons": [dict(zip(frame.columns, row, strict=True)) for row in rows],
    }
    whom = "this history" if history else str(why.user_id)
    what = f"{why.item_id} ({why.name.strip()})" if why.name else str(why.item_id)
    heading = f"{what} for {whom}: score {why.score:.4g}\n"
    named = any(row[1] for row in rows)
    shown = (0, 1, 2, 3) if named else (0, 2, 3)
    for row in rows if form in (None, "table") else ():
        row[3] = f"{row[3]:.1%}"
    write(list(frame.columns), rows, form=form, output=output, heading=heading, document=document, shown=shown)
