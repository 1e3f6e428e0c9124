#!/usr/bin/env python3
"""The job that runs at night: read the purchases, learn, refuse to get worse, and write everybody's lists.

    python examples/nightly_job.py purchases.csv lists.csv shop.ancf

A file is the old one or the new one at every moment, so the shop may read while this writes. Exit code 1 leaves the
files of yesterday in place.
"""

import sys
from pathlib import Path

import ancf

LEAST_SHARE_OF_YESTERDAY = 0.9


def main(table: str, lists: str, model_file: str) -> int:
    data = ancf.read_interactions(table, on_bad_rows="drop")
    print(data.report)
    if data.report.rows_used < 0.5 * data.report.rows_read:
        print("more than half of the rows cannot be used; something is wrong with the export", file=sys.stderr)
        return 1

    # Learn from all but the last tenth, and look how well that would have served the last tenth.
    past, latest = ancf.time_split(data, (0.9, 0.1))
    quality = ancf.compare([ancf.Popular(), ancf.ANCF()], past, latest, metrics="ndcg@10")
    print(quality)
    if quality["ANCF"]["ndcg@10"] < quality["Popular"]["ndcg@10"]:
        print("the model does not even beat popularity; keeping yesterday's", file=sys.stderr)
        return 1
    if Path(model_file).exists():
        before = len(ancf.load(model_file).user_ids_)
        if data.n_users < LEAST_SHARE_OF_YESTERDAY * before:
            print(f"only {data.n_users} customers where there were {before} yesterday", file=sys.stderr)
            return 1

    # Then learn from everything.
    model = ancf.ANCF().fit(data)
    model.save(model_file)
    print(model.recommend_all(N=20, out=lists))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
