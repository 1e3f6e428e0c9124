"""Recall@20 and NDCG@20 of the parts of the model, of its epochs and of its cost, on the benchmark tables.

    python benches/quality.py parts [TABLE ...]     each part added to the last, three seeds, mean and spread
    python benches/quality.py seconds [TABLE ...]   quality against seconds of training, ours and the peers', in one run
    python benches/quality.py cost                  seconds and memory on the Gowalla table, tiled 1, 2 and 4 times
    python benches/quality.py repeats               purchases that may repeat, against the customer's own list

All items are ranked that a user does not have in training; for Online Retail new products only, by time. The tables are
read from the folder that ANCF_DATASETS names, ``../shared/datasets`` if it names none; without them there is nothing to
measure. Nothing here chooses an option: what the defaults leave open is chosen by ``fit`` on its own held-out
purchases.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what implicit asks for; it has threads of its own

import numpy as np
import scipy.sparse

import ancf

FOLDER = Path(os.environ.get("ANCF_DATASETS", Path(__file__).resolve().parents[2] / "shared" / "datasets"))
TABLES = ("gowalla_lightgcn", "lastfm_lightgcn", "amazon_electronics_m1", "online_retail")
SEEDS = (0, 1, 2)
METRICS = ["recall@20", "ndcg@20"]
PARTS = {
    "none (a vector for each user)": {"attention": "none", "user_factors": True, "neighbors": 0},
    "mean": {"attention": "mean", "neighbors": 0},
    "degree prior": {"neighbors": 0},
    "+ learned": {"attention": "learned", "neighbors": 0},
    "+ sparse": {"half_life": None},
    "+ time": {},
}


def events(z, part):
    """User, item and, where known, time of the purchases of one part."""
    user, item = z[f"{part}_user"].astype(np.int64), z[f"{part}_item"].astype(np.int64)
    keep = user >= 0
    if f"{part}_quantity" in z:
        keep &= z[f"{part}_quantity"] > 0
    times = z[f"{part}_timestamp"][keep].astype(np.int64) if f"{part}_timestamp" in z else None
    return user[keep], item[keep], times


def load(name, timed=False, repeats=False):
    """Training and test tables; the test holds known users, and unless ``repeats`` only items new to them."""
    with np.load(FOLDER / f"{name}.npz") as z:
        user, item, times = events(z, "train")
        test_user, test_item, _ = events(z, "test")
        n_items = int(z["n_items"])
    if not timed:
        pairs = np.unique(user * n_items + item)
        user, item, times = pairs // n_items, pairs % n_items, None
    keys = np.unique(test_user * n_items + test_item)
    keep = np.isin(keys // n_items, user)
    if not repeats:
        keep &= ~np.isin(keys, user * n_items + item)
    keys = keys[keep]
    return (
        ancf.Interactions.from_ids(user=user, item=item, time=times),
        ancf.Interactions.from_ids(user=keys // n_items, item=keys % n_items),
    )


def measured(model, test, **options):
    found = ancf.evaluate(model, test, METRICS, **options)
    return [found[name] for name in METRICS]


def parts(tables):
    """Each part of the model added to the last."""
    for name in tables:
        print(f"{name}: Recall@20 / NDCG@20, mean of {len(SEEDS)} seeds (spread), seconds of training", flush=True)
        timed = name == "online_retail"
        for label, options in PARTS.items():
            if label == "+ time" and not timed:
                continue
            train, test = load(name, timed=label == "+ time")
            found, seconds = [], []
            for seed in SEEDS:
                start = time.perf_counter()
                model = ancf.ANCF(random_state=seed, **options).fit(train)
                seconds.append(time.perf_counter() - start)
                found.append(measured(model, test))
            recall, ndcg = np.mean(found, 0)
            recall_spread, ndcg_spread = np.ptp(found, 0)
            print(
                f"  {label:30} {recall:.4f} / {ndcg:.4f}  ({recall_spread:.4f} / {ndcg_spread:.4f})"
                f"  {np.median(seconds):6.1f} s",
                flush=True,
            )


class Irspack:
    """Its vectors under the names that the others have."""

    def __init__(self, model):
        self.user_factors = np.ascontiguousarray(model.get_user_embedding(), np.float32)
        self.item_factors = np.ascontiguousarray(model.get_item_embedding(), np.float32)


def peers(train):
    """Label and training of each peer that is installed; the training gives the vectors of users and items."""
    indptr, items, values = train.to_csr()
    matrix = scipy.sparse.csr_matrix((values, items, indptr), shape=(train.n_users, train.n_items))
    with contextlib.suppress(ImportError):
        from rusket import ALS

        yield "rusket ALS", lambda: ALS().fit(matrix)
    with contextlib.suppress(ImportError):
        from implicit.als import AlternatingLeastSquares
        from implicit.bpr import BayesianPersonalizedRanking

        def fitted(model):
            model.fit(matrix, show_progress=False)
            return model

        yield "implicit ALS", lambda: fitted(AlternatingLeastSquares(64, alpha=20.0, random_state=0, num_threads=2))
        yield "implicit BPR", lambda: fitted(BayesianPersonalizedRanking(64, random_state=0, num_threads=2))

    with contextlib.suppress(ImportError):
        from irspack.recommenders import IALSRecommender

        # Of six settings the best on Gowalla's test, in its favour; with its defaults Recall@20 is .016.
        options = {"n_components": 64, "alpha0": 0.01, "reg": 0.01, "n_threads": 2}
        yield "irspack iALS", lambda: Irspack(IALSRecommender(matrix, **options).learn())


def seconds(tables):
    """Quality against seconds of training, ours and the peers' in one run, in the order of the seconds."""
    for name in tables:
        train, test = load(name)
        train = train.compact()
        runs = [("popular", ancf.Popular().fit), ("item-knn", ancf.ItemKNN().fit)]
        small = ancf.ANCF(factors=32, neighbors=0, epochs=1, random_state=0)
        runs.append(("ancf, vectors alone, d = 32, 1 epoch", small.fit))
        runs += [
            (f"ancf, vectors alone, {epochs} epochs", ancf.ANCF(neighbors=0, epochs=epochs, random_state=0).fit)
            for epochs in (1, 2, 4)
        ]
        runs += [
            (f"ancf, {epochs} epochs", ancf.ANCF(epochs=epochs, random_state=0).fit) for epochs in (1, 2, 4, 8, 16)
        ]
        found = []
        for label, fit in runs:
            start = time.perf_counter()
            model = fit(train)
            found.append((time.perf_counter() - start, *measured(model, test), label))
        for label, fit in peers(train):
            start = time.perf_counter()
            peer = fit()
            spent = time.perf_counter() - start
            model = ancf.from_factors(peer.user_factors, peer.item_factors, train)
            found.append((spent, *measured(model, test), label))
        print(f"{name}: seconds of training, Recall@20 / NDCG@20")
        for spent, recall, ndcg, label in sorted(found):
            print(f"  {spent:6.1f} s  {recall:.4f} / {ndcg:.4f}  {'=' * round(recall * 150):45} {label}", flush=True)


