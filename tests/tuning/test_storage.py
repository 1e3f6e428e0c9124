"""A search that was interrupted, killed or moved ends as one that never stopped; foreign files are refused."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import ancf
import ancf.tuning.search
from ancf.search_space import Real
from ancf.tuning import storage as storage_module

SPACE = {"regularization": Real(1e-4, 1.0, log=True), "unobserved_weight": Real(0.001, 1.0, log=True)}
MODEL = ancf.ALS(factors=8, epochs=5)


def search(train, path=None, **options):
    return ancf.tune(MODEL, train, **{"trials": 10, "space": SPACE, "method": "optuna", "storage": path, **options})


@pytest.fixture(scope="module")
def uninterrupted(train):
    return search(train)


class _StopError(Exception):
    pass


def stop_after(number):
    def told(trial):
        if trial.number == number:
            raise _StopError

    return told


@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_search_that_goes_on_equals_one_that_was_not_interrupted(train, tmp_path, uninterrupted, number):
    path = tmp_path / "trials.db"
    with pytest.raises(_StopError):
        search(train, path, on_trial=stop_after(number))
    told = []
    resumed = search(train, path, on_trial=told.append)
    assert resumed.trials == tuple(told) == uninterrupted.trials
    assert resumed.best_model.to_bytes() == uninterrupted.best_model.to_bytes()


KILLED = """
import os, signal, sys
import ancf
import ancf.tuning.search
from ancf.demo_shop import demo_shop
from ancf.search_space import Real
train, _ = ancf.time_split(ancf.read_interactions(demo_shop(customers=150, products=60)), (0.8, 0.2))
def told(trial):
    if trial.number == 6:
        os.kill(os.getpid(), signal.SIGKILL)
space = {"regularization": Real(1e-4, 1.0, log=True), "unobserved_weight": Real(0.001, 1.0, log=True)}
model = ancf.ALS(factors=8, epochs=5)
ancf.tune(model, train, trials=10, space=space, method="optuna", storage=sys.argv[1], on_trial=told)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_search_that_was_killed_ends_as_one_that_was_not(train, tmp_path, uninterrupted):
    path = tmp_path / "trials.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = []
    resumed = search(train, path, on_trial=before.append)
    assert resumed.trials == uninterrupted.trials
    assert resumed.best_model.to_bytes() == uninterrupted.best_model.to_bytes()


def test_a_finished_search_is_read_and_nothing_is_tried_again(train, tmp_path, uninterrupted, monkeypatch):
    path = tmp_path / "trials.db"
    search(train, path)
    monkeypatch.setattr(ancf.tuning.search._Search, "_try", None)
    assert search(train, path).trials == uninterrupted.trials
    assert search(train, path, trials=4).trials == uninterrupted.trials[:4]


def test_a_search_may_be_continued_with_more_trials(train, tmp_path, uninterrupted):
    path = tmp_path / "trials.db"
    search(train, path, trials=4)
    assert search(train, path).trials == uninterrupted.trials


def test_failed_trials_and_methods_without_optuna_are_kept_too(train, tmp_path):
    path = tmp_path / "trials.db"
    options = {"space": {"learning_rate": [0.004, 1e5]}, "metric": "rmse", "method": "grid", "storage": path}
    first = ancf.tune(ancf.SVD(epochs=3), train, **options)
    assert [trial.state for trial in first.trials] == ["complete", "complete", "failed"]
    assert ancf.tune(ancf.SVD(epochs=3), train, **options).trials == first.trials


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"metric": "recall@20"}, "the metric was ndcg@10, is recall@20"),
        ({"random_state": 1}, "the random state was 0, is 1"),
        ({"method": "random"}, "the method was optuna, is random"),
        (
            {"space": {**SPACE, "regularization": Real(1e-4, 2.0)}},
            "the space: regularization was Real(low=0.0001, high=1.0, log=True), is Real(low=0.0001, high=2.0, "
            "log=False)",
        ),
        ({"filter_already_liked_items": False}, "the repeats was False, is True"),
        ({"validation": 0.3}, "the validation table was"),
    ],
)
def test_trials_of_another_search_are_refused_with_what_differs(train, tmp_path, options, differs):
    path = tmp_path / "trials.db"
    search(train, path, trials=1)
    before = path.read_bytes()
    with pytest.raises(ancf.InvalidDataError) as error:
        search(train, path, **{"trials": 2, **options})
    assert differs in str(error.value)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_trials_of_another_table_or_model_are_refused(train, tmp_path):
    path = tmp_path / "trials.db"
    search(train, path, trials=1)
    with pytest.raises(ancf.InvalidDataError, match="the training table was"):
        search(train.subset(np.arange(len(train)) % 7 > 0), path)
    with pytest.raises(ancf.InvalidDataError, match="the model was ALS, is ItemKNN"):
        ancf.tune("ItemKNN", train, trials=1, storage=path)
    with pytest.raises(ancf.InvalidDataError, match="the options: factors was 8, is 9"):
        ancf.tune(ancf.ALS(factors=9, epochs=5), train, trials=1, space=SPACE, storage=path)


def test_a_file_of_something_else_is_refused_and_left_alone(train, tmp_path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be looked at " * 40)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE customers (id)")
    connection.close()
    for path, message in ((text, "this is no storage of trials"), (other, "a SQLite file of something else")):
        before = path.read_bytes()
        with pytest.raises(ancf.InvalidDataError, match=message):
            search(train, path)
        assert path.read_bytes() == before


def test_two_searches_do_not_write_to_one_file(train, tmp_path):
    path = tmp_path / "trials.db"

    def again(trial):
        with pytest.raises(ancf.InvalidDataError, match="another search is writing to it"):
            search(train, path)
        raise _StopError

    with pytest.raises(_StopError):
        search(train, path, on_trial=again)
    assert len(search(train, path, trials=2).trials) == 2


def test_a_folder_that_is_not_there_is_named(train, tmp_path):
    with pytest.raises(OSError, match="unable to open") as error:
        search(train, tmp_path / "nowhere" / "trials.db")
    assert error.value.filename == str(tmp_path / "nowhere" / "trials.db")


def test_a_full_disk_ends_the_search_and_keeps_the_trials_before(train, tmp_path, uninterrupted, monkeypatch):
    path = tmp_path / "trials.db"
    search(train, path, trials=3)
    connect = sqlite3.connect

    def on_a_full_disk(*arguments, **options):
        connection = connect(*arguments, **options)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    monkeypatch.setattr(storage_module.sqlite3, "connect", on_a_full_disk)
    with pytest.raises(OSError, match="no space left for another trial") as error:
        search(train, path, trials=500)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    kept = []
    with pytest.raises(_StopError):
        search(train, path, on_trial=lambda trial: kept.append(trial) or stop_after(3)(trial))
    assert tuple(kept) == uninterrupted.trials[:3]


def test_trials_of_another_version_are_refused(train, tmp_path, monkeypatch):
    path = tmp_path / "trials.db"
    search(train, path, trials=1)
    monkeypatch.setattr(ancf.tuning.search, "__version__", "9.9.9")
    with pytest.raises(ancf.InvalidDataError, match=r"the version of ancf was .*, is 9\.9\.9"):
        search(train, path, trials=2)
