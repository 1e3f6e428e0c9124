"""What every command shares: a help page in sections, values from the environment and a file, the nearest name."""

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click

CONFIG = "ancf.cli.config"
HELP_NAMES = ["-h", "--help"]
_OTHER = "Options"

Function = TypeVar("Function", bound=Callable[..., Any])


class Failure(click.ClickException):
    """One line for a person, and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return self.message


class Option(click.Option):
    """An option under a heading of the help page.

    Unless it is about single ids, it is also read from ``ANCF_<COMMAND>_<NAME>``, ``ANCF_<NAME>`` and the file.
    """

    def __init__(self, *names: Any, section: str = _OTHER, from_environment: bool = True, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section
        self.from_environment = from_environment and self.name not in ("help", "config")

    @property
    def word(self) -> str:
        """The longest spelling without dashes in front: the key in a file."""
        return max(self.opts, key=len).lstrip("-")


class Command(click.Command):
    """A command with examples, whose options stand in sections."""

    def __init__(self, name: str, examples: Sequence[str] = (), **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": HELP_NAMES, "max_content_width": 80})
        super().__init__(name, **settings)
        self.examples = examples
        self.params.append(
            Option(
                ["--config"],
                metavar="FILE",
                help="Options from a TOML file.",
                is_eager=True,
                expose_value=False,
                callback=_configure,
            )
        )
        for option in self.taken_from_outside():
            word = option.word.replace("-", "_").upper()
            option.envvar = [f"ANCF_{name.replace('-', '_').upper()}_{word}", f"ANCF_{word}"]

    def taken_from_outside(self) -> list[Option]:
        """The options that a file or the environment may set."""
        return [each for each in self.params if isinstance(each, Option) and each.from_environment]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the API becomes one line in the words of the command line."""
        from ancf import errors

        try:
            return super().invoke(ctx)
        except errors.InternalError:
            raise
        except errors.AncfError as error:
            code = next((code for kind, code in _codes() if isinstance(error, kind)), 1)
            text = "\n".join([self.in_words_of_options(str(error)), *getattr(error, "__notes__", ())])
            raise Failure(text, code) from error

    def in_words_of_options(self, message: str) -> str:
        """What an error says about keywords, said about this command's options: ``header=False`` is --no-header."""
        options = {str(each.name): each for each in self.params if isinstance(each, click.Option)}

        def spelt(match: re.Match[str]) -> str:
            word, value = match[1], match[2]
            option = options.get(f"{word}_column") or options.get(word)
            if option is None:
                return match[0]
            if value in ("True", "False") and option.secondary_opts:
                return option.opts[0] if value == "True" else option.secondary_opts[0]
            return f"{max(option.opts, key=len)} {'none' if value in ('None', 'False') else _shell(value)}"

        message = re.sub(r"\b([a-z_]+)=(\"[^\"]*\"|'[^']*'|[\w.]+)", spelt, message)
        message = re.sub(r"(--[a-z-]+ \w+) or \"(\w+)\"", r"\1 or \2", message)
        if "history" in options:
            message = message.replace("recommend_for_history with", "--history with")
        return message

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", _OTHER), []).append(record)
        last = sections.pop(_OTHER, [])
        for title, records in [*sections.items(), (_OTHER, last)]:
            with formatter.section(title):
                formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            formatter.write_paragraph()
            formatter.write("Examples:\n" if len(self.examples) > 1 else "Example:\n")
            formatter.write("".join(f"  {line}\n" for line in self.examples).rstrip("\n"))


def command(name: str, *, examples: Sequence[str]) -> Callable[[Callable[..., None]], Command]:
    """Make a function a command; its docstring is the page's head."""

    def decorate(function: Callable[..., None]) -> Command:
        options = getattr(function, "__click_params__", [])[::-1]
        return Command(name, examples, callback=function, params=options, help=function.__doc__)

    return decorate


def option(
    *names: str, section: str = _OTHER, from_environment: bool = True, **settings: Any
) -> Callable[[Function], Function]:
    """``click.option`` with a section."""
    return click.option(*names, cls=Option, section=section, from_environment=from_environment, **settings)


def _codes() -> tuple[tuple[type[Exception], int], ...]:
    """The exit code of each kind of error, the particular before the general."""
    from ancf import errors

    return (
        (errors.ModelFileError, 5),
        (errors.UnknownUserError, 4),
        (errors.UnknownItemError, 4),
        (errors.InvalidParameterError, 2),
        (errors.MissingExtraError, 2),
        (errors.InvalidDataError, 3),
    )


def _shell(value: str) -> str:
    text = value[1:-1] if value[:1] in "\"'" else value
    return shlex.quote(text)


# ---- the configuration file


def _configure(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Before the other options are read: what the file says becomes the defaults of this command."""
    path = path or ctx.meta.get(CONFIG) or os.environ.get("ANCF_CONFIG")
    if path and isinstance(ctx.command, Command):
        ctx.default_map = {**(ctx.default_map or {}), **read_config(path, ctx)}


def read_config(path: str, ctx: click.Context) -> dict[str, Any]:
    """The values that a file has for the command of ``ctx``.

    Keys at the top are for every command that has such an option; a table ``[train]`` is for the command of that name
    and goes before them.

    Raises
    ------
    Failure
        If the file cannot be read, or has a key that no command, or not this one, knows; names the nearest known one.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{path}: this is not TOML: {error}.", 2) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {getattr(error, 'strerror', None) or error}. Check the path of --config.", 2) from None
    root, own_name = ctx.find_root(), str(ctx.command.name)
    group = root.command
    commands = (
        {name: group.get_command(root, name) for name in group.list_commands(root)}
        if isinstance(group, click.Group)
        else {own_name: ctx.command}
    )
    known = {name: _words(each) for name, each in commands.items() if isinstance(each, Command)}
    anywhere = {word for words in known.values() for word in words}
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in known:
                raise _unknown(f"{path}: there is no command for the table [{key}]", key, known)
            for word, inner in value.items():
                named = _plain(word)
                if named not in known[key]:
                    raise _unknown(f"{path}: [{key}] has no option {word!r}", named, known[key])
                if key == own_name:
                    own[known[key][named]] = _as_typed(f"{path}: [{key}] {word}", inner)
        else:
            named = _plain(key)
            if named not in anywhere:
                raise _unknown(f"{path}: no command has an option {key!r}", named, anywhere)
            if named in known[own_name]:
                values[known[own_name][named]] = _as_typed(f"{path}: {key}", value)
    return values | own


def _words(each: Command) -> dict[str, str]:
    """What may stand in a file → the parameter's name."""
    return {option.word: str(option.name) for option in each.taken_from_outside()}


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-")


def _as_typed(where: str, value: Any) -> Any:
    """A value as it would be typed, so that the same checks see it."""
    if isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value):
        return [_as_typed(where, each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Failure(f"{where} is {value!r}; give text, a number, true or false.", 2)


def _unknown(what: str, word: str, known: Any) -> Failure:
    near = get_close_matches(word, list(known), 1, 0.4)
    return Failure(what + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}."), 2)
