"""Workers on a real Ray cluster of this machine: the same bytes, also when one is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import ancf
import ancf.ray
from ancf.demo_shop import demo_shop
from ancf.distributed.fitting import Spread, fit
from ancf.distributed.ray_pool import RayPool
from ancf.models.ancf.machines import computing_on

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

# Ray leaves sockets and files to the end of its processes.
# On a busy machine it starts, and makes a thousand small calls, as slowly as Spark does.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def data():
    return ancf.read_interactions(demo_shop(customers=120, products=50))


MODEL = ancf.ANCF(factors=8, epochs=3)


def test_two_workers_end_in_the_bytes_of_one_machine(data):
    found = fit(MODEL.clone(), data, num_workers=2)
    assert found.to_bytes() == MODEL.clone().fit(data).to_bytes()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The shop in three files, with a return in another file than its purchase, and an anonymous row."""
    table = demo_shop(customers=120, products=50)
    bought = table.iloc[[0]].copy()
    bought["quantity"] *= -1
    table = pd.concat([table, bought], ignore_index=True)
    table.loc[table.index[5], "customer_id"] = None
    folder = tmp_path_factory.mktemp("shards")
    for at in range(3):
        table.iloc[at * len(table) // 3 : (at + 1) * len(table) // 3].to_csv(folder / f"{at}.csv", index=False)
    return sorted(folder.iterdir())


def same(found, expected):
    assert str(found.report) == str(expected.report)
    for name in ("users", "items", "weights", "times"):
        assert (getattr(found, name) == getattr(expected, name)).all()
    assert found.user_ids.values.tolist() == expected.user_ids.values.tolist()


def test_shards_that_workers_read_are_the_table_that_one_machine_reads(shards):
    same(ancf.ray.read_interactions(shards), ancf.read_interactions(shards))
    folder = str(shards[0].parent)
    same(ancf.ray.read_interactions(folder, returns="drop"), ancf.read_interactions(folder, returns="drop"))
    # One of them in this process, one in Ray's store, a data set of two blocks.
    frames = [pd.read_csv(each) for each in shards]
    mixed = [frames[0], ray.put(frames[1]), ray.data.from_pandas([frames[2].iloc[:40], frames[2].iloc[40:]])]
    parts = [frames[0], frames[1], pa.table(frames[2].iloc[:40]), pa.table(frames[2].iloc[40:])]
    found, expected = ancf.ray.read_interactions(mixed), ancf.read_interactions(parts)
    assert found.report.rows_used == expected.report.rows_used
    assert (found.weights == expected.weights).all()
    assert (found.items == expected.items).all()


def test_what_a_worker_finds_in_a_shard_is_told_as_here(shards, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("this,that\n1,2\n")
    for source in ([shards[0], bad], [shards[0], tmp_path / "nowhere.csv"]):
        messages = []
        for read in (ancf.read_interactions, ancf.ray.read_interactions):
            with pytest.raises(ancf.AncfError) as error:
                read(source)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_fit_takes_shards_and_a_data_set_and_a_frame_as_well(shards):
    model = ancf.ANCF(factors=4, epochs=1, neighbors=0, serving_exponent=0.5)
    expected = model.clone().fit(ancf.read_interactions(shards)).to_bytes()
    assert fit(model.clone(), shards, num_workers=2).to_bytes() == expected
    whole = pd.concat(map(pd.read_csv, shards), ignore_index=True)
    blocks = ray.data.from_pandas([whole.iloc[:300], whole.iloc[300:]])
    # The frame is the validation table at once; its purchases are known, so the loss is that of none.
    expected = model.clone().set_params(validation_metric="loss").fit(*[ancf.read_interactions(whole)] * 2).to_bytes()
    found = fit(model.clone().set_params(validation_metric="loss"), blocks, whole, num_workers=1)
    assert found.to_bytes() == expected
    with pytest.raises(ancf.InvalidDataError, match="is no purchase table"):
        fit(model.clone(), 7)


class _Killing(RayPool):
    """Kills the process of a worker, once, before a call."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.calls = 0

    def call(self, worker, method, *arguments, returns=1):
        if method == "negatives":
            self.calls += 1
            if self.calls == 5:
                os.kill(ray.get(self._actors[1].process.remote()), signal.SIGKILL)
        return super().call(worker, method, *arguments, returns=returns)


def test_a_worker_that_is_killed_is_replaced_and_no_byte_changes(data):
    pool = _Killing(2, 1)
    with computing_on(Spread(pool, 1)):
        found = MODEL.clone().fit(data)
    pool.close()
    assert pool.n_replaced == 1
    assert found.to_bytes() == MODEL.clone().fit(data).to_bytes()


def test_an_error_of_a_worker_is_raised_as_it_was_there(data):
    model = ancf.ANCF(factors=4, epochs=3, learning_rate=1e30, neighbors=0, serving_exponent=0.5)
    with pytest.raises(ancf.DivergedError, match="try a smaller learning_rate"):
        fit(model, data, num_workers=2)


def test_the_example_runs():
    example = Path(__file__).parents[2] / "examples" / "ray_training.py"
    run = subprocess.run([sys.executable, example], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "the same bytes: True" in run.stdout
