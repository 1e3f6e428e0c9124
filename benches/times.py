"""What times are worth, under each split and with wrong dates among them: NDCG@10 of new items, the defaults.

    python benches/times.py online_retail.npz [online_retail_2009.npz ...]

The tables are those of the shared datasets. Each split is measured with the times and without; then up to one row in a
thousand of the training part by time gets a wrong date. Some minutes a table on two cores.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import ancf

DAY = 86_400


def load(path: str) -> ancf.Interactions:
    """The purchases of known customers; returns are left out."""
    table = np.load(path, allow_pickle=False)
    user, item, time, quantity = (
        np.concatenate([table[f"{part}_{name}"] for part in ("train", "test")])
        for name in ("user", "item", "timestamp", "quantity")
    )
    kept = (user >= 0) & (quantity > 0)
    return ancf.Interactions.from_ids(user[kept], item[kept], time=time[kept])


def rebuilt(data: ancf.Interactions, times: Any) -> ancf.Interactions:
    """The same purchases at other times, or at none."""
    return ancf.Interactions.from_ids(data.user_ids.take(data.users), data.item_ids.take(data.items), time=times)


def ndcg(train: ancf.Interactions, test: ancf.Interactions) -> float:
    return float(ancf.evaluate(ancf.ANCF().fit(train), test, "ndcg@10")["ndcg@10"])


def wrong_dates(times: Any, items: Any) -> Iterator[tuple[str, Any]]:
    """The times with one row, and with one in a thousand, at another moment."""
    draws = np.random.default_rng(1)
    n = len(times) // 1000
    newest = times.copy()
    newest[times.argmax()] += 365 * DAY
    yield "newest row a year late", newest
    popular = np.flatnonzero(items == np.argsort(-np.bincount(items))[30])[:n]
    for name, rows, moments in (
        ("up to 1,000 days late", None, lambda each: each + draws.integers(1, 1000, len(each)) * DAY),
        ("a year late", None, lambda each: each + 365 * DAY),
        ("in 9999", None, lambda each: np.full(len(each), 253_402_214_400)),
        ("in 1970", None, lambda each: np.zeros(len(each), np.int64)),
        ("of one item, 300 days late", popular, lambda each: each + 300 * DAY),
        ("30 to 60 days ahead", None, lambda each: times.max() + draws.integers(30, 60, len(each)) * DAY),
    ):
        moved = times.copy()
        chosen = draws.choice(len(times), n, replace=False) if rows is None else rows
        moved[chosen] = moments(times[chosen])
        yield f"{len(chosen)} rows {name}", moved


def main(paths: list[str]) -> None:
    warnings.simplefilter("ignore")
    for path in paths:
        data = load(path)
        by_time = ancf.time_split(data, (0.8, 0.2))
        for name, (train, *_, test) in (
            ("random 60/20/20", ancf.random_split(data)),
            ("last out", ancf.leave_last_out(data)),
            ("by time 80/20", by_time),
        ):
            with_times, without = ndcg(train, test), ndcg(rebuilt(train, None), test)
            print(f"{path}  {name:40s} with times {with_times:.4f}  without {without:.4f}", flush=True)
        train, test = by_time
        for name, times in wrong_dates(train.times.copy(), train.items):
            print(f"{path}  {name:40s} {ndcg(rebuilt(train, times), test):.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
