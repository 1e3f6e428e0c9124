"""Options made from the signatures and docstrings of the API, so that both always say the same."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click

from ancf.cli.command import Failure, Function, Option, option

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_TYPABLE = (int, float, bool, str, NoneType)


class ApiValue(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Text as what an argument of the API takes: one of some words, a number, true or false, nothing, or any text."""

    def __init__(self, kinds: Collection[type], words: Collection[str], metavar: str) -> None:
        self.kinds, self.words, self.name = kinds, words, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value in self.words:
            return value
        for kind in self.kinds:
            if kind is NoneType and value.lower() == "none":
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
        return self.fail(f"{value!r} is not {self._expected()}.", param, ctx)

    def _expected(self) -> str:
        words = {"INTEGER": "a whole number", "NUMBER": "a number", "TEXT": "text"}
        return " or ".join(words.get(each, f"'{each}'") for each in self.name.split("|"))


def parameter_docs(function: Callable[..., Any]) -> dict[str, tuple[str, str]]:
    """For each parameter in a NumPy docstring: its type in words, and its description.

    Examples
    --------
    >>> parameter_docs(parameter_docs)["function"]
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
    kind, description = "", ""
    for line in (match[1] if match else "").splitlines():
        if line and not line.startswith(" "):
            head, _, kind = line.partition(" : ")
            names, description = [name.strip() for name in head.split(",")], ""
        else:
            description = f"{description} {line.strip()}".strip()
        for name in names:
            found[name] = (kind.strip(), description)
    return found


def parameter_options(
    function: Callable[..., Any],
    *,
    docs: Callable[..., Any] | None = None,
    section: str,
    skip: Collection[str] = (),
    names: Mapping[str, str] | None = None,
    beside: Iterable[click.Parameter] = (),
) -> dict[str, Option]:
    """An option for each keyword of a function that can be typed, by the keyword's name.

    Parameters
    ----------
    docs : callable, optional
        Whose docstring describes the keywords; the function itself if left out.
    names : mapping keyword → name of its option, optional
        For keywords whose option is called otherwise.
    beside : parameters of the same command
        The descriptions may name them, too.
    """
    described = parameter_docs(docs or function)
    typable = {
        keyword: (parameter.default, *found)
        for keyword, parameter in _signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and keyword not in skip and any(found := _kinds(parameter))
    }
    spelled = {keyword: (names or {}).get(keyword, keyword) for keyword in typable}
    others = {str(each.name): each.key for each in beside if isinstance(each, Option)}
    made: dict[str, Option] = {}
    for keyword, (default, kinds, words) in typable.items():
        doc_kind, doc = described.get(keyword, ("", ""))
        shown = _plain_text(doc, others | spelled)
        made[keyword] = _make_option(spelled[keyword], default, kinds, words, doc_kind, shown, section)
    return made


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as objects, where a module has them as text and they can be looked up."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:
        return inspect.signature(function)


def _kinds(parameter: inspect.Parameter) -> tuple[tuple[type, ...], tuple[str, ...]]:
    """The types of a parameter that can be typed, and the words that its ``Literal`` lists."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        annotation = str if parameter.default in (None, inspect.Parameter.empty) else type(parameter.default)
    kinds: dict[type, None] = {}
    words: list[str] = []
    union = get_origin(annotation) in (Union, UnionType)
    for part in get_args(annotation) if union else (annotation,):
        if get_origin(part) is Literal:
            words += [each for each in get_args(part) if isinstance(each, str)]
            kinds |= {type(each): None for each in get_args(part) if not isinstance(each, str)}
        else:
            kinds[part] = None
    return tuple(each for each in kinds if each in _TYPABLE), tuple(words)


