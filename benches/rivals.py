#!/usr/bin/env python3
"""An epoch or a fit of the classical models beside the libraries that have them, turn about in one run.

    python benches/rivals.py [als] [bpr] [item-knn] [ease] [--factors 64 128] [--rounds 5] [--threads 2]

Gowalla's training pairs, read from the folder that ANCF_DATASETS names (``../shared/datasets`` if it names none), and
for EASE a Gram matrix of 2,000 items. A sweep of ALS is both sides once, by two steps of conjugate gradients here
(``ALS``'s default) and by three, their default, in implicit and irspack; implicit has one thread of BLAS, as it asks
for. Peers that are not installed are left out. Medians, and how many times as long as ours each takes, by the clock
and in processor time: on a busy machine read the latter.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  (BLAS reads its threads when it is loaded)
from training import TABLE, gowalla  # noqa: E402

from ancf import _native  # noqa: E402

Runs = dict[str, Callable[[], Any]]
EASE_ITEMS = 2_000


def matrix(pairs: tuple[Any, Any, Any], n_users: int, n_items: int) -> Any:
    """The pairs as SciPy's matrix; None where SciPy is not installed."""
    try:
        import scipy.sparse as sp
    except ImportError:
        return None
    indptr, items, ones = pairs
    return sp.csr_matrix((ones, items, indptr), shape=(n_users, n_items))


def als(factors: int, threads: int) -> Runs:
    pairs, n_users, n_items = gowalla()
    weight, regularization = 400.0 / n_items, 0.007

    def ours(steps: int | None) -> Callable[[], float]:
        trainer = _native.AlsTrainer(
            pairs,
            n_items,
            factors=factors,
            unobserved_weight=weight,
            regularization=regularization,
            regularization_exponent=1.0,
            steps=steps,
            seed=0,
            num_threads=threads,
        )
        return lambda: trainer.epoch(threads)

    runs: Runs = {"ancf, cg": ours(2), "ancf, exact": ours(None)}
    table = matrix(pairs, n_users, n_items)
    try:
        from implicit.als import AlternatingLeastSquares
    except ImportError:
        pass
    else:
        model = AlternatingLeastSquares(
            factors=factors, regularization=0.01, alpha=1.0, iterations=1, use_gpu=False, num_threads=threads
        )
        model.fit(table, show_progress=False)
        by_item = table.T.tocsr()

        def sweep() -> None:
            for rows, mine, others in (
                (table, model.user_factors, model.item_factors),
                (by_item, model.item_factors, model.user_factors),
            ):
                model.solver(rows, mine, others, model.regularization, num_threads=threads)

        runs["implicit, cg"] = sweep
    try:
        from irspack.recommenders.ials import IALSTrainer, LossType, SolverType
    except ImportError:
        return runs
    for solver in ("CG", "IALSPP"):
        trainer = IALSTrainer(
            table,
            n_components=factors,
            alpha0=weight,
            reg=regularization,
            nu=1.0,
            init_std=0.1,
            solver_type=SolverType[solver],
            max_cg_steps=3,
            ialspp_subspace_dimension=64,
            loss_type=LossType.IALSPP,
            random_seed=0,
            n_threads=threads,
            prediction_time_max_cg_steps=5,
            prediction_time_ialspp_iteration=7,
        )
        runs[f"irspack, {solver.lower()}"] = trainer.run_epoch
    return runs


