"""What every command has: a help page in sections, values from the environment and a file, errors in its own words."""

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click

CONFIG = "ancf.cli.config"
"""Where a context keeps the file of ``ancf --config FILE COMMAND``."""
ARGUMENTS = "ancf.cli.arguments"
"""Where a context keeps what was typed behind ``ancf``."""
RULES = "ancf.cli.rules"
"""Where a context keeps the file and its table ``[rules]``."""
HELP_NAMES = ["-h", "--help"]
_UNBROKEN = "\u2011"
_LAST_SECTION = "Options"
# Keywords of the API whose options are called otherwise: the names of their parameters here.
_OTHER_NAMES = {
    "out": "output",
    "N": "number",
    "items": "only_from",
    "filter_items": "without",
    "filter_already_liked_items": "with_bought",
}
# Of these, False is what the option asks for.
_INVERTED = ("filter_already_liked_items",)
# Calls in messages, and what to type in their place.
_PHRASES = {
    r"recommend_all\(N, out=\"([\w.]+)\"\)": r"ancf recommend-all -o \1",
    r" \(on_leak='ignore' silences this\.\)": "",
    r"Use random_split, or": "Use --split random, or",
    r"Take factor_attention=True, or ancf\.ANCFModel\(.*?\)": "Take factor_attention=True",
}
_OPTIONS_ELSEWHERE = {"--sep": "--delimiter", "--skiprows": "--skip-lines", "--skip-rows": "--skip-lines"}
"""What options are called elsewhere."""

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

    Unless ``from_environment`` is False, it is also read from ``ANCF_<COMMAND>_<NAME>``, ``ANCF_<NAME>`` and the file.
    """

    def __init__(
        self, *names: Any, section: str = _LAST_SECTION, from_environment: bool = True, **settings: Any
    ) -> None:
        super().__init__(*names, **settings)
        self.section = section
        self.from_environment = from_environment and self.name not in ("help", "config")

    @property
    def key(self) -> str:
        """What it is called in a file: the longest spelling without its dashes."""
        return max(self.opts, key=len).lstrip("-")


def in_options(message: str) -> str:
    """Keywords of the API in a message as options of the command that runs."""
    ctx = click.get_current_context(silent=True)
    return ctx.command.translate_keywords(message, ctx) if ctx and isinstance(ctx.command, Command) else message


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
                callback=lambda ctx, _, path: configure(ctx, path),
            )
        )
        self.set_variables(self.params)

    def set_variables(self, params: Iterable[click.Parameter]) -> None:
        """Name the environment variables of those options that have any."""
        for option in configurable(params):
            word = option.key.replace("-", "_").upper()
            option.envvar = [f"ANCF_{str(self.name).replace('-', '_').upper()}_{word}", f"ANCF_{word}"]

    def config_keys(self, *, every_model: bool = False) -> dict[str, str]:
        """What a file may say to this command: key → the parameter's name.

        ``every_model`` asks for the options of models in other packages too, which have to be imported for that.
        """
        return {option.key: str(option.name) for option in configurable(self.params)}

    def help_command(self, ctx: click.Context) -> str:
        """What to type for the help page."""
        return f"{ctx.command_path} --help"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            # Click lists several, by the alphabet.
            nearest = get_close_matches(error.option_name, error.possibilities or (), 1)
            meant = _OPTIONS_ELSEWHERE.get(error.option_name)
            if any(meant in each.opts for each in self.get_params(ctx)):
                nearest = [str(meant)]
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            message = f"no such option {error.option_name!r}.{hint}"
            raise click.NoSuchOption(error.option_name, message, ctx=error.ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the API becomes one line in the words of the command line."""
        from ancf.errors import AncfError, InternalError

        try:
            return super().invoke(ctx)
        except InternalError:
            raise
        except (KeyboardInterrupt, OSError) as error:
            if not isinstance(error, AncfError):
                if hasattr(error, "__notes__"):
                    error.__notes__ = [self.translate_keywords(note, ctx) for note in error.__notes__]
                raise
            raise self.failure(error, ctx) from error
        except AncfError as error:
            raise self.failure(error, ctx) from error

    def failure(self, error: Exception, ctx: click.Context) -> Failure:
        """What an error of the API is to whoever typed the command."""
        code = next((code for kind, code in _exit_codes() if isinstance(error, kind)), 1)
        lines = [str(error), *getattr(error, "__notes__", ())]
        return Failure("\n".join(self.translate_keywords(line, ctx) for line in lines), code)

    def keyword_options(self, ctx: click.Context) -> dict[str, click.Option]:
        """The options of this command by what the API calls them."""
        options = {str(each.name): each for each in self.get_params(ctx) if isinstance(each, click.Option)}
        columns = {name.removesuffix("_column"): each for name, each in options.items() if name.endswith("_column")}
        names = _OTHER_NAMES | ({} if "with_bought" in options else {"filter_already_liked_items": "repeats"})
        others = {keyword: options[name] for keyword, name in names.items() if name in options}
        return options | others | columns

    def translate_keywords(self, message: str, ctx: click.Context) -> str:
        """Keywords in a message as this command's options: ``header=False`` is --no-header, ``time=`` --time-column."""
        options = self.keyword_options(ctx)

        def as_option(match: re.Match[str]) -> str:
            keyword, value = match[1], match[2]
            option = options.get(keyword)
            if option is None:
                return match[0]
            name = max(option.opts, key=len)
            if value is None or (option.is_flag and not option.secondary_opts):
                return name
            if value == "()":
                return f"{name} ''"
            if value in ("True", "False") and option.secondary_opts:
                return max(
                    option.opts if (value == "True") is (keyword not in _INVERTED) else option.secondary_opts, key=len
                )
            return f"{name} {'none' if value in ('None', 'False') else _shell_quoted(value)}"

        for pattern, words in _PHRASES.items():
            message = re.sub(pattern, words, message)
        if "time_column" in options:
            message = re.sub(r"\btime=\[([\"'])([^\"']*)\1, \1([^\"']*)\1\]", r'--time-column "\2,\3"', message)
        message = re.sub(r"\b([A-Za-z_]+)=(?!=)(\"[^\"]*\"|'[^']*'|\w[\w.]*\w|\w|\(\))?", as_option, message)
        message = re.sub(r"(--[a-z-]+ \w+) or \"(\w+)\"", r"\1 or \2", message)
        if "history" in options:
            message = message.replace("recommend_for_history with", "--history with")
        return message

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                # An option's name is not broken at its hyphens.
                record = record[0], re.sub(r"--[a-z-]+", lambda name: name[0].replace("-", _UNBROKEN), record[1])
                sections.setdefault(getattr(parameter, "section", _LAST_SECTION), []).append(record)
        last = sections.pop(_LAST_SECTION, [])
        for title, records in [*sections.items(), (_LAST_SECTION, last)]:
            with formatter.section(title):
                formatter.write_dl(records, col_max=26)
        formatter.buffer = [part.replace(_UNBROKEN, "-") for part in formatter.buffer]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            formatter.write_paragraph()
            formatter.write("Examples:\n" if len(self.examples) > 1 else "Example:\n")
            formatter.write("".join(f"  {line}\n" for line in self.examples).rstrip("\n"))


