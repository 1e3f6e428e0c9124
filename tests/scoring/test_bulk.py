"""recommend_all into a file: whole or not there, resumable, and as the lists in memory."""

import copy
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.atomic_file import atomic_write
from ancf.scoring import bulk, limits


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(2)
    users, items = rng.integers(0, 200, 3000), (rng.pareto(1.1, 3000) * 8).astype(int) % 90
    data = ancf.Interactions.from_ids(user=[f"u{user:03d}" for user in users], item=[f"é{item}" for item in items])
    return ancf.ItemKNN(neighbors=20).fit(data)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(bulk, "_CHUNK_USERS", 33)


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".jsonl" in path.suffixes:
        return pd.DataFrame([json.loads(line) for line in text.decode().splitlines()])
    return pd.read_csv(io.BytesIO(text))


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.gz"])
def test_the_same_lists_are_the_same_compressed_bytes(model, tmp_path, small_chunks, suffix):
    plain = model.recommend_all(N=7, out=tmp_path / f"a{suffix.removesuffix('.gz')}").path.read_bytes()
    once, again, in_parts = (
        model.recommend_all(N=7, out=tmp_path / f"{name}{suffix}", resume=resume).path.read_bytes()
        for name, resume in (("b", False), ("c", False), ("d", True))
    )
    assert once == again == in_parts
    assert gzip.decompress(once) == plain
    assert once[4:8] == bytes(4)  # no date


def test_a_pipe_cannot_be_gone_on_with(model, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ancf.InvalidParameterError, match="needs a file"):
        model.recommend_all(out=tmp_path / "pipe.csv", resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".csv.gz", ".jsonl.gz"])
def test_every_format_holds_the_lists_of_memory(model, tmp_path, suffix, resume, small_chunks):
    out = tmp_path / f"recs{suffix}"
    result = model.recommend_all(N=7, out=out, resume=resume)
    expected = model.recommend_all(N=7).to_pandas()
    found = read(out)
    assert list(found.columns) == ["user_id", "item_id", "score", "rank", "source"]
    assert found["user_id"].tolist() == expected["user_id"].tolist()
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    assert found["rank"].tolist() == expected["rank"].tolist()
    assert np.array_equal(found["score"].to_numpy(np.float32), expected["score"].to_numpy())
    assert (result.n_users, result.n_rows) == (len(model.user_ids_), len(expected))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".csv.gz", ".jsonl.gz"])
def test_chunks_do_not_change_the_bytes_of_the_rows(model, tmp_path, monkeypatch, suffix):
    whole = read(model.recommend_all(N=3, out=tmp_path / f"a{suffix}").path)
    monkeypatch.setattr(bulk, "_CHUNK_USERS", 11)
    assert read(model.recommend_all(N=3, out=tmp_path / f"b{suffix}").path).equals(whole)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_ids_with_commas_quotes_and_line_breaks_survive(tmp_path, suffix):
    odd = ["a,b", 'say "x"', " edge ", "two\nlines", "tab\t", "\\", "ünï"]
    users = [f"{name}#" for name in odd]
    model = ancf.from_factors(np.eye(7), np.eye(7), user_ids=users, item_ids=odd)
    found = read(model.recommend_all(N=1, out=tmp_path / f"recs{suffix}").path)
    assert found["user_id"].tolist() == users
    assert found["item_id"].tolist() == odd


class Stops(BaseException):
    """What Ctrl-C does to a call, at a chosen chunk."""


class Interrupted:
    """A ranker that stops at its n-th call."""

    def __init__(self, ranker, calls):
        self.ranker, self.left = ranker, calls

    def top_n(self, *positional, **keywords):
        self.left -= 1
        if self.left < 0:
            raise Stops
        return self.ranker.top_n(*positional, **keywords)


