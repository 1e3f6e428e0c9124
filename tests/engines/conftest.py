"""A Spark session with two workers and a Ray cluster of two cores, one of each for all tests."""

import os
import shutil
import sys
import uuid

import numpy as np
import pytest

import ancf

N_USERS, N_ITEMS = 300, 60


def pytest_configure(config):
    # Of pandas 3, which the functions used here do with; docs/engines.md says what was tried.
    config.addinivalue_line("filterwarnings", "ignore:PySpark does not yet fully support pandas:FutureWarning")
    # Engines leave sockets and processes to their own ends.
    config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
    # Of settings of its own that Ray reads.
    config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:ray\..*")


def pytest_collection_modifyitems(items):
    # A session and its workers start within the first test of each engine, on a busy machine too.
    for each in items:
        each.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def spark():
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, and there is none")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Two workers; a task that loses its own is tried again.
    builder = sql.SparkSession.builder.master("local[2,4]").appName("ancf")
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def cluster():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    data = pytest.importorskip("ray.data", reason="ray[data] is not installed")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    data.DataContext.get_current().enable_progress_bars = False
    yield data
    ray.shutdown()


def text_of(number):
    return f"customer-{number:04d}"


def uuid_of(number):
    return uuid.UUID(int=int(number))


@pytest.fixture(scope="session")
def models():
    """By the kind of their ids: text, whole numbers and UUIDs; the second knows the items' names."""
    rng = np.random.default_rng(7)
    users, items = rng.integers(0, N_USERS, 4000), rng.zipf(1.3, 4000) % N_ITEMS
    users[:N_USERS], items[:N_ITEMS] = np.arange(N_USERS), np.arange(N_ITEMS)

    def table(user, item, **more):
        return ancf.Interactions.from_ids(user=[user(u) for u in users], item=[item(i) for i in items], **more)

    return {
        "str": ancf.ANCF(factors=8, epochs=1, neighbors=5, random_state=1).fit(table(text_of, lambda i: f"p{i:02d}")),
        "int": ancf.ItemKNN(neighbors=5).fit(table(int, int, item_names={i: f"Product {i}" for i in range(N_ITEMS)})),
        "uuid": ancf.Popular().fit(table(uuid_of, uuid_of)),
    }


# Each is a call of ``recommend_all``, and what of the model is in stock.
REQUESTS = {
    "rules": (
        {
            "rules": ancf.Rules(
                deny=["p03", "gone"],
                where="buyers > 5",
                boosts={"buyers < 60": 2.5},
                at_most={"category": 2},
                at_least={"category == 'c2'": 1},
                pins={2: "p05"},
                diversity=0.3,
            )
        },
        None,
    ),
    "shown to everybody": ({"shown": ["p00", "p01", "never sold"]}, None),
    "shown to each": (
        {
            "rules": ancf.Rules(fade=0.5),
            "shown": {text_of(u): [*["p01"] * (u % 4), "p02", "gone"] for u in range(0, N_USERS, 2)} | {text_of(7): []},
            "filter_already_liked_items": False,
        },
        None,
    ),
    "stock": ({"filter_items": {text_of(3): ["p04"]}}, [f"p{i:02d}" for i in range(2, 40)]),
    "all": (
        {"rules": ancf.Rules(at_most={"category": 1}), "shown": ["p04"], "items": ["p02", "p04", "p05", "p07", "p50"]},
        [f"p{i:02d}" for i in range(2, 40)],
    ),
}


@pytest.fixture(scope="session")
def shop():
    """A model of text ids, with a category for each item."""
    rng = np.random.default_rng(8)
    users, items = rng.integers(0, N_USERS, 4000), rng.zipf(1.3, 4000) % N_ITEMS
    users[:N_USERS], items[:N_ITEMS] = np.arange(N_USERS), np.arange(N_ITEMS)
    data = ancf.Interactions.from_ids(
        user=[text_of(u) for u in users],
        item=[f"p{i:02d}" for i in items],
        item_categories={f"p{i:02d}": f"c{i % 4}" for i in range(N_ITEMS)},
    )
    return ancf.ANCF(factors=8, epochs=1, neighbors=5, random_state=1).fit(data)


def ids_for(model):
    """The users' ids as an engine holds them."""
    return [str(each) if model.user_ids_.kind == "uuid" else each for each in model.user_ids_.values.tolist()]


def rows(table):
    """The rows of a table of Arrow, by user and rank."""
    if hasattr(table, "combine_chunks"):
        table = table.combine_chunks()
    columns = [table.column(name).to_pylist() for name in table.column_names]
    at = table.column_names.index("rank")
    return table.column_names, sorted(zip(*columns, strict=True), key=lambda row: (str(row[0]), row[at]))
