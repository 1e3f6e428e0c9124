"""``ancf recommend`` and ``ancf recommend-all``: who gets what."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf import _text
from ancf.cli.command import Failure, Function, Option, command, in_options, option, with_options
from ancf.cli.ids import (
    history_option,
    item_name,
    named_users,
    parse_ids,
    read_ids,
    read_shown,
    users_from_option,
    users_option,
)
from ancf.cli.models import load
from ancf.cli.options import check_writable, now_option, number_option, threads_option, typed_options
from ancf.cli.output import (
    cell_text,
    chosen_format,
    open_output,
    output_options,
    print_note,
    reasons_text,
    text_table,
    with_decimal_scores,
    write_table,
    write_text,
)
from ancf.cli.rules import configured_rules

if TYPE_CHECKING:
    from ancf.models.base import Recommender
    from ancf.scoring.results import Explanation, Recommendations

_SECTION = "Request"
_COLUMNS = ("user_id", "item_id", "score", "rank", "source")


_WITH_BOUGHT = option(
    "--with-bought", is_flag=True, section=_SECTION, help="Also items that the customer has bought before."
)


def filter_options(function: Function) -> Function:
    """What may be listed, for one customer or all; and how much."""
    without = Option(
        ["--without"],
        multiple=True,
        metavar="ITEM",
        section=_SECTION,
        from_environment=False,
        help="An item that may not be recommended; again for more.",
    )
    without_from = Option(
        ["--without-from"],
        metavar="FILE",
        section=_SECTION,
        help="A file of items that may not be recommended (sold out), one to a line; - is stdin.",
    )
    only_from = Option(
        ["--only-from"],
        metavar="FILE",
        section=_SECTION,
        help="Recommend only the items in this file, one to a line; - is stdin.",
    )
    return with_options(number_option(_SECTION)(function), [without, without_from, only_from])


def day_options(function: Function) -> Function:
    """What was shown before, and for which day lists are."""
    shown = Option(
        ["--shown"],
        metavar="FILE",
        section=_SECTION,
        help="Lists that were shown before (user_id, item_id): what stands there comes later in the new ones.",
    )
    return with_options(function, [shown, now_option(_SECTION)])


def requested_filters(model: "Recommender", options: dict[str, Any]) -> dict[str, Any]:
    """The keywords of the API for these options."""
    filters: dict[str, Any] = {}
    if "with_bought" in options:
        filters["filter_already_liked_items"] = not options["with_bought"]
    for name in ("now", "shown"):
        if options.get(name) is not None:
            filters[name] = options[name] if name == "now" else read_shown(model, options[name])
    denied = known_items(model, list(options["without"]))
    if options["without_from"]:
        denied += _known_lines(model, "--without-from", options["without_from"])
    if denied:
        filters["filter_items"] = denied
    if options["only_from"]:
        filters["items"] = _known_lines(model, "--only-from", options["only_from"])
    rules = configured_rules(model)
    if rules is not None:
        filters["rules"] = rules
    return filters


def check_stdin(model_file: str, options: dict[str, Any]) -> None:
    """Stdin is read once.

    Raises
    ------
    Failure
        If several are to be read from it.
    """
    what = {"MODEL": model_file} | {
        f"--{name.replace('_', '-')}": options.get(name)
        for name in ("users_from", "without_from", "only_from", "shown")
    }
    if len(twice := [name for name, path in what.items() if path == "-"]) > 1:
        raise Failure(f"{' and '.join(twice)} cannot all be read from stdin. Name a file for all but one.", 2)


def known_items(model: "Recommender", typed: list[str]) -> list[Any]:
    """Items by their ids; a misspelt one would otherwise be recommended all the same."""
    from ancf.scoring.requests import as_objects, unknown_items

    found = parse_ids(typed, model.item_ids_)
    unknown = [each for each in found if model.item_ids_.position(each) < 0]
    if unknown:
        raise unknown_items(as_objects(unknown), model.item_ids_)
    return found


def _known_lines(model: "Recommender", option: str, path: str) -> list[Any]:
    """Items of a file that the model knows; the others are counted in a note, as a shop's list may hold new goods.

    Raises
    ------
    Failure
        If the file is empty, or none of its items is known; exit code 3.
    """
    found = list(dict.fromkeys(parse_ids(read_ids(path), model.item_ids_)))
    if not found:
        raise Failure(f"{option} {path}: there is no item in it. Give one item to a line, or leave the option out.", 3)
    unknown = [each for each in found if model.item_ids_.position(each) < 0]
    if len(unknown) == len(found):
        hint = model.item_ids_.hint(unknown[0]) or f"its items are like {_text.format_list(model.item_ids_.values, 3)}"
        raise Failure(
            f"{option} {path}: none of the {len(found):,} items is known to the model ({_text.format_list(unknown)}); "
            + (hint if hint.endswith("?") else f"{hint}."),
            3,
        )
    if unknown:
        print_note(
            f"note: {option} {path}: {len(unknown):,} of {len(found):,} items are unknown to the model and are ignored "
            f"({_text.format_list(unknown, 3)})"
        )
    return [each for each in found if model.item_ids_.position(each) >= 0]


@command(
    "recommend",
    examples=[
        "ancf recommend shop.ancf --user 17850 --explain",
        "ancf recommend shop.ancf --history 85123A --history 71053 -n 5",
        "ancf recommend shop.ancf --users-from customers.txt --format csv",
        "ancf recommend shop.ancf --user 17850 --why-not 22423",
    ],
)
@click.argument("model_file", metavar="MODEL")
@users_option(_SECTION)
@users_from_option(_SECTION)
@history_option(_SECTION)
@_WITH_BOUGHT
@filter_options
@option(
    "--on-unknown",
    type=click.Choice(("raise", "popular", "skip")),
    default="raise",
    section=_SECTION,
    help="What unknown customers get: an error, the most popular items, or nothing. [raise]",
)
@option("--explain", is_flag=True, section=_SECTION, help="Add the purchases that contribute most to each.")
@option("--names", is_flag=True, section=_SECTION, help="Add the items' names in every format.")
@option(
    "--why-not",
    multiple=True,
    metavar="ITEM",
    section=_SECTION,
    from_environment=False,
    help="In place of lists: why this item is not in a customer's; again for more.",
)
@day_options
@threads_option
@output_options
def recommend(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """Lists for some customers, or for a history of purchases.

    MODEL is a file from 'ancf train'; - is stdin. Customers and items are named as they stood in the table.
    """
    check_stdin(model_file, options)
    users, history = named_users(options), list(options["history"])
    if bool(users) == bool(history):
        what = "both customers and a history were given" if users else "no customer was named"
        raise Failure(f"{what}. Give --user ID (or --users-from FILE), or --history ITEM for somebody unknown.", 2)
    if options["why_not"]:
        useless = [
            *(["--history"] if history else []),
            *(f"--{each}" for each in ("explain", "names") if options[each]),
        ]
        if useless:
            raise Failure(f"{useless[0]} has no effect with --why-not, which tells reasons of customers' lists.", 2)
    model = load(model_file, options["num_threads"])
    if model.item_names_ is None and typed_options(click.get_current_context(), ("names",)):
        raise Failure(
            "--names has no effect: this model holds no names of items. Leave it out, or train on a table with a "
            "column of names (--name-column).",
            2,
        )
    if history and options["shown"]:
        raise Failure("--shown has no effect with --history: what was shown belongs to customers. Leave one out.", 2)
    filters = requested_filters(model, options)
    if options["why_not"]:
        _write_why_not(model, parse_ids(users, model.user_ids_), options, filters, output_format, output)
        return
    if history:
        items = parse_ids(history, model.item_ids_)
        answer = model.recommend_for_history([items], options["number"], on_unknown=options["on_unknown"], **filters)
    else:
        answer = model.recommend(
            parse_ids(users, model.user_ids_), options["number"], on_unknown=options["on_unknown"], **filters
        )
        items = []
    _write(model, answer, items, options, output_format, output)


def _write(
    model: "Recommender",
    answer: "Recommendations",
    history: list[Any],
    options: dict[str, Any],
    output_format: str | None,
    output: str,
) -> None:
    found = list(answer.rows())
    named = model.item_names_ is not None
    for_people = chosen_format(output_format, output) == "table"
    reasons: list[Explanation | None] = [None] * len(found)
    if options["explain"]:
        reasons = [
            None
            if row.source == "popular"
            else model.explain(item=row.item_id, history=history, now=options["now"])
            if history
            else model.explain(row.user_id, row.item_id, now=options["now"])
            for row in found
        ]
    if for_people:
        text = _lists_text(model, answer, found, reasons, bool(history))
        write_text(f"{text}\n", output)
        return
    columns = [*_COLUMNS]
    rows = with_decimal_scores(found)
    if options["names"] and named:
        columns.append("name")
        rows = [[*row, item_name(model, row[1])] for row in rows]
    if options["explain"]:
        columns.append("reasons")
        rows = [[*row, _reasons_as_data(why)] for row, why in zip(rows, reasons, strict=True)]
    write_table(columns, rows, output_format=output_format, output=output)


def _write_why_not(
    model: "Recommender",
    users: list[Any],
    options: dict[str, Any],
    filters: dict[str, Any],
    output_format: str | None,
    output: str,
) -> None:
    items = parse_ids(list(options["why_not"]), model.item_ids_)
    found = [model.why_not(user, item, options["number"], **filters) for user in users for item in items]
    if chosen_format(output_format, output) == "table":
        who = (f"For {cell_text(each.user_id)}: " if len(users) > 1 else "" for each in found)
        write_text("".join(f"{begin}{in_options(str(each))}\n" for begin, each in zip(who, found, strict=True)), output)
        return
    columns = ["user_id", "item_id", "reason", "rule", "place", "n", "score", "text"]
    rows = [
        [each.user_id, each.item_id, each.reason, each.rule, each.place, each.n, each.score, in_options(str(each))]
        for each in found
    ]
    write_table(columns, rows, output_format=output_format, output=output)


def _reasons_as_data(why: "Explanation | None") -> list[dict[str, Any]]:
    if why is None:
        return []
    listed = [{"item_id": each.item_id, "name": each.name, "adds": each.contribution} for each in why.reasons]
    return [*listed, *({"item_id": None, "name": label, "adds": value} for label, value in why.base.items())]


def _lists_text(
    model: "Recommender",
    answer: "Recommendations",
    found: list[Any],
    reasons: list[Any],
    is_history: bool,
) -> str:
    """A table for each customer; with reasons, a line or two under each item."""
    parts: list[str] = []
    start = 0
    for user, count in zip(answer.user_ids.tolist(), answer.counts.tolist(), strict=True):
        rows = found[start : start + count]
        why = reasons[start : start + count]
        start += count
        source = rows[0].source if rows else ""
        head = "For this history" if is_history else f"For {cell_text(user)}"
        head += {"popular": " (unknown: the most popular items)"}.get(source, "")
        if not rows:
            parts.append(f"{head}: nothing is left to recommend (--with-bought also lists what was bought before)")
            continue
        names = [item_name(model, row.item_id) for row in rows]
        columns = ["", "item", *(["name"] if any(names) else []), "score"]
        cells = [
            [row.rank, row.item_id, *([name or ""] if any(names) else []), row.score]
            for row, name in zip(rows, names, strict=True)
        ]
        # Ids are text to the left, whatever their type.
        cells = [[row[0], str(row[1]), *row[2:]] for row in cells]
        lines = text_table(columns, cells).split("\n")
        text = [f"{head}:", lines[0]]
        for line, each in zip(lines[1:], why, strict=True):
            text.append(line)
            if each is not None:
                text += reasons_text(each, indent=len(str(len(rows))) + 2)
        parts.append("\n".join(text))
    return "\n\n".join(parts)


@command(
    "recommend-all",
    examples=[
        "ancf recommend-all shop.ancf -n 20 -o recs.parquet",
        "ancf recommend-all shop.ancf --names --explain 3 -o recs.csv.gz",
        "ancf recommend-all shop.ancf --format csv | head",
    ],
)
@click.argument("model_file", metavar="MODEL")
@option(
    "--users-from",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="Only the customers in this file, one to a line; - is stdin.",
)
@_WITH_BOUGHT
@filter_options
@day_options
@option("--names", is_flag=True, section=_SECTION, help="Add the items' names, and their categories where known.")
@option(
    "--explain",
    type=click.IntRange(min=0),
    metavar="COUNT",
    default=0,
    section=_SECTION,
    help="Add as many purchases that contribute most to each. [0]",
)
@option("--resume", is_flag=True, section=_SECTION, help="Keep what is finished when interrupted, and go on from it.")
@threads_option
@output_options
def recommend_all(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """Lists for every customer or those of a file, streamed: memory does not grow with their number.

    A file appears when it is complete, also compressed (-o recs.csv.gz). The format is CSV where neither --format nor
    the name of the file says another.
    """
    from ancf.scoring.bulk import write_lists_to
    from ancf.scoring.sinks import SINKS, ending

    check_stdin(model_file, options)
    output_format = chosen_format(output_format, output, otherwise="csv")
    suffix = ending(Path(output))
    is_streamed = output != "-" and suffix in SINKS and suffix.removesuffix(".gz") == f".{output_format}"
    if options["resume"] and not is_streamed:
        raise Failure(f"--resume needs --output with a name that ends in {', '.join(SINKS)}.", 2)
    if options["resume"]:
        check_writable(output, streams=False)
    model = load(model_file, options["num_threads"])
    request = {**requested_filters(model, options), "names": options["names"], "explain": options["explain"]}
    if options["users_from"]:
        request["users"] = parse_ids(read_ids(options["users_from"]), model.user_ids_)
    if is_streamed:
        print_note(repr(model.recommend_all(options["number"], out=output, resume=options["resume"], **request)))
        return
    with open_output(output, output_format) as file:
        scorer = model._fitted().as_of(request.pop("now", None))
        write_lists_to(scorer, file, output_format, options["number"], num_threads=model.num_threads, **request)