def command(
    name: str, *, examples: Sequence[str], cls: type[Command] = Command
) -> Callable[[Callable[..., None]], Command]:
    """Make a function a command; its docstring is the head of the help page."""

    def decorate(function: Callable[..., None]) -> Command:
        params = getattr(function, "__click_params__", [])[::-1]
        return cls(name, examples, callback=function, params=params, help=function.__doc__)

    return decorate


def option(
    *names: str, section: str = _LAST_SECTION, from_environment: bool = True, **settings: Any
) -> Callable[[Function], Function]:
    """``click.option`` with a section."""
    return click.option(*names, cls=Option, section=section, from_environment=from_environment, **settings)


def typed_again(ctx: click.Context, flag: str) -> str:
    """The command line that was typed, as a shell takes it, with a flag more."""
    typed: list[str] = list(ctx.meta.get(ARGUMENTS, [ctx.info_name]))
    if flag not in typed:
        typed.insert(typed.index("--") if "--" in typed else len(typed), flag)
    return shlex.join(["ancf", *typed])


def with_options(function: Function, options: Sequence[Option]) -> Function:
    """Give a function these options, in the order of the help page."""
    if not hasattr(function, "__click_params__"):
        function.__click_params__ = []  # type: ignore[attr-defined]
    function.__click_params__.extend(reversed(options))  # type: ignore[attr-defined]
    return function


