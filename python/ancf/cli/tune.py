"""``ancf tune``: good settings of a model for a table, as a file that ``ancf train --config`` takes."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ancf.cli.command import Failure, command, option
from ancf.cli.models import ModelCommand, build_model, explicit_keywords, logs_to_stderr, model_option
from ancf.cli.options import check_writable, threads_option, typed_options
from ancf.cli.output import print_note, terminal_width, write_text
from ancf.cli.tables import (
    count_text,
    describe_reading,
    read_table,
    reading_options,
    split_seed,
    split_table,
    table_argument,
)
from ancf.tuning.proposals import Method
from ancf.tuning.search import DEFAULT_TRIALS, default_space

if TYPE_CHECKING:
    from ancf.search_space import SearchSpace
    from ancf.tuning.result import TuningResult
    from ancf.tuning.trial import Trial

_SECTION = "Search"
# A split by customer leaves customers to the test whom no training part knows.
_SPLITS = ("auto", "time", "random", "leave-last-out")


@command(
    "tune",
    examples=[
        "ancf tune purchases.csv --trials 20 -o best.toml",
        "ancf tune purchases.csv --model als --timeout 600 --storage t.db -o best.toml",
        "ancf train purchases.csv --config best.toml -o shop.ancf",
    ],
    cls=ModelCommand,
)
@table_argument
@option(
    "--output",
    "-o",
    default="-",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="The best settings as TOML, for 'ancf train --config FILE'; - is stdout. [-]",
)
@option(
    "--trials",
    type=click.INT,
    metavar="N",
    section=_SECTION,
    help=f"Settings to try, the given ones first. [{DEFAULT_TRIALS}; with --timeout no end; a grid as a whole]",
)
@option("--timeout", type=click.FLOAT, metavar="S", section=_SECTION, help="Seconds after which no trial begins.")
@option(
    "--metric",
    default="ndcg@10",
    metavar="NAME",
    section=_SECTION,
    help="What is to be good: ndcg@10, recall@20, rmse, ... [ndcg@10]",
)
@option(
    "--method",
    type=click.Choice(get_args(Method)),
    default="auto",
    section=_SECTION,
    help="How settings are proposed; auto is optuna where it is installed, else random. [auto]",
)
@option(
    "--storage",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="Keep finished trials in this SQLite file; the same call again goes on where it ended. [none]",
)
@option(
    "--test-share",
    type=click.FLOAT,
    default=0.2,
    metavar="SHARE",
    section=_SECTION,
    help="The part of the events that the best model is measured on at the end, and nothing before. [0.2]",
)
@option(
    "--validation-share",
    type=click.FLOAT,
    default=0.2,
    metavar="SHARE",
    section=_SECTION,
    help="The part of the others that trials are measured on. [0.2]",
)
@option(
    "--split",
    "split_kind",
    type=click.Choice(_SPLITS),
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
@option("--seed", type=click.INT, default=0, metavar="N", section=_SECTION, help="Of what is proposed. [0]")
@option(
    "--plot",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="What mattered as a picture, FILE.svg.",
)
@option(
    "--save-model",
    metavar="FILE",
    section=_SECTION,
    from_environment=False,
    help="Also write the best model, trained on all but the test part.",
)
@option("--quiet", "-q", is_flag=True, section=_SECTION, help="Nothing about each trial.")
@reading_options
@model_option
@threads_option
@click.pass_context
def tune(ctx: click.Context, /, table: tuple[str, ...], output: str, **options: Any) -> None:
    """Find good settings of a model for TABLE.

    Settings are tried on a validation part; the best one is trained again on all but the test part, and measured on
    that once. An option of the model that you give keeps its value. Ctrl-C keeps the finished trials if there is a
    --storage.
    """
    _check_places(output, options)
    model = build_model(ctx, verbose=0)
    data = read_table(table, options, options["num_threads"])
    print_note(describe_reading(data))
    train, test = split_table(data, options["split_kind"], options["test_share"], split_seed(ctx))
    validation = _validation_share(ctx, options, train.split_by)
    # An option that was given keeps its value, also if that is the default.
    space = default_space(model, options["method"], explicit_keywords(ctx), timed=train.times is not None)
    import ancf

    with _progress(model, space, options) as on_trial, logs_to_stderr():
        result = ancf.tune(
            model,
            train,
            validation=validation,
            test=test,
            trials=options["trials"],
            timeout=options["timeout"],
            metric=options["metric"],
            method=options["method"],
            space=space,
            filter_already_liked_items=not options["repeats"],
            storage=options["storage"],
            random_state=options["seed"],
            on_trial=on_trial,
        )
    _finish(result, output, options)


def _check_places(output: str, options: dict[str, Any]) -> None:
    """Refuse places that cannot be written to before hours are spent."""
    if output != "-":
        check_writable(output)
    for name, streams in (("plot", True), ("save_model", False), ("storage", False)):
        if options[name]:
            check_writable(options[name], streams=streams)
    if options["plot"]:
        if not options["plot"].lower().endswith(".svg"):
            raise Failure(f"--plot {options['plot']}: the picture is SVG. Let the name end in .svg.", 2)
        from importlib.util import find_spec

        if find_spec("matplotlib") is None:
            raise Failure("--plot needs Matplotlib. Run: pip install 'ancf[tune]', or leave it out.", 2)


def _validation_share(ctx: click.Context, options: dict[str, Any], split_by: str | None) -> float:
    if split_by in ("last", "user") and typed_options(ctx, ("validation_share",)):
        raise Failure(
            "--validation-share has no effect with --split leave-last-out, which takes each customer's last event. "
            "Leave one of them out.",
            2,
        )
    share: float = options["validation_share"]
    if not 0 < share < 1:
        raise Failure(f"--validation-share is {share}; it must be between 0 and 1, such as 0.2.", 2)
    return share


# ---- while it runs


@contextlib.contextmanager
def _progress(model: Any, space: "SearchSpace", options: dict[str, Any]) -> "Iterator[Callable[[Trial], None] | None]":
    """What shows each trial: a table that grows in a terminal, a line elsewhere, nothing with --quiet."""
    if options["quiet"]:
        yield None
    elif sys.stderr.isatty():
        with _LiveTable(model, space, options) as live:
            yield live.add
    else:
        from ancf.tuning.result import trial_line

        yield lambda trial: print_note(trial_line(trial, options["metric"], options["trials"]))


class _LiveTable:
    """The best trials so far, and what goes on, in a terminal; what remains of it is the report."""

    def __init__(self, model: Any, space: "SearchSpace", options: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._given = model.get_params()
        self._name, self._space, self._options = type(model).__name__, space, options
        self._trials: list[Trial] = []
        self._began = time.monotonic()
        console = Console(stderr=True)
        self._rows = max(3, min(12, console.height - 10))
        self._live = Live(get_renderable=self._render, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> "_LiveTable":
        self._live.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._live.__exit__(*failure)

    def add(self, trial: "Trial") -> None:
        """One more is finished."""
        self._trials.append(trial)
        self._live.refresh()

    def _render(self) -> Any:
        from rich.text import Text

        from ancf.tuning.result import trial_table

        seconds = int(time.monotonic() - self._began)
        wanted, number = self._options["trials"], len(self._trials) + 1
        until = f" of {_clock(int(self._options['timeout']))}" if self._options["timeout"] else ""
        doing = f"trial {number}{f' of {wanted}' if wanted else ''}"
        timeout = self._options["timeout"]
        if (wanted and number > wanted) or (timeout and seconds >= timeout and self._trials):
            doing = "no more trials; the best setting is trained on both parts"
        lines = [f"{self._name}: {doing}; {_clock(seconds)}{until}. Ctrl-C ends."]
        if self._trials:
            lines += [
                "",
                trial_table(
                    self._trials,
                    self._options["metric"],
                    self._space,
                    self._given,
                    max_rows=self._rows,
                    width=terminal_width() - 1,
                ),
            ]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


# ---- the end


def _finish(result: "TuningResult", output: str, options: dict[str, Any]) -> None:
    """The report first: what is wrong with a file then loses nothing."""
    report = f"{result!r}\n"
    if output == "-":
        click.echo(report, err=True)
    else:
        click.echo(report)
    write_text(result.to_toml(), output)
    if output != "-":
        print_note(f"{output}: the settings; 'ancf train TABLE --config {output} -o MODEL' trains with them")
    if options["plot"]:
        result.plot(options["plot"])
        print_note(f"{options['plot']}: what mattered")
    if options["save_model"]:
        place = Path(options["save_model"])
        model = result.best_model
        model.save(place)
        print_note(
            f"{place}: {type(model).__name__} of {count_text(len(model.user_ids_), 'user')}, all but the test part"
        )
