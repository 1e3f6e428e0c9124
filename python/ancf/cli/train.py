"""``ancf train``: a purchase table in, a model file out."""

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import ModelCommand, build_model, logs_to_stderr, model_option
from ancf.cli.options import check_writable, threads_option
from ancf.cli.output import print_note
from ancf.cli.tables import (
    SPLITS,
    count_text,
    describe_reading,
    read_table,
    reading_options,
    split_seed,
    split_table,
    table_argument,
)

if TYPE_CHECKING:
    from ancf.models.base import Recommender

_SECTION = "Training"


@command(
    "train",
    examples=[
        "ancf train purchases.csv -o shop.ancf",
        "ancf train purchases.csv -o shop.ancf --holdout 0.1 --epochs 30",
        "zcat purchases.csv.gz | ancf train - -o shop.ancf --user-column Kunde",
    ],
    cls=ModelCommand,
)
@table_argument
@option("--output", "-o", required=True, metavar="FILE", section=_SECTION, help="The model file; - is stdout.")
@option(
    "--holdout",
    type=click.FLOAT,
    metavar="SHARE",
    section=_SECTION,
    help="Hold this part of the events out, show the validation loss and keep the best epoch; the model is never "
    "trained on it. [none]",
)
@option(
    "--split",
    "split_kind",
    type=click.Choice(SPLITS),
    default="auto",
    section=_SECTION,
    help="How --holdout splits: by time where there is a time, else at random. [auto]",
)
@option("--validation", metavar="TABLE", section=_SECTION, help="Validate on this table instead.")
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="No lines about each epoch.")
@reading_options
@model_option
@threads_option
@click.pass_context
def train(ctx: click.Context, /, table: str, output: str, **options: Any) -> None:
    """Train a model on a purchase TABLE and write it to a file.

    TABLE is CSV, TSV, gzip of these, or Parquet; - is stdin. Its columns are recognized, and every row that is left
    out is accounted for (ancf describe). An existing model file is replaced as a whole, or not at all.
    """
    if output != "-":
        check_writable(output, streams=False)
    elif sys.stdout.isatty():
        raise Failure("a model file cannot be shown in a terminal. Name a file: -o shop.ancf.", 2)
    if options["holdout"] is not None and options["validation"]:
        raise Failure("--holdout and --validation exclude each other. Leave one out.", 2)
    model = build_model(ctx, verbose=0 if options["quiet"] else 1)
    data = read_table(table, options, options["num_threads"])
    print_note(describe_reading(data))
    validation = None
    if options["validation"]:
        validation = read_table(options["validation"], options, options["num_threads"])
        print_note("Validation: " + describe_reading(validation))
    elif options["holdout"] is not None:
        data, validation = split_table(data, options["split_kind"], options["holdout"], split_seed(ctx))
    if data.n_users < 2 or data.n_items < 2:
        print_note(
            "note: with a single user or item there is nothing to learn from others, and nothing new to recommend"
        )
    began = time.perf_counter()
    try:
        with logs_to_stderr():
            model.fit(data, validation=validation)
    except KeyboardInterrupt as error:
        if output != "-":
            state = "is as it was" if Path(output).exists() else "was not written"
            error.add_note(f"{output} {state}.")
        raise
    seconds = time.perf_counter() - began
    best = (model._fitted().training or {}).get("best_epoch")
    if validation is not None and best:
        print_note(f"The best epoch is {best}.")
    _save(model, output)
    if output != "-":
        print_note(
            f"{output}: {type(model).__name__} of {count_text(len(model.user_ids_), 'user')} and "
            f"{count_text(len(model.item_ids_), 'item')}, "
            f"trained in {seconds:.1f} s, {Path(output).stat().st_size / 1e6:.1f} MB"
        )


def _save(model: "Recommender", output: str) -> None:
    if output != "-":
        model.save(output)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ancf"
        model.save(path)
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
