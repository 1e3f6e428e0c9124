"""Models on the command line: their constructors' options, and what was typed made into one of their ids."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, Function, option
from ancf.cli.options import apply, given, options_of
from ancf.models import ANCF, ItemKNN, Popular

if TYPE_CHECKING:
    from ancf.data.ids import IdMap
    from ancf.models.base import Recommender

MODELS: dict[str, type["Recommender"]] = {"ancf": ANCF, "item-knn": ItemKNN, "popular": Popular}
# What the table is told by its own --normalize, the model follows.
_SKIPPED = ("verbose", "show_progress", "num_threads", "normalize")
# Where the command has an option of the same name.
_CALLED = {"output": "output_layer"}


def _of_models() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, kind in reversed(MODELS.items()):
        section = "The model" if name == "ancf" else f"The model {name}"
        made = {
            **options_of(kind.__init__, docs=kind, section=section, skip=("self", *_SKIPPED), names=_CALLED),
            **made,
        }
        if name == "ancf":
            made |= options_of(kind.__init__, docs=kind, section=section, skip=("self", *_SKIPPED), names=_CALLED)
    return made


_OPTIONS = _of_models()
OPTIONS = tuple(_OPTIONS)


def model_options(function: Function) -> Function:
    """``--model``, ``--classic`` and the options of the constructors."""
    kind = option(
        "--model",
        type=click.Choice(list(MODELS)),
        default="ancf",
        section="The model",
        help="Which model learns. [ancf]",
    )
    classic = option("--classic", is_flag=True, section="The model", help="The founding set-up, ANCF.classic().")
    own = [each for name, each in _OPTIONS.items() if _keyword(name) in _names(ANCF)]
    others = [each for name, each in _OPTIONS.items() if _keyword(name) not in _names(ANCF)]
    return apply([kind, classic, *own, *others], function)


def customers_option(section: str) -> Callable[[Function], Function]:
    """``--user``, several of them, under a heading of the help page."""
    return option(
        *("--user", "-u"),
        multiple=True,
        metavar="ID",
        section=section,
        from_environment=False,
        help="A customer; again for more.",
    )


def history_option(section: str) -> Callable[[Function], Function]:
    """``--history``, the purchases of somebody the model does not know."""
    return option(
        "--history",
        multiple=True,
        metavar="ITEM",
        section=section,
        from_environment=False,
        help="Purchases of somebody unknown; again for more.",
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


def threads_option(function: Function) -> Function:
    """``--num-threads``."""
    return option("--num-threads", type=click.INT, metavar="N", help="Threads. [as many as there are processors]")(
        function
    )


def _keyword(called: str) -> str:
    """The constructor's name for an option."""
    return next((name for name, other in _CALLED.items() if other == called), called)


def _names(kind: type["Recommender"]) -> tuple[str, ...]:
    return kind._option_names()


def built(ctx: click.Context, *, verbose: int = 0, show_progress: bool | None = None) -> "Recommender":
    """The unfitted model that the options describe.

    Raises
    ------
    InvalidParameterError
        If an option is another model's.
    """
    kind = MODELS[ctx.params["model"]]
    chosen = given(ctx, OPTIONS)
    for name in chosen:
        if _keyword(name) not in _names(kind):
            owners = ", ".join(other for other, each in MODELS.items() if _keyword(name) in _names(each))
            raise Failure(
                f"--{name.replace('_', '-')} is an option of the model {owners}, not of {ctx.params['model']}. "
                "Leave it out, or choose another --model.",
                2,
            )
    chosen = {_keyword(name): value for name, value in chosen.items()}
    if ctx.params.get("num_threads") is not None:
        chosen["num_threads"] = ctx.params["num_threads"]
    if "verbose" in _names(kind):
        chosen |= {"verbose": verbose, "show_progress": show_progress}
    if ctx.params.get("classic"):
        if kind is not ANCF:
            raise Failure(f"--classic is the founding set-up of ancf, not of {ctx.params['model']}.", 2)
        return ANCF.classic(**chosen)  # type: ignore[attr-defined, no-any-return, unused-ignore]
    return kind(**chosen)


class _ToStderr:
    """What a model prints while it learns goes to stderr, wherever that leads at the time."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Keep stdout for results."""
    with redirect_stdout(_ToStderr()):
        yield


def load(path: str, num_threads: int | None = None) -> "Recommender":
    """A model from its file, or from stdin.

    Raises
    ------
    Failure
        If the file is not there or cannot be read; exit code 5.
    """
    import ancf

    with model_file(path) as place:
        model: Recommender = ancf.load(place)
    if num_threads is not None:
        model.num_threads = num_threads
    return model


@contextmanager
def model_file(path: str) -> Iterator[str]:
    """The path of a model file; stdin is put into a file for as long as it is read."""
    import tempfile
    from pathlib import Path

    from ancf.errors import ModelFileError

    try:
        if path == "-":
            with tempfile.NamedTemporaryFile(suffix=".ancf") as file:
                while block := sys.stdin.buffer.read(1 << 20):
                    file.write(block)
                file.flush()
                yield file.name
        elif Path(path).is_dir():
            raise Failure(f"{path} is a folder. Give the path of a model file.", 5)
        else:
            yield path
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise Failure(f"{path}: there is no such model file. 'ancf train TABLE -o {path}' makes one.", 5) from None
    except PermissionError:
        raise Failure(f"{path}: you have no right to read this file.", 5) from None


def as_id(typed: str, ids: "IdMap") -> Any:
    """What was typed as an id of the model's kind; as it stands where it cannot be one."""
    if ids.position(typed) >= 0 or ids.kind == "str":
        return typed
    if ids.kind == "int":
        digits = typed.strip().removeprefix("-")
        return int(typed) if digits.isascii() and digits.isdigit() else typed
    if ids.kind == "uuid":
        from uuid import UUID

        try:
            return UUID(typed)
        except ValueError:
            return typed
    return typed.encode("utf-8", "surrogateescape") if ids.kind == "bytes" else typed


def as_ids(typed: list[str], ids: "IdMap") -> list[Any]:
    """Several of them."""
    return [as_id(each, ids) for each in typed]


def listed_ids(path: str) -> list[str]:
    """Ids from a file or stdin, one to a line."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return [line for line in (raw.rstrip("\r\n") for raw in file) if line]
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise Failure(f"{path}: {what}. Give a UTF-8 text file with one id to a line.", 3) from None


def name_of(model: "Recommender", item: Any) -> str | None:
    """An item's name where the training table had one."""
    if model.item_names_ is None:
        return None
    at = model.item_ids_.position(item)
    name = model.item_names_[at] if at >= 0 else None
    return None if name is None else str(name)
