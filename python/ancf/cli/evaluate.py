"""``ancf evaluate``: how good the lists are on purchases that were held out, compared with the baseline models."""

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from ancf.evaluation import Evaluation
    from ancf.models.base import Recommender

_SECTION = "Evaluation"
_SEED = 42
METRICS = "ndcg@10,recall@20,hit@10,coverage@10"


@command(
    "evaluate",
    examples=[
        "ancf evaluate purchases.csv",
        "ancf evaluate purchases.csv --metrics ndcg@5,recall@20 --factors 32",
        "ancf evaluate next_month.csv --model-file shop.ancf",
        "ancf evaluate next_month.csv --lists lists.csv --train purchases.csv",
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
@option(
    "--lists",
    metavar="FILE",
    section=_SECTION,
    help="Evaluate these lists, made elsewhere, on the whole TABLE: columns for user, item, and rank or score.",
)
@option(
    "--train",
    metavar="FILE",
    section=_SECTION,
    help="Train on this table, or take the lists to be made from it, and evaluate on the whole TABLE.",
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
    "--candidates",
    type=click.Choice(("all", "sampled")),
    default="all",
    section=_SECTION,
    help="Rank all items, or what was bought and some sampled ones. [all]",
)
@option(
    "--n-negatives",
    type=click.INT,
    default=99,
    metavar="N",
    section=_SECTION,
    help="Items sampled for each customer. [99]",
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
    are compared with what the customers bought in the second. With --model-file, --lists or --train, all of TABLE is
    what they bought.
    """
    from ancf.evaluation import parse_metrics

    metrics = [each.strip() for each in options["metrics"].split(",") if each.strip()]
    parse_metrics(metrics, 10)
    threads = options["num_threads"]
    _check_together(ctx, options)
    subject, train, test = _what_is_measured(ctx, table, options)
    if options["lists"] and train is None and not typed_options(ctx, ("metrics",)):
        metrics = [each for each in metrics if not each.startswith("coverage")]
    named: dict[str, Any] = {"lists" if options["lists"] else type(subject).__name__: subject}
    if options["baselines"] and train is not None:
        named = {**named, **{name: each for name, each in baselines(threads).items() if name not in named}}
    keywords: dict[str, Any] = {"filter_already_liked_items": not options["repeats"]}
    if options["candidates"] == "sampled":
        keywords |= {
            "candidates": "sampled",
            "n_negatives": options["n_negatives"],
            "random_state": _SEED if options["lists"] or options["model_file"] else split_seed(ctx),
        }
    with logs_to_stderr():
        measured = {name: _measure(each, train, test, metrics, keywords) for name, each in named.items()}
    first = next(iter(measured.values())).result
    _note_left_out(first)
    leakage = _leakage(train, test) if train is not None and not options["model_file"] else None
    among = [] if first.candidates == "all" else ["candidates"]
    columns = ["model", *first, *among, "fit_s", "evaluate_s"]
    rows = [
        [name, *_figures(each.result), *([each.result.candidates] if among else []), each.fit_s, each.result.seconds]
        for name, each in measured.items()
    ]
    document = {
        "users": first.n_users,
        "unknown_users": first.n_unknown_users,
        "known_pairs": first.n_known_pairs,
        "candidates": first.candidates,
        **({"lists": first.list_report._asdict()} if first.list_report else {}),
        **({"leakage": leakage} if leakage else {}),
        "models": [dict(zip(columns, row, strict=True)) for row in rows],
        "groups": [
            {"model": name, "by": by, **record}
            for name, each in measured.items()
            for by in ("history_length", "popularity")
            if each.result.has_training
            for record in _records(each.result.by(by))
        ],
    }
    heading = f"{count_text(first.n_users, 'customer')}, lists {_over(first)}\n"
    if chosen_format(output_format, output) == "table":
        rows = [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    write_table(columns, rows, output_format=output_format, output=output, heading=heading, document=document)


class _Measured(NamedTuple):
    result: "Evaluation"
    fit_s: float | None


def _what_is_measured(
    ctx: click.Context, table: tuple[str, ...], options: dict[str, Any]
) -> "tuple[Any, Interactions | None, Interactions]":
    """The model or the lists, what was known before if anything is, and what was bought then."""
    threads = options["num_threads"]
    if options["lists"]:
        subject = options["lists"]
    elif options["model_file"]:
        subject = load(options["model_file"], threads)
    else:
        subject = build_model(ctx, verbose=0 if options["quiet"] else 1)
    data = read_table(table, options, threads)
    print_note(describe_reading(data))
    if options["train"]:
        train = read_table(options["train"], options, threads)
        print_note(describe_reading(train))
        return subject, train, data
    if options["lists"]:
        return subject, None, data
    if options["model_file"]:
        return subject, _training_pairs(subject) if options["baselines"] else data, data
    return subject, *split_table(data, options["split_kind"], options["test_share"], split_seed(ctx))


def _measure(
    model: Any, train: "Interactions | None", test: "Interactions", metrics: list[str], keywords: dict[str, Any]
) -> _Measured:
    """Fit a model that is not fitted, and measure it; a path is a file of lists."""
    import ancf

    if isinstance(model, str):
        return _Measured(ancf.evaluate(model, test, metrics, train=train, **keywords), None)
    seconds = None
    if model._scorer is None and train is not None:
        began = time.perf_counter()
        model.fit(train)
        seconds = time.perf_counter() - began
    return _Measured(ancf.evaluate(model, test, metrics, **keywords), seconds)


def _over(result: "Evaluation") -> str:
    """What the lists were made of."""
    if result.candidates != "all":
        return f"of what was bought and {result.candidates} items: no estimate of figures over all"
    return f"over all {count_text(result.n_items, 'item')}" if result.n_items else "made elsewhere"


def _figures(result: "Evaluation") -> list[float | None]:
    """The values; None where there is none."""
    return [None if math.isnan(value) else value for value in result.values()]


def _records(frame: Any) -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    records: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return records


def _leakage(train: "Interactions", test: "Interactions") -> dict[str, Any]:
    """What the two parts share; tells what is wrong with them."""
    import ancf

    report = ancf.leakage_report(train, test)
    for text in report.leaks:
        print_note(f"Leak: {text}")
    return report._asdict()


def _check_together(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse options that would have no effect beside others.

    Raises
    ------
    Failure
        Exit code 2.
    """
    split = {"split_kind": "--split", "test_share": "--test-share"}
    if typed_options(ctx, ("n_negatives",)) and options["candidates"] != "sampled":
        raise Failure("--n-negatives has no effect without --candidates sampled. Leave it out, or choose that.", 2)
    for name, others in (
        ("lists", {"model_file": "--model-file", **split, "model": "--model"} | model_keys(ctx)),
        ("train", {"model_file": "--model-file", **split}),
    ):
        if options[name] and (typed := typed_options(ctx, others)):
            raise Failure(f"{others[typed[0]]} has no effect with --{name}. Leave one of them out.", 2)
    if options["lists"] and not options["train"] and typed_options(ctx, ("baselines",)) and options["baselines"]:
        raise Failure("--baselines have nothing to be trained on. Give --train, or leave them out.", 2)
    own = {**split, "model": "--model"}
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
    for text in () if result.list_report is None else result.list_report.notes():
        print_note(text)


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
