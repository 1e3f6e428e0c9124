"""Sampled and given candidates: the same for every model, and labelled as what they are."""

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.evaluation.candidates import find_candidates
from ancf.evaluation.ground_truth import GroundTruth, Known


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(8)
    users, items = rng.integers(0, 60, 2500), (rng.pareto(1.1, 2500) * 12).astype(int) % 150
    part = rng.random(2500) < 0.7
    train = ancf.Interactions.from_ids(user=users[part], item=items[part])
    return train, ancf.Interactions.from_ids(user=users[~part], item=items[~part])


def sets_of(train, test, model=None, n=20, seed=42, new_only=True):
    known = Known.of_scorer((model or ancf.Popular()).fit(train)._fitted())
    truth = GroundTruth(known, test, new_only)
    return known, truth, find_candidates("sampled", n, seed, known, truth, new_only, 2)


@pytest.mark.parametrize("new_only", [True, False])
def test_what_is_sampled_was_neither_had_nor_bought(split, new_only):
    train, test = split
    known, truth, found = sets_of(train, test, new_only=new_only)
    bought = test.to_pandas().groupby("user_id")["item_id"].agg(set)
    for at, user in enumerate(truth.users):
        wanted = set(truth.wanted.row(at).tolist())
        drawn = set(found.sets.row(at).tolist()) - wanted
        assert len(drawn) == 20
        assert not drawn & set(known.seen.row(user).tolist())
        assert not bought[known.user_ids[int(user)]] & set(known.item_ids.take(list(drawn)).tolist())


def test_every_model_gets_the_same_candidates_and_another_seed_gives_others(split):
    train, test = split
    first, second = sets_of(train, test)[2].sets, sets_of(train, test, ancf.ItemKNN())[2].sets
    assert np.array_equal(first.items, second.items)
    assert not np.array_equal(first.items, sets_of(train, test, seed=43)[2].sets.items)


def test_the_candidates_of_a_user_do_not_depend_on_the_others(split):
    train, test = split
    _, truth, found = sets_of(train, test)
    few = test[np.isin(test.users, np.unique(test.users)[5:8])]
    _, others, part = sets_of(train, few)
    for at, user in enumerate(others.users.tolist()):
        assert np.array_equal(part.sets.row(at), found.sets.row(truth.users.tolist().index(user)))


def test_a_rank_among_candidates_is_that_of_a_plain_sort(split):
    train, test = split
    model = ancf.ItemKNN(neighbors=30).fit(train)
    result = ancf.evaluate(model, test, ["mrr@200", "auc"], candidates="sampled", n_negatives=20)
    known, truth, found = sets_of(train, test)
    for at, user in enumerate(result.user_ids.tolist()):
        items = found.sets.row(at)
        scores = model.predict(user, known.item_ids.take(items))
        order = items[np.lexsort((items, -scores))].tolist()
        ranks = [order.index(item) + 1 for item in truth.wanted.row(at).tolist()]
        listed = model.recommend(user, N=200, items=known.item_ids.take(items).tolist()).ids
        if ranks and len(listed) == len(items):
            assert result.per_user["mrr@200"][at] == 1 / min(ranks)


def test_figures_over_sampled_candidates_are_labelled(split):
    train, test = split
    model = ancf.Popular().fit(train)
    whole = ancf.evaluate(model, test, "ndcg@10")
    sampled = ancf.evaluate(model, test, "ndcg@10", candidates="sampled", n_negatives=10)
    assert sampled["ndcg@10"] > 2 * whole["ndcg@10"]
    assert (whole.candidates, sampled.candidates) == ("all", "10 sampled")
    assert "ndcg@10 (10 sampled)" in repr(sampled)
    assert "no estimate of figures over all items" in repr(sampled)
    assert sampled.to_pandas()["candidates"].tolist() == ["10 sampled"]
    assert "candidates" not in whole.to_pandas()


