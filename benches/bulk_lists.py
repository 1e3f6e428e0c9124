#!/usr/bin/env python3
"""What lists for everybody on a cluster cost a worker, by the number of users: seconds, and memory of its own.

    python benches/bulk_lists.py --users 250000 500000 1000000 2000000 --ids whole text

Each model is opened by a process of its own, as a worker of Spark or Ray opens it, which then answers batches of 10,000
users that lie everywhere in the table. Memory is what belongs to that process alone, so without the mapped file.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import ancf
from ancf.engines import worker

N_ITEMS, FACTORS, BATCH, N_BATCHES = 40_000, 64, 10_000, 5


def own_memory() -> float:
    """Megabytes that this process has written, and so shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def answer(path: str) -> None:
    """Open a model and answer batches; print seconds of processor and megabytes."""
    before, began = own_memory(), time.process_time()
    model = worker.open_file(path)
    opened, held = time.process_time() - began, own_memory() - before
    ids, draws = model.user_ids_.values, np.random.default_rng(2)
    request = {"N": 10, "filter_already_liked_items": True, "on_unknown": "raise"}
    tables = [pa.table({"user_id": pa.array(ids[draws.integers(0, len(ids), BATCH)])}) for _ in range(N_BATCHES + 1)]
    worker.recommend_table(model, tables.pop(), request, 1)
    began = time.process_time()
    for table in tables:
        worker.recommend_table(model, table, request, 1)
    each = (time.process_time() - began) / (N_BATCHES * BATCH)
    print(f"{opened:.2f} {held:.0f} {own_memory() - before:.0f} {each * 1e5:.2f}")


def main() -> None:
    """A row for each number of users."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--ids", nargs="+", choices=["whole", "text"], default=["whole", "text"])
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(given.answer)
        return
    print("ids, users: seconds to open; MB held once it is open, and after the lists; seconds for 100,000 users")
    draws = np.random.default_rng(1)
    # Lengths fall as those of trained items do, so that most items are passed over.
    lengths = (1.0 + np.arange(N_ITEMS, dtype=np.float32)[:, None]) ** np.float32(-0.3)
    items = draws.standard_normal((N_ITEMS, FACTORS), np.float32) * lengths
    for kind in given.ids:
        for n in given.users:
            ids = range(n) if kind == "whole" else [f"customer-{number:09d}" for number in range(n)]
            model = ancf.from_factors(draws.standard_normal((n, FACTORS), np.float32), items, user_ids=ids)
            with tempfile.TemporaryDirectory() as folder:
                path = f"{folder}/model.ancf"
                model.save(path)
                del model
                found = subprocess.run(
                    [sys.executable, __file__, "--answer", path], capture_output=True, text=True, check=True
                )
            print(f"{kind} {n:,}: {found.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
