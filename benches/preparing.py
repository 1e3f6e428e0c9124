#!/usr/bin/env python3
"""Reading a table of more rows than memory should hold: ``max_memory=`` against reading in memory, in turn.

Prints for each: processor seconds, seconds a million lines, and the peak of resident memory of a process of its own
(pages that are mapped from files included). The aim: 50 million lines under 2 GB with their events, at most twice the
time a line. ``--rows 50000000`` is that; the tables are written into ``--folder`` (3 GB), or a temporary one.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_ROWS_AT_A_TIME = 2_000_000


def write_tables(folder: Path, rows: int) -> None:
    """One table as CSV and as Parquet: text ids in a long tail, quantities, times within two years."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    parquet = None
    with (folder / "table.csv").open("wb") as csv:
        for start in range(0, rows, _ROWS_AT_A_TIME):
            n = min(_ROWS_AT_A_TIME, rows - start)
            users = (rng.pareto(1.0, n) * 20_000).astype(np.int64) % 1_000_000
            items = (rng.pareto(1.0, n) * 2_000).astype(np.int64) % 100_000
            part = pyarrow.table(
                {
                    "user_id": pyarrow.compute.binary_join_element_wise("u", pyarrow.array(users).cast("string"), ""),
                    "item_id": pyarrow.compute.binary_join_element_wise("i", pyarrow.array(items).cast("string"), ""),
                    "quantity": pyarrow.array(rng.integers(1, 9, n).astype(np.int32)),
                    "timestamp": pyarrow.array((1_500_000_000 + rng.integers(0, 60_000_000, n)).astype("M8[s]")),
                }
            )
            options = pyarrow.csv.WriteOptions(include_header=start == 0, quoting_style="none")
            pyarrow.csv.write_csv(part, csv, options)
            parquet = parquet or pyarrow.parquet.ParquetWriter(folder / "table.parquet", part.schema)
            parquet.write_table(part, row_group_size=500_000)
    if parquet is not None:
        parquet.close()


def read(path: str, max_memory: str | None) -> None:
    """In a process of its own: read, and print what it took."""
    import ancf
    from ancf.data.reading import read_interactions

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, cpu = time.perf_counter(), time.process_time()
    data = read_interactions(path, max_memory=max_memory)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = data.report.rows_read
    print(
        f"  {Path(path).suffix[1:]:8} max_memory={max_memory or '-':6} {cpu:7.1f} processor seconds "
        f"({wall:.1f} passed), {1e6 * cpu / rows:.3f} a million lines; peak {peak:,.0f} MiB, "
        f"{before:,.0f} of them before; "
        f"{len(data):,} events, {data.fingerprint()}, ancf {ancf.__version__}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--max-memory", nargs="*", default=["none", "1GB", "200MB"])
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read[0], None if options.read[1] == "none" else options.read[1])
        return
    load = os.getloadavg()[0]
    print(f"reading {options.rows:,} lines, {os.cpu_count()} processors, load {load:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "table.parquet").exists():
            write_tables(folder, options.rows)
        for name in ("table.csv", "table.parquet"):
            for limit in options.max_memory:
                subprocess.run([sys.executable, __file__, "--read", str(folder / name), limit], check=True)


if __name__ == "__main__":
    main()
