#!/usr/bin/env python3
"""Exact top-N for everyone and for one user: every instruction set against NumPy and installed peers, in one run.

    python benches/topn.py [--users 30000] [--items 40000] [--factors 64] [-N 10] [--kind trained] [--threads 2]
                           [--rounds 3] [--cpu] [--full]
    python benches/topn.py --model gowalla.ancf [-N 10] [--threads 2] [--rounds 3] [--cpu]

Seconds (median) and ratios; more than 1 means that the fastest instruction set of ancf is faster. Beside them the rate
of the scores in GFLOP/s against the measured peak of fused multiply-adds, and for one user the bytes of the item table
against the measured rate of reading: what pruning leaves out makes both pass 100 %. ``--cpu`` counts processor time on
one thread in place of the clock, for a machine that has other work. ``--model`` takes a saved model: its lists with
all parts of the score and what each user has left out, and beside them its vectors alone and the peers on these
vectors, everything in turn. Peers that are not installed are left out. Writes nothing.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_threads = "1" if "--cpu" in sys.argv else "2"
if "--threads" in sys.argv:
    _threads = sys.argv[sys.argv.index("--threads") + 1]
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ANCF_NUM_THREADS"):
    os.environ[_name] = _threads  # before NumPy starts its own

import numpy as np  # noqa: E402

import ancf  # noqa: E402
from ancf import _native  # noqa: E402

THREADS = int(_threads)
Run = tuple[str, Callable[[], Any], "Callable[[int], Any] | None"]


def trained(n: int, d: int, rng: Any, basis: Any) -> Any:
    """Vectors like those of training: a few strong directions, norms that differ."""
    strong = rng.standard_normal((n, 16), np.float32) @ basis / 4
    table = 0.5 * rng.standard_normal((n, d), np.float32) + strong
    return np.ascontiguousarray(table * np.exp(0.5 * rng.standard_normal((n, 1), np.float32)))


def make(kind: str, n_users: int, n_items: int, d: int) -> tuple[Any, Any]:
    """User and item vectors, ``trained`` or ``gauss``."""
    rng = np.random.default_rng(0)
    if kind == "gauss":
        return rng.standard_normal((n_users, d), np.float32), rng.standard_normal((n_items, d), np.float32)
    basis = rng.standard_normal((16, d), np.float32)
    return trained(n_users, d, rng, basis), trained(n_items, d, rng, basis)


def numpy_lists(users: Any, items: Any, n: int) -> Any:
    """Product and partition, a block of users at a time."""
    lists = np.empty((len(users), n), np.int64)
    for start in range(0, len(users), 1024):
        scores = users[start : start + 1024] @ items.T
        top = np.argpartition(-scores, n - 1, axis=1)[:, :n]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        lists[start : start + 1024] = np.take_along_axis(top, order, 1)
    return lists


def product(users: Any, items: Any) -> None:
    """The bare product, nothing kept."""
    for start in range(0, len(users), 1024):
        users[start : start + 1024] @ items.T


def peers(users: Any, items: Any, n: int) -> Iterator[Run]:
    """NumPy, and the installed ones."""
    yield "NumPy, lists", lambda: numpy_lists(users, items, n), lambda u: numpy_lists(users[u : u + 1], items, n)
    yield "NumPy, product alone", lambda: product(users, items), lambda u: items @ users[u]
    try:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(items)
        yield "faiss IndexFlatIP", lambda: index.search(users, n), lambda u: index.search(users[u : u + 1], n)
    except ImportError:
        pass
    try:
        from implicit.cpu.topk import topk

        def everyone() -> Any:
            parts = (users[at : at + 1000] for at in range(0, len(users), 1000))
            return np.concatenate([ids for ids, _ in (topk(items, part, n, num_threads=THREADS) for part in parts)])

        yield "implicit", everyone, lambda u: topk(items, users[u : u + 1], n, num_threads=1)
    except ImportError:
        pass


def forced(level: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """``work`` under ANCF_SIMD."""

    def run() -> Any:
        os.environ["ANCF_SIMD"] = level
        try:
            return work()
        finally:
            del os.environ["ANCF_SIMD"]

    return run


def ours(users: Any, items: Any, n: int) -> Iterator[Run]:
    """Every instruction set, fastest first, pruned and plain."""
    _, available = _native.simd_levels()
    for level in reversed(available):

        def build() -> Any:
            ranker = _native.Ranker(items)
            ranker.set_users(users)
            return ranker

        ranker = forced(level, build)()

        def lists(ranker: Any = ranker, plan: str | None = None) -> Any:
            ids, _, _ = ranker.top_n(None, n, num_threads=THREADS, plan=plan)
            return ids

        yield f"ancf {level}", forced(level, lists), lambda u, ranker=ranker: ranker.top_n_one(u, n, True)
        yield f"ancf {level}, float32 only", forced(level, lambda lists=lists: lists(plan="plain")), None


def filtered(users: Any, items: Any, n: int) -> Iterator[Run]:
    """What filters cost: 27 seen items a user, ten items that nobody gets, and an allow list of 5 %."""
    rng = np.random.default_rng(1)
    key = np.unique(np.repeat(np.arange(len(users)), 27) * len(items) + rng.integers(0, len(items), 27 * len(users)))
    indptr = np.append(0, np.cumsum(np.bincount(key // len(items), minlength=len(users)))).astype(np.int64)
    ranker = _native.Ranker(items)
    ranker.set_users(users, None, (indptr, (key % len(items)).astype(np.int32)))
    deny, allow = rng.integers(0, len(items), 10), (rng.random(len(items)) < 0.05).astype(np.uint8)
    yield "  seen left out", lambda: ranker.top_n(None, n, num_threads=THREADS), lambda u: ranker.top_n_one(u, n, True)
    for name, only in (("  10 denied", {"deny": deny}), ("  5 % allowed", {"allow": allow})):

        def lists(users: Any = None, only: Any = only) -> Any:
            return ranker.top_n(users, n, num_threads=THREADS, **only)

        yield name, lists, lambda u, lists=lists: lists(np.array([u]))


def measure(case: dict[str, Any], rounds: int, clock: Callable[[], float], slow: float) -> None:
    """One table."""
    users, items = make(case["kind"], case["users"], case["items"], case["factors"])
    n = case["N"]
    runs = [*ours(users, items, n), *filtered(users, items, n), *peers(users, items, n)]
    every: dict[str, list[float]] = {name: [] for name, *_ in runs}
    single: dict[str, list[float]] = {name: [] for name, *_ in runs}
    for round_ in range(rounds + 1):
        for name, everyone, one in runs:
            if round_ > 1 and every[name] and every[name][0] > slow:
                continue  # one measurement of what takes long
            start = clock()
            everyone()
            taken = clock() - start
            if round_ or taken > slow:
                every[name].append(taken)
            for user in range(40 if one is not None else 0):
                start = time.perf_counter()
                assert one is not None
                one(user)
                single[name].append(time.perf_counter() - start)
    used, available = _native.simd_levels()
    peaks = {}
    for level in available:
        peaks[level], _ = forced(level, lambda: _native.measure_roofline(THREADS))()
    best, *_ = runs[0]
    base, base_one = statistics.median(every[best]), statistics.median(single[best])
    operations = 2e-9 * case["users"] * case["items"] * case["factors"]
    _, reading = forced(used, lambda: _native.measure_roofline(1))()
    print(
        f"\n{case['users']:,} users x {case['items']:,} items, d = {case['factors']}, N = {n}, {case['kind']} vectors"
    )
    print(
        f"  {'':28} {'everyone':>10} {'ratio':>7} {'GFLOP/s':>8} {'of peak':>8}"
        f" | {'one user':>10} {'ratio':>7} {'of reading':>10}"
    )
    for name, *_ in runs:
        taken = statistics.median(every[name])
        level = next((level for level in peaks if f" {level}" in name), used)
        rate = operations / taken
        line = f"  {name:28} {taken:8.3f} s {taken / base:6.2f}x {rate:8.0f} {rate / peaks[level]:8.0%}"
        if single[name]:
            one_user = statistics.median(single[name])
            share = 1e-9 * items.nbytes / one_user / reading
            line += f" | {1e6 * one_user:7.0f} us {one_user / base_one:6.1f}x {share:10.0%}"
        print(line, flush=True)
    print("  " + few(users, items, n), flush=True)


def measure_model(path: str, n: int, rounds: int, clock: Callable[[], float]) -> None:
    """A saved model, its vectors alone, and the peers on them."""
    model = ancf.load(path)
    scorer = model._scorer
    users, items, ids = scorer.user_vectors, scorer.item_vectors, scorer.user_ids.values.tolist()
    vectors = _native.Ranker(items)
    vectors.set_users(users, None, scorer.seen)
    runs: list[Run] = [
        (
            "ancf, the model",
            lambda: scorer.ranker.top_n(None, n, num_threads=THREADS),
            lambda u: model.recommend(ids[u], N=n),
        ),
        (
            "ancf, its vectors alone",
            lambda: vectors.top_n(None, n, num_threads=THREADS),
            lambda u: vectors.top_n_one(u, n, True),
        ),
        *(peer for peer in peers(users, items, n) if peer[0] != "NumPy, lists"),
    ]
    every: dict[str, list[float]] = {name: [] for name, *_ in runs}
    single: dict[str, list[float]] = {name: [] for name, *_ in runs}
    some = np.random.default_rng(0).integers(0, len(users), 200).tolist()
    for at in range(rounds + 1):  # the first makes what is made once
        for name, everyone, one in runs:
            start = clock()
            everyone()
            middle = clock()
            for u in some:
                assert one is not None
                one(u)
            if at:
                every[name].append(middle - start)
                single[name].append((clock() - middle) / len(some))
    print(f"\n{len(users):,} users x {len(items):,} items, d = {items.shape[1]}, N = {n}, {path}")
    base, base_one = statistics.median(every[runs[0][0]]), statistics.median(single[runs[0][0]])
    for name, *_ in runs:
        taken, one_user = statistics.median(every[name]), statistics.median(single[name])
        print(
            f"  {name:28} {taken:8.3f} s {taken / base:6.2f}x | {1e6 * one_user:7.0f} us {one_user / base_one:6.1f}x",
            flush=True,
        )


def few(users: Any, items: Any, n: int) -> str:
    """Microseconds of a call for some users at once, its hand-offs and all; medians by the clock."""
    ranker = _native.Ranker(items)
    ranker.set_users(users)
    taken = {}
    for asked in (each for each in (2, 8, 16, 64) if each <= len(users)):
        times = []
        for _ in range(41):
            start = time.perf_counter()
            ranker.top_n(np.arange(asked), n)
            times.append(time.perf_counter() - start)
        taken[asked] = 1e6 * statistics.median(times)
    return "few users, us in all: " + ", ".join(f"{asked}: {us:.0f}" for asked, us in taken.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--factors", type=int)
    parser.add_argument("-N", type=int)
    parser.add_argument("--kind", choices=("trained", "gauss"))
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="processor time on one thread, not the clock")
    parser.add_argument("--full", action="store_true", help="all users of the standard cases, not an eighth")
    parser.add_argument("--slow", type=float, default=20.0, help="seconds from which one round is enough")
    parser.add_argument("--model", help="a saved model in place of the standard cases")
    arguments = parser.parse_args()
    if arguments.model:
        clock = time.process_time if arguments.cpu else time.perf_counter
        measure_model(arguments.model, arguments.N or 10, arguments.rounds, clock)
        return
    standard = {"users": 30_000, "items": 40_000, "factors": 64, "N": 10, "kind": "trained"}
    given = {name: value for name in standard if (value := getattr(arguments, name)) is not None}
    variants: list[dict[str, Any]] = [
        {},
        {"N": 100},
        {"factors": 128},
        {"kind": "gauss"},
        {"users": 4_000, "items": 200_000},
        {"users": 400, "items": 1_000_000},
    ]
    cases = [standard | variant for variant in variants] if not given else [standard | given]
    clock = time.process_time if arguments.cpu else time.perf_counter
    used, available = _native.simd_levels()
    peak, reading = _native.measure_roofline(THREADS)
    print(
        f"{THREADS} threads, {', '.join(available)} (used: {used}); peak {peak:.0f} GFLOP/s, reading {reading:.1f} GB/s"
    )
    for case in cases:
        if not arguments.full and "users" not in given:
            case["users"] //= 8
        measure(case, arguments.rounds, clock, arguments.slow)


if __name__ == "__main__":
    main()