def bpr(factors: int, threads: int) -> Runs:
    pairs, n_users, n_items = gowalla()
    trainer = _native.BprTrainer(
        pairs,
        n_items,
        factors=factors,
        epochs=1000,
        learning_rate=0.05,
        regularization=0.01,
        bias_regularization=0.01,
        negative_exponent=0.0,
        seed=0,
        num_threads=threads,
    )
    epochs = iter(range(1000))
    runs: Runs = {"ancf": lambda: trainer.epoch(next(epochs), threads)}
    table = matrix(pairs, n_users, n_items)
    # Both fit whole models, so an epoch is what two of them take beyond one.
    try:
        from rusket import BPR
    except ImportError:
        pass
    else:

        def rusket(iterations: int) -> None:
            BPR(factors=factors, learning_rate=0.05, regularization=0.01, iterations=iterations).fit(table)

        runs["rusket, 1"], runs["rusket, 3"] = lambda: rusket(1), lambda: rusket(3)
    try:
        from implicit.bpr import BayesianPersonalizedRanking
    except ImportError:
        return runs

    def implicit(iterations: int) -> None:
        model = BayesianPersonalizedRanking(
            factors=factors, iterations=iterations, use_gpu=False, num_threads=threads, random_state=0
        )
        model.fit(table, show_progress=False)

    runs["implicit, 1"], runs["implicit, 3"] = lambda: implicit(1), lambda: implicit(3)
    return runs


def item_knn(threads: int) -> Runs:
    pairs, n_users, n_items = gowalla()
    runs: Runs = {"ancf": lambda: _native.item_neighbors(*pairs, n_items, 100, num_threads=threads)}
    try:
        from implicit.nearest_neighbours import CosineRecommender
    except ImportError:
        return runs
    # It warns of a matrix that it makes itself.
    warnings.filterwarnings("ignore", message="Method expects CSR input")
    table = matrix(pairs, n_users, n_items)
    runs["implicit"] = lambda: CosineRecommender(K=100, num_threads=threads).fit(table, show_progress=False)
    return runs


def ease(threads: int) -> Runs:
    """The weights of EASE: ours with the Gram matrix, NumPy's from one that is there already, on the threads that
    OPENBLAS_NUM_THREADS allows (one unless it is set)."""
    draws = np.random.default_rng(0)
    n_users = 3 * EASE_ITEMS
    drawn = (EASE_ITEMS * draws.random((n_users, 30)) ** 2).astype(int)
    items = np.unique(np.arange(n_users)[:, None] * EASE_ITEMS + drawn)
    indptr = np.append(0, np.cumsum(np.bincount(items // EASE_ITEMS, minlength=n_users))).astype(np.int64)
    pairs = indptr, (items % EASE_ITEMS).astype(np.int32), np.ones(len(items), np.float32)
    dense = np.zeros((n_users, EASE_ITEMS), np.float32)
    dense[items // EASE_ITEMS, items % EASE_ITEMS] = 1.0

    gram = dense.T @ dense
    gram[np.diag_indices(EASE_ITEMS)] += 100.0

    def in_numpy() -> Any:
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return weights

    return {
        "ancf": lambda: _native.ease_weights(pairs, EASE_ITEMS, regularization=100.0, num_threads=threads),
        "NumPy": in_numpy,
    }


def race(title: str, runs: Runs, rounds: int) -> None:
    """Every run in turn, round after round; the first round warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    medians = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in times.items()}
    first = medians[next(iter(medians))]
    print(f"{title}; load {os.getloadavg()[0]:.0f}")
    for name, (wall, processor) in medians.items():
        ratios = f"{wall / first[0]:6.2f} × {processor / first[1]:6.2f} ×"
        print(f"  {name:16} {wall:8.3f} s   processor {processor:8.3f} s {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["als", "bpr", "item-knn", "ease"])
    parser.add_argument("--factors", type=int, nargs="+", default=[64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    threads, rounds = options.threads, options.rounds
    if not TABLE.exists():
        print(f"{TABLE} is not there; nothing to measure (ANCF_DATASETS names the folder)")
        return
    for factors in options.factors:
        if "als" in options.models:
            race(f"a sweep of ALS, {factors} factors, {threads} threads", als(factors, threads), rounds)
        if "bpr" in options.models:
            race(f"an epoch of BPR, {factors} factors, {threads} threads", bpr(factors, threads), rounds)
    if "item-knn" in options.models:
        race(f"item-kNN, 100 neighbors, {threads} threads", item_knn(threads), rounds)
    if "ease" in options.models:
        race(f"EASE, {EASE_ITEMS:,} items, {threads} threads", ease(threads), rounds)


if __name__ == "__main__":
    main()
