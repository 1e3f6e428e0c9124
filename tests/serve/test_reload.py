"""Another model takes the place of the one that answers: no request fails, and every answer is wholly of one."""

import json
import os
import shutil
import threading

import httpx
import pytest

import ancf
from ancf.errors import ModelFileError
from ancf.serving.model_reading import version_of
from ancf.serving.model_store import FOLLOW_FILE, ModelStore, WayBackError
from ancf.serving.served_model import ServedModel


def put(source, target):
    """Replace a file in one step."""
    beside = target.with_suffix(".new")
    shutil.copy(source, beside)
    beside.rename(target)


def damage(source, target):
    content = bytearray(source.read_bytes())
    content[-5] ^= 1
    beside = target.with_suffix(".new")
    beside.write_bytes(content)
    beside.rename(target)


def reload(server, to="file"):
    return server.client.post("/v1/reload", json={"to": to})


@pytest.mark.timeout(300)
def test_a_hundred_reloads_under_traffic_fail_no_request_and_mix_no_answer(serve, model_file, model_files):
    server = serve()
    expected = {}
    for path in model_files:
        loaded = ancf.load(path)
        for user in loaded.user_ids_.values[:8]:
            ids, scores = loaded.recommend(user, N=10)
            expected[version_of(path), user] = list(zip(ids.tolist(), map(float, scores), strict=True))
    users = [user for version, user in expected if version == version_of(model_file)]
    done, wrong, answers, versions = threading.Event(), [], [], set()

    def ask(user):
        with httpx.Client(base_url=server.url, timeout=20) as http:
            while not done.is_set():
                answer = http.get(f"/v1/recommend/{user}")
                answers.append(answer.status_code)
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    return
                said = answer.json()
                versions.add(said["model_version"])
                listed = [(each["item_id"], each["score"]) for each in said["items"]]
                if listed != expected[said["model_version"], user]:
                    wrong.append(said)

    clients = [threading.Thread(target=ask, args=(user,), daemon=True) for user in users[:3]]
    for each in clients:
        each.start()
    taken = failed = 0
    try:
        for number in range(100):
            if number % 5 == 4:
                damage(model_files[number % 2], model_file)
                before = server.client.get("/v1/model").json()["model_version"]
                answer = reload(server)
                assert answer.status_code == 422
                assert server.client.get("/v1/model").json()["model_version"] == before
                failed += 1
            else:
                put(model_files[(number + 1) % 2], model_file)
                answer = reload(server)
                assert answer.status_code == 200, answer.text
                assert answer.json()["model_version"] == version_of(model_file)
                taken += 1
    finally:
        done.set()
        for each in clients:
            each.join(30)
    assert not wrong
    assert (taken, failed) == (80, 20)
    assert len(answers) > 100
    assert versions == {version for version, _ in expected}


def test_a_new_file_is_taken_by_itself_in_every_worker(serve, model_file, model_files):
    server = serve("--workers", 2)
    put(model_files[1], model_file)
    wanted = version_of(model_file)
    _until(lambda: [line for line in server.log if line["event"] == "model taken"], 2)
    seen = {server.client.get("/v1/model", headers={"Connection": "close"}).json()["model_version"] for _ in range(20)}
    assert seen == {wanted}
    before = version_of(model_files[0])
    assert reload(server, "previous").json()["model_version"] == before
    _until(lambda: [line for line in server.log if line["event"] == "model taken"], 4)
    seen = {server.client.get("/v1/model", headers={"Connection": "close"}).json()["model_version"] for _ in range(20)}
    assert seen == {before}


def _until(look, n):
    """Wait until ``look`` gives ``n`` things."""
    pause = threading.Event()
    for _ in range(600):
        if len(look()) >= n:
            return
        pause.wait(0.1)
    raise AssertionError(look())


