"""What updates are worth: a shop day by day, its model stale, with fresh histories, updated daily and retrained daily.

    python benches/living.py online_retail.npz [online_retail_2009.npz ...] [--days 30] [--month 1] [--retrain-every 1]

The tables are those of the shared datasets. The model is trained on everything before the last ``days`` days (with
--month 2 on everything before the month before that, and so on), then each day is asked for and taken in. NDCG@20 of
what customers of the training bought on the day: new to them, and with repeats allowed; mean over the days and its
standard error. With --retrain-every 3 the retrained model is trained and asked on each third day alone, and is compared
with the others on these; 0 leaves it out. It keeps the settings that were chosen at first, which takes a third of the
time, unless --choose-anew is given. The seconds are those of the processor, all threads together, so that other work on
the machine does not count.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

import ancf

DAY = 86_400
N = 20


def load(path: str) -> pd.DataFrame:
    """All rows of known customers, returns included, by time."""
    table = np.load(path, allow_pickle=False)
    columns = {
        name: np.concatenate([table[f"{part}_{key}"] for part in ("train", "test")])
        for name, key in (("user", "user"), ("item", "item"), ("time", "timestamp"), ("quantity", "quantity"))
    }
    frame = pd.DataFrame(columns)
    return frame[(frame.user >= 0) & (frame.quantity != 0)].sort_values("time", kind="stable")


def days_of(frame: pd.DataFrame, days: int, month: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """What is trained on, and the days after it that have purchases."""
    day = frame.time // DAY
    end = int(day.max()) + 1 - (month - 1) * days
    later = [frame[day == each] for each in range(end - days, end)]
    return frame[day < end - days], [each for each in later if (each.quantity > 0).any()]


def ndcg(lists: dict[Any, list[Any]], truth: dict[Any, set[Any]]) -> float:
    """The mean over the users of ``truth``; who has no list counts 0."""
    gains = 1 / np.log2(np.arange(2, N + 2))
    found = []
    for user, wanted in truth.items():
        hits = [item in wanted for item in lists.get(user, [])]
        found.append(gains[: len(hits)][hits].sum() / gains[: min(N, len(wanted))].sum())
    return float(np.mean(found))


def lists_of(model: Any, users: list[Any], **options: Any) -> dict[Any, list[Any]]:
    ids, _ = model.recommend(users, N=N, on_unknown="skip", **options)
    return {user: list(row) for user, row in zip(users, ids, strict=True)}


def with_fresh_histories(model: Any, fresh: Any, users: list[Any], **options: Any) -> dict[Any, list[Any]]:
    """The stale model over the histories of another."""
    had = [fresh.history(user) for user in users]
    ids, _ = model.recommend_for_history(
        [list(each.item_ids) for each in had],
        N=N,
        weights=[list(each.counts) for each in had],
        times=[list(each.times) for each in had],
        on_unknown="skip",
        **options,
    )
    return {user: list(row) for user, row in zip(users, ids, strict=True)}


def timed(function: Any) -> tuple[Any, float]:
    began = time.process_time()
    result = function()
    return result, time.process_time() - began


CHOSEN = ("half_life", "neighbor_weight", "popularity_exponent", "serving_exponent", "trend", "trend_half_life")


def measure(
    frame: pd.DataFrame, days: int, month: int, retrain_every: int, choose_anew: bool
) -> Iterator[dict[str, Any]]:
    """One row for each day."""
    past, later = days_of(frame, days, month)
    stale, seconds = timed(lambda: ancf.ANCF().fit(ancf.read_interactions(past)))
    print(f"trained on {len(past):,} rows in {seconds:.1f} s: {stale.history_['settings']}", flush=True)
    customers = set(stale.user_ids_)
    updated, update_s = stale.clone(), 0.0
    updated._scorer = stale._scorer
    settings = {} if choose_anew else {name: stale.history_["settings"][name] for name in CHOSEN}
    counted = ancf.Popular().fit(ancf.read_interactions(past))
    for at, today in enumerate(later):
        retrained, retrain_s = None, np.nan
        if retrain_every and at and at % retrain_every == 0:
            data = ancf.read_interactions(pd.concat((past, *later[:at])))
            retrained, retrain_s = timed(lambda data=data: ancf.ANCF(**settings).fit(data))
        bought = today[(today.quantity > 0) & today.user.isin(customers)]
        truth = {user: set(items) for user, items in bought.groupby("user")["item"]}
        had = {user: set(counted.history(user).item_ids) for user in truth if user in counted.user_ids_}
        new = {user: items - had.get(user, set()) for user, items in truth.items()}
        new = {user: items for user, items in new.items() if items}
        row: dict[str, Any] = {"users": len(truth), "update_s": update_s, "retrain_s": retrain_s}
        for what, wanted, options in (
            ("new", new, {}),
            ("repeats", truth, {"filter_already_liked_items": False}),
        ):
            users = list(wanted)
            known = [user for user in users if user in had]
            ways = {
                "stale": lists_of(stale, users, **options),
                "fresh": with_fresh_histories(stale, counted, known, **options),
                "updated": lists_of(updated, users, **options),
            }
            if retrained is not None:
                ways["retrained"] = lists_of(retrained, users, **options)
            row |= {f"{what}_{way}": ndcg(lists, wanted) for way, lists in ways.items()} if users else {}
        yield row
        came = ancf.read_interactions(today, returns="keep")
        _, update_s = timed(lambda came=came: updated.partial_fit(came))
        counted.partial_fit(came)


def mean(values: Any) -> str:
    """With its standard error."""
    return f"{values.mean():.4f} ± {values.std() / np.sqrt(max(1, values.count())):.4f} ({values.count()} days)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--month", type=int, default=1, help="1: the last, 2: the one before, ...")
    parser.add_argument("--retrain-every", type=int, default=1)
    parser.add_argument("--choose-anew", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for path in options.tables:
        rows = []
        for row in measure(load(path), options.days, options.month, options.retrain_every, options.choose_anew):
            rows.append(row)
            print({name: round(value, 4) for name, value in row.items()}, flush=True)
        found = pd.DataFrame(rows)
        print(f"{path}: {len(found)} days, {found.users.mean():.0f} customers a day")
        for what in ("new", "repeats"):
            best = found.get(f"{what}_retrained")
            for way in ("stale", "fresh", "updated", "retrained"):
                values = found.get(f"{what}_{way}")
                if values is None:
                    continue
                line = f"  {what:8s} {way:10s} {mean(values)}"
                if best is not None:
                    there = best.notna()
                    share = 100 * values[there].mean() / best.mean()
                    line += f"   beside retrained: {share:5.1f} %, difference {mean((values - best)[there])}"
                print(line)
        for name in ("update_s", "retrain_s"):
            print(f"  {name:10s} {found[name][1:].mean():.2f} s a day", flush=True)


if __name__ == "__main__":
    main()
