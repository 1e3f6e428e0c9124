#!/usr/bin/env python3
"""What a step over workers costs: processor time of each part, bytes between workers, and whether the bits are equal.

    python benches/workers.py gowalla_lightgcn.npz --workers 1 2 4
    python benches/workers.py gowalla_lightgcn.npz --workers 2 --ray

Without ``--ray`` the workers are in this process and take turns, so that each part's processor time is its own. The
file has ``train_user`` and ``train_item``; a number in its place draws a table with so many interactions.
"""

import argparse
import time
from collections import Counter
from typing import Any

import numpy as np

import ancf
from ancf.distributed.fitting import Spread
from ancf.distributed.pool import LocalPool
from ancf.models.ancf.machines import computing_on


def n_bytes(value: Any) -> int:
    """Of all arrays in a value."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(n_bytes, parts))


class Counting(LocalPool):
    """Counts what goes to workers, and their processor time."""

    def __init__(self, n_workers: int) -> None:
        super().__init__(n_workers)
        self.seconds: Counter[tuple[str, int]] = Counter()
        self.received: Counter[tuple[str, int]] = Counter()
        self.calls: Counter[str] = Counter()

    def call(self, worker: int, method: str, *arguments: Any, returns: int = 1) -> Any:
        """As the pool does."""
        name = f"{method} {arguments[0]}" if method in ("carry", "to_users") else method
        began = time.process_time()
        found = super().call(worker, method, *arguments, returns=returns)
        self.seconds[name, worker] += time.process_time() - began
        self.received[name, worker] += n_bytes(arguments)
        self.calls[name] += 1
        return found


def table(source: str) -> ancf.Interactions:
    """The file's, or one that is drawn."""
    if source.isdecimal():
        draws, n = np.random.default_rng(1), int(source)
        users = draws.integers(0, n // 27, n)
        return ancf.Interactions.from_ids(user=users, item=(draws.random(n) ** 2 * (n // 20)).astype(int))
    held = np.load(source)
    return ancf.Interactions.from_ids(user=held["train_user"], item=held["train_item"])


def main() -> None:
    """Train alone and by each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    data = table(given.table)
    # Vectors alone: what is chosen and item-item weights are not parts of a step.
    model = ancf.ANCF(epochs=given.epochs, neighbors=0, serving_exponent=0.5, num_threads=1)
    began, wall = time.process_time(), time.perf_counter()
    alone = model.clone().fit(data)
    print(f"{data.n_users:,} users, {data.n_items:,} items, {len(data):,} events, {given.epochs} epochs")
    print(f"alone: {time.process_time() - began:.1f} s of processor, {time.perf_counter() - wall:.1f} s in all")
    for n_workers in given.workers:
        if given.ray:
            from ancf.distributed.ray_pool import RayPool

            pool: Any = RayPool(n_workers, 0.5)
        else:
            pool = Counting(n_workers)
        began, wall = time.process_time(), time.perf_counter()
        with computing_on(Spread(pool, 1)):
            found = model.clone().fit(data)
        same = found.to_bytes() == alone.to_bytes()
        print(f"\n{n_workers} workers: {time.perf_counter() - wall:.1f} s in all, the same bytes: {same}")
        if given.ray:
            pool.close()
            continue
        print(f"{time.process_time() - began:.1f} s of processor\npart: seconds of each worker; MB that each received")
        names = sorted({name for name, _ in pool.seconds}, key=lambda name: -sum_of(pool.seconds, name))
        for name in names:
            seconds = " ".join(f"{pool.seconds[name, worker]:.2f}" for worker in range(n_workers))
            received = " ".join(f"{pool.received[name, worker] / 1e6:.0f}" for worker in range(n_workers))
            print(f"  {name} ({pool.calls[name]} calls): {seconds}; {received}")
        print(f"  all: {sum(pool.seconds.values()):.1f} s; {sum(pool.received.values()) / 1e6:.0f} MB")


def sum_of(counted: Counter[tuple[str, int]], name: str) -> float:
    """Over all workers."""
    return sum(number for (each, _), number in counted.items() if each == name)


if __name__ == "__main__":
    main()
