"""Item-to-item: what is shown beside an item against what was bought next."""

from itertools import pairwise

import numpy as np
import pytest

import ancf

K = 5


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(1)
    n = 3000
    users, items = rng.integers(0, 50, n), (rng.pareto(1.2, n) * 8).astype(int) % 40
    data = ancf.Interactions.from_ids(user=users, item=items, time=rng.integers(0, 900, n) * 100)
    return ancf.time_split(data, (0.7, 0.3))


@pytest.mark.parametrize("with_train", [False, True])
def test_every_question_is_an_item_and_what_its_user_bought_next(parts, with_train):
    train, test = parts
    model = ancf.ItemKNN(neighbors=20).fit(train)
    result = ancf.evaluate_similar(model, test, [f"recall@{K}", f"mrr@{K}"], train=train if with_train else None)
    frame, past = test.to_pandas(), train.to_pandas()
    recall, first = {}, {}
    for user, events in frame.groupby("user_id"):
        baskets = [set(rows["item_id"]) for _, rows in events.groupby("time")]
        own = past[past["user_id"] == user]
        if with_train and len(own):
            baskets.insert(0, set(own[own["time"] == own["time"].max()]["item_id"]))
        for basket, following in pairwise(baskets):
            for query in basket:
                wanted = following - {query}
                if wanted and query in model.item_ids_:
                    shown = model.similar_items(query, N=K).ids.tolist()
                    hits = [item in wanted for item in shown]
                    recall.setdefault(user, []).append(sum(hits) / len(wanted))
                    first.setdefault(user, []).append(1 / (hits.index(True) + 1) if any(hits) else 0)
    assert result.user_ids.tolist() == sorted(recall)
    assert result.per_user[f"recall@{K}"].tolist() == pytest.approx([np.mean(recall[user]) for user in sorted(recall)])
    assert result.per_user[f"mrr@{K}"].tolist() == pytest.approx([np.mean(first[user]) for user in sorted(recall)])
    assert f"{sum(map(len, recall.values())):,} questions" in repr(result)
    assert 0 < result[f"recall@{K}"] < 1


def test_chunks_of_questions_change_nothing(parts, monkeypatch):
    from ancf.evaluation import similar

    train, test = parts
    model = ancf.ItemKNN(neighbors=20).fit(train)
    whole = ancf.evaluate_similar(model, test)
    monkeypatch.setattr(similar, "_CHUNK", 11)
    assert dict(ancf.evaluate_similar(model, test)) == dict(whole)


def test_several_new_items_that_were_bought_next_are_all_missed():
    train = ancf.Interactions.from_ids(user=[1, 1], item=["tea", "cup"])
    test = ancf.Interactions.from_ids(user=[9, 9, 9, 9], item=["tea", "cup", "new", "newer"], time=[1, 2, 2, 2])
    result = ancf.evaluate_similar(ancf.ItemKNN().fit(train), test, "recall@1")
    assert result["recall@1"] == 1 / 3
    assert result.n_unknown_items == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": ancf.Interactions.from_ids(user=[1, 1], item=[2, 3])}, "test has no times"),
        ({"test": ancf.Interactions.from_ids(user=[1, 2], item=[2, 3], time=[1, 2])}, "nobody buys an item"),
        ({"metrics": "coverage"}, "bought next is measured by ndcg, recall"),
        ({"metrics": "hits@3"}, "Did you mean 'hit@3'"),
        ({"model": 3}, "model is 3"),
        ({"train": [1]}, "as train, not list"),
    ],
)
def test_what_has_no_next_purchase_is_refused(parts, change, message):
    train, test = parts
    with pytest.raises(ancf.AncfError, match=message):
        ancf.evaluate_similar(**{"model": ancf.ItemKNN().fit(train), "test": test, **change})
    with pytest.raises(ancf.InvalidParameterError, match="knows no likeness between items"):
        ancf.evaluate_similar(ancf.Popular().fit(train), test)
