"""The frame of the command line: finds the command, and turns whatever goes wrong into one line and an exit code."""

import importlib
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import click

from ancf._native import __version__
from ancf.cli.command import CONFIG, HELP_NAMES, Failure

# Command: the module of this package that holds it, and its line in the overview. A module is loaded when its command
# is used, so that the overview comes at once.
COMMANDS = {
    "demo": ("demo", "A made-up shop, from its raw purchases to lists with reasons."),
    "describe": ("describe", "What a purchase table holds, and what reading it leaves out."),
    "train": ("train", "Learn from a purchase table and write a model file."),
    "evaluate": ("evaluate", "How good the lists are, beside popularity and item-kNN."),
    "recommend": ("recommend", "Lists for some customers, with reasons if asked for."),
    "recommend-all": ("recommend", "Lists for every customer, streamed."),
    "similar": ("similar", "What is like an item, or who is like a customer."),
    "explain": ("similar", "Which purchases carry a recommendation, in numbers."),
    "inspect": ("inspect", "What a model file holds, without trusting it."),
    "doctor": ("doctor", "The machine, the extras, and how a model would rank here."),
}

_EXAMPLES = """\
Examples:

\b
  ancf train purchases.csv -o shop.ancf
  ancf recommend shop.ancf --user 17850 --explain

Exit codes: 0 done, 2 usage, 3 data, 4 unknown user or item, 5 model file,
130 interrupted, 1 anything else."""


class Interface(click.Group):
    """The commands by name, loaded when they are used; a misspelt name is answered with the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ancf.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, 1, 0.5)
            raise click.UsageError(
                f"there is no command {name!r}. "
                + (f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(COMMANDS)}."),
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Interface,
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 80},
    epilog=_EXAMPLES,
    invoke_without_command=True,
)
@click.version_option(__version__, "-V", "--version", prog_name="ancf", message="%(prog)s %(version)s")
@click.option("--config", metavar="FILE", envvar="ANCF_CONFIG", help="Options from a TOML file; see docs/cli.md.")
@click.pass_context
def interface(ctx: click.Context, config: str | None) -> None:
    """Product recommendations from a table of purchases, with reasons."""
    ctx.meta[CONFIG] = config
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command ``ancf``."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    if "_ANCF_COMPLETE" in os.environ:
        interface.main(list(arguments), prog_name="ancf")
    try:
        with _remarks():
            try:
                with interface.make_context("ancf", list(arguments)) as ctx:
                    interface.invoke(ctx)
            finally:
                sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, click.Abort, EOFError) as error:
        _say(_interrupted(error))
        return 130
    except BrokenPipeError:
        # Whoever read our output has had enough of it, which is no failure (``ancf recommend-all … | head``).
        _silence_stdout()
        return 0
    except click.UsageError as error:
        return _usage(error)
    except Exception as error:
        if os.environ.get("ANCF_TRACEBACK"):
            raise
        message, code = _failure(error)
        _say(message)
        return code
    return 0


def _failure(error: Exception) -> tuple[str, int]:
    """What to say, and the exit code."""
    if isinstance(error, Failure):
        return str(error), error.code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}. Check the path, its rights and the space left.", 1
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}). Use a smaller table, or fewer factors.", 1
    return (
        f"{type(error).__name__}: {error}\n"
        "This is a defect of ancf, not of what you typed. ANCF_TRACEBACK=1 shows where; please report it.",
        1,
    )


def _interrupted(error: BaseException) -> str:
    notes = getattr(error, "__notes__", ())
    return " ".join(["interrupted.", *notes])


def _usage(error: click.UsageError) -> int:
    help_line = ""
    if error.ctx is not None:
        help_line = f"\n'{error.ctx.command_path} --help' shows what there is."
    message = error.format_message()
    _say(message[:1].lower() + message[1:] + help_line)
    return 2


def _say(message: str) -> None:
    if sys.stderr.isatty():
        # The first line stands behind the program's name.
        width = shutil.get_terminal_size((80, 24)).columns - len("ancf: ")
        message = "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in message.split("\n"))
    try:
        click.echo(click.style("ancf: ", fg="red", bold=True) + message, err=True)
    except OSError:
        _silence_stdout()


def _silence_stdout() -> None:
    """Let what is still buffered go nowhere, so that leaving the program does not stumble over it."""
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                try:
                    os.dup2(nowhere.fileno(), stream.fileno())
                except (OSError, ValueError):
                    continue


@contextmanager
def _remarks() -> Iterator[None]:
    """Warnings that are meant for people as one line on stderr; those for programmers not at all."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        click.echo(click.style("note: ", fg="yellow") + str(message), err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