def configurable(params: Iterable[click.Parameter]) -> list[Option]:
    """The options that a file or the environment may set."""
    return [each for each in params if isinstance(each, Option) and each.from_environment]


def _exit_codes() -> tuple[tuple[type[Exception], int], ...]:
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


def _shell_quoted(value: str) -> str:
    return shlex.quote(value[1:-1] if value[:1] in "\"'" else value)


# ---- the configuration file


def configure(ctx: click.Context, path: str | None) -> None:
    """Make what the file says the defaults of this command; to be called before the other options are read."""
    path = path or ctx.meta.get(CONFIG) or os.environ.get("ANCF_CONFIG")
    if path and isinstance(ctx.command, Command):
        ctx.default_map = {**(ctx.default_map or {}), **read_config(path, ctx)}


def read_config(path: str, ctx: click.Context) -> dict[str, Any]:
    """The values that a file has for the command of ``ctx``.

    Keys at the top are for every command that has such an option; a table ``[train]`` is for the command of that name
    and goes before them. The table ``[rules]`` is for commands that make lists (``cli/rules.py``).

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
    found = (
        {name: group.get_command(root, name) for name in group.list_commands(root)}
        if isinstance(group, click.Group)
        else {own_name: ctx.command}
    )
    commands = {name: each for name, each in found.items() if isinstance(each, Command)}
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in content.items():
        if key == "rules" and isinstance(value, dict):
            ctx.meta[RULES] = (path, value)
        elif isinstance(value, dict):
            if key not in commands:
                raise _unknown_key(f"{path}: there is no command for the table [{key}]", key, commands)
            for inner_key, inner in value.items():
                name = _find_parameter(inner_key, [commands[key]])
                if name is None:
                    raise _unknown_key(f"{path}: [{key}] has no option {inner_key!r}", inner_key, _keys(commands[key]))
                if key == own_name:
                    own[name] = _as_typed(f"{path}: [{key}] {inner_key}", inner)
        else:
            if _find_parameter(key, commands.values()) is None:
                raise _unknown_key(f"{path}: no command has an option {key!r}", key, _keys(*commands.values()))
            name = _find_parameter(key, [commands[own_name]])
            if name is not None:
                values[name] = _as_typed(f"{path}: {key}", value)
    return values | own


def _find_parameter(key: str, commands: Collection[Command]) -> str | None:
    """The parameter that a key of the file sets, in the first of these commands that has it."""
    for every_model in (False, True):
        for each in commands:
            name = each.config_keys(every_model=every_model).get(_as_key(key))
            if name is not None:
                return name
    return None


def _keys(*commands: Command) -> set[str]:
    return {key for each in commands for key in each.config_keys(every_model=True)}


def _as_key(key: str) -> str:
    return key.strip().lower().replace("_", "-")


def _as_typed(where: str, value: Any) -> Any:
    """A value as it would be typed, so that the same checks see it."""
    if isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value):
        return [_as_typed(where, each) for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Failure(f"{where} is {value!r}; give text, a number, true or false.", 2)


def _unknown_key(complaint: str, key: str, known: Iterable[str]) -> Failure:
    near = get_close_matches(_as_key(key), list(known), 1, 0.4)
    remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}."
    return Failure(f"{complaint}; {remedy}", 2)
