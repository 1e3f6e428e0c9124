"""``ancf update``: new purchases into a model file, without training anew."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, in_options, option
from ancf.cli.models import load, save
from ancf.cli.options import check_writable, threads_option
from ancf.cli.output import print_note
from ancf.cli.tables import count_text, describe_reading, read_table, reading_options, table_argument
from ancf.data.array_folder import is_array_folder
from ancf.data.returns import n_netted

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_SECTION = "Update"


def _chosen_weights(model: "Recommender") -> dict[str, float] | None:
    """What events of each type weigh in the model, where that is not what their names say."""
    from ancf.data.event_types import has_default_weights

    weights = model.event_weights_
    return None if weights is None or has_default_weights(weights) else weights


def _check_returns(folder: str, data: "Interactions") -> None:
    """Refuse a prepared table out of which returns are gone that an update takes off the model's purchases.

    Raises
    ------
    Failure
        Exit code 3.
    """
    netted = n_netted(data.report)
    if netted:
        what = "1 return was" if netted == 1 else f"{netted:,} returns were"
        raise Failure(
            f"{folder}: {what} taken off the purchases of this table alone when it was prepared, and an update takes "
            "them off those of the model, too. "
            "Prepare it again: ancf prepare ... --returns keep (or drop, to leave them out).",
            3,
        )


@command(
    "update",
    examples=[
        "ancf update shop.ancf today.csv -o shop.ancf",
        "ancf update shop.ancf last-seven-days.csv -o shop.ancf --deduplicate",
    ],
)
@click.argument("model_file", metavar="MODEL")
@table_argument
@option("--output", "-o", required=True, metavar="FILE", section=_SECTION, help="The model file; - is stdout.")
@option(
    "--deduplicate",
    is_flag=True,
    section=_SECTION,
    help="A row whose customer, product and moment are in already takes the place of what is there.",
)
@reading_options
@threads_option
def update(model_file: str, table: tuple[str, ...], output: str, deduplicate: bool, **options: Any) -> None:
    """Take the purchases of a TABLE into a MODEL without training anew.

    New customers and products, quantities and times are taken in, and returns take back what was bought before, also in
    training; --returns drop leaves them out. Two updates of one day give the file of one of two days. It says what came
    in, and when training anew is worth it. An existing model file is replaced as a whole, or not at all; MODEL and FILE
    may be the same.
    """
    if output != "-":
        check_writable(output, streams=False)
    elif sys.stdout.isatty():
        raise Failure("a model file cannot be shown in a terminal. Name a file: -o shop.ancf.", 2)
    if model_file == "-" and "-" in table:
        raise Failure("the model and the table cannot both come from stdin. Name a file for one of them.", 2)
    model = load(model_file, options["num_threads"])
    is_prepared = len(table) == 1 and table[0] != "-" and is_array_folder(Path(table[0]))
    if not is_prepared:
        if options.get("returns") in (None, "net"):
            # They are taken off what the model knows, too, and not off this table alone.
            options["returns"] = "keep"
        if options.get("event_weights") is None and str(options.get("event_column")).lower() != "none":
            options["event_weights"] = _chosen_weights(model)
    features = {name: options.pop(name) for name in ("item_features", "user_features")}
    data = read_table(table, options, options["num_threads"])
    if is_prepared:
        _check_returns(table[0], data)
    print_note(describe_reading(data))
    began = time.perf_counter()
    try:
        model.partial_fit(data, deduplicate=deduplicate, **features)
    except KeyboardInterrupt as error:
        if output != "-":
            error.add_note(f"{output} {'is as it was' if Path(output).exists() else 'was not written'}.")
        raise
    seconds = time.perf_counter() - began
    print_note(in_options(str(model.last_update_)))
    save(model, output)
    if output != "-":
        print_note(
            f"{output}: {type(model).__name__} of {count_text(len(model.user_ids_), 'user')} and "
            f"{count_text(len(model.item_ids_), 'item')}, "
            f"updated in {seconds:.1f} s, {Path(output).stat().st_size / 1e6:.1f} MB"
        )
