"""``ancf recommend`` and ``ancf recommend-all``: who gets what."""

from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, Function, command, option
from ancf.cli.models import (
    as_ids,
    customers_option,
    history_option,
    listed_ids,
    load,
    name_of,
    number_option,
    threads_option,
)
from ancf.cli.output import chosen_format, clean, output_options, plain_rows, say, write, write_text

if TYPE_CHECKING:
    from ancf.models.base import Recommender
    from ancf.scoring.results import Explanation, Recommendations

_ASKED = "Who and what"
_MOST_REASONS = 3
_COLUMNS = ("user_id", "item_id", "score", "rank", "source")


def _filters(function: Function) -> Function:
    """What may be recommended, for one customer or all."""
    for each in (
        option(
            *("--with-bought", "with_bought"),
            is_flag=True,
            section=_ASKED,
            help="Also what the customer has already.",
        ),
        option(
            *("--without", "without"),
            multiple=True,
            metavar="ITEM",
            section=_ASKED,
            from_environment=False,
            help="An item that may not be recommended; again for more.",
        ),
        option(
            *("--only-from", "only_from"),
            metavar="FILE",
            section=_ASKED,
            help="A file of the items that alone may be, one to a line.",
        ),
        number_option(_ASKED),
    ):
        function = each(function)
    return function


