"""``ancf evaluate``: how good the lists are on purchases that were held out, beside what every model must beat."""

from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import built, load, logs_to_stderr, model_options, threads_option
from ancf.cli.output import output_options, say, write
from ancf.cli.tables import SPLITS, counted, read, reading_options, split, table_argument, told

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.models.base import Recommender

_MEASURING = "Measuring"
METRICS = "ndcg@10,recall@20,hit@10,coverage@10"


@command(
    "evaluate",
    examples=[
        "ancf evaluate purchases.csv",
        "ancf evaluate purchases.csv --metrics ndcg@5,recall@20 --factors 32",
        "ancf evaluate next_month.csv --model-file shop.ancf",
    ],
)
@table_argument
@option(
    "--model-file",
    "-m",
    metavar="FILE",
    section=_MEASURING,
    help="Measure this model on the whole TABLE instead of splitting and learning.",
)
@option("--metrics", metavar="LIST", default=METRICS, section=_MEASURING, help=f"By commas. [{METRICS}]")
@option(
    "--test-share",
    type=click.FLOAT,
    metavar="SHARE",
    default=0.2,
    section=_MEASURING,
    help="The part of the events that is held out. [0.2]",
)
@option(
    "--split",
    "split_kind",
    type=click.Choice(SPLITS),
    default="auto",
    section=_MEASURING,
    help="How to cut: by time where there is a time, else at random. [auto]",
)
@option(
    "--repeats/--no-repeats",
    default=False,
    section=_MEASURING,
    help="Also count items that the customer had before. [no]",
)
@option(
    "--baselines/--no-baselines",
    default=True,
    section=_MEASURING,
    help="Popularity and item-kNN beside it. [yes]",
)
@option("--quiet", "-q", is_flag=True, section=_MEASURING, help="No lines about each epoch.")
@reading_options
@model_options
@threads_option
@output_options
@click.pass_context
def evaluate(ctx: click.Context, /, table: str, form: str | None, output: str, **options: Any) -> None:
    """How good the lists are, beside popularity and item-kNN.

    TABLE is split by time where it has a time, else at random; models learn from the first part, and their lists are
    compared with what the customers bought in the second. With --model-file, all of TABLE is what they bought.
    """
    import ancf
    from ancf.comparison import compare
    from ancf.evaluation import parse_metrics

    metrics = [each.strip() for each in options["metrics"].split(",") if each.strip()]
    parse_metrics(metrics, 10)
    threads = options["num_threads"]
    if options["model_file"]:
        model = load(options["model_file"], threads)
        data = read(table, options, threads)
        say(told(data))
        train, test = _known(model), data
    else:
        model = built(ctx, verbose=0 if options["quiet"] else 1)
        data = read(table, options, threads)
        say(told(data))
        train, test = split(data, options["split_kind"], options["test_share"], options.get("random_state") or 42)
    models: dict[str, Recommender] = {type(model).__name__: model}
    if options["baselines"]:
        models |= {
            name: each
            for name, each in (
                ("ItemKNN", ancf.ItemKNN(num_threads=threads)),
                ("Popular", ancf.Popular(num_threads=threads)),
            )
            if name not in models
        }
    with logs_to_stderr():
        result = compare(models, train, test, metrics, filter_already_liked_items=not options["repeats"])
    first = next(iter(result.values()))
    _remarks(first)
    frame = result.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {
        "users": first.n_users,
        "unknown_users": first.n_unknown_users,
        "known_pairs": first.n_known_pairs,
        "models": [dict(zip(frame.columns, row, strict=True)) for row in rows],
    }
    n_items = len(next(iter(result.models.values())).item_ids_)
    heading = f"{counted(first.n_users, 'customer')}, lists over all {counted(n_items, 'item')}\n"
    write(
        list(frame.columns), _rounded(rows, form, output), form=form, output=output, heading=heading, document=document
    )


def _rounded(rows: list[list[Any]], form: str | None, output: str) -> list[list[Any]]:
    from ancf.cli.output import chosen_format

    if chosen_format(form, output) != "table":
        return rows
    return [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]


def _remarks(result: Any) -> None:
    if result.n_unknown_users:
        say(f"{result.n_unknown_users:,} customers of the test part were not in training and are left out")
    if result.n_known_pairs:
        say(f"{result.n_known_pairs:,} repeat purchases do not count (--repeats counts them)")


def _known(model: "Recommender") -> "Interactions":
    """The pairs that a model has learned from, for the baselines to learn from too.

    Raises
    ------
    Failure
        If the model holds none.
    """
    import numpy as np

    from ancf.data.interactions import Interactions

    indptr, items = model._fitted().seen
    if not len(items):
        raise Failure("this model file holds no purchases for the baselines. Add --no-baselines.", 2)
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return Interactions(model.user_ids_, model.item_ids_, users, items, np.ones(len(items)))
