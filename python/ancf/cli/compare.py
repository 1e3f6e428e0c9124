"""``ancf compare``: several models on the same held-out purchases, and whether the differences are more than luck."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Command, Failure, command, in_options, option
from ancf.cli.evaluate import METRICS, split_metrics
from ancf.cli.measuring import check_measuring, measuring_keywords, measuring_options
from ancf.cli.options import threads_option, typed_options
from ancf.cli.output import (
    REPORT_FORMATS,
    chosen_format,
    open_output,
    print_note,
    printable,
    report_options,
    terminal_width,
    wrapped,
    write_table,
    write_text,
)
from ancf.cli.tables import (
    check_test_part,
    count_text,
    describe_reading,
    read_table,
    reading_options,
    split_table,
    table_argument,
    test_part_options,
)

if TYPE_CHECKING:
    from ancf.comparison import Comparison

_SECTION = "Evaluation"
_ARGUMENTS = "ancf.cli.compare.arguments"
_INTERRUPTED = 130


class _CompareCommand(Command):
    """Keeps what was typed, which repeats the comparison."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = shlex.join([*ctx.command_path.split(), *args])
        return super().parse_args(ctx, args)


@command(
    "compare",
    examples=[
        "ancf compare purchases.csv -o report.html",
        "ancf compare purchases.csv --models ancf,ease,als --baseline EASE",
        "ancf compare purchases.csv --lists their_lists.csv=theirs",
        "ancf compare purchases.csv --models all --timeout-per-model 600 -o all.json",
    ],
    cls=_CompareCommand,
)
@table_argument
@option(
    "--models",
    metavar="LIST",
    default="quick",
    section=_SECTION,
    help="Names or groups, separated by commas: all, quick, classical, neural. [quick]",
)
@option(
    "--lists",
    multiple=True,
    metavar="FILE[=NAME]",
    section=_SECTION,
    from_environment=False,
    help="Lists made elsewhere: user_id, item_id, and rank or score; again for more.",
)
@option(
    "--ablation",
    type=click.Choice(("attention",)),
    section=_SECTION,
    help="Instead of --models: the attention of ancf piece by piece.",
)
@option("--metrics", metavar="LIST", default=METRICS, section=_SECTION, help=f"The first decides. [{METRICS}]")
@option(
    "--baseline",
    metavar="NAME",
    section=_SECTION,
    help="A row that all others are held against, too.",
)
@option(
    "--train",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="Train on this table, and compare on the whole TABLE.",
)
@test_part_options
@measuring_options
@option(
    "--tune",
    type=click.INT,
    metavar="N",
    section=_SECTION,
    help="Try N settings of each model on a part of what it is trained on.",
)
@option(
    "--timeout-per-model",
    type=click.FLOAT,
    metavar="SECONDS",
    section=_SECTION,
    help="Go on without a model that takes longer.",
)
@option(
    "--random-state",
    type=click.INT,
    metavar="INTEGER",
    default=42,
    section=_SECTION,
    help="Seed of a random split and of the intervals. [42]",
)
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="Nothing about what is done so far.")
@reading_options
@threads_option
@report_options
@click.pass_context
def compare(
    ctx: click.Context, /, table: tuple[str, ...], output_format: str | None, output: str, **options: Any
) -> None:
    """Which model is the best, and whether that is more than luck.

    TABLE is split by time where it has a time, else at random; every model is trained on the first part, and its lists
    are compared with what the customers bought in the second. With --train, all of TABLE is what they bought. Each
    model has a process of its own: one that fails or takes too long gets a row that says so, and Ctrl-C keeps what is
    finished.
    """
    import ancf
    from ancf.evaluation import parse_metrics

    metrics = split_metrics(options["metrics"])
    parse_metrics(metrics, 10)
    check_test_part(ctx, options)
    _check_together(ctx, options)
    models = _contestants(ctx, options)
    kind = chosen_format(output_format, output, formats=REPORT_FORMATS)
    if kind == "html":
        from ancf.comparison.report import check_extra

        check_extra()
    data = read_table(table, options, options["num_threads"])
    print_note(describe_reading(data))
    if options["train"]:
        train, test = read_table(options["train"], options, options["num_threads"]), data
        print_note(describe_reading(train))
    else:
        train, test = split_table(data, options["split_kind"], options["test_share"], options["random_state"])
    result = ancf.compare(
        models,
        train,
        test,
        metrics,
        **measuring_keywords(options),
        baseline=options["baseline"],
        tune=options["tune"],
        timeout_per_model=options["timeout_per_model"],
        own_process=True,
        num_threads=options["num_threads"],
        random_state=options["random_state"],
        keep_models=kind == "html",
        show_progress=not options["quiet"],
    )
    if kind == "html":
        _write_report(result, ctx.meta[_ARGUMENTS], output)
    elif kind == "table":
        write_text(_text(result, output), output)
    else:
        _write_rows(result, ctx.meta[_ARGUMENTS], output_format, output)
    if result.interrupted:
        print_note(f"interrupted: {', '.join(result.failures)} not run to the end")
        ctx.exit(_INTERRUPTED)


