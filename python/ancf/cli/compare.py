"""``ancf compare``: several models on the same held-out purchases, and whether the differences are more than luck."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Command, Failure, command, in_options, option
from ancf.cli.evaluate import METRICS, split_metrics
from ancf.cli.options import threads_option, typed_options
from ancf.cli.output import (
    chosen_format,
    output_options,
    print_note,
    printable,
    terminal_width,
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
        "ancf compare purchases.csv",
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
@test_part_options
@option(
    "--repeats/--no-repeats",
    default=False,
    section=_SECTION,
    help="Also count items that the customer had before. [no]",
)
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
@output_options
@click.pass_context
def compare(
    ctx: click.Context, /, table: tuple[str, ...], output_format: str | None, output: str, **options: Any
) -> None:
    """Which model is the best, and whether that is more than luck.

    TABLE is split by time where it has a time, else at random; every model is trained on the first part, and its lists
    are compared with what the customers bought in the second. Each has a process of its own: one that fails or takes
    too long gets a row that says so, and Ctrl-C keeps what is finished.
    """
    import ancf
    from ancf.evaluation import parse_metrics

    metrics = split_metrics(options["metrics"])
    parse_metrics(metrics, 10)
    check_test_part(ctx, options)
    models = _contestants(ctx, options)
    data = read_table(table, options, options["num_threads"])
    print_note(describe_reading(data))
    train, test = split_table(data, options["split_kind"], options["test_share"], options["random_state"])
    result = ancf.compare(
        models,
        train,
        test,
        metrics,
        filter_already_liked_items=not options["repeats"],
        baseline=options["baseline"],
        tune=options["tune"],
        timeout_per_model=options["timeout_per_model"],
        own_process=True,
        num_threads=options["num_threads"],
        random_state=options["random_state"],
        keep_models=False,
        show_progress=not options["quiet"],
    )
    _write(ctx, result, output_format, output)
    if result.interrupted:
        print_note(f"interrupted: {', '.join(result.failures)} not run to the end")
        ctx.exit(_INTERRUPTED)


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


def _write(ctx: click.Context, result: "Comparison", output_format: str | None, output: str) -> None:
    if chosen_format(output_format, output) == "table":
        width = terminal_width() if output == "-" and sys.stdout.isatty() else 80
        people = count_text(result.n_users, "customer")
        text = "\n\n".join([f"{people}, {count_text(len(result.outcomes), 'model')}", *result.blocks(width)])
        write_text(printable(in_options(text), "\n") + "\n", output)
        return
    frame = result.to_pandas()
    rows = [list(row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    document = {**result.to_dict(), "command": ctx.meta[_ARGUMENTS]}
    write_table(list(frame.columns), rows, output_format=output_format, output=output, document=document)