def _asked_filters(model: "Recommender", options: dict[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {"filter_already_liked_items": not options["with_bought"]}
    if options["without"]:
        asked["filter_items"] = _known_items(model, list(options["without"]))
    if options["only_from"]:
        asked["items"] = as_ids(listed_ids(options["only_from"]), model.item_ids_)
    return asked


def _known_items(model: "Recommender", typed: list[str]) -> list[Any]:
    """Items by their ids; a misspelt one would otherwise be recommended all the same."""
    from ancf.scoring.requests import as_objects, unknown_items

    found = as_ids(typed, model.item_ids_)
    unknown = [each for each in found if model.item_ids_.position(each) < 0]
    if unknown:
        raise unknown_items(as_objects(unknown), model.item_ids_)
    return found


@command(
    "recommend",
    examples=[
        "ancf recommend shop.ancf --user 17850 --explain",
        "ancf recommend shop.ancf --history 85123A --history 71053 -n 5",
        "ancf recommend shop.ancf --users-from customers.txt --format csv",
    ],
)
@click.argument("model_file", metavar="MODEL")
@customers_option(_ASKED)
@option(
    "--users-from",
    metavar="FILE",
    section=_ASKED,
    from_environment=False,
    help="A file of customers, one to a line; - is stdin.",
)
@history_option(_ASKED)
@_filters
@option(
    "--on-unknown",
    type=click.Choice(("raise", "popular", "skip")),
    default="raise",
    section=_ASKED,
    help="What becomes of unknown customers: an error, the most popular items, or nothing. [raise]",
)
@option("--explain", is_flag=True, section=_ASKED, help="Which purchases carry each recommendation.")
@option("--names", is_flag=True, section=_ASKED, help="A column with the items' names in every format.")
@threads_option
@output_options
def recommend(model_file: str, form: str | None, output: str, **options: Any) -> None:
    """Lists for some customers, or for a history of purchases.

    MODEL is a file from 'ancf train'; - is stdin. Customers and items are named as they stood in the table.
    """
    users, history = list(options["user"]), list(options["history"])
    if options["users_from"]:
        if options["users_from"] == model_file == "-":
            raise Failure("stdin cannot be both the model and the customers. Name a file for one of them.", 2)
        users += listed_ids(options["users_from"])
    if bool(users) == bool(history):
        what = "both customers and a history were given" if users else "nobody was named"
        raise Failure(f"{what}. Give --user ID (or --users-from FILE), or --history ITEM for somebody unknown.", 2)
    model = load(model_file, options["num_threads"])
    filters = _asked_filters(model, options)
    if history:
        items = as_ids(history, model.item_ids_)
        answer = model.recommend_for_history([items], options["number"], on_unknown=options["on_unknown"], **filters)
    else:
        answer = model.recommend(
            as_ids(users, model.user_ids_), options["number"], on_unknown=options["on_unknown"], **filters
        )
        items = []
    _write(model, answer, items, options, form, output)


def _write(
    model: "Recommender",
    answer: "Recommendations",
    history: list[Any],
    options: dict[str, Any],
    form: str | None,
    output: str,
) -> None:
    found = list(answer.rows())
    named = model.item_names_ is not None
    people = chosen_format(form, output) == "table"
    reasons: list[Explanation | None] = [None] * len(found)
    if options["explain"]:
        reasons = [
            None
            if row.source == "popular"
            else model.explain(item=row.item_id, history=history)
            if history
            else model.explain(row.user_id, row.item_id)
            for row in found
        ]
    if people:
        text = _for_people(model, answer, found, reasons, bool(history))
        write_text(f"{text}\n", output)
        return
    columns = [*_COLUMNS]
    rows = plain_rows(found)
    if options["names"] and named:
        columns.append("name")
        rows = [[*row, name_of(model, row[1])] for row in rows]
    if options["explain"]:
        columns.append("reasons")
        rows = [[*row, _reasons_as_data(why)] for row, why in zip(rows, reasons, strict=True)]
    write(columns, rows, form=form, output=output)


def _reasons_as_data(why: "Explanation | None") -> list[dict[str, Any]]:
    if why is None:
        return []
    listed = [{"item_id": each.item_id, "name": each.name, "adds": each.contribution} for each in why.reasons]
    return [*listed, *({"item_id": None, "name": label, "adds": value} for label, value in why.base.items())]


def _for_people(
    model: "Recommender",
    answer: "Recommendations",
    found: list[Any],
    reasons: list[Any],
    is_history: bool,
) -> str:
    """A table for each customer; with reasons, a line or two under each item."""
    from ancf.cli.output import cell_text, table

    parts: list[str] = []
    at = 0
    for user, count in zip(answer.user_ids.tolist(), answer.counts.tolist(), strict=True):
        rows = found[at : at + count]
        why = reasons[at : at + count]
        at += count
        source = rows[0].source if rows else ""
        head = "For this history" if is_history else f"For {cell_text(user)}"
        head += {"popular": " (unknown: the most popular items)"}.get(source, "")
        if not rows:
            parts.append(f"{head}: nothing is left to recommend (--with-bought also lists what is there already)")
            continue
        names = [name_of(model, row.item_id) for row in rows]
        columns = ["", "item", *(["name"] if any(names) else []), "score"]
        cells = [
            [row.rank, row.item_id, *([name or ""] if any(names) else []), row.score]
            for row, name in zip(rows, names, strict=True)
        ]
        # Ids are text to the left, whatever their type.
        cells = [[row[0], str(row[1]), *row[2:]] for row in cells]
        lines = table(columns, cells).split("\n")
        told = [lines[0]]
        for line, each in zip(lines[1:], why, strict=True):
            told.append(line)
            if each is not None:
                told += because(each, indent=len(str(len(rows))) + 2)
        parts.append("\n".join([f"{head}:", *told]))
    return "\n\n".join(parts)


def because(why: "Explanation", indent: int = 4) -> list[str]:
    """The purchases that carry a recommendation, with their part of what speaks for it, wrapped for 80 columns."""
    import textwrap

    speaking = [each for each in why.reasons if each.contribution > 0]
    whole = sum(each.contribution for each in speaking) + sum(value for value in why.base.values() if value > 0)
    if whole <= 0:
        return [" " * indent + "nothing in the history speaks for it"]
    told = [
        f"{clean(str(each.name or each.item_id).strip())} ({each.contribution / whole:.0%})"
        for each in speaking[:_MOST_REASONS]
    ]
    told += [f"{label} ({value / whole:.0%})" for label, value in why.base.items() if value > 0]
    more = len(speaking) - _MOST_REASONS
    if more > 0:
        rest = sum(each.contribution for each in speaking[_MOST_REASONS:]) / whole
        told.append(f"{more} more ({rest:.0%})")
    text = "because of " + ", ".join(told)
    return textwrap.wrap(text, 78, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


@command(
    "recommend-all",
    examples=[
        "ancf recommend-all shop.ancf -n 20 -o recs.parquet",
        "ancf recommend-all shop.ancf --format csv | head",
    ],
)
@click.argument("model_file", metavar="MODEL")
@_filters
@option("--resume", is_flag=True, section=_ASKED, help="Keep finished parts when interrupted, and go on from them.")
@threads_option
@output_options
def recommend_all(model_file: str, form: str | None, output: str, **options: Any) -> None:
    """Lists for every customer, streamed: memory does not grow with their number.

    A file appears when it is complete. Without --format and --output the rows are CSV on stdout.
    """
    from ancf.scoring.bulk import write_lists_to

    kind = form or (chosen_format(None, output) if output != "-" else "csv")
    model = load(model_file, options["num_threads"])
    filters = _asked_filters(model, options)
    if options["resume"] and (output == "-" or kind not in ("csv", "jsonl", "parquet") or not output.endswith(kind)):
        raise Failure("--resume needs --output with a name that ends in .csv, .jsonl or .parquet.", 2)
    if output != "-" and output.endswith((".csv", ".jsonl", ".parquet")) and output.endswith(f".{kind}"):
        from ancf.cli.options import writable

        writable(output)
        say(repr(model.recommend_all(options["number"], out=output, resume=options["resume"], **filters)))
        return
    from ancf.cli.output import binary_target

    with binary_target(output, kind) as file:
        write_lists_to(model._fitted(), file, kind, options["number"], num_threads=model.num_threads, **filters)
