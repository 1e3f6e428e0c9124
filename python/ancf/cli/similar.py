"""``ancf similar`` and ``ancf explain``: which items or customers are alike, and what a score is made of."""

from typing import Any

import click

from ancf.cli.command import Failure, command, option, with_options
from ancf.cli.ids import history_option, item_name, parse_id, parse_ids, users_option
from ancf.cli.models import load
from ancf.cli.options import now_option, number_option, threads_option
from ancf.cli.output import chosen_format, output_options, with_decimal_scores, write_table
from ancf.cli.rules import configured_rules

_SECTION = "Request"


@command(
    "similar",
    examples=["ancf similar shop.ancf --item 85123A", "ancf similar shop.ancf --user 17850 -n 5 --format csv"],
)
@click.argument("model_file", metavar="MODEL")
@option(
    "--item",
    "-i",
    multiple=True,
    metavar="ID",
    section=_SECTION,
    from_environment=False,
    help="An item; again for more.",
)
@users_option(_SECTION)
@number_option(_SECTION)
@option(
    "--metric",
    type=click.Choice(("cosine", "inner")),
    default="cosine",
    section=_SECTION,
    help="The cosine of two vectors, or their inner product. [cosine]",
)
@threads_option
@output_options
def similar(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """The items most like an item, or the customers most like a customer."""
    items, users = list(options["item"]), list(options["user"])
    if bool(items) == bool(users):
        raise Failure("give --item ID or --user ID, one or more of one kind.", 2)
    model = load(model_file, options["num_threads"])
    if items:
        answer = model.similar_items(
            parse_ids(items, model.item_ids_),
            options["number"],
            metric=options["metric"],
            rules=configured_rules(model),
        )
    else:
        answer = model.similar_users(parse_ids(users, model.user_ids_), options["number"], metric=options["metric"])
    columns = [column for column in answer.to_dict() if column != "name"]
    rows = with_decimal_scores(answer.rows())
    if items and model.item_names_ is not None:
        columns.append("name")
        rows = [[*row, item_name(model, row[1])] for row in rows]
        shown: tuple[int, ...] = (0, 1, 5, 2)
    else:
        shown = (0, 1, 2)
    write_table(columns, rows, output_format=output_format, output=output, shown=shown)


@command(
    "explain",
    examples=[
        "ancf explain shop.ancf --user 17850 --item 22423",
        "ancf explain shop.ancf --history 85123A --history 71053 --item 22423",
    ],
)
@click.argument("model_file", metavar="MODEL")
@option("--user", "-u", metavar="ID", section=_SECTION, from_environment=False, help="A customer of the table.")
@history_option(_SECTION)
@option(
    "--item",
    "-i",
    required=True,
    metavar="ID",
    section=_SECTION,
    from_environment=False,
    help="The item whose score is explained.",
)
@lambda function: with_options(function, [now_option(_SECTION)])
@threads_option
@output_options
def explain(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """What each purchase contributes to a recommendation.

    The contributions add up to the item's score.
    """
    history = list(options["history"])
    if (options["user"] is None) == (not history):
        raise Failure("give --user ID, or --history ITEM for somebody unknown.", 2)
    model = load(model_file, options["num_threads"])
    item = parse_id(options["item"], model.item_ids_)
    if history:
        why = model.explain(item=item, history=parse_ids(history, model.item_ids_), now=options["now"])
    else:
        why = model.explain(parse_id(options["user"], model.user_ids_), item, now=options["now"])
    frame = why.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {
        "user_id": why.user_id,
        "item_id": why.item_id,
        "name": why.name,
        "score": why.score,
        "reasons": [dict(zip(frame.columns, row, strict=True)) for row in rows],
    }
    user = "this history" if history else str(why.user_id)
    what = f"{why.item_id} ({why.name.strip()})" if why.name else str(why.item_id)
    heading = f"{what} for {user}: score {why.score:.4g}\n"
    named = any(row[1] for row in rows)
    shown = (0, 1, 2, 3) if named else (0, 2, 3)
    if chosen_format(output_format, output) == "table":
        rows = [[*row[:3], f"{row[3]:.1%}"] for row in rows]
    write_table(
        list(frame.columns),
        rows,
        output_format=output_format,
        output=output,
        heading=heading,
        document=document,
        shown=shown,
    )
