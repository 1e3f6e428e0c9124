"""Whoever asks while a model is fitted anew gets each answer wholly from the model before or wholly from the one after.

Everything an answer is made of (ids, vectors, weights, what a user has had, how a history is folded in) hangs on one
object that never changes, and a model becomes another by one assignment of it.
"""

import hashlib
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

import ancf

REFITS, ASKING = 10, 8


def shop(seed, first_item):
    """The same forty customers and thirty products, bought otherwise; products of its own shift the positions."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 40, 700), rng.integers(0, 30, 700)
    everybody, everything = np.arange(40), np.arange(30)
    own = first_item + rng.integers(0, 50, 300)
    return ancf.Interactions.from_ids(
        user=[f"c{user:02d}" for user in np.r_[users, everybody, everything, rng.integers(0, 40, 300)]],
        item=[f"p{item:03d}" for item in np.r_[items, rng.integers(0, 30, 40), everything, own]],
        item_names={f"p{item:03d}": f"of shop {seed}" for item in range(400)},
    )


def saved(model):
    """The bytes of the model's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.ancf"
        model.save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()


LATER = ancf.Interactions.from_ids(
    user=np.repeat(["c03", "c07", "c31"], 30), item=[f"p{item:03d}" for item in range(30)] * 3
)
QUESTIONS = {
    "recommend": lambda m: repr(m.recommend("c07", N=5)),
    "recommend many": lambda m: repr(m.recommend(["c03", "c31", "nobody"], N=4, on_unknown="popular")),
    "recommend_for_history": lambda m: repr(m.recommend_for_history(["p002", "p011"], N=5)),
    "recommend_for_history weighted": lambda m: repr(m.recommend_for_history({"p002": 2.0, "p011": 1.0}, N=5)),
    "recommend_all": lambda m: repr(m.recommend_all(N=2)),
    "predict": lambda m: repr(m.predict("c07", [f"p{item:03d}" for item in range(30)]).tolist()),
    "explain": lambda m: repr(m.explain("c07", "p004")),
    "explain a history": lambda m: repr(m.explain(item="p004", history=["p002", "p011"])),
    "evaluate": lambda m: repr(sorted(ancf.evaluate(m, LATER, ["ndcg@5", "coverage@5"]).items())),
    "save": lambda m: saved(m),
    "similar_items": lambda m: repr(m.similar_items("p004", N=5)),
    "similar_users": lambda m: repr(m.similar_users("c07", N=5)),
}


@pytest.mark.parametrize(
    "model",
    [
        ancf.ItemKNN(neighbors=20),
        ancf.ANCF(factors=8, epochs=1, random_state=0),
        ancf.ANCF(factors=8, epochs=1, random_state=0, loss="bce", output="sigmoid", biases=True),
    ],
    ids=["item-kNN", "ancf", "network"],
)
def test_every_answer_belongs_wholly_to_one_model_while_another_takes_its_place(model, tmp_path):
    tables = [shop(1, 100), shop(2, 0)]
    expected = {name: set() for name in QUESTIONS}
    for table in tables:
        one = model.clone().fit(table)
        one.save(tmp_path / "one.ancf")
        for each in (one, ancf.load(tmp_path / "one.ancf")):
            for name, ask in QUESTIONS.items():
                expected[name].add(ask(each))
    assert all(len(answers) == 2 for answers in expected.values())

    model.fit(tables[0])
    stop, start = threading.Event(), threading.Barrier(ASKING + 1)
    wrong, asked = [], [0] * ASKING

    def keep_asking(number):
        start.wait()
        names = list(QUESTIONS)
        while not stop.is_set():
            name = names[(number + asked[number]) % len(names)]
            try:
                answer = QUESTIONS[name](model)
            except Exception as error:
                answer = repr(error)
            if answer not in expected[name]:
                wrong.append((name, answer))
                return
            asked[number] += 1

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(ASKING)]
    for thread in threads:
        thread.start()
    start.wait()
    try:
        for refit in range(1, REFITS + 1):
            model.fit(tables[refit % 2])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[0]
    assert min(asked) > 0
