"""The command ``ancf``: finds the subcommand, and turns whatever goes wrong into one line and an exit code."""

import importlib
import io
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
from ancf.cli.command import ARGUMENTS, CONFIG, HELP_NAMES, Command, Failure

# Command: the module of this package that holds it, and its line in the overview. A module is imported when its command
# is used, so that the overview comes at once.
COMMANDS = {
    "demo": ("demo", "A made-up shop, from its raw purchases to lists with reasons."),
    "describe": ("describe", "What a purchase table holds, and what reading it leaves out."),
    "prepare": ("prepare", "Clean and code a purchase table once, for commands that start at once."),
    "train": ("train", "Train a model on a purchase table and write it to a file."),
    "update": ("update", "New purchases into a model, without training anew."),
    "tune": ("tune", "Good settings of a model for a table, in the time that you give."),
    "evaluate": ("evaluate", "How good the lists of a model are."),
    "compare": ("compare", "Which model is the best, and whether that is more than luck."),
    "recommend": ("recommend", "Lists for some customers, with reasons on request."),
    "recommend-all": ("recommend", "Lists for every customer, streamed."),
    "buy-again": ("buying", "What customers are due to buy again."),
    "bought-together": ("buying", "What belongs to a basket."),
    "similar": ("similar", "The items most like an item, or customers like a customer."),
    "explain": ("similar", "What each purchase contributes to a recommendation."),
    "serve": ("serve", "Serve a model over HTTP, with every event counted at once."),
    "playground": ("playground", "A shop in the browser, whose lists follow every click."),
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


class LazyGroup(click.Group):
    """The commands by name, imported when they are used; a misspelt name gets the nearest one as a hint."""

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
    cls=LazyGroup,
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 80},
    epilog=_EXAMPLES,
    invoke_without_command=True,
)
@click.version_option(__version__, "-V", "--version", prog_name="ancf", message="%(prog)s %(version)s")
@click.option("--config", metavar="FILE", envvar="ANCF_CONFIG", help="Options from a TOML file; see docs/cli.md.")
@click.pass_context
def main_group(ctx: click.Context, config: str | None) -> None:
    """Product recommendations from a table of purchases, with reasons."""
    ctx.meta[CONFIG] = config
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command ``ancf``."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal in Latin-1 or ASCII shows a question mark for a letter that it does not have.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    if "_ANCF_COMPLETE" in os.environ:
        main_group.main(list(arguments), prog_name="ancf")
    try:
        with _show_warnings():
            try:
                with main_group.make_context("ancf", list(arguments)) as ctx:
                    ctx.meta[ARGUMENTS] = list(arguments)
                    main_group.invoke(ctx)
            finally:
                sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, click.Abort, EOFError) as error:
        _print_error(_interrupted(error))
        return 130
    except BrokenPipeError:
        # The reader of the pipe needs no more (``ancf recommend-all … | head``), which is no failure.
        _discard_output()
        return 0
    except click.UsageError as error:
        return _usage_error(error)
    except Exception as error:
        if os.environ.get("ANCF_TRACEBACK"):
            raise
        message, code = _message_and_code(error)
        _print_error(message)
        return code
    return 0


def _message_and_code(error: Exception) -> tuple[str, int]:
    """What to tell the person, and the exit code."""
    if isinstance(error, Failure):
        return str(error), error.code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}. Check the path, its rights and the space left."
        return "\n".join([message, *getattr(error, "__notes__", ())]), 1
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


def _usage_error(error: click.UsageError) -> int:
    help_line = ""
    if error.ctx is not None:
        path, command = error.ctx.command_path, error.ctx.command
        help_command = command.help_command(error.ctx) if isinstance(command, Command) else f"{path} --help"
        help_line = f"\n'{help_command}' shows what there is."
    message = error.format_message()
    _print_error(message[:1].lower() + message[1:] + help_line)
    return 2


def _print_error(message: str) -> None:
    if sys.stderr.isatty():
        # The first line comes after the program's name.
        width = shutil.get_terminal_size((80, 24)).columns - len("ancf: ")
        message = "\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in message.split("\n"))
    try:
        click.echo(click.style("ancf: ", fg="red", bold=True) + message, err=True)
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Discard what is still buffered, which would raise once more when Python exits."""
    with Path(os.devnull).open("wb") as devnull:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                try:
                    os.dup2(devnull.fileno(), stream.fileno())
                except (OSError, ValueError):
                    continue


@contextmanager
def _show_warnings() -> Iterator[None]:
    """Warnings that are meant for people as one line on stderr; those for programmers not at all."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        ctx = click.get_current_context(silent=True)
        text = str(message)
        if ctx is not None and isinstance(ctx.command, Command):
            text = ctx.command.translate_keywords(text, ctx)
        click.echo(click.style("note: ", fg="yellow") + text, err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield
