"""P8: a defect inside the core becomes ``InternalError``, nothing aborts, and the next call works.

``_core._panic_for_tests`` panics on purpose at each place where the core can be running: on the calling thread with and
without the GIL, in the pool, and in one of many tasks of the pool.
"""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf import _core

PLACES = ("at once", "small", "large", "task")


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    return ancf.from_factors(rng.standard_normal((3000, 16)), rng.standard_normal((800, 16)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_panic_is_an_internal_error_and_everything_works_afterwards(model, place, threads, capfd):
    expected = model.recommend_all(N=5).to_pandas()
    for _ in range(20):
        with pytest.raises(ancf.InternalError, match=rf"defect.*asked for by a test \({place}\).*report"):
            _core._panic_for_tests(place, threads)
        assert model.recommend(7, N=5).ids.tolist() == expected["item_id"][35:40].tolist()
    assert model.recommend_all(N=5).to_pandas().equals(expected)
    assert issubclass(ancf.InternalError, Exception)


def test_panics_in_many_threads_at_once_stay_with_their_callers(model):
    expected = model.recommend_all(N=3).to_pandas()
    outcomes = []

    def defective():
        for at in range(30):
            try:
                _core._panic_for_tests(PLACES[at % 4], 2)
            except ancf.InternalError:
                outcomes.append("error")

    def sound():
        for _ in range(10):
            outcomes.append(model.recommend_all(N=3).to_pandas().equals(expected))

    threads = [threading.Thread(target=work) for work in (defective, sound, defective)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert sorted(map(str, outcomes)) == ["True"] * 10 + ["error"] * 60


def test_a_panic_during_training_leaves_the_model_as_it_was(model, monkeypatch):
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    trained = ancf.ANCF(factors=4, epochs=2).fit(data)
    before = trained.recommend_all(N=3).to_pandas()
    monkeypatch.setattr(ancf._native, "user_vectors", lambda *_: _core._panic_for_tests("task"))
    with pytest.raises(ancf.InternalError):
        trained.fit(data)
    monkeypatch.undo()
    assert trained.recommend_all(N=3).to_pandas().equals(before)


def test_there_is_one_way_into_the_core():
    """The GIL is let go, threads are waited for and panics are caught in one file; every other asks that one."""
    sources = Path(__file__).parents[2] / "rust" / "py" / "src"
    words = re.compile(r"\.detach\(|Python::attach|catch_unwind|Context::new|\.install\(\)|thread::spawn|unsafe")
    found = {path.name: words.findall(path.read_text()) for path in sources.glob("*.rs")}
    found["lib.rs"].remove("unsafe")  # forbid(unsafe_code)
    assert {name for name, hits in found.items() if hits} == {"enter.rs"}
