#!/usr/bin/env python3
"""Run every bench of this folder, or those named: ``python benches/run.py [name …]``; fails if one of them does."""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    found = {path.stem: path for path in sorted(HERE.glob("*.py")) if path.stem != "run"}
    unknown = [name for name in names if name not in found]
    if unknown:
        print(f"there is no bench {unknown[0]!r}; there are {', '.join(found)}.", file=sys.stderr)
        return 2
    failed, began_all = [], time.perf_counter()
    for name in names or found:
        print(f"\n{name}\n{'=' * len(name)}", flush=True)
        began = time.perf_counter()
        if subprocess.run([sys.executable, str(found[name])]).returncode:
            failed.append(name)
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
    print(f"\nall: {time.perf_counter() - began_all:.0f} s")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
