"""A contestant in a process of its own: it can be stopped, and takes nobody along when the memory is not enough.

The tables go there once, as a file; the outcome comes back as another, which is renamed when it is complete. The child
is a fresh interpreter that imports nothing of the caller's script. It dies with its parent, whose end of its standard
input closes, and offers itself to the kernel where memory runs out.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ancf.comparison.contestants import Contestant
from ancf.comparison.running import Outcome, Task, run_contestant
from ancf.errors import InvalidParameterError

_CODE = "from ancf.comparison.process import child; child()"
# How often the parent looks whether a child is done; the first looks come faster.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.005, 0.1


class Processes:
    """Runs contestants in children, one after the other; the context removes what was written for them.

    Raises
    ------
    InvalidParameterError
        If a contestant cannot be sent to another process: before the first one runs.
    """

    def __init__(self, task: Task, contestants: Sequence[Contestant], timeout_s: float | None) -> None:
        self.task, self.timeout_s = task, timeout_s
        self._packed = {each.label: _packed(each) for each in contestants}
        self._folder = tempfile.TemporaryDirectory(prefix="ancf-compare-")

    def __enter__(self) -> Self:
        with (Path(self._folder.name) / "task").open("wb") as file:
            pickle.dump(self.task, file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def run(self, contestant: Contestant) -> Outcome:
        """The outcome of one contestant; a child that is left, by Ctrl-C too, is dead."""
        folder = Path(self._folder.name)
        (folder / "contestant").write_bytes(self._packed.pop(contestant.label))
        (folder / "outcome").unlink(missing_ok=True)
        with (folder / "log").open("wb+") as log, self._started(folder, log) as child:
            code = self._wait(child)
            if code is None:
                return Outcome("out of time", f"not done after {self.timeout_s:g} seconds")
            if not (folder / "outcome").exists():
                return _died(code, log)
        outcome: Outcome = pickle.loads((folder / "outcome").read_bytes())
        for text in outcome.warnings:
            warnings.warn(f"{contestant.label}: {text}", stacklevel=2)
        return outcome

    @contextlib.contextmanager
    def _started(self, folder: Path, log: Any) -> Iterator["subprocess.Popen[bytes]"]:
        paths = os.pathsep.join(str(Path(each).absolute()) for each in sys.path)
        child = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C in the terminal is ours alone
        )
        try:
            yield child
        finally:
            child.kill()
            child.wait()
            assert child.stdin is not None
            child.stdin.close()

    def _wait(self, child: "subprocess.Popen[bytes]") -> int | None:
        """The exit code, or None where the time is up."""
        end = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        look = _FIRST_LOOK_S
        while True:
            if end is not None:
                look = min(look, max(end - time.monotonic(), 0.0))
            try:
                return child.wait(look)
            except subprocess.TimeoutExpired:
                if end is not None and time.monotonic() >= end:
                    return None
                look = min(2 * look or _FIRST_LOOK_S, _LONGEST_LOOK_S)


def _packed(contestant: Contestant) -> bytes:
    """The contestant for another process.

    Raises
    ------
    InvalidParameterError
        If another process could not make it again.
    """
    kind = type(contestant.what)
    if kind.__module__ == "__main__":
        raise InvalidParameterError(
            f"compare: {contestant.label} is of the class {kind.__name__} of the script or notebook that runs, which "
            "another process cannot import. Put the class into a module, or leave own_process and timeout_per_model "
            "out."
        )
    try:
        return pickle.dumps(contestant)
    except Exception as error:  # whatever somebody else's object raises
        raise InvalidParameterError(
            f"compare: {contestant.label} cannot be sent to a process of its own ({type(error).__name__}: {error}). "
            "Give its lists as a table, or leave own_process and timeout_per_model out."
        ) from None


def _died(code: int, log: Any) -> Outcome:
    """A child that ended without an outcome."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    if code == -9:
        return Outcome("out of memory", "its process was killed by the system, as happens when memory runs out")
    how = f"its process died of signal {-code}" if code < 0 else f"its process ended with exit code {code}"
    return Outcome("failed", f"{how}{f': {lines[-1]}' if lines else ''}")


# ---- the child


def child() -> None:
    """What the other process does."""
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with (folder / "task").open("rb") as file:
        task: Task = pickle.load(file)
    contestant: Contestant = pickle.loads((folder / "contestant").read_bytes())
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        outcome = run_contestant(contestant, task, own_process=True)
    outcome.warnings = tuple(str(each.message) for each in heard)
    part = folder / "outcome.part"
    part.write_bytes(_packed_outcome(outcome))
    part.rename(folder / "outcome")


def _packed_outcome(outcome: Outcome) -> bytes:
    try:
        return pickle.dumps(outcome)
    except Exception:  # an error with something in it that cannot travel; its text does
        outcome.error = None
        return pickle.dumps(outcome)


def _die_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
