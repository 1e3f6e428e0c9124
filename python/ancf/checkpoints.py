"""Checkpoints: what an interrupted fit goes on from, in one file.

A file holds what training has between two epochs (the numbers of the trainer with the moments of its optimizer, the
steps taken, the curves, the best epoch's state), what was chosen before, the seed, and what is fitted: model, options,
tables, version. All draws are functions of the seed, the epoch and the step, so a fit that goes on ends in the bytes of
one that was never interrupted. The layout is that of a model file (``docs/file-format.md``): written whole or not at
all, every bit under a hash, and nothing in it is executed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ancf import _native, model_file
from ancf.checks import check_flag, check_integer, check_path
from ancf.epochs import Best, Progress, Trainer
from ancf.errors import InvalidDataError, InvalidParameterError, ModelFileError

State = TypeVar("State")
CheckpointPath = str | os.PathLike[str]

CLASS_NAME = "Checkpoint"
"""What the header of a checkpoint says in place of a model's class."""
QUIET = ("num_threads", "verbose", "show_progress")
"""Options that change no bit of what is learned."""

_keeps_finished: ContextVar[bool] = ContextVar("keeps_finished", default=False)


class Fit(NamedTuple):
    """What is fitted; a checkpoint goes on with nothing else."""

    model: str
    options: dict[str, Any]
    tables: dict[str, str]
    """What says which tables: role → fingerprint."""

    def about(self) -> dict[str, Any]:
        """As the file has it."""
        options = {name: repr(value) for name, value in self.options.items() if name not in QUIET}
        return {"model": self.model, "version": _native.__version__, "options": options, "tables": self.tables}


class Saved(NamedTuple):
    """What a file holds."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]
    seed: int
    stage: str
    chosen: dict[str, Any]
    steps: int
    progress: dict[str, Any]


class Checkpoint:
    """The file of one fit. Training has stages, one after the other; each is made of epochs."""

    def __init__(self, path: Path, every: int, fit: Fit, saved: Saved | None) -> None:
        self.path, self.every, self._about, self._saved = path, every, fit.about(), saved
        self._seed = 0 if saved is None else saved.seed
        self._chosen: dict[str, Any] = {} if saved is None else saved.chosen
        self._kept = "" if saved is None else _how_far(saved.stage, int(saved.progress["epochs"]))

    def seed(self, seed: int) -> int:
        """The seed of the fit that goes on, or this one, which is kept."""
        self._seed = seed if self._saved is None else self._saved.seed
        return self._seed

    def chosen(self, stage: str) -> dict[str, Any] | None:
        """What the stages before this one chose, where the fit has come so far."""
        return self._saved.chosen if self._saved is not None and self._saved.stage == stage else None

    def choose(self, chosen: Mapping[str, Any]) -> None:
        """Keep, from the next stage on, what was chosen."""
        self._chosen = dict(chosen)
        self._saved = None

    def begin(self, stage: str, trainer: Trainer[State]) -> Progress[State]:
        """Where this stage stands: the trainer gets what the file holds of it, or the file what begins."""
        saved = self._saved
        if saved is None or saved.stage != stage:
            progress: Progress[State] = Progress()
            self._write(stage, trainer, progress)
            return progress
        try:
            prefix = "trainer."
            numbers = {
                name.removeprefix(prefix): np.array(array)
                for name, array in saved.arrays.items()
                if name.startswith(prefix)
            }
            trainer.resume(numbers, saved.steps)
            return _read_progress(saved, trainer)
        except (InvalidDataError, KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path, error) from error

    def keep(self, stage: str, trainer: Trainer[State], progress: Progress[State], *, last: bool) -> None:
        """Write the file anew, where its turn has come."""
        if last or progress.epochs % self.every == 0:
            self._write(stage, trainer, progress)

    def so_far(self) -> str:
        """What there is to go on from, for whoever is interrupted."""
        if not self._kept:
            return f"{self.path} was not written yet."
        return f"{self.path} holds {self._kept}; the same call with resume=True goes on from there."

    def _write(self, stage: str, trainer: Trainer[State], progress: Progress[State]) -> None:
        numbers, steps = trainer.progress()
        arrays: dict[str, NDArray[Any]] = {f"trainer.{name}": array for name, array in numbers.items()}
        arrays |= {f"history.{name}": np.array(values, np.float64) for name, values in progress.history.items()}
        meta: dict[str, Any] = {"epochs": progress.epochs, "ended": progress.ended}
        meta |= {"rises": progress.rises, "warned": progress.warned}
        if progress.best is not None:
            meta["best_epoch"] = progress.best.epoch
            arrays["best value"] = np.array([progress.best.value], np.float64)
            arrays |= dict(_leaves("best", progress.best.state))
        about = {"fit": self._about, "seed": self._seed, "stage": stage, "chosen": self._chosen, "steps": steps}
        try:
            model_file.save(self.path, CLASS_NAME, arrays, {**about, "progress": meta})
        except OSError as error:
            began = f"Training has ended without it; {self.so_far()}" if self._kept else "Training has not begun."
            error.add_note(f"The checkpoint could not be written. {began}")
            raise
        self._kept = _how_far(stage, progress.epochs)


@contextmanager
def open_checkpoint(path: Any, every: Any, resume: Any, fit: Callable[[], Fit]) -> Iterator[Checkpoint | None]:
    """The checkpoint of a fit, which is removed when the block ends well; None where none was asked for.

    An interruption says what there is to go on from.

    Raises
    ------
    InvalidParameterError
        If an option makes no sense or has no effect, or the path holds something already and ``resume`` is False.
    InvalidDataError
        If the file is of another fit; says in what they differ.
    ModelFileError
        If it is damaged, or something else.
    """
    check_integer("every", every, 1, 2**31 - 1)
    check_flag("resume", resume)
    if path is None:
        for name, idle in (("resume", bool(resume)), ("every", every != 1)):
            if idle:
                value = {"resume": resume, "every": every}[name]
                raise InvalidParameterError(
                    f"{name}={value} needs a file to go on from. Name one with checkpoint, or leave {name} out."
                )
        yield None
        return
    place = check_path("checkpoint", path)
    saved, of = None, fit()
    if resume and place.exists():
        saved = read(place)
        _refuse_other(place, saved.about, of.about())
    elif os.path.lexists(place):
        raise InvalidParameterError(
            f"checkpoint is {str(place)!r}, which is there already. Go on with it by resume=True, or remove it to "
            "begin anew."
        )
    kept = Checkpoint(place, int(every), of, saved)
    try:
        yield kept
    except (KeyboardInterrupt, MemoryError) as error:
        error.add_note(kept.so_far())
        raise
    if not _keeps_finished.get():
        place.unlink(missing_ok=True)


@contextmanager
def keep_finished() -> Iterator[None]:
    """Within the block, the checkpoint of a fit that has ended stays: whoever saves the model removes it then."""
    token = _keeps_finished.set(True)
    try:
        yield
    finally:
        _keeps_finished.reset(token)


def read(path: Path) -> Saved:
    """What a checkpoint holds, every bit of it checked.

    Raises
    ------
    ModelFileError
        If it is damaged, or no checkpoint.
    OSError
        If it cannot be read.
    """
    try:
        arrays, meta = model_file.read(path)
    except ModelFileError as error:
        raise _damaged(path, error) from error
    if meta.get("class") != CLASS_NAME:
        raise ModelFileError(
            f"{path}: this is no checkpoint, but a model file ({meta.get('class')}). Name another file as checkpoint."
        )
    try:
        return Saved(
            arrays,
            dict(meta["fit"]),
            int(meta["seed"]),
            str(meta["stage"]),
            dict(meta["chosen"]),
            int(meta["steps"]),
            {**meta["progress"], "epochs": int(meta["progress"]["epochs"])},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelFileError:
    said = str(error).removeprefix(f"{path}: ").partition(" Load another copy")[0].rstrip(".")
    return ModelFileError(
        f"{path}: this is no whole checkpoint ({said}). Put another copy of it there, or remove it to begin anew."
    )


def _refuse_other(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse what was not begun by the same fit."""
    found = []
    for name, words in (("version", "the version of ancf"), ("model", "the model")):
        if before.get(name) != now[name]:
            found.append(f"{words} was {before.get(name)}, is {now[name]}")
    if before.get("model") == now["model"]:
        then, given = before.get("options") or {}, now["options"]
        found += [
            f"{name} was {then.get(name, 'not there')}, is {given.get(name, 'not there')}"
            for name in {**then, **given}
            if then.get(name) != given.get(name)
        ]
    then, given = before.get("tables") or {}, now["tables"]
    found += [
        f"the {name} is another"
        if name in then and name in given
        else f"there is {'a' if name in given else 'no'} {name}"
        for name in {**then, **given}
        if then.get(name) != given.get(name)
    ]
    if found:
        raise InvalidDataError(
            f"{path}: this checkpoint is of another fit ({'; '.join(found)}). Fit the same as then, or name another "
            "file as checkpoint."
        )


