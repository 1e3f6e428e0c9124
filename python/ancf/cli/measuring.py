"""What ``evaluate`` and ``compare`` share: among which items lists are made, for whom, and what counts."""

from typing import Any

import click

from ancf.cli.command import Failure, Function, Option, with_options
from ancf.cli.options import typed_options

_SECTION = "Evaluation"


def measuring_options(function: Function) -> Function:
    """``--candidates``, ``--n-negatives``, ``--repeats`` and ``--on-unknown``."""
    candidates = Option(
        ["--candidates"],
        type=click.Choice(("all", "sampled")),
        default="all",
        section=_SECTION,
        help="Rank all items, or what was bought and some sampled ones. [all]",
    )
    n_negatives = Option(
        ["--n-negatives"],
        type=click.INT,
        default=99,
        metavar="N",
        section=_SECTION,
        help="Items sampled for each customer. [99]",
    )
    repeats = Option(
        ["--repeats/--no-repeats"],
        default=False,
        section=_SECTION,
        help="Also count items that the customer had before. [no]",
    )
    on_unknown = Option(
        ["--on-unknown"],
        type=click.Choice(("skip", "popular")),
        default="skip",
        section=_SECTION,
        help="Customers who were not in training: left out, or measured with what is popular. [skip]",
    )
    return with_options(function, [candidates, n_negatives, repeats, on_unknown])


def check_measuring(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse a number of negatives that would have no effect.

    Raises
    ------
    Failure
        Exit code 2.
    """
    if typed_options(ctx, ("n_negatives",)) and options["candidates"] != "sampled":
        raise Failure("--n-negatives has no effect without --candidates sampled. Leave it out, or choose that.", 2)


def measuring_keywords(options: dict[str, Any]) -> dict[str, Any]:
    """The same as ``ancf.evaluate`` and ``ancf.compare`` take them."""
    keywords = {"filter_already_liked_items": not options["repeats"], "on_unknown": options["on_unknown"]}
    if options["candidates"] == "sampled":
        keywords |= {"candidates": "sampled", "n_negatives": options["n_negatives"]}
    return keywords
