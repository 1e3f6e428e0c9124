"""The journal, in a SQLite file and in PostgreSQL: durable, each event once, in order."""

import asyncio
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ancf.errors import InvalidParameterError
from ancf.serving.journal import FORGET, Event, JournalError
from ancf.serving.writer import Writer, open_journal


def event(name, user="u", item="i", kind="purchase", quantity=1.0, at=7):
    return Event(name, user, item, kind, quantity, at)


@pytest.fixture
def journal(journal_url):
    opened = open_journal(journal_url)
    yield opened
    opened.close()


def test_a_user_has_their_events_in_the_order_in_which_they_came(journal):
    journal.append([[event("b", item="1")], [event("a", item="2"), event("c", user="v")]])
    journal.append([[event("d", item="3", kind="view", quantity=2.5, at=9)]])
    assert [entry.item_id for entry in journal.of_user("u", 10)] in (["1", "2", "3"], ["2", "1", "3"])
    assert journal.of_user("u", 10)[-1][:-1] == ("3", "view", 2.5, 9)
    assert [entry.item_id for entry in journal.of_user("u", 1)] == ["3"]
    assert journal.of_user("nobody", 10) == []


def test_an_event_counts_for_whoever_sent_it_first(journal):
    assert journal.append([[event("a"), event("a")], [event("a"), event("b")], []]) == [1, 1, 0]
    assert journal.append([[event("a", item="other")], [event("c")]]) == [0, 1]
    assert [entry.item_id for entry in journal.of_user("u", 10)] == ["i", "i", "i"]


def test_who_is_forgotten_stays_so_however_much_comes_later(journal):
    journal.append([[event("a"), event("b"), event("c", user="v")]])
    assert journal.forget("u", 8) == 2
    assert [each[:-1] for each in journal.of_user("u", 10)] == [("", FORGET, 0.0, 8)]
    journal.append([[event(f"later {n}", item=str(n)) for n in range(5)]])
    entries = journal.of_user("u", 3)
    assert entries[0].event == FORGET
    assert [entry.item_id for entry in entries[1:]] == ["2", "3", "4"]
    assert journal.forget("u", 9) == 5
    assert len(journal.of_user("u", 10)) == 1
    assert len(journal.of_user("v", 10)) == 1


def test_an_event_of_somebody_forgotten_does_not_come_back_when_it_is_sent_again(journal, journal_url):
    journal.append([[event("a"), event("b", item="2"), event("c", user="v")]])
    assert journal.forget("u", 8) == 2
    assert journal.append([[event("a"), event("b", user="v"), event("new")], [event("c", user="v")]]) == [1, 0]
    assert [entry.event for entry in journal.of_user("u", 10)] == [FORGET, "purchase"]
    assert len(journal.of_user("v", 10)) == 1
    # Also for those who come later, and after another forgetting.
    assert journal.forget("u", 9) == 1
    other = open_journal(journal_url)
    assert other.append([[event("new"), event("a")]]) == [0]
    other.close()


def test_notes_are_what_was_written_last(journal, journal_url):
    assert journal.read_note("model") is None
    journal.write_note("model", "one")
    journal.write_note("model", "two")
    other = open_journal(journal_url)
    assert other.read_note("model") == "two"
    other.close()


def test_the_writer_resolves_each_request_with_what_was_new_of_it(journal_url):
    async def ask():
        writer = Writer(journal_url)
        writer.start()
        futures = [writer.append([event(f"{n % 40}"), event(f"own {n}")]) for n in range(60)]
        assert writer.waiting == 120
        new = await asyncio.gather(*futures)
        erased = await writer.forget("u", 1)
        await asyncio.get_running_loop().run_in_executor(None, writer.stop)
        return new, erased, writer.waiting

    new, erased, waiting = asyncio.run(ask())
    assert new == [2] * 40 + [1] * 20
    assert (erased, waiting) == (100, 0)


def test_a_journal_that_cannot_be_written_is_told_to_all_who_wait(tmp_path):
    async def ask():
        writer = Writer(f"sqlite:///{tmp_path}/missing/events.db")
        writer.start()
        answers = await asyncio.gather(*(writer.append([event(str(n))]) for n in range(3)), return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, writer.stop)
        return answers, writer.waiting

    answers, waiting = asyncio.run(ask())
    assert [type(each) for each in answers] == [JournalError] * 3
    assert "missing" in str(answers[0])
    assert waiting == 0


def test_what_is_forgotten_is_not_left_in_the_file(tmp_path):
    path = tmp_path / "events.db"
    journal = open_journal(f"sqlite:///{path}")
    journal.append([[event("a", item="Something Rather Special")]])
    assert b"Something Rather Special" in (tmp_path / "events.db-wal").read_bytes()
    journal.forget("u", 1)
    journal.append([[event("b", user="x")]])
    files = list(tmp_path.iterdir())
    assert {file.name for file in files} >= {"events.db", "events.db-wal"}
    content = b"".join(file.read_bytes() for file in files)
    assert b"Something Rather Special" not in content
    journal.close()


def test_the_file_is_for_its_owner_alone_and_syncs_every_commit(tmp_path):
    path = tmp_path / "events.db"
    journal = open_journal(f"sqlite:///{path}")
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_workers_that_open_and_close_a_new_file_at_the_same_moment_all_have_it(tmp_path):
    together = threading.Barrier(6)

    def open_and_close(path):
        together.wait()
        journal = open_journal(f"sqlite:///{path}")
        newest = journal.newest()
        journal.close()
        return newest

    with ThreadPoolExecutor(6) as pool:
        for k in range(30):
            assert list(pool.map(open_and_close, [tmp_path / f"{k}.db"] * 6)) == [0] * 6


def test_a_file_that_is_no_journal_is_refused_in_words(tmp_path):
    path = tmp_path / "events.db"
    path.write_bytes(b"these are no events" * 100)
    with pytest.raises(JournalError, match=r"events\.db: .*not a database"):
        open_journal(f"sqlite:///{path}")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE events (seq INTEGER)").connection.commit()
    with pytest.raises(JournalError, match=r"other\.db"):
        open_journal(f"sqlite:///{tmp_path}/other.db")


@pytest.mark.parametrize("url", ["events.db", "sqlite:events.db", "mysql://x", ""])
def test_a_url_of_another_kind_is_refused(url):
    with pytest.raises(InvalidParameterError, match="sqlite:///PATH"):
        open_journal(url)


def test_a_database_that_is_not_there_is_named():
    pytest.importorskip("psycopg")
    with pytest.raises(JournalError, match="PostgreSQL"):
        open_journal(f"postgresql:///x?host={Path('/nowhere')}")


def test_a_cut_connection_is_made_anew_for_who_reads(postgres_url):
    reader, other = open_journal(postgres_url), open_journal(postgres_url)
    try:
        reader.append([[event("a", user="é", item="1")]])
        assert [entry.item_id for entry in reader.of_user("é", 10)] == ["1"]
        other._retrying(
            lambda db: db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND datname = current_database() AND backend_type = 'client backend'"
            ).fetchall()
        )
        assert [entry.item_id for entry in reader.of_user("é", 10)] == ["1"]
    finally:
        reader.close()
        other.close()


def test_what_the_database_refuses_of_a_read_is_told_in_its_words(postgres_url):
    reader = open_journal(postgres_url)
    try:
        with pytest.raises(JournalError, match="0x00"):
            reader.of_user("no\0body", 10)
        assert reader.of_user("nobody", 10) == []
    finally:
        reader.close()
