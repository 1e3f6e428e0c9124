"""The model learns the journal beside serving: each event counts once, in the model or on top, whatever is killed."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf.errors import InvalidCallError, InvalidDataError
from ancf.serving.counting import Counting, learned_seq, mark_of
from ancf.serving.journal import Event
from ancf.serving.model_reading import version_of
from ancf.serving.served_model import ServedModel
from ancf.serving.update_job import Job, new_events, note_of, read_outcome, run
from ancf.serving.updater import Updater, UpdateRunningError, outcome_of
from ancf.serving.writer import open_journal

_PAUSE = threading.Event()
_LATER = 1_900_000_000
pytestmark = pytest.mark.timeout(300)


def until_true(look, what="it"):
    for _ in range(1200):
        if found := look():
            return found
        _PAUSE.wait(0.1)
    raise AssertionError(f"{what} did not happen")


def bought(name, user, item, *, kind="purchase", quantity=1.0, at=_LATER):
    return Event(name, user, item, kind, float(quantity), at)


@pytest.fixture
def journal(journal_url):
    opened = open_journal(journal_url)
    yield opened
    opened.close()


@pytest.fixture
def job(model_file, journal_url):
    return Job(str(model_file), version_of(model_file), "main", journal_url, {})


def append(journal, *events):
    assert journal.append([events]) == [len(events)]


def weight_of(model, user, item):
    had = model.history(user)
    return had.weights[had.item_ids.tolist().index(item)] if item in had.item_ids.tolist() else 0.0


def test_an_update_is_partial_fit_of_what_the_journal_has_beyond_the_model(job, journal, model):
    user, items = str(model.user_ids_[0]), [str(each) for each in model.item_ids_[:3]]
    events = [
        bought("a", user, items[0], quantity=2),
        bought("b", "new one", items[1]),
        bought("c", "new one", "new item"),
        bought("d", "new one", items[1], kind="return"),
        bought("e", user, items[2], kind="view"),
    ]
    append(journal, *events)
    outcome = run(job)
    assert (outcome.state, outcome.events, outcome.error) == ("ok", 4, None)
    assert read_outcome(journal.read_note(note_of("main"))) == outcome
    table = ancf.Interactions.from_ids(
        user=[user, "new one", "new one", "new one"],
        item=[items[0], items[1], "new item", items[1]],
        weight=[2, 1, 1, -1],
        time=np.full(4, _LATER, "datetime64[s]"),
    )
    table.mark = mark_of(journal.name, journal.newest())
    expected = model.partial_fit(table)
    expected.save(f"{job.path}.expected")
    assert version_of(f"{job.path}.expected") == version_of(job.path) == outcome.model_version
    # Nothing is new for it now.
    again = run(job._replace(version=version_of(job.path)))
    assert (again.state, again.events, version_of(job.path)) == ("unchanged", 0, outcome.model_version)


def test_events_are_learned_once_however_often_it_is_updated_and_whatever_their_times(job, journal, model):
    user, item = str(model.user_ids_[0]), str(model.item_ids_[0])
    before = weight_of(model, user, item)
    append(journal, bought("a", user, item))
    assert run(job).state == "ok"
    # One that comes late, of a time that the model has learned, of a pair that it knows.
    append(journal, bought("b", user, item, at=1_000_000))
    outcome = run(job._replace(version=version_of(job.path)))
    assert (outcome.state, outcome.events) == ("ok", 1)
    assert weight_of(ancf.load(job.path), user, item) == before + 2


def test_what_the_training_table_had_is_not_learned_again(job, journal, model):
    user = str(model.user_ids_[0])
    had = model.history(user)
    append(journal, bought("a", user, str(had.item_ids[0]), at=int(had.times[0])))
    assert run(job).state == "unchanged"


def test_who_is_forgotten_is_not_learned(job, journal, model):
    item = str(model.item_ids_[0])
    append(journal, bought("a", "gone", item), bought("b", "stays", item))
    journal.forget("gone", _LATER)
    append(journal, bought("c", "gone", item))
    assert run(job).events == 1
    users = ancf.load(job.path).user_ids_.values.tolist()
    assert "stays" in users
    assert "gone" not in users


def test_ids_that_the_table_could_not_have_are_left_to_the_journal(tmp_path, journal, journal_url):
    path = tmp_path / "numbers.ancf"
    ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 2], item=[10, 20])).save(path)
    ids = ["guest", "-1", "9999999999999999999", "3"]
    append(journal, *(bought(each, each, "10") for each in ids), bought("i", "3", "some text"))
    outcome = run(Job(str(path), version_of(path), "main", journal_url, {}))
    assert (outcome.state, outcome.events) == ("ok", 1)
    assert ancf.load(path).user_ids_.values.tolist() == [1, 2, 3]


def test_a_file_that_somebody_put_in_place_meanwhile_stays(job, journal, model, model_files, monkeypatch):
    append(journal, bought("a", "new", str(model.item_ids_[0])))
    assert "not the model 0 " in run(job._replace(version="0")).error
    load = ServedModel.load

    def replaced(path, *given):
        if str(path).endswith(".updating"):
            shutil.copy(model_files[1], f"{job.path}.new")
            Path(f"{job.path}.new").replace(job.path)
        return load(path, *given)

    monkeypatch.setattr(ServedModel, "load", replaced)
    outcome = run(job)
    assert outcome.state == "failed"
    assert "any more" in outcome.error
    assert version_of(job.path) == version_of(model_files[1])
    assert not list(Path(job.path).parent.glob("*updating*"))


def test_a_journal_that_is_older_than_the_model_is_told(job, journal, model):
    append(journal, bought("a", "new", str(model.item_ids_[0])))
    scorer = model._fitted()
    counting = Counting.of(scorer)._replace(seq=7)
    with pytest.raises(InvalidDataError, match="up to event 7, and its last one is 1"):
        new_events(scorer, counting, journal)


def test_numbers_that_are_given_but_not_committed_are_waited_for(postgres_url):
    psycopg = pytest.importorskip("psycopg")
    journal, other, asked = open_journal(postgres_url), open_journal(postgres_url), []
    append(journal, bought("a", "u", "i"))
    with psycopg.connect(postgres_url) as slow:
        # A writer whose number is given and whose commit is still to come, as ``append`` does it.
        slow.execute("SELECT pg_advisory_xact_lock_shared(%s)", (0x616E6367,))
        slow.execute("INSERT INTO ancf_events (user_id, item_id, event, quantity, at) VALUES ('v', 'i', 'view', 1, 1)")
        append(journal, bought("b", "u", "i"))
        asking = threading.Thread(target=lambda: asked.append(other.newest()), daemon=True)
        asking.start()
        asking.join(0.3)
        assert not asked
        slow.commit()
        asking.join(30)
        other.close()
    assert asked == [3]
    assert [each.seq for each in journal.between(0, 3)] == [1, 2, 3]
    journal.close()


def test_one_update_at_a_time_and_one_that_was_killed_is_told(job, journal):
    updater, ended = Updater(None), threading.Event()
    assert outcome_of(job.path, "main", journal) is None
    assert updater.start(job, journal, lambda _: ended.set())
    [process] = updater._running
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(UpdateRunningError, match="going on"):
        Updater(None).start(job, journal, lambda _: None)
    assert outcome_of(job.path, "main", journal).state == "running"
    process.kill()
    assert ended.wait(60)
    found = outcome_of(job.path, "main", journal)
    assert (found.state, "killed" in found.error) == ("interrupted", True)


def test_an_update_is_due_by_the_last_one_whoever_made_it(job, journal, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("ancf.serving.updater.time.time", lambda: now[0])
    first, second = Updater(10), Updater(10)
    assert not first.is_due("main", journal)
    now[0] += 600
    assert first.is_due("main", journal)
    assert second.start(job, journal, lambda _: None, if_due=True)
    second.stop()
    assert not first.is_due("main", journal)
    now[0] += 599
    assert not first.is_due("main", journal)
    now[0] += 1
    assert first.is_due("main", journal)
    assert not Updater(None).is_due("main", journal)


def weights_of(server, user):
    history = server.client.post("/v1/history", json={"user_id": user}).json()
    return {each["item_id"]: each.get("weight") for each in history["items"]}


def updated(server, state="ok"):
    """Wait for the end of an update, and for its model to answer."""
    said = until_true(
        lambda: (found := server.client.get("/v1/model").json())["update"]["state"] != "running" and found, "the end"
    )
    assert said["update"]["state"] == state, said
    wanted = said["update"]["updated_to"]
    return until_true(lambda: (f := server.client.get("/v1/model").json())["model_version"] == wanted and f, "the swap")


def test_the_server_learns_the_journal_while_it_answers(serve, model, model_file):
    server = serve("--workers", 2)
    user, item = str(model.user_ids_[0]), str(model.item_ids_[0])
    server.events(
        {"event_id": "a", "user_id": "new", "item_id": item},
        {"event_id": "b", "user_id": user, "item_id": item, "event": "view"},
    )
    before = server.client.get("/v1/model").json()
    assert before["update"] is None
    assert before["learned_event"] is None
    answer = server.client.post("/v1/update", json={})
    assert answer.status_code == 202
    said = updated(server)
    assert said["update"]["events"] == 1
    assert (said["learned_event"], learned_seq(said["journal_mark"], said["journal_mark"][8:-2])) == (2, 2)
    # What is learned counts no more on top: the list is the model's own.
    library = ancf.load(model_file)
    for _ in range(4):
        listed = server.client.get("/v1/recommend/new", headers={"Connection": "close"}).json()
        until_true(lambda: server.list_of("new")["items"][0]["source"] == "model", "every worker's swap")
    assert [each["item_id"] for each in listed["items"]] == library.recommend("new").ids.tolist()
    # A view is none of a table of purchases: it goes on counting from the journal.
    assert server.list_of(user)["items"][0]["source"] == "history"
    # It is counted when its process has ended, a moment after its model answers.
    counted = 'ancf_updates_total{outcome="ok",variant="main"} 1.0'
    text = until_true(lambda: counted in (said := server.client.get("/metrics").text) and said, "the count")
    assert 'ancf_journal_lag_events{variant="main"} 0.0' in text
    assert server.client.post("/v1/reload", json={"to": "previous"}).json()["model_version"] == before["model_version"]
    assert server.list_of("new")["items"][0]["source"] == "history"
    refused = server.client.post("/v1/update", json={})
    assert refused.status_code == 409
    assert "went back" in refused.json()["detail"]


def test_every_so_many_minutes_the_server_updates_by_itself(serve, model):
    server = serve("--update-every", "0.01")
    server.events({"event_id": "a", "user_id": "new", "item_id": str(model.item_ids_[0])})
    until_true(lambda: server.list_of("new")["items"][0]["source"] == "model", "the update")


def test_a_server_that_is_killed_between_the_new_file_and_its_swap_counts_each_event_once(serve, model, model_file):
    """Also the updating process outlives it, and ends its work."""
    server = serve()
    user, item = str(model.user_ids_[0]), str(model.item_ids_[0])
    before, version = weight_of(model, user, item), version_of(model_file)
    server.events({"event_id": "a", "user_id": user, "item_id": item, "quantity": 2})
    on_top = weights_of(server, user)
    assert server.client.post("/v1/update", json={}).status_code == 202
    server.kill()
    until_true(lambda: version_of(model_file) != version, "the new file")
    second = serve()
    second.events({"event_id": "a", "user_id": user, "item_id": item, "quantity": 2})
    assert weights_of(second, user) == on_top
    assert second.list_of(user)["items"][0]["source"] == "model"
    second.events({"event_id": "b", "user_id": user, "item_id": item})
    # The first one may still be about to end, and the server says so.
    until_true(lambda: second.client.post("/v1/update", json={}).status_code == 202, "an update")
    updated(second)
    assert weight_of(ancf.load(model_file), user, item) == before + 3


def test_updates_killed_at_any_time_lose_no_event_and_count_none_twice(job, journal, model):
    user, item = str(model.user_ids_[0]), str(model.item_ids_[0])
    before = weight_of(model, user, item)
    updater = Updater(None)
    for number in range(6):
        append(journal, bought(f"e{number}", user, item, at=_LATER + number))
        ended = threading.Event()
        job = job._replace(version=version_of(job.path))
        assert updater.start(job, journal, lambda _, ended=ended: ended.set())
        [process] = updater._running
        # From before its first step to about its last.
        ended.wait(0.4 * number)
        process.kill()
        assert ended.wait(60)
    assert run(job._replace(version=version_of(job.path))).state in ("ok", "unchanged")
    assert weight_of(ancf.load(job.path), user, item) == before + 6


def test_a_model_that_cannot_be_updated_says_so(serve, model_file, purchases):
    ancf.ALS(factors=4, epochs=1).fit(purchases).save(model_file)
    server = serve()
    answer = server.client.post("/v1/update", json={})
    assert answer.status_code == 422
    assert "this ALS keeps nothing that its training could go on from" in answer.json()["detail"]
    command = [sys.executable, "-m", "ancf", "serve", model_file, "--port", "0", "--update-every", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode
    assert "this ALS keeps nothing that its training could go on from" in done.stderr
    with pytest.raises(InvalidCallError, match="beyond the plain softmax"):
        ancf.ANCF(factors=4, epochs=1, loss="bce").fit(purchases).partial_fit(purchases)
