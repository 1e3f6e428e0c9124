#!/usr/bin/env python3
"""Metrics from ready lists, and item-kNN: the Rust core against NumPy and installed peers, in turn, in one run.

    python benches/metrics.py [--users 30000] [--items 40000] [--rounds 7]

Prints milliseconds (median) and ratios; more than 1 means that ancf is faster. Writes nothing.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ancf import _native

K = 20


def make(n_users: int, n_items: int, seed: int = 0) -> dict[str, Any]:
    """Lists and wanted items of a long-tailed catalogue; about one list place in twenty is a hit."""
    rng = np.random.default_rng(seed)

    def popular(n: int) -> Any:
        return (n_items * rng.random(n) ** 3).astype(np.int64)

    def rows(mean: int) -> tuple[Any, Any]:
        key = np.unique(np.repeat(np.arange(n_users), mean) * n_items + popular(n_users * mean))
        indptr = np.append(0, np.cumsum(np.bincount(key // n_items, minlength=n_users)))
        return indptr.astype(np.int64), (key % n_items).astype(np.int32)

    wanted, history = rows(7), rows(27)
    wanted_indptr, wanted_items = wanted
    lists = np.empty((n_users, K), np.int32)
    for user in range(n_users):
        mine = wanted_items[wanted_indptr[user] : wanted_indptr[user + 1]]
        row = np.unique(np.concatenate([mine[: rng.integers(0, 3)], popular(3 * K)]))
        lists[user] = rng.permutation(row)[:K] if len(row) >= K else rng.permutation(n_items)[:K]
    return {"lists": lists, "wanted": wanted, "history": history, "n_items": n_items, "n_users": n_users}


def numpy_metrics(case: dict[str, Any]) -> dict[str, float]:
    """The same metrics, vectorized over users."""
    lists, (indptr, items), n_items = case["lists"], case["wanted"], case["n_items"]
    users = np.repeat(np.arange(len(lists)), np.diff(indptr))
    keys = users * n_items + items
    asked = np.arange(len(lists))[:, None] * n_items + lists
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    hits = (keys[at] == asked).astype(np.float64)
    size = np.maximum(np.diff(indptr), 1)
    discount = 1 / np.log2(np.arange(K) + 2)
    ideal = np.append(0, np.cumsum(discount))[np.minimum(size, K)]
    found = np.cumsum(hits, axis=1)
    return {
        "recall": float(np.mean(found[:, -1] / size)),
        "ndcg": float(np.mean(hits @ discount / ideal)),
        "precision": float(np.mean(found[:, -1] / K)),
        "map": float(np.mean((hits * found / np.arange(1, K + 1)).sum(axis=1) / size)),
    }


def metric_runs(case: dict[str, Any], threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    counts = np.full(case["n_users"], K, np.int32)

    def ours() -> dict[str, Any]:
        return _native.ranking_metrics(
            case["lists"], counts, case["wanted"], None, [K], case["n_items"], num_threads=threads
        )

    plain, core = numpy_metrics(case), ours()
    assert all(abs(float(core[f"{name}@{K}"].mean()) - value) < 1e-12 for name, value in plain.items())
    yield "ancf", ours
    yield "numpy", lambda: numpy_metrics(case)
    try:
        import scipy.sparse as sp
        from implicit.evaluation import ranking_metrics_at_k
    except ImportError:
        return
    shape = (case["n_users"], case["n_items"])

    def matrix(rows: tuple[Any, Any]) -> Any:
        indptr, items = rows
        return sp.csr_matrix((np.ones(len(items), np.float32), items, indptr), shape=shape)

    train, test = matrix(case["history"]), matrix(case["wanted"])

    class Ready:
        def recommend(self, userids: Any, user_items: Any, **_: Any) -> tuple[Any, None]:
            return case["lists"][userids], None

    yield (
        "implicit",
        lambda: ranking_metrics_at_k(Ready(), train, test, K=K, show_progress=False, num_threads=threads),
    )


def neighbor_runs(case: dict[str, Any], threads: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    indptr, items = case["history"]
    ones = np.ones(len(items), np.float32)
    n_items = case["n_items"]
    yield "ancf", lambda: _native.item_neighbors(indptr, items, ones, n_items, 100, num_threads=threads)
    try:
        import scipy.sparse as sp
        from implicit.nearest_neighbours import CosineRecommender

        # It warns of a matrix that it makes itself.
        warnings.filterwarnings("ignore", message="Method expects CSR input")
    except ImportError:
        return
    matrix = sp.csr_matrix((ones, items, indptr), shape=(case["n_users"], n_items))
    yield "implicit", lambda: CosineRecommender(K=100, num_threads=threads).fit(matrix, show_progress=False)


def race(title: str, runs: list[tuple[str, Callable[[], Any]]], rounds: int) -> None:
    """Every run in turn, round after round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name, _ in runs}
    for turn in range(rounds + 1):
        for name, run in runs:
            began = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - began)
    ours = statistics.median(times["ancf"])
    print(title)
    for name, each in times.items():
        median = statistics.median(each)
        print(f"  {name:10} {1e3 * median:9.2f} ms  {median / ours:6.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    case = make(options.users, options.items)
    size = f"{options.users:,} users × {options.items:,} items, {options.threads} threads"
    race(
        f"NDCG, recall, precision, MAP @{K} from lists: {size}",
        list(metric_runs(case, options.threads)),
        options.rounds,
    )
    race(f"item-kNN, 100 neighbors: {size}", list(neighbor_runs(case, options.threads)), min(options.rounds, 3))


if __name__ == "__main__":
    main()
