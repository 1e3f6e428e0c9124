"""``ancf.spark``: the bits of ``model.recommend`` whatever the partitions, a worker that dies, and what goes wrong."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ancf
import ancf.spark
from ancf import _native

from .conftest import N_USERS, REQUESTS, ids_for, rows, text_of


def frame(spark, model, users=None, partitions=3):
    kind = "bigint" if model.user_ids_.kind == "int" else "string"
    users = ids_for(model) if users is None else users
    return spark.createDataFrame([(each,) for each in users], f"user_id {kind}").repartition(partitions)


@pytest.mark.parametrize("kind", ["str", "int", "uuid"])
def test_the_lists_are_those_of_recommend_all_bit_for_bit(spark, models, kind):
    model = models[kind]
    lists = ancf.spark.recommend_all(model, frame(spark, model), 7)
    expected = model.recommend_all(7).to_arrow()
    assert lists.toArrow().schema.types == expected.schema.types
    assert rows(lists.toArrow()) == rows(expected)


def test_a_model_file_gives_the_same_lists_as_its_model(spark, models, tmp_path):
    models["str"].save(tmp_path / "shop.ancf")
    lists = ancf.spark.recommend_all(tmp_path / "shop.ancf", frame(spark, models["str"]), 3)
    assert rows(lists.toArrow()) == rows(models["str"].recommend_all(3).to_arrow())


@pytest.mark.parametrize(
    "filters",
    [
        {"items": ["p01", "p02", "p03", "never sold"], "filter_already_liked_items": False},
        {"filter_items": {text_of(3): ["p00", "p01"], text_of(250): ["p02"]}},
        {"items": {text_of(u): [f"p{u % 60:02d}", "p05", "gone"] for u in range(N_USERS)}},
    ],
)
def test_filters_mean_what_they_mean_in_the_library(spark, models, filters):
    model = models["str"]
    lists = ancf.spark.recommend_all(model, frame(spark, model), 5, **filters)
    assert rows(lists.toArrow()) == rows(model.recommend_all(5, **filters).to_arrow())


@pytest.mark.parametrize("request_name", REQUESTS)
def test_rules_what_was_shown_and_a_stock_mean_what_they_mean_in_the_library(spark, shop, request_name):
    options, stock = REQUESTS[request_name]
    view = shop.with_stock(stock)
    lists = rows(ancf.spark.recommend_all(view, frame(spark, shop), 5, **options).toArrow())
    assert lists == rows(view.recommend_all(5, **options).to_arrow())
    assert lists != rows(shop.recommend_all(5).to_arrow())


def test_rules_that_the_model_cannot_obey_and_lists_without_users_are_refused_before_the_job(spark, shop):
    users = frame(spark, shop)
    with pytest.raises(ancf.errors.InvalidParameterError, match="color"):
        ancf.spark.recommend_all(shop, users, rules=ancf.Rules(where="color == 'red'"))
    with pytest.raises(ancf.errors.InvalidParameterError, match=r"Write ancf.Rules"):
        ancf.spark.recommend_all(shop, users, rules={"where": "buyers > 5"})
    with pytest.raises(ancf.errors.InvalidDataError, match="shown: one list for each user"):
        ancf.spark.recommend_all(shop, users, shown=[["p01"]] * N_USERS)
    with pytest.raises(ancf.errors.InvalidDataError, match="shown"):
        ancf.spark.recommend_all(shop, users, shown=["never sold"])


def test_empty_and_skewed_partitions_change_no_bit(spark, models):
    model = models["str"]
    users = [(each,) for each in ids_for(model)]
    # Eight partitions: all users are in one of them, and the others are empty.
    parts = spark.sparkContext.parallelize(range(8), 8).flatMap(lambda part: users if part == 3 else [])
    skewed = spark.createDataFrame(parts, "user_id string")
    assert skewed.rdd.getNumPartitions() == 8
    lists = ancf.spark.recommend_all(model, skewed, 4)
    assert rows(lists.toArrow()) == rows(model.recommend_all(4).to_arrow())
    assert ancf.spark.recommend_all(model, frame(spark, model, []), 4).count() == 0


def test_strangers_are_served_as_the_library_serves_them(spark, models):
    model, asked = models["str"], [text_of(1), "a stranger"]
    for on_unknown in ("popular", "skip"):
        lists = ancf.spark.recommend_all(model, frame(spark, model, asked, 1), 3, on_unknown=on_unknown)
        assert rows(lists.toArrow()) == rows(model.recommend(asked, 3, on_unknown=on_unknown).to_arrow())
    with pytest.raises(Exception, match=r"UnknownUserError: .*a stranger"):
        ancf.spark.recommend_all(model, frame(spark, model, asked, 1), 3).collect()


def test_the_scores_of_pairs_are_those_of_predict(spark, models):
    for model in models.values():
        users = ids_for(model)[:40]
        items = [str(each) if model.item_ids_.kind == "uuid" else each for each in model.item_ids_.values[:40].tolist()]
        kind = "bigint" if model.user_ids_.kind == "int" else "string"
        pairs = spark.createDataFrame(
            [(place, *each) for place, each in enumerate(zip(users, items, strict=True))],
            f"place int, user_id {kind}, item_id {kind}",
        )
        scored = ancf.spark.predict(model, pairs).toArrow().sort_by("place")
        assert scored.column_names == ["place", "user_id", "item_id", "score"]
        expected = model.predict(model.user_ids_.values[:40], model.item_ids_.values[:40])
        assert scored["score"].to_pylist() == expected.tolist()


def test_no_row_is_shuffled(spark, models, capfd):
    users = spark.range(N_USERS).withColumnRenamed("id", "user_id")
    ancf.spark.recommend_all(models["int"], users, 3).explain()
    plan = capfd.readouterr().out
    assert "MapInArrow" in plan
    assert "Exchange" not in plan


def workers_of(file):
    """The processes that have a model file mapped, as Linux tells."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if file in (folder / "maps").read_text():
                yield int(folder.name)
        except OSError:
            continue


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc to find the workers by")
def test_a_worker_that_is_killed_is_replaced_and_the_lists_are_the_same(spark, models):
    model = models["str"]
    users = frame(spark, model, ids_for(model) * 20, partitions=40)
    lists = ancf.spark.recommend_all(model, users, 6)
    (file,) = {Path(each).name for each in spark.sparkContext.listFiles} & {f"ancf-{key_of(model)}.ancf"}
    found = []
    job = threading.Thread(target=lambda: found.append(lists.toArrow()))
    job.start()
    victim = None
    while victim is None and job.is_alive():
        victim = next(workers_of(file), None)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    job.join()
    expected = model.recommend(ids_for(model) * 20, 6).to_arrow()
    assert rows(found[0]) == rows(expected)


