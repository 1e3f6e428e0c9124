"""``ancf train``: a purchase table in, a model file out."""

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import built, logs_to_stderr, model_options, threads_option
from ancf.cli.options import writable
from ancf.cli.output import say
from ancf.cli.tables import SPLITS, counted, read, reading_options, split, table_argument, told

if TYPE_CHECKING:
    from ancf.models.base import Recommender

_LEARNING = "Learning"


@command(
    "train",
    examples=[
        "ancf train purchases.csv -o shop.ancf",
        "ancf train purchases.csv -o shop.ancf --holdout 0.1 --epochs 30",
        "zcat purchases.csv.gz | ancf train - -o shop.ancf --user-column Kunde",
    ],
)
@table_argument
@option("--output", "-o", required=True, metavar="FILE", section=_LEARNING, help="The model file; - is stdout.")
@option(
    "--holdout",
    type=click.FLOAT,
    metavar="SHARE",
    section=_LEARNING,
    help="Hold this part of the events out, show the validation loss and keep the best epoch; the model never learns "
    "from it. [none]",
)
@option(
    "--split",
    "split_kind",
    type=click.Choice(SPLITS),
    default="auto",
    section=_LEARNING,
    help="How --holdout cuts: by time where there is a time, else at random. [auto]",
)
@option("--validation", metavar="TABLE", section=_LEARNING, help="A table of its own to validate on.")
@option("--quiet", "-q", is_flag=True, section=_LEARNING, help="No lines about each epoch.")
@reading_options
@model_options
@threads_option
@click.pass_context
def train(ctx: click.Context, /, table: str, output: str, **options: Any) -> None:
    """Learn from a purchase TABLE and write a model file.

    TABLE is CSV, TSV, gzip of these, or Parquet; - is stdin. Its columns are recognised, and every row that is left
    out is accounted for (ancf describe). The file is the old one or the new one, whatever happens.
    """
    if output != "-":
        writable(output)
    elif sys.stdout.isatty():
        raise Failure("a model file cannot be shown in a terminal. Name a file: -o shop.ancf.", 2)
    if options["holdout"] is not None and options["validation"]:
        raise Failure("--holdout and --validation exclude each other. Leave one out.", 2)
    model = built(ctx, verbose=0 if options["quiet"] else 1)
    data = read(table, options, options["num_threads"])
    say(told(data))
    validation = None
    if options["validation"]:
        validation = read(options["validation"], options, options["num_threads"])
        say("Validation: " + told(validation))
    elif options["holdout"] is not None:
        data, validation = split(data, options["split_kind"], options["holdout"], options.get("random_state") or 42)
    if data.n_users < 2 or data.n_items < 2:
        say("note: with a single user or item there is nothing to learn from others, and nothing new to recommend")
    began = time.perf_counter()
    try:
        with logs_to_stderr():
            model.fit(data, validation=validation)
    except KeyboardInterrupt as error:
        if output != "-":
            standing = "is as it was" if Path(output).exists() else "was not written"
            error.add_note(f"{output} {standing}.")
        raise
    seconds = time.perf_counter() - began
    best = getattr(model, "history_", {}).get("best_epoch")
    if validation is not None and best:
        say(f"The best epoch is {best}.")
    _keep(model, output)
    if output != "-":
        say(
            f"{output}: {type(model).__name__} of {counted(len(model.user_ids_), 'user')} and "
            f"{counted(len(model.item_ids_), 'item')}, "
            f"learned in {seconds:.1f} s, {Path(output).stat().st_size / 1e6:.1f} MB"
        )


def _keep(model: "Recommender", output: str) -> None:
    if output != "-":
        model.save(output)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ancf"
        model.save(path)
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
