"""``ancf train``: a purchase table in, a model file out."""

import inspect
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option, typed_again
from ancf.cli.models import (
    ModelCommand,
    build_model,
    chosen_class,
    chosen_name,
    learns_in_epochs,
    logs_to_stderr,
    model_option,
    save,
)
from ancf.cli.options import check_writable, threads_option, typed_options
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
# What a model's history has besides the metric that decides.
_NO_METRICS = ("training_loss", "validation_loss")


@command(
    "train",
    examples=[
        "ancf train purchases.csv -o shop.ancf",
        "ancf train purchases.csv -o shop.ancf --holdout 0.1 --epochs 30",
        "ancf train january.csv february.csv -o shop.ancf",
        "zcat purchases.csv.gz | ancf train - -o shop.ancf --user-column Kunde",
        "ancf train purchases.csv -o shop.ancf --checkpoint shop.going --resume",
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
    help="Hold this part of the events out, show its loss and the metric that decides, and keep the best epoch; the "
    "model is never trained on it. [none]",
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
@option(
    "--checkpoint",
    metavar="FILE",
    section=_SECTION,
    help="Keep in this file where training stands, for --resume; it is removed once the model is written. [none]",
)
@option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    section=_SECTION,
    help="Write --checkpoint after every N epochs. [1]",
)
@option(
    "--resume",
    is_flag=True,
    section=_SECTION,
    help="Go on from --checkpoint where it is there; the model has the same bytes as without an interruption.",
)
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="No lines about each epoch.")
@reading_options
@model_option
@threads_option
@click.pass_context
def train(ctx: click.Context, /, table: tuple[str, ...], output: str, **options: Any) -> None:
    """Train a model on a purchase TABLE and write it to a file.

    TABLE is CSV, TSV, JSON lines, these in gzip, bzip2, xz or zip, or Parquet; - is stdin. Several files, a folder or
    a pattern are one table. Its columns are recognized, and every row that is left out is accounted for (ancf
    describe). An existing model file is replaced as a whole, or not at all.
    """
    if output != "-":
        check_writable(output, streams=False)
    elif sys.stdout.isatty():
        raise Failure("a model file cannot be shown in a terminal. Name a file: -o shop.ancf.", 2)
    _check_validation(ctx, options)
    resuming = _resuming(ctx, options, output)
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
    with _interruption_explained(ctx, output, resuming.get("checkpoint")):
        began = time.perf_counter()
        with logs_to_stderr():
            model.fit(data, validation=validation, **resuming)
        seconds = time.perf_counter() - began
        if validation is not None:
            _note_best_epoch(model)
        save(model, output)
    if output != "-":
        print_note(
            f"{output}: {type(model).__name__} of {count_text(len(model.user_ids_), 'user')} and "
            f"{count_text(len(model.item_ids_), 'item')}, "
            f"trained in {seconds:.1f} s, {Path(output).stat().st_size / 1e6:.1f} MB"
        )


def _check_validation(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse options about validation that would have no effect; drops those of a file that have none here.

    Raises
    ------
    Failure
        Exit code 2.
    """
    typed = typed_options(ctx, ("holdout", "validation"))
    if options["holdout"] is not None and options["validation"]:
        if len(typed) != 1:
            raise Failure("--holdout and --validation exclude each other. Leave one out.", 2)
        options["validation" if typed == ["holdout"] else "holdout"] = None
    if not learns_in_epochs(ctx):
        if typed:
            raise Failure(
                f"--{typed[0]} has no effect for {chosen_name(ctx)}, which has no epochs to choose among. Leave it "
                "out; 'ancf evaluate' says how good the lists are.",
                2,
            )
        options["holdout"] = options["validation"] = None
    if options["holdout"] is None and typed_options(ctx, ("split_kind",)):
        raise Failure("--split says how --holdout splits. Add --holdout 0.1, or leave --split out.", 2)
    validated = options["holdout"] is not None or options["validation"]
    if not validated and (idle := typed_options(ctx, ("patience", "validation_metric"))):
        raise Failure(
            f"--{idle[0].replace('_', '-')} needs something to validate on. Add --holdout 0.1 or --validation TABLE, "
            "or leave it out.",
            2,
        )


def _resuming(ctx: click.Context, options: dict[str, Any], output: str) -> dict[str, Any]:
    """What ``fit`` gets of the options about checkpoints.

    Raises
    ------
    Failure
        Exit code 2, for an option that would have no effect.
    """
    path = options["checkpoint"]
    if not path:
        for name in typed_options(ctx, ("every", "resume")):
            raise Failure(f"--{name} needs a file to go on from. Add --checkpoint FILE, or leave it out.", 2)
        return {}
    if "checkpoint" not in inspect.signature(chosen_class(ctx).fit).parameters:
        if typed_options(ctx, ("checkpoint", "every", "resume")):
            raise Failure(
                f"--checkpoint has no effect for {chosen_name(ctx)}, which has no epochs to go on from. Leave it out.",
                2,
            )
        return {}
    if path == "-" or Path(path).resolve() == Path(output).resolve():
        raise Failure(f"--checkpoint {path}: give a file of its own, such as shop.going.", 2)
    check_writable(path, streams=False)
    return {"checkpoint": path, "every": options["every"], "resume": options["resume"]}


@contextmanager
def _interruption_explained(ctx: click.Context, output: str, checkpoint: str | None) -> Iterator[None]:
    """Says what an interruption leaves, and how to go on.

    The checkpoint is given up when the block ends well: the model is written then, and not before.
    """
    from ancf.checkpoints import keep_finished
    from ancf.errors import AncfError

    try:
        with keep_finished():
            yield
    except (KeyboardInterrupt, OSError) as error:
        if output != "-" and isinstance(error, KeyboardInterrupt):
            state = "is as it was" if Path(output).exists() else "was not written"
            error.add_note(f"{output} {state}.")
        if checkpoint is not None and Path(checkpoint).exists() and not isinstance(error, AncfError):
            error.add_note(f"Go on with: {typed_again(ctx, '--resume')}")
        raise
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)


def _note_best_epoch(model: "Recommender") -> None:
    """The number that decided, as it stands in the lines of the epochs."""
    from ancf.epochs import LOWER_IS_BETTER

    training = model._fitted().training or {}
    best = training.get("best_epoch")
    if not best:
        return
    name = next((each for each in training if each not in _NO_METRICS and isinstance(training[each], list)), None)
    values = training.get(name or "validation_loss")
    way = "lowest" if name is None or name in LOWER_IS_BETTER else "highest"
    by = f"the {way} {name or 'validation loss'}"
    print_note(
        f"The best epoch is {best}, with {by}: {values[best - 1]:.4f}." if values else f"The best epoch is {best}."
    )