def key_of(model):
    from ancf.engines.request import key_of_bytes

    return key_of_bytes(model.to_bytes())


def test_a_worker_without_the_package_is_told_what_to_install(spark, models, tmp_path, monkeypatch):
    # A Python that has everything but ancf.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'ancf':\n"
        "            raise ModuleNotFoundError(\"No module named 'ancf'\", name='ancf')\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    monkeypatch.setitem(spark.sparkContext.environment, "PYTHONPATH", str(tmp_path))
    model = models["int"]
    users = frame(spark, model, partitions=1)
    with pytest.raises(ancf.MissingExtraError, match=r"No module named 'ancf'.*extra spark.*PYSPARK_PYTHON"):
        ancf.spark.recommend_all(model, users, 3)
    # Where the worker that was asked has it, and another one has not.
    monkeypatch.setattr(ancf.spark, "_check_workers", lambda context: None)
    with pytest.raises(Exception, match=r"cannot load ancf \(No module named 'ancf'\).*extra spark.*PYSPARK_PYTHON"):
        ancf.spark.recommend_all(model, users, 3).collect()


def test_a_model_newer_than_the_ancf_of_the_worker_is_refused(spark, models, monkeypatch):
    monkeypatch.setattr(_native, "__version__", "99.1.0")
    lists = ancf.spark.recommend_all(models["uuid"], frame(spark, models["uuid"], partitions=1), 3)
    with pytest.raises(Exception, match=r"was written by ancf 99\.1\.0, and this worker has ancf .* Install ancf 99"):
        lists.collect()


def test_wrong_frames_and_filters_are_refused_before_any_worker_begins(spark, models):
    model = models["str"]
    numbers = spark.range(3)
    with pytest.raises(ancf.InvalidDataError, match="'id' is bigint, but the ids of the model are text"):
        ancf.spark.recommend_all(model, numbers)
    with pytest.raises(ancf.InvalidDataError, match="no column 'user_id' among"):
        ancf.spark.recommend_all(model, spark.createDataFrame([("a", "b")], "who string, what string"))
    with pytest.raises(ancf.InvalidParameterError, match="users_df is a list; it must be a Spark DataFrame"):
        ancf.spark.recommend_all(model, ["ann"])
    with pytest.raises(ancf.InvalidDataError, match="no order that says whose list is whose"):
        ancf.spark.recommend_all(model, frame(spark, model), items=[["p01"], ["p02"]])
    with pytest.raises(ancf.InvalidDataError, match="none of the 1 ids is known"):
        ancf.spark.recommend_all(model, frame(spark, model), filter_items=["no such thing"])
    with pytest.raises(ancf.InvalidParameterError, match="N is 0"):
        ancf.spark.recommend_all(model, frame(spark, model), 0)
    with pytest.raises(ancf.InvalidDataError, match='a column "score" already'):
        ancf.spark.predict(
            model, spark.createDataFrame([("a", "b", 1.0)], "user_id string, item_id string, score float")
        )
    with pytest.raises(ancf.NotFittedError):
        ancf.spark.recommend_all(ancf.Popular(), frame(spark, model))


def test_the_example_runs(spark, models, tmp_path):
    models["int"].save(tmp_path / "shop.ancf")
    spark.range(10, 40).withColumnRenamed("id", "user_id").write.parquet(str(tmp_path / "customers.parquet"))
    script = Path(__file__).parents[2] / "examples" / "spark_job.py"
    arguments = [str(tmp_path / name) for name in ("shop.ancf", "customers.parquet", "lists.parquet")]
    settings = {**os.environ, "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell"}
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, env=settings, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "recommendations for 30 users" in done.stdout


def test_a_missing_pyspark_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    model = ancf.from_factors([[1.0]], [[1.0]])
    with pytest.raises(ancf.MissingExtraError, match=r"pip install 'ancf\[spark\]'"):
        ancf.spark.recommend_all(model, object())
