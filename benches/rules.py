"""What rules cost: everybody's lists with them against the same call without, and one list beside the core's own.

Processor seconds; each pair is measured in turn, and the ratio is the median of the ratios. Usage:

    python benches/rules.py [TABLE.npz] [--rounds 9]

TABLE holds the arrays of a purchase table, `user`, `item` and, if there are some, `time`; without one, a random table
of the size of a small shop is made.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

import ancf
from ancf.scoring.arranging import compile_rules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    data = read(given.table)
    model = ancf.ANCF(epochs=given.epochs).fit(data)
    print(f"{data.n_users:,} users, {data.n_items:,} items, ANCF with vectors and item-item weights, lists of 10\n")
    stock = model.item_ids_.values[np.random.default_rng(2).random(data.n_items) < 0.9]
    plain = lambda: model.recommend_all(10)  # noqa: E731
    print(f"everybody's lists without rules: {seconds(plain) * 1e3:.0f} ms")
    for name, options in CASES.items():
        rules = ancf.Rules(**options)
        report(name, given.rounds, plain, lambda rules=rules: model.recommend_all(10, rules=rules))
    shop = model.with_stock(stock)
    report("a view with a table of stock (90 %)", given.rounds, plain, lambda: shop.recommend_all(10))

    users = model.user_ids_.values.tolist()
    scorer = model._fitted()
    print(f"\none list, microseconds; load {os.getloadavg()[0]:.0f}:")
    some = users[:: max(1, len(users) // 300)]
    positions = [scorer.user_ids.position(user) for user in some]
    core = lambda: [scorer.ranker.top_n_one(at, 10, True) for at in positions]  # noqa: E731
    print(f"  {seconds(core) / len(some) * 1e6:6.1f}  the core alone")
    five = ancf.Rules(**FIVE)
    compiled = compile_rules(five, scorer)
    width = min(45, data.n_items + 1)
    longer = lambda: [  # noqa: E731
        scorer.ranker.top_n(np.array([at]), width, allow=compiled.allowed, finish=False) for at in positions
    ]
    rankings = longer()
    arranged = lambda: [compiled._list_rules.arrange(10, ranking=(*each, width)) for each in rankings]  # noqa: E731
    print(f"  {seconds(longer) / len(some) * 1e6:6.1f}  the core's ranking of 45 that five rules choose from")
    print(f"  {seconds(arranged) / len(some) * 1e6:6.1f}  the core's choice from it")
    calls: dict[str, Callable[[], object]] = {
        "recommend": lambda: [model.recommend(user) for user in some],
        "recommend, five rules": lambda: [model.recommend(user, rules=five) for user in some],
        "a view with a table of stock": lambda: [shop.recommend(user) for user in some],
        "the view, five rules": lambda: [shop.recommend(user, rules=five) for user in some],
    }
    for name, call in calls.items():
        took = statistics.median(seconds(call) - seconds(core) for _ in range(given.rounds)) / len(some) * 1e6
        print(f"  {took:6.1f}  more: {name}")


FIVE = {
    "where": "group != 'g1'",
    "boosts": {"group == 'g2'": 1.3},
    "at_most": {"group": 3},
    "at_least": {"buyers < 50": 1},
    "deny": [0],
}
CASES = {
    "where": {"where": "group != 'g1'"},
    "deny 100": {"deny": list(range(100))},
    "at most 3 of a group": {"at_most": {"group": 3}},
    "at most 3 of a group, 2 of a shelf": {"at_most": {"group": 3, "shelf": 2}},
    "boost 1.2 of a tenth": {"boosts": {"group == 'g2'": 1.2}},
    "boost 2 of a tenth": {"boosts": {"group == 'g2'": 2.0}},
    "penalty .5 of a tenth": {"boosts": {"group == 'g2'": 0.5}},
    "at least one with fewer than 50 buyers": {"at_least": {"buyers < 50": 1}},
    "at least one of a tenth": {"at_least": {"group == 'g2'": 1}},
    "a pin": {"pins": [5]},
    "diversity .3": {"diversity": 0.3},
    "five rules": FIVE,
}


def read(path: str | None) -> ancf.Interactions:
    """The table with a category and a shelf for each item."""
    if path is None:
        rng = np.random.default_rng(1)
        users, items = rng.integers(0, 5000, 200_000), (rng.pareto(1.1, 200_000) * 60).astype(int) % 4000
        data = ancf.Interactions.from_ids(user=users, item=items)
    else:
        with np.load(path) as arrays:
            parts = {name: arrays[name] for name in ("user", "item", "time") if name in arrays}
        data = ancf.Interactions.from_ids(**parts)
    ids = data.item_ids.values
    rng = np.random.default_rng(3)
    features = {
        "item_id": ids,
        "group": [f"g{each}" for each in rng.integers(0, 10, len(ids))],
        "shelf": [f"s{each}" for each in rng.integers(0, 40, len(ids))],
    }
    return data.with_features(item_features=features)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def report(name: str, rounds: int, plain: Callable[[], object], ruled: Callable[[], object]) -> None:
    ruled()
    ratios = sorted(seconds(ruled) / seconds(plain) for _ in range(rounds))
    print(f"  {statistics.median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {name}")


if __name__ == "__main__":
    main()
