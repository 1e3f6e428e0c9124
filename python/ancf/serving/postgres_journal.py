"""The journal in PostgreSQL, for workers on several machines."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec

from ancf.errors import MissingExtraError
from ancf.serving.journal import FORGET, Entry, Event, Journal, JournalError, Numbered, Row, id_hash

Result = TypeVar("Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ancf_events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL, quantity DOUBLE PRECISION NOT NULL,
    at BIGINT NOT NULL, event_id TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS ancf_events_of_user ON ancf_events (user_id, seq) INCLUDE (item_id, event, quantity, at);
CREATE TABLE IF NOT EXISTS ancf_forgotten (id_hash bytea PRIMARY KEY);
CREATE TABLE IF NOT EXISTS ancf_notes (name TEXT PRIMARY KEY, text TEXT NOT NULL);
INSERT INTO ancf_notes VALUES ('journal', replace(gen_random_uuid()::text, '-', '')) ON CONFLICT (name) DO NOTHING;
"""
# One statement for a whole transaction; it says which events were new. The events come as JSON: arrays took the
# client three times as long (22 ms for a thousand rather than 8, 2026-11-28).
_INSERT = """
INSERT INTO ancf_events (event_id, user_id, item_id, event, quantity, at)
SELECT event_id, user_id, item_id, event, quantity, at
FROM json_to_recordset(%s::json)
AS given (event_id text, user_id text, item_id text, event text, quantity float8, at bigint, id_hash text)
WHERE NOT EXISTS (SELECT 1 FROM ancf_forgotten WHERE ancf_forgotten.id_hash = decode(given.id_hash, 'hex'))
ON CONFLICT (event_id) DO NOTHING RETURNING event_id
"""
_BETWEEN = """
SELECT seq, user_id, item_id, event, quantity, at FROM ancf_events WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s
"""
# What is asked for every list is prepared by hand and asked by libpq itself: by psycopg's cursor five events took 95 to
# 146 us rather than 70 to 108, where a statement that asks for nothing took 19 to 35 (2026-11-28, load 6).
_OF_USER = b"SELECT item_id, event, quantity, at, seq FROM ancf_events WHERE user_id = $1 "
_PREPARED = {
    "of_user": _OF_USER + b"ORDER BY seq DESC LIMIT $2",
    "forgotten": _OF_USER + b"AND event = $2",
}
_INT8 = struct.Struct(">q")
# An event that is sent again while its user is forgotten waits, or it would find neither the event nor its mark; who
# asks for the last number waits for all that are being written.
_FORGET_LOCK = 0x616E6367
# Two workers that start at once would both make the tables.
_SCHEMA_LOCK = 0x616E6366