def _make_option(
    name: str, default: Any, kinds: tuple[type, ...], words: tuple[str, ...], doc_kind: str, shown: str, section: str
) -> Option:
    spelling = name.replace("_", "-")
    if shown[:2].isascii() and shown[:2].isalpha():  # a symbol keeps its case
        shown = shown[0].upper() + shown[1:]
    if default is not None and default is not inspect.Parameter.empty:
        shown = f"{shown} [{str(default).lower() if isinstance(default, bool) else default}]".strip()
    settings: dict[str, Any] = {"default": None, "help": shown, "section": section}
    if bool in kinds and not words:
        return Option([f"--{spelling}/--no-{spelling}", name], **settings)
    in_docs = tuple(re.findall(r'"([^"]+)"', doc_kind))
    if words and set(in_docs) == set(words):
        words = in_docs  # the order in which they are described
    if words and not kinds:
        return Option([f"--{spelling}", name], type=click.Choice(words), **settings)
    numbers = [word for kind, word in ((int, "INTEGER"), (float, "NUMBER")) if kind in kinds]
    text = ["TEXT"] if numbers and str in kinds and not in_docs else []
    none = ["none"] if NoneType in kinds and (numbers or words) else []
    metavar = "|".join([*(words or in_docs), *numbers, *text, *none]) or "TEXT"
    free_text = str in kinds
    if numbers and free_text and in_docs:
        # A word that stands for a number ("auto") is no free text.
        words, free_text = in_docs, False
    # Free text comes last: it would take every number. Beside nothing but None it takes the word none, too.
    kinds = tuple(each for each in kinds if each is not str and (none or each is not NoneType))
    kinds = (*kinds, str) if free_text else kinds
    return Option([f"--{spelling}", name], type=ApiValue(kinds, words, metavar), **settings)


def _plain_text(doc: str, spelled: Mapping[str, str]) -> str:
    """A docstring's text without its mark-up, in the words of the command line: ``keyword=4`` as --keyword 4.

    ``spelled`` has the options of the whole command by keyword.
    """

    def as_option(match: re.Match[str]) -> str:
        keyword, value = match[1], match[2]
        if keyword not in spelled:
            return match[0]
        name = spelled[keyword].replace("_", "-")
        if value in (None, "True", "False"):
            return f"--no-{name}" if value == "False" else f"--{name}"
        return f"--{name} " + value.strip('"')

    doc = re.sub(r"``(\w+)(?:=([^`]*))?``", as_option, doc)
    doc = re.sub(r" \([\w/]+\.(py|md)\)", "", doc.replace("``", "").replace("\n", " "))
    doc = re.sub(r"\bNone\b", "'none'", doc)
    doc = doc.replace("filter_already_liked_items=False", "recommend --with-bought")
    return re.sub(r"\buser=(\d)", r"--user-column \1", doc)


def explicit_options(ctx: click.Context, names: Collection[str]) -> dict[str, Any]:
    """Those of these parameters that somebody set: on the command line, in the environment or in the file."""
    default = click.core.ParameterSource.DEFAULT
    return {
        name: ctx.params[name] for name in names if name in ctx.params and ctx.get_parameter_source(name) is not default
    }


def typed_options(ctx: click.Context, names: Collection[str]) -> list[str]:
    """Those of these parameters that stand on the command line itself.

    An option that such a call has no use for is a mistake; one from the environment or a file is for other calls, too.
    """
    typed = click.core.ParameterSource.COMMANDLINE
    return [name for name in names if ctx.get_parameter_source(name) is typed]


def threads_option(function: Function) -> Function:
    """``--num-threads``."""
    return option("--num-threads", type=click.INT, metavar="N", help="Threads. [as many as there are processors]")(
        function
    )


def number_option(section: str) -> Callable[[Function], Function]:
    """``-n``, the length of each list."""
    return option(
        *("-n", "-N", "--number", "number"),
        type=click.INT,
        default=10,
        metavar="N",
        section=section,
        help="The length of each list. [10]",
    )


def now_option(section: str) -> Option:
    """``--now``, the day for which something is asked."""
    return Option(
        ["--now"],
        metavar="DATE",
        section=section,
        help="The day for which it is asked: later purchases do not count. [the end of the table]",
    )


def check_writable(path: str, *, streams: bool = True) -> None:
    """Refuse a place for a result before hours are spent on it.

    Parameters
    ----------
    streams : bool
        Whether it may be a pipe, a terminal or a device, too.

    Raises
    ------
    Failure
        If the folder is missing, cannot be written to, or the path is a folder; exit code 2.
    """
    import tempfile
    from pathlib import Path

    from ancf.atomic_file import replaced_file

    if Path(path).is_dir():
        raise Failure(f"{path} is a folder. Give the name of a file in it.", 2)
    try:
        place = replaced_file(Path(path))
        if place is None and streams:
            return
    except OSError as error:
        raise Failure(f"{path} cannot be written to ({error.strerror}). Write elsewhere.", 2) from None
    if place is None:
        raise Failure(f"{path} is a device or a pipe. Name a file, or write to stdout with - in its place.", 2)
    folder = place.absolute().parent
    if not folder.is_dir():
        raise Failure(f"{path}: the folder {folder} does not exist. Make it first, or write elsewhere.", 2)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Failure(f"{path}: {folder} cannot be written to ({error.strerror}). Write elsewhere.", 2) from None
