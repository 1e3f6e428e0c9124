"""What customers buy again: `buy_again` against the customer's own list and the models' own rankings of what they had.

The last 30 days of a table are the test: of what somebody had before them, which items do they buy again? Recall@20 and
NDCG@20 with binary gains, mean over the customers who buy something again; every ranking holds nothing but what the
customer had. `--back 60` puts the test 30 days earlier and leaves the last days out, which is what settings are chosen
on. Usage:

    python benches/repeats.py TABLE.npz ... [--back 30] [--fast]

Each TABLE holds the lines of a shop: `train_user, train_item, train_timestamp, train_quantity` and the same of `test_`,
which are joined; users below 0 are anonymous, quantities below 1 returns, and both are left out.
"""

import argparse

import numpy as np

import ancf

DAY, CUT_OFF = 86400, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*")
    parser.add_argument(
        "--back", type=int, default=30, help="days before the end at which the 30 days of the test begin"
    )
    parser.add_argument("--fast", action="store_true", help="without the model that is trained")
    given = parser.parse_args()
    for table in given.tables:
        print(f"\n{table}")
        compare(table, given.back, given.fast)


def compare(table: str, back: int, fast: bool) -> None:
    users, items, times = read(table)
    begin = (times.max() // DAY + 1 - back) * DAY
    before, after = times < begin, (times >= begin) & (times < begin + 30 * DAY)
    data = ancf.Interactions.from_ids(user=users[before], item=items[before], time=times[before])
    had: dict[int, set[int]] = {}
    for user, item in zip(users[before].tolist(), items[before].tolist(), strict=True):
        had.setdefault(user, set()).add(item)
    again: dict[int, set[int]] = {}
    for user, item in zip(users[after].tolist(), items[after].tolist(), strict=True):
        if item in had.get(user, ()):
            again.setdefault(user, set()).add(item)
    asked = sorted(again)
    print(f"{data.n_users:,} customers, {data.n_items:,} items; {len(asked):,} buy something again\n")

    def ranked(model: ancf.Recommender) -> ancf.Recommendations:
        own = {user: sorted(had[user]) for user in asked}
        return model.recommend(asked, CUT_OFF, filter_already_liked_items=False, items=own)

    lists = {"buy_again": ancf.Popular().fit(data).buy_again(asked, CUT_OFF, now=int(begin) - 1)}
    for half_life in (None, 90.0, 180.0, 365.0):
        lists[f"LastBought(half_life={half_life})"] = ranked(ancf.LastBought(half_life=half_life).fit(data))
    lists["Popular(): of what they had"] = ranked(ancf.Popular().fit(data))
    if not fast:
        lists["ANCF(): its own ranking of what they had"] = ranked(ancf.ANCF(random_state=0).fit(data))
    first = None
    for name, answer in lists.items():
        recall, ndcg = measure(answer, again)
        first = ndcg if first is None else first
        behind = first - ndcg
        error = behind.std() / np.sqrt(len(behind))
        print(f"{recall.mean():.4f} / {ndcg.mean():.4f}  behind {behind.mean():+.4f} ± {error:.4f}  {name}", flush=True)


def read(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=True) as arrays:
        user, item, time, quantity = (
            np.concatenate([arrays[f"{part}_{name}"] for part in ("train", "test")])
            for name in ("user", "item", "timestamp", "quantity")
        )
    kept = (user >= 0) & (quantity > 0)
    return user[kept], item[kept], time[kept]


def measure(answer: ancf.Recommendations, truth: dict[int, set[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG of each customer."""
    gains = 1 / np.log2(np.arange(CUT_OFF) + 2)
    listed: dict[int, list[int]] = {user: [] for user in truth}
    for row in answer.rows():
        listed[row.user_id].append(row.item_id)
    recalls, ndcgs = [], []
    for user, wanted in truth.items():
        hits = np.array([item in wanted for item in listed[user]])
        recalls.append(hits.sum() / len(wanted))
        ndcgs.append(gains[: len(hits)][hits].sum() / gains[: len(wanted)].sum())
    return np.array(recalls), np.array(ndcgs)


if __name__ == "__main__":
    main()