class PostgresJournal(Journal):
    """Events in the tables ``ancf_events``, ``ancf_forgotten`` and ``ancf_notes``."""

    reads_block: ClassVar[bool] = True

    def __init__(self, url: str) -> None:
        try:
            import psycopg
            import psycopg.adapt
        except ImportError as error:
            raise MissingExtraError(
                "a journal in PostgreSQL needs psycopg. Install it with: pip install 'ancf[postgresql]'"
            ) from error
        self._psycopg, self._url = psycopg, url
        self._db: Any = None
        self._rows: Any = None
        self._prepared: set[str] = set()
        self._retrying(self._make_tables)

    def append(self, batches: Sequence[Sequence[Event]]) -> list[int]:
        events = [event for batch in batches for event in batch]
        if not events:
            return [0] * len(batches)
        # An id that comes twice within a transaction counts for whoever sent it first. In the order of ids, two
        # transactions with the same ones wait for each other rather than lock each other out.
        first = {event.event_id: event for event in reversed(events)}
        rows = [{**first[each]._asdict(), "id_hash": id_hash(each).hex()} for each in sorted(first)]
        given = msgspec.json.encode(rows).decode()

        def insert(db: Any) -> set[str]:
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_FORGET_LOCK,), prepare=True)
                return {row[0] for row in db.execute(_INSERT, (given,), prepare=True).fetchall()}

        new = self._retrying(insert)
        counts = []
        for batch in batches:
            mine = {event.event_id for event in batch} & new
            new -= mine
            counts.append(len(mine))
        return counts

    def newest_rows(self, user_id: str, limit: int) -> list[Row]:
        return self._of_user("of_user", user_id.encode(), _INT8.pack(limit))

    def _forgotten(self, user_id: str) -> list[Entry]:
        return [Entry(*row) for row in self._of_user("forgotten", user_id.encode(), FORGET.encode())]

    def _of_user(self, prepared: str, *values: bytes) -> list[Row]:
        """What a prepared statement gives for values in PostgreSQL's binary format."""
        binary = self._psycopg.pq.Format.BINARY

        def ask(db: Any) -> list[Row]:
            if prepared not in self._prepared:
                self._check(db.pgconn.prepare(prepared.encode(), _PREPARED[prepared]))
                self._prepared.add(prepared)
            found = db.pgconn.exec_prepared(prepared.encode(), values, [binary] * len(values), binary)
            self._check(found)
            self._rows.set_pgresult(found, set_loaders=True, format=binary)
            rows: list[Row] = self._rows.load_rows(0, found.ntuples, tuple)
            return rows

        return self._retrying(ask)

    def _check(self, result: Any) -> None:
        """Raise what the database says of a statement that failed."""
        if result.status not in (self._psycopg.pq.ExecStatus.TUPLES_OK, self._psycopg.pq.ExecStatus.COMMAND_OK):
            raise self._psycopg.errors.error_from_result(result)

    def newest(self) -> int:
        def look(db: Any) -> int:
            # Numbers are given before the commit: one that is seen may be higher than one still to come. Whoever
            # writes shares this lock, so that nobody does while it is held.
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_FORGET_LOCK,))
                return int(db.execute("SELECT coalesce(max(seq), 0) FROM ancf_events").fetchone()[0])

        return self._retrying(look)

    def _between(self, after: int, last: int, limit: int) -> list[Numbered]:
        rows = self._retrying(lambda db: db.execute(_BETWEEN, (after, last, limit)).fetchall())
        return [Numbered(*row) for row in rows]

    def forgotten(self) -> set[str]:
        query = "SELECT user_id FROM ancf_events WHERE event = %s"
        return {row[0] for row in self._retrying(lambda db: db.execute(query, (FORGET,)).fetchall())}

    def forget(self, user_id: str, at: int) -> int:
        def erase(db: Any) -> int:
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_FORGET_LOCK,))
                ids = db.execute(
                    "SELECT event_id FROM ancf_events WHERE user_id = %s AND event <> %s", (user_id, FORGET)
                )
                hashes = [id_hash(each) for (each,) in ids.fetchall()]
                db.execute(
                    "INSERT INTO ancf_forgotten SELECT unnest(%s::bytea[]) ON CONFLICT (id_hash) DO NOTHING", (hashes,)
                )
                erased = db.execute(
                    "DELETE FROM ancf_events WHERE user_id = %s AND event <> %s", (user_id, FORGET)
                ).rowcount
                db.execute("DELETE FROM ancf_events WHERE user_id = %s", (user_id,))
                db.execute(
                    "INSERT INTO ancf_events (user_id, item_id, event, quantity, at) VALUES (%s, '', %s, 0, %s)",
                    (user_id, FORGET, at),
                )
            return int(erased)

        return self._retrying(erase)

    def read_note(self, name: str) -> str | None:
        row = self._retrying(lambda db: db.execute("SELECT text FROM ancf_notes WHERE name = %s", (name,)).fetchone())
        return None if row is None else str(row[0])

    def write_note(self, name: str, text: str) -> None:
        self._retrying(
            lambda db: db.execute(
                "INSERT INTO ancf_notes VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET text = excluded.text",
                (name, text),
            )
        )

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None

    def _connect(self) -> Any:
        db = self._psycopg.connect(self._url, autocommit=True, connect_timeout=2, client_encoding="UTF8")
        # An acknowledged event is on the disk, whatever the database is set to.
        db.execute("SET synchronous_commit = on; SET statement_timeout = '5s'")
        self._rows = self._psycopg.adapt.Transformer(db)
        self._prepared.clear()
        return db

    def _make_tables(self, db: Any) -> None:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            db.execute(_SCHEMA)

    def _retrying(self, ask: Callable[[Any], Result]) -> Result:
        """What the database answers; over a new connection where the old one was cut. Every question may come twice."""
        for last in (False, True):
            try:
                if self._db is None or self._db.closed:
                    self._db = self._connect()
                return ask(self._db)
            except self._psycopg.Error as error:
                broken = self._db is None or self._db.broken or self._db.closed
                if self._db is not None:
                    self._db.close()
                self._db = None
                if last or not broken:
                    said = " ".join(str(error).split())
                    raise JournalError(
                        f"the journal in PostgreSQL: {said.rstrip('.?')}. Check that it runs and lets this user in."
                    ) from error
        raise AssertionError("unreachable")
