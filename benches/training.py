"""Where a training step of the default goes, by part, and the rate of its matrix products beside NumPy's and beside the
machine's measured peak of fused multiply-adds with as many threads.

The Gowalla table is read from the folder that ANCF_DATASETS names, ``../shared/datasets`` if it names none.
"""

import os
import time
from pathlib import Path

import numpy as np

from ancf import _native

FOLDER = Path(os.environ.get("ANCF_DATASETS", Path(__file__).resolve().parents[2] / "shared" / "datasets"))
TABLE = FOLDER / "gowalla_lightgcn.npz"
NEGATIVES, FACTORS, THREADS = 4096, 64, 2


def gowalla():
    """The training pairs as rows of positions."""
    with np.load(TABLE) as z:
        user, item = z["train_user"].astype(np.int64), z["train_item"].astype(np.int64)
        n_users, n_items = int(z["n_users"]), int(z["n_items"])
    order = np.lexsort((item, user))
    indptr = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(user, minlength=n_users), out=indptr[1:])
    return (indptr, item[order].astype(np.int32), np.ones(len(item), np.float32)), n_users, n_items


def numpy_rate():
    """GFLOP/s of NumPy's product of the same shapes."""
    draws = np.random.default_rng(0)
    p = draws.standard_normal((1024, FACTORS), dtype=np.float32)
    q = draws.standard_normal((FACTORS, NEGATIVES), dtype=np.float32)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        p @ q
        times.append(time.perf_counter() - start)
    return 2 * 1024 * FACTORS * NEGATIVES / np.median(times) / 1e9


def main():
    if not TABLE.exists():
        print(f"{TABLE} is not there; nothing to measure (ANCF_DATASETS names the folder)")
        return
    pairs, n_users, n_items = gowalla()
    trainer = _native.SoftmaxTrainer(
        pairs,
        n_items,
        {
            "factors": FACTORS,
            "epochs": 16,
            "batch_size": None,
            "attention": "degree",
            "attention_exponent": 0.5,
            "item_attention": True,
            "temperature": 0.1,
            "negatives": NEGATIVES,
            "negative_exponent": 0.5,
            "learning_rate": 0.02,
            "regularization": 0.0,
            "spectral_start": False,
            "seed": 0,
        },
        num_threads=THREADS,
    )
    # What the machine gives depends on what else it does: measured before and after.
    peak_before, _ = _native.measure_roofline(THREADS)
    start = time.perf_counter()
    for epoch in range(2):
        trainer.epoch(epoch, THREADS)
    wall = (time.perf_counter() - start) / 2
    peak_after, _ = _native.measure_roofline(THREADS)
    spent = dict(trainer.phase_times())
    total = sum(spent.values())
    steps = -(-n_users // trainer.batch_size)
    print(f"Gowalla, d = {FACTORS}, {THREADS} threads: {wall:.2f} s an epoch of {steps} steps")
    for name, seconds in spent.items():
        print(f"  {name:12} {seconds / total:6.1%}")
    # Three products for each user and negative, in two epochs.
    rate = 2 * 3 * 2 * n_users * NEGATIVES * FACTORS / spent["products"] / 1e9 * THREADS
    shares = " and ".join(f"{rate / peak:.0%}" for peak in (peak_before, peak_after))
    print(
        f"  products: {rate:.0f} GFLOP/s with {THREADS} threads, {shares} of the measured peak "
        f"({peak_before:.0f} before, {peak_after:.0f} after; wanted at least half); NumPy's sgemm {numpy_rate():.0f}"
    )


if __name__ == "__main__":
    main()
