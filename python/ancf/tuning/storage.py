"""Finished trials in a SQLite file, so that a search goes on after an interruption, a kill or a power cut.

Each trial is one transaction. The file also says what was searched: the tables by their fingerprints, the model, its
options, the space, the metric and the seed. Trials of anything else do not go together with these, and are refused. A
trial follows from the seed and the trials before it, so that a search that goes on ends as one that was never stopped.
"""

import contextlib
import errno
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ancf.errors import InvalidDataError
from ancf.tuning.trial import Trial

# "ancf" as SQLite's application_id, by which a file is known as ours.
_APPLICATION = 0x616E6366
_COLUMNS = (
    *("number", "state", "params", "value", "stderr", "epochs"),
    *("training_loss", "validation_loss", "curve", "seconds", "error"),
)
_JSON = ("params", "curve")


class TrialStorage:
    """The trials of one search in a file, which it alone may write to while it runs.

    Raises
    ------
    InvalidDataError
        If the file is something else, is in use, or holds the trials of another search; says in what they differ.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, search: Mapping[str, Any]) -> None:
        self.path = path
        with self._errors():
            # The lock stays until the process ends, however it ends.
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with self._errors():
                self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("BEGIN EXCLUSIVE")
                self._open(search)
                self._connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise

    def _open(self, search: Mapping[str, Any]) -> None:
        execute = self._connection.execute
        (application,) = execute("PRAGMA application_id").fetchone()
        empty = not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if empty and application == 0:
            execute(f"PRAGMA application_id={_APPLICATION}")
            execute("CREATE TABLE search (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            execute(f"CREATE TABLE trials ({', '.join(_COLUMNS)}, PRIMARY KEY (number))")
            for name, value in search.items():
                execute("INSERT INTO search VALUES (?, ?)", (name, json.dumps(value)))
            return
        if application != _APPLICATION:
            raise InvalidDataError(
                f"{self.path}: this is a SQLite file of something else. Name another as storage, or a new one."
            )
        before = {name: json.loads(value) for name, value in execute("SELECT name, value FROM search")}
        differing = [
            _difference(name, before.get(name), search.get(name))
            for name in [*search, *(name for name in before if name not in search)]
            if before.get(name) != json.loads(json.dumps(search.get(name)))
        ]
        if differing:
            raise InvalidDataError(
                f"{self.path}: its trials are of another search ({'; '.join(differing)}). Search the same as then, or "
                "name a new file as storage."
            )

    def trials(self) -> list[Trial]:
        """What is finished, in order."""
        with self._errors():
            rows = self._connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY number").fetchall()
        found = []
        for row in rows:
            values = dict(zip(_COLUMNS, row, strict=True))
            values.update({name: json.loads(values[name]) for name in _JSON})
            found.append(Trial(**{**values, "curve": tuple(values["curve"])}))
        return found

    def add(self, trial: Trial) -> None:
        """Keep one more; it is on the disk afterwards."""
        values = [getattr(trial, name) for name in _COLUMNS]
        row = [json.dumps(each) if name in _JSON else each for name, each in zip(_COLUMNS, values, strict=True)]
        with self._errors():
            self._connection.execute(f"INSERT INTO trials VALUES ({', '.join('?' * len(row))})", row)

    def close(self) -> None:
        """Let others have the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours or the system's, with the file's name."""
        try:
            yield
        except sqlite3.Error as error:
            # Of Python 3.11; the name of the extended code begins with that of the kind.
            name = getattr(error, "sqlite_errorname", "") or ""
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise InvalidDataError(
                    f"{self.path}: another search is writing to it. Wait until that ends, or name another file."
                ) from None
            if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                raise InvalidDataError(
                    f"{self.path}: this is no storage of trials, or it is damaged ({error}). Name a new file as "
                    "storage."
                ) from None
            if name.startswith("SQLITE_FULL"):
                raise OSError(errno.ENOSPC, "no space left for another trial", str(self.path)) from None
            if isinstance(error, sqlite3.OperationalError):
                code = errno.EIO if name.startswith("SQLITE_IOERR") else errno.EACCES
                raise OSError(code, str(error), str(self.path)) from None
            raise


def _difference(name: str, before: Any, now: Any) -> str:
    words = f"the {name.replace('_', ' ')}"
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        parts = [f"{key} was {before.get(key, 'not there')}, is {now.get(key, 'not there')}" for key in keys]
        return f"{words}: {', '.join(parts)}"
    return f"{words} was {before}, is {now}"
