"""``ancf.ray``: the bits of ``model.recommend`` whatever the blocks, a worker that dies, and what goes wrong."""

import sys

import pandas as pd
import pyarrow as pa
import pytest

import ancf
import ancf.ray
from ancf import _native

from .conftest import REQUESTS, ids_for, rows, text_of


def dataset(cluster, model, users=None, blocks=3):
    users = ids_for(model) if users is None else users
    step = -(-len(users) // blocks)
    return cluster.from_pandas([pd.DataFrame({"user_id": users[at : at + step]}) for at in range(0, len(users), step)])


def table_of(data):
    import ray

    parts = ray.get(data.to_arrow_refs())
    return pa.concat_tables([each for each in parts if each.num_rows])


@pytest.mark.parametrize("kind", ["str", "int", "uuid"])
def test_the_lists_are_those_of_recommend_all_bit_for_bit(cluster, models, kind):
    model = models[kind]
    lists = table_of(ancf.ray.recommend_all(model, dataset(cluster, model), 7))
    expected = model.recommend_all(7).to_arrow()
    assert lists.schema.types == expected.schema.types
    assert rows(lists) == rows(expected)


def test_filters_and_strangers_mean_what_they_mean_in_the_library(cluster, models):
    model, asked = models["str"], [text_of(1), "a stranger", text_of(200)]
    options = {"filter_items": {text_of(1): ["p00", "p01"]}, "items": [f"p{i:02d}" for i in range(30)]}
    lists = ancf.ray.recommend_all(model, dataset(cluster, model, asked, 1), 5, on_unknown="popular", **options)
    assert rows(table_of(lists)) == rows(model.recommend(asked, 5, on_unknown="popular", **options).to_arrow())
    with pytest.raises(Exception, match=r"UnknownUserError: .*a stranger"):
        ancf.ray.recommend_all(model, dataset(cluster, model, asked, 1), 5).take_all()


@pytest.mark.parametrize("request_name", REQUESTS)
def test_rules_what_was_shown_and_a_stock_mean_what_they_mean_in_the_library(cluster, shop, request_name):
    options, stock = REQUESTS[request_name]
    view = shop.with_stock(stock)
    lists = rows(table_of(ancf.ray.recommend_all(view, dataset(cluster, shop), 5, **options)))
    assert lists == rows(view.recommend_all(5, **options).to_arrow())
    assert lists != rows(shop.recommend_all(5).to_arrow())


def test_empty_and_skewed_blocks_change_no_bit(cluster, models):
    model = models["int"]
    users = ids_for(model)
    parts = [users[:0], users[:-1], users[:0], users[-1:]]
    skewed = cluster.from_arrow([pa.table({"user_id": pa.array(each, pa.int64())}) for each in parts])
    assert rows(table_of(ancf.ray.recommend_all(model, skewed, 4))) == rows(model.recommend_all(4).to_arrow())


def test_the_scores_of_pairs_are_those_of_predict(cluster, models):
    model = models["str"]
    pairs = pd.DataFrame({"place": range(40), "user_id": ids_for(model)[:40], "item_id": model.item_ids_.values[:40]})
    scored = table_of(ancf.ray.predict(model, cluster.from_pandas([pairs]))).sort_by("place")
    assert scored["score"].to_pylist() == model.predict(pairs["user_id"], pairs["item_id"]).tolist()


def test_a_worker_that_is_killed_is_replaced_and_the_lists_are_the_same(cluster, models, tmp_path):
    model, mark = models["str"], tmp_path / "killed"
    users = dataset(cluster, model, blocks=6)

    def kill_once(batch):
        import os
        import signal

        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return batch
        return os.kill(os.getpid(), signal.SIGKILL)

    # Fused with what follows it, so that the task of the lists dies.
    dying = users.map_batches(kill_once, batch_format="pyarrow")
    lists = table_of(ancf.ray.recommend_all(model, dying, 6))
    assert mark.exists()
    assert rows(lists) == rows(model.recommend_all(6).to_arrow())


def test_a_model_newer_than_the_ancf_of_the_worker_is_refused(cluster, models, monkeypatch):
    monkeypatch.setattr(_native, "__version__", "99.1.0")
    lists = ancf.ray.recommend_all(models["uuid"], dataset(cluster, models["uuid"]), 3)
    with pytest.raises(Exception, match=r"ModelFileError: .* written by ancf 99\.1\.0, and this worker has ancf"):
        lists.take_all()


def test_wrong_datasets_are_refused(cluster, models):
    model = models["str"]
    with pytest.raises(ancf.InvalidParameterError, match=r"must be a ray\.data\.Dataset"):
        ancf.ray.recommend_all(model, ["ann"])
    with pytest.raises(Exception, match=r"InvalidDataError: .*'user_id' is int64, but the ids of the model are text"):
        ancf.ray.recommend_all(model, cluster.from_items([{"user_id": 1}])).take_all()
    with pytest.raises(Exception, match="no column 'user_id' among"):
        ancf.ray.recommend_all(model, cluster.from_items([{"who": "a", "what": "b"}])).take_all()
    with pytest.raises(ancf.InvalidParameterError, match="num_cpus is 0"):
        ancf.ray.recommend_all(model, dataset(cluster, model), num_cpus=0)


def test_a_missing_ray_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    model = ancf.from_factors([[1.0]], [[1.0]])
    with pytest.raises(ancf.MissingExtraError, match=r"pip install 'ancf\[ray\]'"):
        ancf.ray.recommend_all(model, object())
