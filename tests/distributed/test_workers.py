"""P4 over workers: any number of them ends in the bytes of one machine, also when they die. No engine is needed."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

import ancf
from ancf.checkpoints import Checkpoint
from ancf.data.csr import Csr, ItemSets
from ancf.demo_shop import demo_shop
from ancf.distributed.fitting import Spread, fit
from ancf.distributed.pool import LocalPool, WorkerLostError, bounds, user_bounds
from ancf.distributed.shards import read_interactions
from ancf.distributed.users import SpreadUsers
from ancf.models.ancf.machines import computing_on
from ancf.models.ancf.sides import ItemFactors, ItemSide, UserSide

MODELS = {
    "as it is": ancf.ANCF(factors=8, epochs=3),
    "drawn negatives": ancf.ANCF(factors=9, epochs=2, negatives=13, batch_size=50, neighbors=0, serving_exponent=0.5),
    "sharp softmax": ancf.ANCF(factors=8, epochs=2, temperature=0.01, negatives=13, neighbors=0, serving_exponent=0.5),
    "a mean, and bare items": ancf.ANCF(
        factors=8, epochs=2, attention="mean", item_attention=False, init="random", neighbor_weight=0.5,
        serving_exponent=0.0, regularization=0.01,
    ),
    "another exponent": ancf.ANCF(
        factors=8, epochs=2, attention_exponent=0.7, neighbor_weight=1.0, serving_exponent=1.0
    ),
}  # fmt: skip


@cache
def tables():
    data = ancf.read_interactions(demo_shop(customers=120, products=50))
    return ancf.random_split(data, (0.8, 0.2), random_state=1, on_leak="ignore")


@cache
def alone(name, validated):
    train, validation = tables()
    return MODELS[name].clone().fit(train, validation if validated else None)


def spread(model, train, validation=None, *, pool, **options):
    with computing_on(Spread(pool, 1)):
        return model.clone().fit(train, validation, **options)


@pytest.mark.parametrize("n_workers", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_workers_ends_in_the_bytes_of_one_machine(name, n_workers):
    found = spread(MODELS[name], tables()[0], pool=LocalPool(n_workers))
    assert found.history_ == alone(name, False).history_
    assert found.to_bytes() == alone(name, False).to_bytes()


@pytest.mark.parametrize("n_workers", [2, 5])
def test_losses_of_a_validation_table_are_those_of_one_machine(n_workers):
    found = spread(MODELS["drawn negatives"], *tables(), pool=LocalPool(n_workers))
    assert found.history_ == alone("drawn negatives", True).history_
    assert found.to_bytes() == alone("drawn negatives", True).to_bytes()


def test_users_beyond_one_chunk_of_the_spectrum_and_one_slice_of_a_batch():
    draws = np.random.default_rng(3)
    users = np.repeat(np.arange(5000), 3)
    data = ancf.Interactions.from_ids(user=users, item=(draws.random(len(users)) ** 2 * 60).astype(int))
    model = ancf.ANCF(factors=4, epochs=1, batch_size=1300, neighbors=0, serving_exponent=0.5)
    assert spread(model, data, pool=LocalPool(3)).to_bytes() == model.clone().fit(data).to_bytes()


@cache
def timed():
    """Enough users that each of three workers has some in every stage, and times, so that all is chosen."""
    draws = np.random.default_rng(5)
    users = np.repeat(np.arange(6500), 4)
    items = (draws.random(len(users)) ** 2 * 60).astype(int)
    times = 1_700_000_000 + draws.integers(0, 200 * 86_400, len(users))
    data = ancf.Interactions.from_ids(user=users, item=items, time=times)
    return ancf.random_split(data, (0.8, 0.2), random_state=1, on_leak="ignore")


CHOOSING = {
    "for the future": ancf.ANCF(factors=4, epochs=2, choose_for="future", validation_metric="recall@5"),
    "what is next": ancf.ANCF(factors=4, epochs=2, choose_for="next", validation_metric="auc"),
    "any": ancf.ANCF(factors=4, epochs=1, choose_for="random", validation_metric="coverage@5"),
}


@cache
def chosen_alone(name):
    return CHOOSING[name].clone().fit(*timed())


@pytest.mark.parametrize("name", CHOOSING)
def test_choosing_and_validation_over_workers_measure_what_one_machine_measures(name):
    called = Counter()
    pool = LocalPool(3, lambda worker, method: called.update([(method, worker)]))
    found = spread(CHOOSING[name], *timed(), pool=pool)
    assert found.history_ == chosen_alone(name).history_
    assert found.to_bytes() == chosen_alone(name).to_bytes()
    # All of them, and not one for the others.
    for method in ("user_vectors", "gram_parts", "top_n", "mixed_ndcg", "ridge", "validation"):
        assert all(called[method, worker] for worker in range(3)), method


@pytest.mark.parametrize("n_workers", [1, 3, 7])
def test_users_over_workers_have_the_bits_of_users_on_one_machine(n_workers, monkeypatch):
    train, _ = timed()
    pairs, times, draws = train.to_csr(), train.pair_times(), np.random.default_rng(8)
    vectors = draws.standard_normal((train.n_items, 6), dtype=np.float32)
    priors = draws.random(train.n_items, np.float32)
    weights = draws.random((train.n_items, train.n_items), np.float32)
    rows = np.arange(train.n_items + 1) * train.n_items
    everything = np.tile(np.arange(train.n_items, dtype=np.int32), train.n_items)
    items = ItemSide(vectors, priors, Csr(rows, everything, weights.reshape(-1)), False)
    alone = UserSide(pairs, times, 1)
    spread = SpreadUsers(LocalPool(n_workers), pairs, times, 1)
    assert (spread.vectors(items, 60.0) == alone.vectors(items, 60.0)).all()
    assert (spread.gram_parts(items, 60.0) == alone.gram_parts(items, 60.0)).all()
    asked = np.sort(draws.permutation(train.n_users)[:500])
    mixtures = [ItemFactors(*draws.random((2, train.n_items), np.float32)) for _ in range(3)]
    new = {user: np.setdiff1d(np.arange(train.n_items), pairs.row(user)[0])[:5] for user in asked.tolist()}
    wanted = ItemSets.from_rows(list(new.values()))
    vectors_alone = [ItemFactors(mixtures[0].vectors, np.zeros(train.n_items, np.float32))]
    for half_life in (60.0, None):
        found, expected = (users.top_n(items, half_life, asked, 9) for users in (spread, alone))
        assert all((one == other).all() for one, other in zip(found, expected, strict=True))
        for mixed in (mixtures, vectors_alone):
            found, expected = (users.mixed_ndcg(items, half_life, mixed, asked, wanted, 9) for users in (spread, alone))
            assert max(each.max() for each in expected) > 0
            np.testing.assert_array_equal(found, expected)
    # Weights are sent once for all who are asked and once for a part of them, though these take turns.
    put, sent = spread._pool.put, []
    monkeypatch.setattr(spread._pool, "put", lambda value: sent.append(value) or put(value))
    half, wanted_of_half = asked[::2], wanted.take(np.arange(len(asked))[::2])
    for _ in range(3):
        spread.mixed_ndcg(items, None, mixtures, half, wanted_of_half, 9)
        spread.mixed_ndcg(items, None, mixtures, asked, wanted, 9)
    assert sum(isinstance(value, Csr) for value in sent) == n_workers
    assert spread.top_n(items, None, asked[:0], 9).counts.shape == (0,)
    found = spread.mixed_ndcg(items, None, mixtures, asked[:0], wanted.take(asked[:0]), 9)
    assert [each.shape for each in found] == [(0,)] * 3


@pytest.mark.parametrize("method", ["user_vectors", "gram_parts", "top_n", "mixed_ndcg", "ridge", "validation"])
def test_a_worker_that_dies_while_others_choose_changes_no_byte(method):
    calls = [0]

    def before(worker, called):
        calls[0] += called == method
        if called == method and calls[0] in (2, 3):
            raise WorkerLostError("lost")

    model = CHOOSING["for the future"]
    assert spread(model, *timed(), pool=LocalPool(3, before)).to_bytes() == chosen_alone("for the future").to_bytes()
    assert calls[0] > 3


def test_ranges_of_users_begin_where_they_may_and_cover_everybody():
    indptr = np.concatenate(([0], np.cumsum(np.arange(100) % 7)))
    for parts, multiple in ((1, 1), (3, 1), (3, 16), (8, 64), (200, 1)):
        at = user_bounds(indptr, parts, multiple)
        assert (at[0], at[-1], len(at)) == (0, 100, parts + 1)
        assert at == sorted(at)
        assert not any(each % multiple for each in at[:-1])


def test_more_workers_than_users():
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "a"])
    model = ancf.ANCF(factors=4, epochs=2)
    assert spread(model, data, pool=LocalPool(8)).to_bytes() == model.clone().fit(data).to_bytes()


@pytest.mark.parametrize(
    "method",
    ["begin", "carry", "batch", "negatives", "finish_gradient", "update", "progress", "ridge", "resume", "carry_gram"],
)
def test_a_worker_that_dies_is_replaced_and_no_byte_changes(method):
    calls = [0]

    def before(worker, called):
        if called == method:
            calls[0] += 1
            # Early, and later once more.
            if calls[0] in (2, 9):
                raise WorkerLostError("lost")

    assert (
        spread(MODELS["as it is"], tables()[0], pool=LocalPool(3, before)).to_bytes()
        == alone("as it is", False).to_bytes()
    )
    assert calls[0] > 2


def test_workers_that_always_die_are_an_error_at_last():
    def before(worker, called):
        if called == "batch":
            raise WorkerLostError("lost again")

    with pytest.raises(WorkerLostError, match="lost again"):
        spread(MODELS["drawn negatives"], tables()[0], pool=LocalPool(2, before))


def test_a_checkpoint_goes_on_with_other_workers_and_without(tmp_path, monkeypatch):
    path, (train, _) = tmp_path / "going.ancf", tables()
    write, stops = Checkpoint._write, iter([False, True, False, True, True])

    def stopping(*arguments):
        write(*arguments)
        if next(stops, False):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "_write", stopping)
    for pool in (LocalPool(3), LocalPool(2)):
        with pytest.raises(KeyboardInterrupt):
            spread(MODELS["as it is"], train, pool=pool, checkpoint=path, resume=True)
    with pytest.raises(KeyboardInterrupt):
        MODELS["as it is"].clone().fit(train, checkpoint=path, resume=True)
    found = spread(MODELS["as it is"], train, pool=LocalPool(4), checkpoint=path, resume=True)
    assert found.to_bytes() == alone("as it is", False).to_bytes()


def test_training_that_diverges_says_so_as_on_one_machine():
    model = ancf.ANCF(factors=4, epochs=3, learning_rate=1e30, neighbors=0, serving_exponent=0.5)
    messages = []
    for pool in (None, LocalPool(3)):
        with pytest.raises(ancf.DivergedError) as error:
            model.clone().fit(tables()[0]) if pool is None else spread(model, tables()[0], pool=pool)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_models_that_workers_cannot_train_are_refused_before_an_engine_is_asked_for():
    train, _ = tables()
    for model, words in (
        (ancf.ALS(), "workers train ANCF, and not a ALS"),
        (ancf.ANCF(loss="bpr"), "plain softmax alone, and this one has loss='bpr'"),
        (ancf.ANCF(user_factors=True, biases=True), "this one has user_factors=True, biases=True"),
    ):
        with pytest.raises(ancf.InvalidParameterError, match=words):
            fit(model, train)
    with pytest.raises(ancf.InvalidParameterError, match="num_workers is 0"):
        fit(ancf.ANCF(), train, num_workers=0)
    with pytest.raises(ancf.InvalidCallError, match="num_workers"):
        fit(ancf.ANCF(), train, num_worker=2)


def test_rows_that_workers_read_cannot_wait_on_a_disk():
    with pytest.raises(ancf.InvalidParameterError, match="max_memory='1GB': what workers read comes together here"):
        read_interactions(["a.csv", "b.csv"], max_memory="1GB")


def test_parts_cover_everything_once():
    for n, parts in ((0, 3), (1, 4), (7, 3), (8, 8), (10, 4)):
        at = bounds(n, parts)
        assert (at[0], at[-1], len(at)) == (0, n, parts + 1)
        assert at == sorted(at)
