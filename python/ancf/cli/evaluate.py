"""``ancf evaluate``: how good the lists of a model are, or lists made elsewhere, on purchases that were held out."""

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.measuring import check_measuring, measuring_keywords, measuring_options
from ancf.cli.models import ModelCommand, build_model, load, logs_to_stderr, model_keys, model_option
from ancf.cli.options import threads_option, typed_options
from ancf.cli.output import chosen_format, output_options, print_note, write_table
from ancf.cli.tables import (
    check_test_part,
    count_text,
    describe_reading,
    note_left_out,
    read_table,
    reading_options,
    split_seed,
    split_table,
    table_argument,
    test_part_options,
)

if TYPE_CHECKING:
    from ancf.data.interactions import Interactions
    from ancf.evaluation import Evaluation

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
@test_part_options
@measuring_options
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="No lines about each epoch.")
@reading_options
@model_option
@threads_option
@output_options
@click.pass_context
def evaluate(
    ctx: click.Context, /, table: tuple[str, ...], output_format: str | None, output: str, **options: Any
) -> None:
    """How good the lists of a model are, or lists made elsewhere.

    TABLE is split by time where it has a time, else at random; a model is trained on the first part, and its lists are
    compared with what the customers bought in the second. With --model-file, --lists or --train, all of TABLE is what
    they bought. 'ancf compare' holds several models against each other.
    """
    from ancf.evaluation import parse_metrics

    metrics = split_metrics(options["metrics"])
    parse_metrics(metrics, 10)
    _check_together(ctx, options)
    subject, train, test = _what_is_measured(ctx, table, options)
    if options["lists"] and train is None and not typed_options(ctx, ("metrics",)):
        metrics = [each for each in metrics if not each.startswith("coverage")]
    keywords = measuring_keywords(options)
    if options["candidates"] == "sampled":
        keywords["random_state"] = _SEED if options["lists"] or options["model_file"] else split_seed(ctx)
    with logs_to_stderr():
        result, fit_seconds = _measure(subject, train, test, metrics, keywords)
    note_left_out(result)
    for text in () if result.list_report is None else result.list_report.notes():
        print_note(text)
    leakage = _leakage(train, test) if train is not None else None
    name = "lists" if options["lists"] else type(subject).__name__
    times = {"fit_s": fit_seconds, "evaluate_s": result.seconds}
    figures = dict(zip(result, _figures(result), strict=True))
    document = {
        "model": name,
        "users": result.n_users,
        "unknown_users": result.n_unknown_users,
        "includes_unknown_users": result.includes_strangers,
        "known_pairs": result.n_known_pairs,
        "candidates": result.candidates,
        **({"lists": result.list_report._asdict()} if result.list_report else {}),
        **({"leakage": leakage} if leakage else {}),
        "metrics": figures,
        **times,
        "groups": [
            {"by": by, **record}
            for by in ("history_length", "popularity")
            if result.has_training
            for record in _records(result.by(by))
        ],
    }
    among = {} if result.candidates == "all" else {"candidates": result.candidates}
    row: dict[str, Any] = {"model": name, **figures, **among, **times}
    heading = f"{count_text(result.n_users, 'customer')}, lists {_over(result)}\n"
    if chosen_format(output_format, output) == "table":
        row = {column: f"{cell:.4f}" if isinstance(cell, float) else cell for column, cell in row.items()}
    write_table(
        list(row), [list(row.values())], output_format=output_format, output=output, heading=heading, document=document
    )


def split_metrics(text: str) -> list[str]:
    """The metrics of a list with commas."""
    return [each.strip() for each in text.split(",") if each.strip()]


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
    if options["lists"] or options["model_file"]:
        return subject, None, data
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
    check_measuring(ctx, options)
    for name, others in (
        ("lists", {"model_file": "--model-file", **split, "model": "--model"} | model_keys(ctx)),
        ("train", {"model_file": "--model-file", **split}),
    ):
        if options[name] and (typed := typed_options(ctx, others)):
            raise Failure(f"{others[typed[0]]} has no effect with --{name}. Leave one of them out.", 2)
    own = {**split, "model": "--model"}
    if options["model_file"] and (typed := typed_options(ctx, names := own | model_keys(ctx))):
        raise Failure(
            f"{names[typed[0]]} has no effect with --model-file, which evaluates a trained model on the whole table. "
            "Leave one of them out.",
            2,
        )
    check_test_part(ctx, options)
