"""``ancf evaluate``: how good the lists are on purchases that were held out, compared with the baseline models."""

from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import ModelCommand, baselines, build_model, load, logs_to_stderr, model_keys, model_option
from ancf.cli.options import threads_option, typed_options
from ancf.cli.output import chosen_format, output_options, print_note, write_table
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
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_SECTION = "Evaluation"
METRICS = "ndcg@10,recall@20,hit@10,coverage@10"


@command(
    "evaluate",
    examples=[
        "ancf evaluate purchases.csv",
        "ancf evaluate purchases.csv --metrics ndcg@5,recall@20 --factors 32",
        "ancf evaluate next_month.csv --model-file shop.ancf",
    ],
    cls=ModelCommand,
)
@table_argument
@option(
    "--model-file",
    "-m",
    metavar="FILE",
    section=_SECTION,
    help="Evaluate this trained model on the whole TABLE, without splitting it.",
)
@option("--metrics", metavar="LIST", default=METRICS, section=_SECTION, help=f"Separated by commas. [{METRICS}]")
@option(
    "--test-share",
    type=click.FLOAT,
    metavar="SHARE",
    default=0.2,
    section=_SECTION,
    help="The part of the events that is held out. [0.2]",
)
@option(
    "--split",
    "split_kind",
    type=click.Choice(SPLITS),
    default="auto",
    section=_SECTION,
    help="How to split: by time where there is a time, else at random. [auto]",
)
@option(
    "--repeats/--no-repeats",
    default=False,
    section=_SECTION,
    help="Also count items that the customer had before. [no]",
)
@option(
    "--baselines/--no-baselines",
    default=True,
    section=_SECTION,
    help="Compare with popularity and item-kNN. [yes]",
)
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="No lines about each epoch.")
@reading_options
@model_option
@threads_option
@output_options
@click.pass_context
def evaluate(
    ctx: click.Context, /, table: tuple[str, ...], output_format: str | None, output: str, **options: Any
) -> None:
    """How good the lists are, compared with popularity and item-kNN.

    TABLE is split by time where it has a time, else at random; models are trained on the first part, and their lists
    are compared with what the customers bought in the second. With --model-file, all of TABLE is what they bought.
    """
    from ancf.comparison import compare
    from ancf.evaluation import parse_metrics

    metrics = [each.strip() for each in options["metrics"].split(",") if each.strip()]
    parse_metrics(metrics, 10)
    threads = options["num_threads"]
    _check_together(ctx, options)
    if options["model_file"]:
        model = load(options["model_file"], threads)
        data = read_table(table, options, threads)
        print_note(describe_reading(data))
        train, test = _training_pairs(model) if options["baselines"] else data, data
    else:
        model = build_model(ctx, verbose=0 if options["quiet"] else 1)
        data = read_table(table, options, threads)
        print_note(describe_reading(data))
        train, test = split_table(data, options["split_kind"], options["test_share"], split_seed(ctx))
    models: dict[str, Recommender] = {type(model).__name__: model}
    if options["baselines"]:
        models = {**models, **{name: each for name, each in baselines(threads).items() if name not in models}}
    with logs_to_stderr():
        result = compare(models, train, test, metrics, filter_already_liked_items=not options["repeats"])
    first = next(iter(result.values()))
    _note_left_out(first)
    frame = result.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {
        "users": first.n_users,
        "unknown_users": first.n_unknown_users,
        "known_pairs": first.n_known_pairs,
        "models": [dict(zip(frame.columns, row, strict=True)) for row in rows],
    }
    n_items = len(next(iter(result.models.values())).item_ids_)
    heading = f"{count_text(first.n_users, 'customer')}, lists over all {count_text(n_items, 'item')}\n"
    if chosen_format(output_format, output) == "table":
        rows = [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    write_table(
        list(frame.columns), rows, output_format=output_format, output=output, heading=heading, document=document
    )


def _check_together(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse options that would have no effect beside others.

    Raises
    ------
    Failure
        Exit code 2.
    """
    own = {"split_kind": "--split", "test_share": "--test-share", "model": "--model"}
    if options["model_file"] and (typed := typed_options(ctx, names := own | model_keys(ctx))):
        raise Failure(
            f"{names[typed[0]]} has no effect with --model-file, which evaluates a trained model on the whole table. "
            "Leave one of them out.",
            2,
        )
    if options["split_kind"] == "leave-last-out" and typed_options(ctx, ("test_share",)):
        raise Failure(
            "--test-share has no effect with --split leave-last-out, which holds each customer's last event out. "
            "Leave one of them out.",
            2,
        )


def _note_left_out(result: Any) -> None:
    if result.n_unknown_users:
        print_note(f"{result.n_unknown_users:,} customers of the test part were not in training and are left out")
    if result.n_known_pairs:
        print_note(f"{result.n_known_pairs:,} repeat purchases do not count (--repeats counts them)")


def _training_pairs(model: "Recommender") -> "Interactions":
    """The pairs that a model was trained on, to train the baselines on.

    Raises
    ------
    Failure
        If the model holds none.
    """
    import numpy as np

    from ancf.data.interactions import Interactions

    scorer = model._fitted()
    seen = scorer.seen
    if not len(seen.items):
        raise Failure("this model file holds no purchases for the baselines. Add --no-baselines.", 2)
    users = np.repeat(np.arange(seen.n_rows), np.diff(seen.indptr))
    return Interactions(scorer.user_ids, scorer.item_ids, users, seen.items, np.ones(len(seen.items)))
