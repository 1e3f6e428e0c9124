#!/usr/bin/env python3
"""Reading and preparing a purchase table against ``pandas.read_csv`` alone on the same file, in turn, in one run.

Prints seconds (median) and the ratio of ``ancf.read_interactions`` to pandas; the target is at most 1.5. The tables:
the demo shop, synthetic shops of 1 and 5 million lines (ids in a long tail, in the order of time), and the raw Online
Retail file where the shared data sets are. ``--rows`` and ``--rounds`` change the sizes.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import ancf
from ancf.demo_shop import write_csv


def write_synthetic(path: Path, rows: int) -> None:
    """A table of ``rows`` lines: a tenth as many customers, a fortieth as many products, times within two years."""
    rng = np.random.default_rng(0)
    stamps = 1.5e9 + np.sort(rng.integers(0, 60_000_000, rows))
    pd.DataFrame(
        {
            "user_id": (rng.pareto(1.0, rows) * rows / 1000).astype(np.int64) % (rows // 10),
            "item_id": (rng.pareto(1.0, rows) * rows / 4000).astype(np.int64) % (rows // 40),
            "quantity": rng.integers(1, 9, rows),
            "timestamp": pd.to_datetime(stamps, unit="s").strftime("%Y-%m-%d %H:%M:%S"),
        }
    ).to_csv(path, index=False)


class Spent(NamedTuple):
    """Seconds of one call."""

    wall: float
    cpu: float


def time_call(work: Callable[[], Any]) -> Spent:
    """Wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def race(name: str, path: Path, rounds: int) -> None:
    """Print the medians of both, and of the ratio of each pair of runs."""
    pandas_runs, ancf_runs = [], []
    for _ in range(rounds):
        pandas_runs.append(time_call(lambda: pd.read_csv(path)))
        ancf_runs.append(time_call(lambda: ancf.read_interactions(path)))
    pandas, ours = (Spent(*map(statistics.median, zip(*runs, strict=True))) for runs in (pandas_runs, ancf_runs))
    ratio = statistics.median(own.wall / other.wall for own, other in zip(ancf_runs, pandas_runs, strict=True))
    print(
        f"  {name:24} pandas.read_csv {pandas.wall:6.3f} s   ancf.read_interactions {ours.wall:6.3f} s"
        f"   ratio {ratio:5.2f}   (processor seconds {pandas.cpu:.2f} and {ours.cpu:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"reading and preparing, {os.cpu_count()} processors, pandas {pd.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop.csv"
        write_csv(shop)
        race("demo shop", shop, options.rounds)
        root = Path(__file__).resolve().parents[1]
        retail = Path(os.environ.get("ANCF_DATASETS", root.parent / "shared" / "datasets")) / "online_retail.csv.gz"
        if retail.exists():
            race("Online Retail (gzip)", retail, options.rounds)
        else:
            print(f"  Online Retail: left out, {retail} is not there (ANCF_DATASETS names the folder)")
        for rows in options.rows:
            table = Path(folder) / f"{rows}.csv"
            write_synthetic(table, rows)
            race(f"{rows:,} lines", table, options.rounds)
            table.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory of this process, pandas' tables included: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