def test_sampling_everything_gives_the_figures_over_all_items(split):
    train, test = split
    model = ancf.ItemKNN(neighbors=30).fit(train)
    whole = ancf.evaluate(model, test, ["ndcg@10", "auc"])
    sampled = ancf.evaluate(model, test, ["ndcg@10", "auc"], candidates="sampled", n_negatives=10_000)
    # What was bought and known from training already is no candidate, and in no list either.
    assert sampled.per_user["ndcg@10"].tolist() == whole.per_user["ndcg@10"].tolist()
    assert sampled["auc"] == pytest.approx(whole["auc"], nan_ok=True)
    assert "have fewer than 10,000 items left to sample" in repr(sampled)


def test_repeats_among_sampled_candidates_are_told(split):
    train, test = split
    model = ancf.Popular().fit(train)
    result = ancf.evaluate(model, test, candidates="sampled", filter_already_liked_items=False)
    assert "candidates were had in training, none of those sampled" in repr(result)


def test_given_candidates_are_all_that_is_listed(split):
    train, test = split
    model = ancf.ItemKNN(neighbors=30).fit(train)
    known, truth, found = sets_of(train, test)
    users = known.user_ids.take(truth.users).tolist()
    given = {user: known.item_ids.take(found.sets.row(at)).tolist() for at, user in enumerate(users)}
    sampled = ancf.evaluate(model, test, "ndcg@10", candidates="sampled", n_negatives=20)
    for form in (
        given,
        pd.DataFrame([(user, item) for user, row in given.items() for item in row], columns=["user_id", "item_id"]),
    ):
        result = ancf.evaluate(model, test, "ndcg@10", candidates=form)
        assert result.per_user["ndcg@10"].tolist() == sampled.per_user["ndcg@10"].tolist()
        assert result.candidates == "given"
    everything = dict.fromkeys(users, known.item_ids.values.tolist())
    assert (
        ancf.evaluate(model, test, "ndcg@10", candidates=everything)["ndcg@10"]
        == (ancf.evaluate(model, test, "ndcg@10")["ndcg@10"])
    )
    assert "candidates were had in training and are left out" in repr(
        ancf.evaluate(model, test, "ndcg@10", candidates=everything)
    )


def test_lists_made_elsewhere_are_measured_among_the_same_candidates(split):
    train, test = split
    model = ancf.ItemKNN(neighbors=200).fit(train)
    options = {"candidates": "sampled", "n_negatives": 20}
    own = ancf.evaluate(model, test, "ndcg@10", **options)

    class Rival:
        def recommend(self, user, N):
            return model.recommend(user, N=N).ids

    for lists in (Rival(), model.recommend_all(1000)):
        given = ancf.evaluate(lists, test, "ndcg@10", train=train, **options)
        assert given.per_user["ndcg@10"].tolist() == own.per_user["ndcg@10"].tolist()
        assert given.list_report.n_outside > 0
    short = ancf.evaluate(model.recommend_all(10), test, "ndcg@10", train=train, **options)
    assert short.list_report.n_short > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": "sample"}, "candidates is 'sample'; it must be 'all', 'sampled', or a mapping"),
        ({"n_negatives": 50}, 'n_negatives=50 has no effect without candidates="sampled"'),
        ({"random_state": 1}, 'random_state=1 has no effect without candidates="sampled"'),
        ({"candidates": "sampled", "n_negatives": 0}, "n_negatives is 0"),
        ({"candidates": "sampled", "metrics": "mse"}, "candidates: no metric of lists is asked for"),
        ({"candidates": {1: [3]}}, "candidates: .* users have no candidates"),
    ],
)
def test_wrong_candidates_are_refused(split, options, message):
    train, test = split
    with pytest.raises(ancf.AncfError, match=message):
        ancf.evaluate(ancf.Popular().fit(train), test, **{"metrics": "ndcg@10", **options})


def test_without_a_catalogue_nothing_can_be_sampled(split):
    with pytest.raises(ancf.InvalidParameterError, match="needs the catalogue"):
        ancf.evaluate({1: [3]}, split[1], "hit@1", candidates="sampled")
