"""Options made from the signatures and docstrings of the API, so that both always say the same."""

import inspect
import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click

from ancf.cli.command import Failure, Function, option


class Value(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Text as one of the kinds that an argument of the API takes: a number, one of some words, true or false."""

    def __init__(self, kinds: tuple[Any, ...], metavar: str) -> None:
        self.kinds, self.name = kinds, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        for kind in self.kinds:
            if kind is type(None) and value.lower() == "none":
                return None
            if kind in (int, float):
                try:
                    return kind(value)
                except ValueError:
                    continue
            if kind is bool and value.lower() in _FLAGS:
                return _FLAGS[value.lower()]
            if kind is str:
                return value
        return self.fail(f"{value!r} is not {self._in_words()}.", param, ctx)

    def _in_words(self) -> str:
        words = {"INTEGER": "a whole number", "NUMBER": "a number", "TEXT": "text"}
        return " or ".join(words.get(each, f"'{each}'") for each in self.name.split("|"))


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def documented(function: Callable[..., Any]) -> dict[str, tuple[str, str]]:
    """For each parameter in a NumPy docstring: its type in words, and what is said about it.

    Examples
    --------
    >>> documented(documented)["function"]
    ('callable', 'Whose docstring has a section "Parameters".')

    Parameters
    ----------
    function : callable
        Whose docstring has a section "Parameters".
    """
    lines = inspect.getdoc(function) or ""
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", lines, re.MULTILINE | re.DOTALL)
    found: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    kind, said = "", ""
    for line in (match[1] if match else "").splitlines():
        if line and not line.startswith(" "):
            head, _, kind = line.partition(" : ")
            names, said = [name.strip() for name in head.split(",")], ""
        else:
            said = f"{said} {line.strip()}".strip()
        for name in names:
            found[name] = (kind.strip(), said)
    return found


def options_of(
    function: Callable[..., Any],
    *,
    docs: Callable[..., Any] | None = None,
    section: str,
    skip: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A decorator for each keyword of a function, by the keyword's name.

    Parameters
    ----------
    docs : callable, optional
        Whose docstring describes the keywords; the function itself if left out.
    names : mapping keyword → option's name, optional
        The option's value is found under that name, too.
    """
    told = documented(docs or function)
    made: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name in skip:
            continue
        called = (names or {}).get(name, name)
        kind, said = told.get(name, ("", ""))
        made[called] = _option(called.replace("_", "-"), called, parameter, kind, said, section)
    return made


def _option(word: str, name: str, parameter: inspect.Parameter, kind: str, said: str, section: str) -> Any:
    kinds = _kinds(parameter.annotation)
    shown = _plain(said)
    if shown[:2].isascii() and shown[:2].isalpha():  # a symbol keeps its case
        shown = shown[0].upper() + shown[1:]
    default = parameter.default
    if default is not None and default is not inspect.Parameter.empty:
        shown = f"{shown} [{str(default).lower() if isinstance(default, bool) else default}]".strip()
    settings: dict[str, Any] = {"default": None, "help": shown, "section": section}
    if bool in kinds:
        return option(f"--{word}/--no-{word}", name, **settings)
    words = re.findall(r'"([^"]+)"', kind)
    if get_origin(parameter.annotation) is Literal:
        # In the docstring's order, in which it describes them.
        return option(f"--{word}", name, type=click.Choice(words if set(words) == set(kinds) else kinds), **settings)
    numbers = [each for each in ("INTEGER" if int in kinds else "", "NUMBER" if float in kinds else "") if each]
    none = ["none"] if type(None) in kinds and numbers else []
    metavar = "|".join([*words, *numbers, *none]) or "TEXT"
    # A word that stands for a number ("auto") is no free text.
    accepted = tuple(each for each in kinds if each is not str) or (str,)
    if numbers and str in kinds:
        accepted = (*accepted, str) if not words else accepted
        return option(f"--{word}", name, type=_NumberOrWord(accepted, metavar, tuple(words)), **settings)
    return option(f"--{word}", name, type=Value(kinds if not numbers else accepted, metavar), **settings)


class _NumberOrWord(Value):
    """A number, or one of a few words such as "auto"."""

    def __init__(self, kinds: tuple[Any, ...], metavar: str, words: tuple[str, ...]) -> None:
        super().__init__(kinds, metavar)
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in self.words else super().convert(value, param, ctx)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        # The words beside a number are those of the docstring.
        parts = get_args(annotation)
        return tuple(dict.fromkeys(str if get_origin(each) is Literal else each for each in parts))
    return (annotation,)


def _plain(text: str) -> str:
    """Docstring text without its mark-up."""
    text = re.sub(r" \([\w/]+\.(py|md)\)", "", text.replace("``", "").replace("\n", " "))
    return re.sub(r"\buser=(\d)", r"--user-column \1", text)


def given(ctx: click.Context, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of these parameters that somebody set: on the command line, in the environment or in the file."""
    default = click.core.ParameterSource.DEFAULT
    return {name: ctx.params[name] for name in names if ctx.get_parameter_source(name) is not default}


def apply(decorators: list[Any], function: Function) -> Function:
    """Decorate so that the options stand in this order."""
    for each in reversed(decorators):
        function = each(function)
    return function


def writable(path: str) -> None:
    """Refuse a place for a result before hours are spent on it.

    Raises
    ------
    Failure
        If the folder is missing, cannot be written to, or the path is a folder; exit code 2.
    """
    import tempfile
    from pathlib import Path

    place = Path(path)
    folder = place.absolute().parent
    if place.is_dir():
        raise Failure(f"{path} is a folder. Give the name of a file in it.", 2)
    if not folder.is_dir():
        raise Failure(f"{path}: the folder {folder} does not exist. Make it first, or write elsewhere.", 2)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Failure(f"{path}: {folder} cannot be written to ({error.strerror}). Write elsewhere.", 2) from None
