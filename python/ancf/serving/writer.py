"""Opening a journal by its URL, and the one thread of a worker that writes to it.

``Writer`` takes whatever has come together meanwhile and commits it in one transaction (group commit), so that the cost
of making a disk keep its word is shared.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ancf.errors import AncfError, InvalidParameterError
from ancf.serving.journal import Event, Journal
from ancf.serving.postgres_journal import PostgresJournal
from ancf.serving.sqlite_journal import SQLiteJournal


def open_journal(url: str) -> Journal:
    """A connection to the journal at a URL; the tables are made if they are missing.

    Raises
    ------
    InvalidParameterError
        If it is no URL of a database that is known.
    JournalError
        If the database cannot be opened.
    MissingExtraError
        If it needs a package that is not installed.
    """
    if url.startswith("sqlite:///"):
        return SQLiteJournal(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresJournal(url)
    raise InvalidParameterError(
        f"journal={url!r}: give sqlite:///PATH (three slashes, a fourth for a path from the root) or "
        "postgresql://USER@HOST/DATABASE."
    )


class _Job(NamedTuple):
    """Events of one request, or a user to be forgotten, and who waits for it."""

    events: Sequence[Event]
    forgotten: tuple[str, int] | None
    done: "asyncio.Future[int]"
    loop: asyncio.AbstractEventLoop


class Writer:
    """The thread that writes for a worker."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.waiting = 0
        """Events that are not durable yet."""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._jobs.put(None)
        self._thread.join()

    def append(self, events: Sequence[Event]) -> "asyncio.Future[int]":
        """The number of new events, once all of them are durable."""
        return self._submit(events, None)

    def forget(self, user_id: str, at: int) -> "asyncio.Future[int]":
        """The number of events erased, once that is durable."""
        return self._submit((), (user_id, at))

    def _submit(self, events: Sequence[Event], forgotten: tuple[str, int] | None) -> "asyncio.Future[int]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self.waiting += len(events)
        done.add_done_callback(lambda _: self._written(len(events)))
        self._jobs.put(_Job(events, forgotten, done, loop))
        return done

    def _written(self, n: int) -> None:
        self.waiting -= n

    def _run(self) -> None:
        journal: Journal | None = None
        ending = False
        while not ending:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            ending = None in jobs
            try:
                journal = journal or open_journal(self._url)
                self._write(journal, [each for each in jobs if each is not None])
            except AncfError as error:
                # Whoever waits is told, and asks again; the next batch opens the database anew.
                for job in jobs:
                    if job is not None:
                        _resolve(job, error)
                if journal is not None:
                    journal.close()
                journal = None
        if journal is not None:
            journal.close()

    def _write(self, journal: Journal, jobs: list[_Job]) -> None:
        """Jobs in their order; neighboring batches of events share a transaction."""
        batch: list[_Job] = []

        def commit() -> None:
            if batch:
                for job, new in zip(batch, journal.append([each.events for each in batch]), strict=True):
                    _resolve(job, new)
                batch.clear()

        for job in jobs:
            if job.forgotten is None:
                batch.append(job)
            else:
                commit()
                _resolve(job, journal.forget(*job.forgotten))
        commit()


def _resolve(job: _Job, result: "int | AncfError") -> None:
    def tell() -> None:
        if job.done.done():
            return
        if isinstance(result, AncfError):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(tell)