def interrupt(model, monkeypatch, calls):
    """The lists of so many chunks are made, and then somebody stops; returns the scorer that goes on for ever."""
    whole = model._scorer
    scorer = copy.copy(whole)
    object.__setattr__(scorer, "ranker", Interrupted(whole.ranker, calls))
    monkeypatch.setattr(model, "_scorer", scorer)
    return whole


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_an_interrupted_call_leaves_nothing_and_keeps_the_old_file(model, tmp_path, small_chunks, monkeypatch, calls):
    out = tmp_path / "recs.csv"
    out.write_text("the old one")
    interrupt(model, monkeypatch, calls)
    with pytest.raises(Stops):
        model.recommend_all(N=3, out=out)
    assert out.read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["recs.csv"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".csv.gz", ".jsonl.gz"])
def test_a_resumed_job_goes_on_where_it_stopped_and_ends_the_same(model, tmp_path, small_chunks, monkeypatch, suffix):
    out = tmp_path / f"recs{suffix}"
    whole = interrupt(model, monkeypatch, 2)
    with pytest.raises(Stops) as stopped:
        model.recommend_all(N=3, out=out, resume=True)
    assert "resume=True" in stopped.value.__notes__[0]
    assert not out.exists()
    monkeypatch.setattr(model, "_scorer", whole)
    result = model.recommend_all(N=3, out=out, resume=True)
    assert result.resumed_users == 66
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert read(out)["item_id"].tolist() == model.recommend_all(N=3).to_pandas()["item_id"].tolist()


def test_parts_of_another_job_are_not_taken_up(model, tmp_path, small_chunks, monkeypatch):
    out = tmp_path / "recs.csv"
    whole = interrupt(model, monkeypatch, 2)
    with pytest.raises(Stops):
        model.recommend_all(N=3, out=out, resume=True)
    monkeypatch.setattr(model, "_scorer", whole)
    with pytest.raises(ancf.InvalidParameterError, match="another job"):
        model.recommend_all(N=4, out=out, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_a_child_process_leaves_no_file(tmp_path):
    code = textwrap.dedent(
        """
        import sys, numpy as np, ancf
        from ancf.scoring import bulk
        bulk._CHUNK_USERS = 20
        rng = np.random.default_rng(0)
        model = ancf.from_factors(rng.standard_normal((60000, 16)), rng.standard_normal((3000, 16)))
        print("ready", flush=True)
        model.recommend_all(N=50, out=sys.argv[1] + "/recs.csv")
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no locks, so nothing is removed")
def test_what_a_killed_call_left_behind_goes_and_what_a_living_one_writes_stays(model, tmp_path):
    out = tmp_path / "recs.csv"
    with atomic_write(out) as file:
        living = set(tmp_path.iterdir())
        (tmp_path / ".recs.csv.dead.tmp").write_bytes(b"half")
        (tmp_path / ".other.csv.dead.tmp").write_bytes(b"half of another file")
        model.recommend_all(N=3, out=out)
        assert set(tmp_path.iterdir()) == living | {out, tmp_path / ".other.csv.dead.tmp"}
        file.write(b"done")
    assert out.read_bytes() == b"done"


def test_an_unknown_kind_of_file_or_folder_is_refused(model, tmp_path):
    with pytest.raises(ancf.InvalidParameterError, match=r"\.parquet, \.csv, \.jsonl"):
        model.recommend_all(out=tmp_path / "recs.xlsx")
    with pytest.raises(ancf.InvalidParameterError, match="does not exist"):
        model.recommend_all(out=tmp_path / "nowhere" / "recs.csv")
    with pytest.raises(ancf.InvalidParameterError, match="out="):
        model.recommend_all(resume=True)


def test_lists_that_would_not_fit_are_refused_before_anything_is_allocated(model, monkeypatch):
    monkeypatch.setattr(limits, "available_bytes", lambda: 1 << 20)
    big = ancf.from_factors(np.ones((200_000, 1)), np.ones((200, 1)))
    with pytest.raises(ancf.InvalidParameterError, match="out="):
        big.recommend_all(N=200)


def test_the_rights_of_the_file_are_those_of_any_new_file(model, tmp_path):
    model.recommend_all(N=1, out=tmp_path / "recs.csv")
    (tmp_path / "other").write_text("")
    assert os.stat(tmp_path / "recs.csv").st_mode == os.stat(tmp_path / "other").st_mode  # noqa: PTH116
