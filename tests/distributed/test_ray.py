"""Workers on a real Ray cluster of this machine: the same bytes, also when one is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ancf
from ancf.demo_shop import demo_shop
from ancf.distributed.fitting import Spread, fit
from ancf.distributed.ray_pool import RayPool
from ancf.models.ancf.machines import computing_on

ray = pytest.importorskip("ray")

# Ray leaves sockets and files to the end of its processes.
pytestmark = pytest.mark.filterwarnings("ignore")


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