def test_what_is_wrong_with_a_file_is_told_and_the_model_stays(serve, model_file, model_files):
    server = serve()
    before = server.list_of("nobody")["items"]
    damage(model_files[1], model_file)
    answer = reload(server)
    assert answer.status_code == 422
    assert "shop.ancf" in answer.json()["detail"]
    assert server.client.get("/v1/model").json()["failed"] == answer.json()["detail"]
    assert server.list_of("nobody")["items"] == before
    model_file.unlink()
    assert reload(server).status_code == 422
    assert server.list_of("nobody")["items"] == before
    put(model_files[0], model_file)
    assert reload(server).json()["changed"] is False
    assert server.client.get("/v1/model").json()["failed"] is None


def test_there_and_back_and_there_again(model_file, model_files):
    store = ModelStore(str(model_file))
    first, second = (version_of(path) for path in model_files)
    assert (store.current.version, store.previous) == (first, None)
    with pytest.raises(WayBackError, match="no earlier model"):
        store.way_back()
    put(model_files[1], model_file)
    assert store.look(None)
    assert (store.current.version, store.previous) == (second, first)
    note = store.way_back()
    assert store.look(note)
    assert (store.current.version, store.previous) == (first, second)
    # The file is the one that was gone back from: it is not taken again by itself, however often it is looked at.
    assert not store.look(note)
    os.utime(model_file)
    assert not store.look(note)
    # A worker that starts now goes back, too.
    late = ModelStore(str(model_file))
    assert late.look(note)
    assert late.current.version == first
    # Whoever wants it again says so.
    assert store.look(FOLLOW_FILE, again=True)
    assert store.current.version == second


def test_what_the_first_requests_would_make_is_made_before_another_model_answers(model_file, model_files, monkeypatch):
    store = ModelStore(str(model_file))
    answered = []

    class Prepared(ServedModel):
        def prepare(self):
            super().prepare()
            assert self.scorer.user_ids.__dict__.keys() >= {"_find"}
            assert "popularity" in self.scorer._lazy_rankers
            answered.append(store.current.version)

    monkeypatch.setattr("ancf.serving.model_store.ServedModel", Prepared)
    put(model_files[1], model_file)
    assert store.look(None)
    assert answered == [version_of(model_files[0])]


def test_no_more_than_two_models_are_kept(model_file, model_files, tmp_path, purchases):
    store = ModelStore(str(model_file))
    for neighbors in (2, 3, 4):
        ancf.ItemKNN(neighbors=neighbors).fit(purchases).save(tmp_path / "next.ancf")
        put(tmp_path / "next.ancf", model_file)
        assert store.look(None)
    kept = {each.name for each in tmp_path.glob("*.kept")}
    assert kept == {f"shop.ancf.{version}.kept" for version in (store.current.version, store.previous)}


def test_a_model_that_was_overwritten_is_no_way_back(model_file, model_files):
    store = ModelStore(str(model_file))
    model_file.write_bytes(model_files[1].read_bytes())
    assert store.look(None)
    with pytest.raises(WayBackError, match="overwritten"):
        store.way_back()


def test_a_folder_without_links_has_no_way_back(model_file, model_files, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = ModelStore(str(model_file))
    put(model_files[1], model_file)
    assert store.look(None)
    with pytest.raises(WayBackError, match="no link"):
        store.way_back()


def test_a_damaged_file_is_not_tried_again_and_again(model_file, model_files):
    store = ModelStore(str(model_file))
    damage(model_files[1], model_file)
    with pytest.raises(ModelFileError):
        store.look(None)
    assert not store.look(None)
    assert store.reloads == {"ok": 0, "failed": 1}
    with pytest.raises(ModelFileError):
        store.look(None, again=True)
    assert json.loads(FOLLOW_FILE)["avoid"] is None


def test_the_store_starts_with_an_error_where_there_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError):
        ModelStore(str(tmp_path / "nothing.ancf"))
    (tmp_path / "text.ancf").write_text("no model")
    with pytest.raises(ModelFileError, match=r"text\.ancf"):
        ModelStore(str(tmp_path / "text.ancf"))