def _check_together(ctx: click.Context, options: dict[str, Any]) -> None:
    """Refuse options that would have no effect beside others.

    Raises
    ------
    Failure
        Exit code 2.
    """
    check_measuring(ctx, options)
    names = {"split_kind": "--split", "test_share": "--test-share"}
    if options["train"] and (typed := typed_options(ctx, names)):
        raise Failure(
            f"{names[typed[0]]} has no effect with --train, with which TABLE is not split. Leave one of them out.", 2
        )


def _contestants(ctx: click.Context, options: dict[str, Any]) -> Any:
    """What is compared.

    Raises
    ------
    Failure
        If options exclude each other, or a file of lists is missing; exit code 2.
    """
    names = split_metrics(options["models"])
    if options["ablation"]:
        if typed := typed_options(ctx, ("models", "lists", "baseline", "tune")):
            raise Failure(
                f"--{typed[0]} has no effect with --ablation, which compares pieces of one model. Leave one of them "
                "out.",
                2,
            )
        return str(options["ablation"])
    if not names and not options["lists"]:
        raise Failure("--models names no model. Give names such as ancf,item-knn, or a group: quick.", 2)
    entered: dict[str, Any] = {name: name for name in dict.fromkeys(names)}
    for text in options["lists"]:
        path, _, name = text.rpartition("=") if "=" in text and not Path(text).exists() else (text, "", "")
        name = name or Path(path).name.split(".")[0]
        if not Path(path).is_file():
            raise Failure(f"--lists {path}: there is no such file.", 2)
        if name in entered:
            raise Failure(f"--lists {text}: another row is called {name!r}. Name it: --lists {path}=NAME.", 2)
        entered[name] = Path(path)
    return entered


def _text(result: "Comparison", output: str) -> str:
    """The tables and the sentence."""
    width = terminal_width() if output == "-" and sys.stdout.isatty() else 80
    people = count_text(result.n_users, "customer")
    text = "\n\n".join([f"{people}, {count_text(len(result.outcomes), 'model')}", *result.blocks(width)])
    return printable(in_options(text), "\n") + "\n"


def _write_rows(result: "Comparison", typed: str, output_format: str | None, output: str) -> None:
    frame = result.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {**result.to_dict(), "command": typed}
    write_table(list(frame.columns), rows, output_format=output_format, output=output, document=document)


def _write_report(result: "Comparison", typed: str, output: str) -> None:
    """The page, and the sentence in the terminal."""
    result.notes = [in_options(each) for each in result.notes]
    try:
        page = result.to_html(command=typed)
        with open_output(output, "html") as file:
            file.write(page.encode())
    except Exception:  # what took so long to find is not lost with the page
        if output != "-":
            write_text(_text(result, "-"), "-")
        raise
    if output != "-":
        write_text(wrapped(printable(in_options(result.sentence))) + "\n", "-")
        print_note(f"The report is in {output}")