def _how_far(stage: str, epochs: int) -> str:
    what = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return f"{what} of {stage}"


# ---- progress as arrays, and back


def _read_progress(saved: Saved, trainer: Trainer[State]) -> Progress[State]:
    about, prefix = saved.progress, "history."
    history = {
        name.removeprefix(prefix): array.tolist() for name, array in saved.arrays.items() if name.startswith(prefix)
    }
    best: Best[State] | None = None
    if "best_epoch" in about:
        state = _filled("best", trainer.state(), saved.arrays)
        best = Best(float(saved.arrays["best value"][0]), int(about["best_epoch"]), state)
    return Progress(
        epochs=about["epochs"],
        history=history or {"training_loss": []},
        best=best,
        rises=int(about["rises"]),
        warned=bool(about["warned"]),
        ended=bool(about["ended"]),
    )


def _leaves(name: str, state: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays and numbers of a state, by where they stand in it."""
    if isinstance(state, np.ndarray):
        yield name, state
    elif isinstance(state, float):
        yield name, np.array([state], np.float64)
    else:
        for key, part in _parts(state).items():
            yield from _leaves(f"{name}.{key}", part)


def _filled(name: str, like: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """A state as this one, of these arrays."""
    if isinstance(like, np.ndarray):
        found = np.array(arrays[name])
        if found.shape != like.shape or found.dtype != like.dtype:
            raise ValueError(f"{name}: it is {found.dtype} {found.shape} and must be {like.dtype} {like.shape}")
        return found
    if isinstance(like, float):
        return float(arrays[name][0])
    parts = {key: _filled(f"{name}.{key}", part, arrays) for key, part in _parts(like).items()}
    return parts if isinstance(like, dict) else type(like)(**parts)


def _parts(state: Any) -> dict[str, Any]:
    """Of a dict or a named tuple."""
    return state if isinstance(state, dict) else state._asdict()
