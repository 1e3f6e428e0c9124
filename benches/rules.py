"""What rules and filters cost: everybody's lists with them against the same call without, and the parts of one list.

Processor seconds; each pair is measured in turn, and the ratio is the median of the ratios. Usage:

    python benches/rules.py [TABLE.npz | MODEL.ancf] [--rounds 9] [--only TEXT]

TABLE holds the arrays of a purchase table, `user`, `item` and, if there are some, `time`, of which a model is learned;
MODEL is one that is there already. Without either, a random table of the size of a small shop is made. The items get a
random group, one of ten, and a random shelf, one of forty.
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
    parser.add_argument("source", nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    model = fitted(given.source, given.epochs)
    ids, users = model.item_ids_.values, model.user_ids_.values
    load = os.getloadavg()[0]
    print(f"{len(users):,} users, {len(ids):,} items, {type(model).__name__}, lists of 10; load {load:.0f}\n")
    plain = lambda: model.recommend_all(10)  # noqa: E731
    print(f"everybody's lists without rules: {min(seconds(plain) for _ in range(3)) * 1e3:.0f} ms", flush=True)
    for name, options in calls(ids, users).items():
        if given.only in name:
            report(name, given.rounds, plain, lambda options=options: model.recommend_all(10, **options))
    shop = model.with_stock(ids[np.random.default_rng(2).random(len(ids)) < 0.9])
    if given.only in STOCK:
        report(STOCK, given.rounds, plain, lambda: shop.recommend_all(10))
    if given.only in "one list":
        one_list(model, shop, ancf.Rules(**cases(ids)["five rules"]), given.rounds)


def one_list(model: ancf.Recommender, shop: ancf.Recommender, five: ancf.Rules, rounds: int) -> None:
    """Microseconds of one list: the core's parts, and whole calls."""
    users = model.user_ids_.values.tolist()
    scorer = model._fitted()
    print(f"\none list, microseconds; load {os.getloadavg()[0]:.0f}:")
    some = users[:: max(1, len(users) // 100)]
    positions = [scorer.user_ids.position(user) for user in some]
    rules = compile_rules(five, scorer)
    keywords = rules._keywords(None)
    by_rules = lambda at: scorer.ranker.top_n_by_rules(np.array([at]), 10, **keywords)  # noqa: E731
    parts: dict[str, Callable[[], object]] = {
        "the core alone": lambda: [scorer.ranker.top_n_one(at, 10, True) for at in positions],
        "the core by five rules": lambda: [by_rules(at) for at in positions],
        "recommend": lambda: [model.recommend(user) for user in some],
        "recommend, five rules": lambda: [model.recommend(user, rules=five) for user in some],
        "a view with a table of stock": lambda: [shop.recommend(user) for user in some],
        "the view, five rules": lambda: [shop.recommend(user, rules=five) for user in some],
    }
    for name, call in parts.items():
        took = statistics.median(seconds(call) for _ in range(rounds)) / len(some) * 1e6
        print(f"  {took:6.1f}  {name}", flush=True)


STOCK = "a view with a table of stock (90 %)"


def cases(ids: np.ndarray) -> dict[str, dict[str, object]]:
    """Rules by name."""
    return {
        "where": {"where": "group != 'g1'"},
        "deny 100": {"deny": ids[:100].tolist()},
        "at most 3 of a group": {"at_most": {"group": 3}},
        "at most 3 of a group, 2 of a shelf": {"at_most": {"group": 3, "shelf": 2}},
        "boost 1.2 of a tenth": {"boosts": {"group == 'g2'": 1.2}},
        "boost 2 of a tenth": {"boosts": {"group == 'g2'": 2.0}},
        "penalty .5 of a tenth": {"boosts": {"group == 'g2'": 0.5}},
        "at least one with fewer than 50 buyers": {"at_least": {"buyers < 50": 1}},
        "at least one of a tenth": {"at_least": {"group == 'g2'": 1}},
        "at least one of a group and a shelf": {"at_least": {"group == 'g2' and shelf == 's3'": 1}},
        "a pin": {"pins": ids[5:6].tolist()},
        "diversity .3": {"diversity": 0.3},
        "diversity .3 by group": {"diversity": 0.3, "diversity_by": "group"},
        "five rules": {
            "where": "group != 'g1'",
            "boosts": {"group == 'g2'": 1.3},
            "at_most": {"group": 3},
            "at_least": {"buyers < 50": 1},
            "deny": ids[:1].tolist(),
        },
    }


def calls(ids: np.ndarray, users: np.ndarray) -> dict[str, dict[str, object]]:
    """What calls are given, by name."""
    rng = np.random.default_rng(4)

    def of_each(n: int) -> dict[object, list[object]]:
        return {user: ids[rng.choice(len(ids), n, replace=False)].tolist() for user in users.tolist()}

    return {name: {"rules": ancf.Rules(**options)} for name, options in cases(ids).items()} | {
        "items= of everybody (1,000)": {"items": ids[rng.choice(len(ids), 1000, replace=False)]},
        "items= of each (100)": {"items": of_each(100)},
        "filter_items= of everybody (100)": {"filter_items": ids[rng.choice(len(ids), 100, replace=False)]},
        "filter_items= of each (20)": {"filter_items": of_each(20)},
        "shown= of each (10)": {"shown": of_each(10)},
    }


def fitted(source: str | None, epochs: int) -> ancf.Recommender:
    """A model whose items have a group and a shelf."""
    if source is not None and source.endswith(".ancf"):
        model = ancf.load(source)
        vars(model._fitted())["features_of_items"] = ancf.read_features(groups(model.item_ids_.values)).of(
            model.item_ids_
        )
        return model
    if source is None:
        rng = np.random.default_rng(1)
        table = {
            "user": rng.integers(0, 5000, 200_000),
            "item": (rng.pareto(1.1, 200_000) * 60).astype(int) % 4000,
        }
    else:
        with np.load(source) as arrays:
            table = {name: arrays[name] for name in ("user", "item", "time") if name in arrays}
    data = ancf.Interactions.from_ids(**table)
    return ancf.ANCF(epochs=epochs).fit(data.with_features(item_features=groups(data.item_ids.values)))


def groups(ids: np.ndarray) -> dict[str, object]:
    """Attributes of items."""
    rng = np.random.default_rng(3)
    return {
        "item_id": ids,
        "group": [f"g{each}" for each in rng.integers(0, 10, len(ids))],
        "shelf": [f"s{each}" for each in rng.integers(0, 40, len(ids))],
    }


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def report(name: str, rounds: int, plain: Callable[[], object], ruled: Callable[[], object]) -> None:
    ruled()
    ratios = sorted(seconds(ruled) / seconds(plain) for _ in range(rounds))
    print(f"  {statistics.median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  {name}", flush=True)


if __name__ == "__main__":
    main()
