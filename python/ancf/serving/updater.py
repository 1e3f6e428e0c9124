"""Who starts updates (``update_job.py``): one at a time for a model file, whatever worker is asked.

A lock on a file beside the model says that one is going on. The process that updates inherits it, so it is held as long
as that lives, also when the worker that started it is killed, and let go of by the kernel when it dies.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from ancf.errors import AncfError
from ancf.serving.journal import Journal
from ancf.serving.update_job import Job, Outcome, note_of, read_outcome


class UpdateRefusedError(AncfError):
    """No update can begin now."""


class UpdateRunningError(UpdateRefusedError):
    """One is going on."""


class Updater:
    """The updates that a worker starts. Every method is called in a thread."""

    def __init__(self, every: float | None) -> None:
        self._every = None if every is None else every * 60
        self._since = time.time()
        self._next: dict[str, float] = {}
        self._running: set[subprocess.Popen[bytes]] = set()

    def is_due(self, variant: str, journal: Journal) -> bool:
        """Whether the time has come by the clock."""
        now = time.time()
        if self._every is None or now < self._next.get(variant, now):
            return False
        last = read_outcome(journal.read_note(note_of(variant)))
        self._next[variant] = (self._since if last is None else last.started) + self._every
        return now >= self._next[variant]

    def start(self, job: Job, journal: Journal, on_end: Callable[[bool], None], *, if_due: bool = False) -> bool:
        """Begin an update; whether one began. ``on_end`` is told, in another thread, whether it went well.

        Raises
        ------
        UpdateRunningError
            If one is going on.
        OSError
            If the folder of the model cannot be written to.
        """
        lock = _take_lock(job.path)
        if lock is None:
            raise UpdateRunningError("an update of this model is going on. Ask GET /v1/model how it stands.")
        try:
            # Another worker may have been here a moment before.
            if if_due and not self.is_due(job.variant, journal):
                return False
            journal.write_note(note_of(job.variant), Outcome("running", time.time()).written())
            process = subprocess.Popen(
                [sys.executable, "-c", "from ancf.serving.update_job import work; work()"],
                stdin=subprocess.PIPE,
                pass_fds=(lock,),
                # Ctrl-C goes to the server, which ends it in order.
                start_new_session=True,
            )
        finally:
            os.close(lock)
        self._running.add(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job._asdict()).encode() + b"\n")

        def wait() -> None:
            code = process.wait()
            self._running.discard(process)
            on_end(code == 0)

        threading.Thread(target=wait, name="update", daemon=True).start()
        return True

    def stop(self) -> None:
        """End what this worker started; the model file is as it was, or updated."""
        for process in list(self._running):
            process.terminate()


def outcome_of(path: str, variant: str, journal: Journal) -> Outcome | None:
    """How the last update of a model stands; None where there was none."""
    found = read_outcome(journal.read_note(note_of(variant)))
    if found is None or found.state != "running":
        return found
    with contextlib.suppress(OSError):
        lock = _take_lock(path)
        if lock is not None:
            os.close(lock)
            # It may have ended between the two looks.
            found = read_outcome(journal.read_note(note_of(variant))) or found
            if found.state == "running":
                return found._replace(state="interrupted", error="It was killed before its end. Update again.")
    return found


def _take_lock(path: str) -> int | None:
    """The lock of a model file; None where somebody has it."""
    lock = os.open(f"{path}.update.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return lock
