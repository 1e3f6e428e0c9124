"""What becomes of a comparison in which a model fails, dies, never ends or is interrupted."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import ancf

METRICS = ["ndcg@5", "recall@5", "coverage@5"]


class Failing(ancf.Popular):
    """Learns, and then something goes wrong."""

    def fit(self, interactions, validation=None):
        super().fit(interactions, validation)
        raise RuntimeError("half way")


class Hungry(ancf.Popular):
    """Takes more than there is."""

    def fit(self, interactions, validation=None):
        raise MemoryError


class Interrupting(ancf.Popular):
    """Somebody presses Ctrl-C while it learns."""

    def fit(self, interactions, validation=None):
        raise KeyboardInterrupt


def test_a_model_that_fails_has_a_row_that_says_so_and_the_others_go_on(split):
    found = ancf.compare({"bad": Failing(), "big": Hungry(), "Popular": "Popular"}, *split, "recall@5")
    assert list(found) == ["Popular"]
    assert found.failures == {"bad": "failed: RuntimeError: half way", "big": "out of memory: not enough memory"}
    assert "bad: failed: RuntimeError: half way" in repr(found)
    with pytest.raises(KeyError, match="bad has no figures: failed: RuntimeError: half way"):
        found["bad"]
    assert found.to_pandas().set_index("model").loc["bad", "status"] == "failed: RuntimeError: half way"
    assert found.sentence.endswith("(bad and big did not finish).")
    with pytest.raises(RuntimeError, match="half way"):
        ancf.compare([Failing()], *split, "recall@5")


def test_ctrl_c_keeps_the_rows_that_are_finished(split):
    found = ancf.compare({"Popular": "Popular", "stop": Interrupting(), "later": "ItemKNN"}, *split, "recall@5")
    assert (list(found), found.interrupted) == (["Popular"], True)
    assert found.failures == {"stop": "not run: interrupted", "later": "not run: interrupted"}
    assert "interrupted: these are the models that had finished" in repr(found)
    with pytest.raises(KeyboardInterrupt):
        ancf.compare([Interrupting(), "Popular"], *split, "recall@5")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The models of this file in a module that another process finds."""
    import sys

    (tmp_path / "slow_models.py").write_text(
        "import os, time\n"
        "import ancf\n"
        "class Endless(ancf.Popular):\n"
        "    def fit(self, interactions, validation=None):\n"
        "        open(os.environ['ANCF_TEST_STARTED'], 'w').write(str(os.getpid()))\n"
        "        while True:\n"
        "            time.sleep(0.01)\n"
        "class Killed(ancf.Popular):\n"
        "    def fit(self, interactions, validation=None):\n"
        "        os.kill(os.getpid(), 9)\n"
        "class Leaving(ancf.Popular):\n"
        "    def fit(self, interactions, validation=None):\n"
        "        print('so long')\n"
        "        os._exit(3)\n"
        "class Warning(ancf.Popular):\n"
        "    def fit(self, interactions, validation=None):\n"
        "        import warnings\n"
        "        warnings.warn('look at this')\n"
        "        return super().fit(interactions, validation)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ANCF_TEST_STARTED", str(tmp_path / "started"))
    import slow_models

    yield slow_models
    del sys.modules["slow_models"]


def test_a_process_of_its_own_gives_the_same_figures_and_tells_the_memory(split):
    here = ancf.compare(["Popular", "ItemKNN"], *split, METRICS)
    there = ancf.compare(["Popular", "ItemKNN"], *split, METRICS, own_process=True)
    assert {name: dict(each) for name, each in there.items()} == {name: dict(each) for name, each in here.items()}
    assert there.to_dict()["differences"] == here.to_dict()["differences"]
    assert there.models["ItemKNN"].to_bytes() == here.models["ItemKNN"].to_bytes()
    memory = there.to_pandas()["memory_mb"]
    assert (memory > 20).all()
    assert here.to_pandas()["memory_mb"].isna().all()


def test_models_whose_process_dies_have_rows_that_say_so_and_the_others_go_on(split, module):
    entered = {"killed": module.Killed(), "leaving": module.Leaving(), "Popular": "Popular"}
    found = ancf.compare(entered, *split, "recall@5", own_process=True, keep_models=False)
    assert list(found) == ["Popular"]
    assert found.failures["killed"] == (
        "out of memory: its process was killed by the system, as happens when memory runs out"
    )
    assert found.failures["leaving"] == "failed: its process ended with exit code 3: so long"
    assert found.models == {}


def test_a_model_that_never_ends_is_ended(split, module):
    with pytest.raises(ancf.InvalidDataError, match=r"no model has a result\. endless: out of time: not done"):
        ancf.compare({"endless": module.Endless()}, *split, "recall@5", timeout_per_model=5)
    started = Path(os.environ["ANCF_TEST_STARTED"])
    if started.exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)


def test_ctrl_c_ends_the_process_of_its_own_and_leaves_no_child(split, module):
    started, ended = Path(os.environ["ANCF_TEST_STARTED"]), threading.Event()

    def press():
        while not started.exists() or not started.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        # The interpreter drops one that comes while it is in a finalizer; whoever sees nothing happen presses again.
        while not ended.wait(20):
            os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        found = ancf.compare({"Popular": "Popular", "endless": module.Endless()}, *split, "recall@5", own_process=True)
    finally:
        ended.set()
    presser.join()
    assert (list(found), found.interrupted) == (["Popular"], True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_warning_of_another_process_is_heard_here(split, module):
    with pytest.warns(UserWarning, match="loud: look at this"):
        ancf.compare({"loud": module.Warning()}, *split, "recall@5", own_process=True)


def test_what_cannot_go_to_another_process_is_refused_before_anything_runs(split):
    class Local(ancf.Popular):
        pass

    with pytest.raises(ancf.InvalidParameterError, match="Local cannot be sent to a process of its own"):
        ancf.compare([Local(), Interrupting()], *split, "recall@5", own_process=True)
    with pytest.raises(ancf.InvalidParameterError, match="own_process=False does not go with it"):
        ancf.compare(["Popular"], *split, timeout_per_model=5, own_process=False)
