#!/usr/bin/env python3
"""Lists from a file into a database, where a shop looks them up; and back to the lists before.

    python lists_to_database.py shop.db lists.csv      # what ancf recommend-all wrote becomes the current lists
    python lists_to_database.py shop.db --back         # the lists before become the current ones again

The shop asks the view current_list (user_id, rank, item_id, score, source). Lists change in one transaction: whoever
asks meanwhile gets the old ones, and a failure leaves them. The newest three versions are kept.
"""

import csv
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

VERSIONS_KEPT = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS version (number INTEGER PRIMARY KEY, is_current INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS list_item (
    version INTEGER, user_id TEXT, rank INTEGER, item_id TEXT, score REAL, source TEXT,
    PRIMARY KEY (version, user_id, rank)
) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS current_list AS
    SELECT user_id, rank, item_id, score, source FROM list_item
    JOIN version ON version.number = list_item.version WHERE version.is_current;
"""


def publish(database: sqlite3.Connection, lists: str) -> str:
    with Path(lists).open(encoding="utf-8", newline="") as file, database:
        (newest,) = database.execute("SELECT coalesce(max(number), 0) FROM version").fetchone()
        rows = ({"version": newest + 1, **row} for row in csv.DictReader(file))
        added = database.executemany(
            "INSERT INTO list_item VALUES (:version, :user_id, :rank, :item_id, :score, :source)", rows
        ).rowcount
        if added <= 0:
            raise ValueError(f"{lists} has no lists; those in the database stay")
        database.execute("INSERT INTO version VALUES (?, 0)", [newest + 1])
        database.execute("UPDATE version SET is_current = (number = ?)", [newest + 1])
        for table, column in (("list_item", "version"), ("version", "number")):
            database.execute(f"DELETE FROM {table} WHERE {column} <= ?", [newest + 1 - VERSIONS_KEPT])
    return f"version {newest + 1}: {added:,} rows"


def go_back(database: sqlite3.Connection) -> str:
    with database:
        (before,) = database.execute(
            "SELECT max(number) FROM version WHERE number < (SELECT number FROM version WHERE is_current)"
        ).fetchone()
        if before is None:
            raise ValueError("there is no version before the current one; the lists stay")
        database.execute("UPDATE version SET is_current = (number = ?)", [before])
    return f"back at version {before}"


def main(path: str, what: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        try:
            print(f"{path}: {go_back(database) if what == '--back' else publish(database, what)}")
        except (OSError, ValueError, sqlite3.Error) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
