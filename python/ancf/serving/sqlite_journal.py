"""The journal in a SQLite file, for the workers of one machine.

``synchronous=FULL`` syncs the write-ahead log at every commit; with NORMAL a loss of power may take acknowledged
events. A writer holds a ``flock`` around its transaction: waiting in SQLite's busy handler, which sleeps, took up to
1.7 seconds where the lock takes 12 milliseconds (two processes writing, 2026-11-27). Opening and closing hold it,
since SQLite does not wait there, but says "database is locked" while another process turns the file to its write-ahead
log, or takes the log in. The kernel lets go of a ``flock`` when a process dies.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from ancf.serving.journal import FORGET, Entry, Event, Journal, JournalError, Numbered, Row, id_hash

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL, quantity REAL NOT NULL, at INTEGER NOT NULL,
    event_id TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, seq, item_id, event, quantity, at);
CREATE TABLE IF NOT EXISTS forgotten (id_hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL);
INSERT OR IGNORE INTO notes (name, text) VALUES ('journal', lower(hex(randomblob(8))));
"""
_INSERT = """
INSERT INTO events (event_id, user_id, item_id, event, quantity, at) SELECT ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM forgotten WHERE id_hash = ?)
ON CONFLICT (event_id) DO NOTHING
"""
_OF_USER = "SELECT item_id, event, quantity, at, seq FROM events WHERE user_id = ? ORDER BY seq DESC LIMIT ?"
_BETWEEN = """
SELECT seq, user_id, item_id, event, quantity, at FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
_FORGOTTEN = "SELECT item_id, event, quantity, at, seq FROM events WHERE user_id = ? AND event = ?"


class SQLiteJournal(Journal):
    """Events in one file and its write-ahead log."""

    reads_block: ClassVar[bool] = False

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # Whoever reads the file knows what people bought.
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(error) from error
        try:
            Path(path).touch(0o600)
            self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None, cached_statements=32)
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise self._error(error) from error
        try:
            with self._locked():
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                    self._db.execute(f"PRAGMA {pragma}").fetchone()
                self._db.executescript(_SCHEMA)
            # One for all lists: making a cursor takes a microsecond.
            self._cursor = self._db.cursor()
        except sqlite3.Error as error:
            self.close()
            raise self._error(error) from error

    def append(self, batches: Sequence[Sequence[Event]]) -> list[int]:
        with self._transaction():
            execute = self._db.executemany
            return [
                execute(_INSERT, [(*event, id_hash(event.event_id)) for event in batch]).rowcount if batch else 0
                for batch in batches
            ]

    def newest_rows(self, user_id: str, limit: int) -> list[Row]:
        try:
            return self._cursor.execute(_OF_USER, (user_id, limit)).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _forgotten(self, user_id: str) -> list[Entry]:
        return [Entry(*row) for row in self._rows(_FORGOTTEN, (user_id, FORGET))]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def newest(self) -> int:
        # Writers come one after the other, so numbers rise from commit to commit.
        [(found,)] = self._rows("SELECT max(seq) FROM events")
        return int(found or 0)

    def _between(self, after: int, last: int, limit: int) -> list[Numbered]:
        return [Numbered(*row) for row in self._rows(_BETWEEN, (after, last, limit))]

    def forgotten(self) -> set[str]:
        return {user_id for (user_id,) in self._rows("SELECT user_id FROM events WHERE event = ?", (FORGET,))}

    def forget(self, user_id: str, at: int) -> int:
        with self._transaction():
            ids = self._db.execute("SELECT event_id FROM events WHERE user_id = ? AND event <> ?", (user_id, FORGET))
            hashes = [(id_hash(each),) for (each,) in ids.fetchall()]
            self._db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", hashes)
            erased = self._db.execute("DELETE FROM events WHERE user_id = ? AND event <> ?", (user_id, FORGET)).rowcount
            self._db.execute("DELETE FROM events WHERE user_id = ?", (user_id,))
            self._db.execute(
                "INSERT INTO events (user_id, item_id, event, quantity, at) VALUES (?, '', ?, 0, ?)",
                (user_id, FORGET, at),
            )
        try:
            # What was erased stands in the write-ahead log until that begins anew.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from error
        return int(erased)

    def read_note(self, name: str) -> str | None:
        rows = self._rows("SELECT text FROM notes WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def write_note(self, name: str, text: str) -> None:
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)", (name, text))

    def close(self) -> None:
        with self._locked():
            self._db.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._locked():
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _error(self, error: Any) -> JournalError:
        if isinstance(error, JournalError):
            return error
        said = getattr(error, "strerror", None) or error
        return JournalError(
            f"the journal {self._path}: {said}. Check that it is a journal, its folder, its rights and the space left."
        )
