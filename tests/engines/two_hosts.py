"""Run on the first of two hosts by ``test_two_hosts.py``: training and lists over both, and one of them dies."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def kill_host(name):
    """End all processes of a network namespace at once."""
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True)
    for pid in map(int, found.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def network_of(pid):
    """By which two hosts are told apart."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def connect(ray, address):
    """Until both hosts are there."""
    for _ in range(240):
        with contextlib.suppress(ConnectionError):
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            break
        time.sleep(0.5)
    while sum(node["Alive"] for node in ray.nodes()) < 2:
        time.sleep(0.5)


def main(address, other_host):
    """Print what is compared with one machine."""
    import pandas as pd
    import ray
    import ray.data

    import ancf
    import ancf.ray
    from ancf.demo_shop import demo_shop
    from ancf.distributed.fitting import Spread
    from ancf.distributed.ray_pool import RayPool
    from ancf.models.ancf.machines import computing_on

    class Dying(RayPool):
        calls = 0

        def call(self, worker, method, *arguments, returns=1):
            if method == "negatives":
                self.calls += 1
                if self.calls == 5:
                    kill_host(other_host)
            return super().call(worker, method, *arguments, returns=returns)

    def table(lists):
        return lists.sort_values(["user_id", "rank"], ignore_index=True)

    connect(ray, address)
    data, model = ancf.read_interactions(demo_shop(customers=120, products=50)), ancf.ANCF(factors=8, epochs=3)
    alone = model.clone().fit(data)
    found = ancf.ray.fit(model.clone(), data, num_workers=2)
    print("trained over both:", found.to_bytes() == alone.to_bytes())
    ids = alone.user_ids_.values
    users = ray.data.from_pandas([pd.DataFrame({"user_id": part}) for part in (ids[:50], ids[50:])])
    lists = table(ancf.ray.recommend_all(alone, users, 5).to_pandas())
    expected = table(alone.recommend_all(5).to_arrow().to_pandas())
    print("lists of both:", all((lists[name] == expected[name]).all() for name in ("user_id", "item_id", "score")))
    # What made the lists may hold the other host for some moments more, and both workers would be put on this one.
    while ray.available_resources().get("CPU", 0) < 3:
        time.sleep(0.1)
    pool = Dying(2, 1)
    print("networks:", len({network_of(pool.get(pool.call(number, "process"))) for number in range(2)}))
    with computing_on(Spread(pool, 1)):
        found = model.clone().fit(data)
    print("a host lost:", pool.n_replaced, found.to_bytes() == alone.to_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
