"""The journal of events: what users did, durable before it is acknowledged, each event once.

A ``Journal`` is a database: SQLite or PostgreSQL, in modules of their own. ``writer.py`` opens and writes them.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from ancf.errors import AncfError

FORGET = "forget"
"""The event that stands in the place of all events of a user who is forgotten."""


NAME_NOTE = "journal"
"""The note that has the name of the journal."""
_PAGE = 10_000


class JournalError(AncfError, OSError):
    """The journal cannot be read or written at the moment."""


class Event(NamedTuple):
    """Something that a user did."""

    event_id: str
    user_id: str
    item_id: str
    event: str
    quantity: float
    at: int
    """Seconds since 1970."""


class Entry(NamedTuple):
    """An event of a known user, as the journal gives it back."""

    item_id: str
    event: str
    quantity: float
    at: int
    seq: int = 2**63 - 1
    """Where it stands in the journal; behind all others for what is in none yet."""


Row = tuple[str, str, float, int, int]
"""What an ``Entry`` has, as a database gives it."""


class Numbered(NamedTuple):
    """An event with its number in the journal and its user."""

    seq: int
    user_id: str
    item_id: str
    event: str
    quantity: float
    at: int


def id_hash(event_id: str) -> bytes:
    """What is kept of the id of an event that was forgotten, so that it does not come back when it is sent again."""
    return hashlib.blake2b(event_id.encode(), digest_size=16, person=b"ancf forgotten").digest()


class Journal(ABC):
    """A database of events. Objects of this class belong to one thread."""

    reads_block: ClassVar[bool]
    """Whether a read may wait for another machine, so that it belongs into a thread."""

    @abstractmethod
    def append(self, batches: Sequence[Sequence[Event]]) -> list[int]:
        """Make events durable in one transaction; for each batch the number of those that were new.

        An event whose ``event_id`` is known is left as it is; one that was forgotten stays so.
        """

    def of_user(self, user_id: str, limit: int) -> list[Entry]:
        """The newest events of a user, oldest first; before them the mark of one who was forgotten, however old."""
        return self.in_order(user_id, self.newest_rows(user_id, limit), limit)

    def in_order(self, user_id: str, rows: Sequence[Row], limit: int) -> list[Entry]:
        """The same of the newest rows."""
        entries = [Entry._make(row) for row in reversed(rows)]
        if len(entries) == limit and entries[0].event != FORGET:
            entries = [*self._forgotten(user_id), *entries]
        return entries

    @abstractmethod
    def newest_rows(self, user_id: str, limit: int) -> list[Row]:
        """The newest events of a user, newest first."""

    @abstractmethod
    def _forgotten(self, user_id: str) -> list[Entry]:
        """The mark of a user who was forgotten, if there is one."""

    @abstractmethod
    def newest(self) -> int:
        """The number of the last event, 0 without any. No event that comes later has a lower one."""

    def between(self, after: int, last: int) -> Iterator[Numbered]:
        """The events of users who are not forgotten with a number above ``after``, and up to ``last``, by number."""
        forgotten = self.forgotten()
        while rows := self._between(after, last, _PAGE):
            yield from (each for each in rows if each.event != FORGET and each.user_id not in forgotten)
            after = rows[-1].seq

    @abstractmethod
    def _between(self, after: int, last: int, limit: int) -> list[Numbered]:
        """The first so many of them, forgotten users and their marks included."""

    @abstractmethod
    def forgotten(self) -> set[str]:
        """The users who are forgotten."""

    @abstractmethod
    def forget(self, user_id: str, at: int) -> int:
        """Erase all events of a user, durably, and note that there was one; returns their number.

        Only hashes of their ids are kept.
        """

    @property
    def name(self) -> str:
        """What tells this journal from every other, from its first day on."""
        return str(self.read_note(NAME_NOTE))

    @abstractmethod
    def read_note(self, name: str) -> str | None:
        """What all workers were told under this name."""

    @abstractmethod
    def write_note(self, name: str, text: str) -> None:
        """Tell all workers something, durably."""

    @abstractmethod
    def close(self) -> None:
        """Leave the database."""