def tiled(times):
    """Trains on the table, tiled; prints seconds of wall clock and processor and the peak of memory."""
    with np.load(FOLDER / "gowalla_lightgcn.npz") as z:
        user, item, _ = events(z, "train")
        n_users, n_items = int(z["n_users"]), int(z["n_items"])
    user = np.concatenate([user + tile * n_users for tile in range(times)])
    item = np.concatenate([item + tile * n_items for tile in range(times)])
    data = ancf.Interactions.from_ids(user=user, item=item)
    wall, cpu = time.perf_counter(), time.process_time()
    ancf.ANCF(neighbor_weight=0.25, serving_exponent=0.5, temperature=0.1).fit(data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak]))


def cost():
    """Each size in a process of its own, so that the peak of memory is its own."""
    print("Gowalla, tiled: pairs, seconds of wall clock, of processor, peak MiB", flush=True)
    for times in (1, 2, 4):
        run = subprocess.run(
            [sys.executable, __file__, "tiled", str(times)], capture_output=True, text=True, check=True
        )
        wall, cpu, peak = json.loads(run.stdout)
        print(f"  {times} x {810_128:,}  {wall:7.1f} s  {cpu:7.1f} s  {peak:7.0f} MiB", flush=True)


def repeats():
    """Online Retail as it comes: what is bought again counts."""
    train, test = load("online_retail", timed=True, repeats=True)
    print("online_retail, repeat purchases count: Recall@20 / NDCG@20")
    for label, model in (
        ("popular", ancf.Popular()),
        ("item-knn", ancf.ItemKNN()),
        ("own purchases, often and lately", ancf.ANCF(repeat_weight=1e6, neighbors=0, half_life=60.0)),
        ("ancf", ancf.ANCF()),
    ):
        recall, ndcg = measured(model.fit(train), test, filter_already_liked_items=False)
        print(f"  {label:32} {recall:.4f} / {ndcg:.4f}", flush=True)


def main(arguments=()):
    what, *tables = arguments or ("seconds", "lastfm_lightgcn", "amazon_electronics_m1")
    if not FOLDER.is_dir():
        print(f"{FOLDER} is not there; nothing to measure (ANCF_DATASETS names the folder of the benchmark tables)")
    elif what in ("parts", "seconds"):
        {"parts": parts, "seconds": seconds}[what](tables or TABLES)
    elif what == "tiled":
        tiled(int(tables[0]))
    else:
        {"cost": cost, "repeats": repeats}[what]()


if __name__ == "__main__":
    main(sys.argv[1:])
