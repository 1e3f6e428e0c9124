#!/usr/bin/env python3
"""What training over workers costs: processor time of each part, bytes between workers, and whether the bits are equal.

    python benches/workers.py gowalla_lightgcn.npz --workers 1 2 4 --gbits 10 25 100
    python benches/workers.py 300000 --all
    python benches/workers.py gowalla_lightgcn.npz --workers 2 --ray

Without ``--ray`` the workers are in this process and take turns, so that each part's processor time is its own. From
these times and the bytes it is worked out when each call would begin and end on machines of their own that are
connected by so many ``--gbits``: a machine computes one call after the other, and receives and sends one thing after
the other, the latter also where it got that thing from another.
It is said what becomes of the time of the busiest of them, where receiving goes on beside computing, as it does on Ray,
and where it would not.

``--all`` trains the model as it is, with item-item weights, all that is chosen and a validation table. The file has
``train_user`` and ``train_item``; a number in its place draws a table with so many interactions.
"""

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import ancf
from ancf.distributed.fitting import Spread
from ancf.distributed.pool import LocalPool
from ancf.models.ancf.machines import computing_on

# Seconds from asking for a call to its beginning; an actor's empty call takes twice that.
LATENCY = 3e-4


def n_bytes(value: Any) -> int:
    """Of all arrays in a value."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(n_bytes, parts))


@dataclass
class Cluster:
    """When things happen on machines with links of their own; the caller is another machine, the last one."""

    n_workers: int
    bandwidth: float
    """Bytes a second."""
    overlaps: bool
    free: list[float] = field(init=False)
    incoming: list[float] = field(init=False)
    outgoing: list[float] = field(init=False)
    computed: list[float] = field(init=False)
    received: list[float] = field(init=False)

    def __post_init__(self) -> None:
        n = self.n_workers + 1
        self.free, self.incoming, self.outgoing, self.computed, self.received = ([0.0] * n for _ in range(5))

    def fetch(self, where: int, places: dict[int, float], asked: float, size: int) -> float:
        """When something has come from whoever of those that have it can send it first."""
        source = min(places, key=lambda each: max(places[each], self.outgoing[each]))
        begun = max(asked, places[source], self.outgoing[source], self.incoming[where])
        begun = max(begun, 0.0 if self.overlaps else self.free[where])
        seconds = size / self.bandwidth
        self.received[where] += seconds
        self.incoming[where] = self.outgoing[source] = begun + seconds
        if not self.overlaps:
            self.free[where] = self.incoming[where]
        return self.incoming[where]

    def compute(self, where: int, ready: float, seconds: float) -> float:
        """When a call ends."""
        self.free[where] = max(self.free[where], ready) + seconds
        self.computed[where] += seconds
        return self.free[where]


@dataclass
class Handle:
    """A value, and in each cluster where it is from when on."""

    value: Any
    at: list[dict[int, float]]
    size: int


class Counting(LocalPool):
    """Counts what goes to workers and their processor time, and works out when all of it would end on machines."""

    def __init__(self, n_workers: int, clusters: list[Cluster]) -> None:
        super().__init__(n_workers)
        self.clusters = clusters
        self.seconds: Counter[tuple[str, int]] = Counter()
        self.bytes: Counter[tuple[str, int]] = Counter()
        self.calls: Counter[str] = Counter()

    def _handle(self, value: Any, at: list[dict[int, float]]) -> Handle:
        return Handle(value, at, n_bytes(value))

    def put(self, value: Any) -> Handle:
        """At the caller."""
        return self._handle(value, [{self.n_workers: each.free[-1]} for each in self.clusters])

    def call(self, worker: int, method: str, *arguments: Any, returns: int = 1) -> Any:
        """As the pool does."""
        name = f"{method} {arguments[0]}" if method in ("carry", "to_users") else method
        values = [each.value if isinstance(each, Handle) else each for each in arguments]
        began = time.process_time()
        found = super().call(worker, method, *values, returns=returns)
        seconds = time.process_time() - began
        self.seconds[name, worker] += seconds
        self.bytes[name, worker] += n_bytes(values)
        self.calls[name] += 1
        ends = []
        for at, cluster in enumerate(self.clusters):
            asked = cluster.free[-1] + LATENCY
            given = [asked]
            for each in arguments:
                if isinstance(each, Handle):
                    given.append(self._there(each, at, worker, asked))
                elif n_bytes(each):
                    given.append(cluster.fetch(worker, {self.n_workers: asked}, asked, n_bytes(each)))
            ends.append(cluster.compute(worker, max(given), seconds))
        handles = [self._handle(each, [{worker: end} for end in ends]) for each in (found if returns > 1 else [found])]
        return handles if returns > 1 else handles[0]

    def _there(self, handle: Handle, at: int, where: int, asked: float) -> float:
        places = handle.at[at]
        if where not in places:
            places[where] = self.clusters[at].fetch(where, places, asked, handle.size)
        return places[where]

    def get(self, handle: Handle) -> Any:
        """The caller waits for it."""
        for at, cluster in enumerate(self.clusters):
            cluster.free[-1] = max(cluster.free[-1], self._there(handle, at, self.n_workers, cluster.free[-1]))
        return handle.value


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
    parser.add_argument("--gbits", type=float, nargs="*", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    data = table(given.table)
    parts = [data]
    # Vectors alone, or the model as it is.
    model = ancf.ANCF(epochs=given.epochs, neighbors=0, serving_exponent=0.5, num_threads=1)
    if given.all:
        model = ancf.ANCF(epochs=given.epochs, num_threads=1)
        parts = list(ancf.random_split(data, (0.9, 0.1), random_state=0, on_leak="ignore"))
    began, wall = time.process_time(), time.perf_counter()
    alone = model.clone().fit(*parts)
    print(f"{data.n_users:,} users, {data.n_items:,} items, {len(data):,} events, {given.epochs} epochs")
    print(f"alone: {time.process_time() - began:.1f} s of processor, {time.perf_counter() - wall:.1f} s in all")
    for n_workers in given.workers:
        clusters = [Cluster(n_workers, gbit * 1e9 / 8, how) for gbit in given.gbits for how in (True, False)]
        if given.ray:
            from ancf.distributed.ray_pool import RayPool

            pool: Any = RayPool(n_workers, 0.5)
        else:
            pool = Counting(n_workers, clusters)
        began, wall = time.process_time(), time.perf_counter()
        with computing_on(Spread(pool, 1)):
            found = model.clone().fit(*parts)
        same = found.to_bytes() == alone.to_bytes()
        print(f"\n{n_workers} workers: {time.perf_counter() - wall:.1f} s in all, the same bytes: {same}")
        if given.ray:
            pool.close()
            continue
        spent = time.process_time() - began
        by_workers = sum(pool.seconds.values())
        print(f"{spent:.1f} s of processor, {spent - by_workers:.1f} of them the caller's")
        print("part: seconds of each worker; MB that each received")
        names = sorted({name for name, _ in pool.seconds}, key=lambda name: -sum_of(pool.seconds, name))
        for name in names:
            seconds = " ".join(f"{pool.seconds[name, worker]:.2f}" for worker in range(n_workers))
            received = " ".join(f"{pool.bytes[name, worker] / 1e6:.0f}" for worker in range(n_workers))
            print(f"  {name} ({pool.calls[name]} calls): {seconds}; {received}")
        print(f"  all: {by_workers:.1f} s; {sum(pool.bytes.values()) / 1e6:.0f} MB")
        for cluster in clusters:
            end = max(cluster.free)
            busiest = max(range(n_workers), key=lambda worker: cluster.computed[worker])
            computes, receives = cluster.computed[busiest], cluster.received[busiest]
            how = "beside" if cluster.overlaps else "before"
            print(
                f"  {cluster.bandwidth * 8e-9:.0f} Gbit/s, receiving {how} computing: {end:.2f} s; the busiest "
                f"computes {computes:.2f}, receives {receives:.2f}, waits {end - computes:.2f}"
            )


def sum_of(counted: Counter[tuple[str, int]], name: str) -> float:
    """Over all workers."""
    return sum(number for (each, _), number in counted.items() if each == name)


if __name__ == "__main__":
    main()
