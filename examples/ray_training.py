"""Train by workers on Ray, and see that the model is the one of a single machine, byte for byte.

    pip install 'ancf[ray]'
    python examples/ray_training.py

On a cluster, `ray.init()` finds it by itself. `docs/scale.md` says when workers pay and when they do not.
"""

import tempfile
import time
from pathlib import Path

import ray

import ancf
import ancf.ray
from ancf.demo_shop import demo_shop


def main() -> None:
    """One machine, two workers, and two workers after an interruption."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    data = ancf.read_interactions(demo_shop(customers=400, products=150))
    model = ancf.ANCF(factors=16, epochs=4)
    began = time.perf_counter()
    alone = model.clone().fit(data)
    print(f"one machine: {time.perf_counter() - began:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        # With a checkpoint, whatever kills this process costs an epoch at most.
        spread = ancf.ray.fit(model.clone(), data, num_workers=2, checkpoint=Path(folder) / "shop.going", resume=True)
        print(f"two workers, with starting them: {time.perf_counter() - began:.1f} s")
    print("the same bytes:", spread.to_bytes() == alone.to_bytes())
    ids, _ = spread.recommend(data.user_ids.values[0], N=3)
    print("three items for the first customer:", ids.tolist())
    ray.shutdown()


if __name__ == "__main__":
    main()
