"""``ancf buy-again`` and ``ancf bought-together``: what comes back, and what goes with what."""

from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import command, option
from ancf.cli.ids import item_name, named_users, parse_ids, users_from_option, users_option
from ancf.cli.models import load
from ancf.cli.options import threads_option
from ancf.cli.output import output_options, with_decimal_scores, write_table
from ancf.cli.recommend import check_stdin, day_options, filter_options, known_items, requested_filters

if TYPE_CHECKING:
    from ancf.models.base import Recommender
    from ancf.scoring.results import Recommendations

_SECTION = "Request"


@command(
    "buy-again",
    examples=[
        "ancf buy-again shop.ancf --user 17850",
        "ancf buy-again shop.ancf --now 2011-12-09 -n 5 -o due.csv",
    ],
)
@click.argument("model_file", metavar="MODEL")
@users_option(_SECTION)
@users_from_option(_SECTION)
@filter_options
@day_options
@option(
    "--on-unknown",
    type=click.Choice(("raise", "skip")),
    default="raise",
    section=_SECTION,
    help="What unknown customers get: an error, or nothing. [raise]",
)
@threads_option
@output_options
def buy_again(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """What customers are due to buy again, of what they had: some customers, or all without --user.

    MODEL is a file from 'ancf train' on a table with times; - is stdin.
    """
    check_stdin(model_file, options)
    users = named_users(options)
    model = load(model_file, options["num_threads"])
    whose = parse_ids(users, model.user_ids_) if users or options["users_from"] else None
    answer = model.buy_again(
        whose, options["number"], on_unknown=options["on_unknown"], **requested_filters(model, options)
    )
    _write(model, answer, output_format, output)


@command(
    "bought-together",
    examples=[
        "ancf bought-together shop.ancf --item 85123A",
        "ancf bought-together shop.ancf --item 85123A --item 71053 -n 5 --format csv",
    ],
)
@click.argument("model_file", metavar="MODEL")
@option(
    "--item",
    "-i",
    multiple=True,
    required=True,
    metavar="ID",
    section=_SECTION,
    from_environment=False,
    help="An item of the basket; again for more.",
)
@filter_options
@threads_option
@output_options
def bought_together(model_file: str, output_format: str | None, output: str, **options: Any) -> None:
    """What belongs to a basket: the items that were bought at the same moments as those in it."""
    check_stdin(model_file, options)
    model = load(model_file, options["num_threads"])
    basket = known_items(model, list(options["item"]))
    answer = model.bought_together([basket], options["number"], **requested_filters(model, options))
    _write(model, answer, output_format, output)


def _write(model: "Recommender", answer: "Recommendations", output_format: str | None, output: str) -> None:
    columns = [column for column in answer.to_dict() if column != "name"]
    rows = with_decimal_scores(answer.rows())
    shown: tuple[int, ...] = (0, 1, 2)
    if model.item_names_ is not None:
        columns.append("name")
        rows = [[*row, item_name(model, row[1])] for row in rows]
        shown = (0, 1, 5, 2)
    write_table(columns, rows, output_format=output_format, output=output, shown=shown)
