"""``evaluate_similar``: whether the items shown beside an item are those that are bought next."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ancf._pandas import pd
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import ItemSets
from ancf.data.interactions import Interactions
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation.ground_truth import Known
from ancf.evaluation.metrics import HIT_METRICS, parse_metrics
from ancf.evaluation.ranking import Lists, hits_of
from ancf.evaluation.result import Evaluation
from ancf.params import checks_call
from ancf.scoring.results import TopN
from ancf.scoring.scorer import HasScorer
from ancf.scoring.similar import similar_items
from ancf.scoring.unknown_ids import refuse_other_table, used_ids

# Questions measured at a time.
_CHUNK = 65_536


@checks_call
def evaluate_similar(
    model: HasScorer,
    test: Interactions,
    metrics: str | Sequence[str] = ("ndcg", "recall", "mrr", "hit"),
    *,
    k: int | Sequence[int] = 10,
    train: Interactions | None = None,
) -> Evaluation:
    """Measure the lists of ``similar_items`` by what was bought next.

    A question is an item that a user bought; what is wanted are the other items of the same user's next purchase, that
    is, of the next time at which the user bought anything. The list is that of ``model.similar_items``, the same for
    everybody. A user's figure is the mean over the user's questions.

    Parameters
    ----------
    model : a fitted Recommender that compares items
    test : Interactions with times
        Users that were not in training count as well. Items that were not in training are no questions; wanted, they
        cannot be found.
    metrics : names of metrics of hits, such as ``"hit@5"``; those of ``docs/metrics.md`` under "Of a list"
    k : int or several, for the names without ``@``
    train : Interactions with times, optional
        Makes each user's last purchase of training a question as well, answered by the first of the test.

    Returns
    -------
    Evaluation

    Raises
    ------
    InvalidDataError
        If a table has no times, or nobody buys twice.
    InvalidParameterError
        If a metric is none of hits, or the model compares no items.
    NotFittedError

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=["tea", "cup", "tea", "cup"])
    >>> test = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=["tea", "cup", "cup", "new"], time=[1, 2, 1, 2])
    >>> result = ancf.evaluate_similar(ancf.ItemKNN().fit(data), test, "hit@1")
    >>> result.per_user["hit@1"].tolist()
    [1.0, 0.0]
    """
    if not hasattr(model, "_fitted"):
        raise InvalidParameterError(f"evaluate_similar: model is {model!r}; give a fitted model of ancf.")
    began = time.perf_counter()
    scorer = model._fitted()
    wanted = parse_metrics(metrics, k)
    for label, (name, _) in wanted.items():
        if name not in HIT_METRICS:
            raise InvalidParameterError(f"metric {label!r}: bought next is measured by {', '.join(HIT_METRICS)} alone.")
    for what, table in (("test", test), ("train", train)):
        if isinstance(table, Interactions) and table.times is None:
            raise InvalidDataError(f"evaluate_similar: {what} has no times, which say what was bought next.")
        if not isinstance(table, Interactions) and (what == "test" or table is not None):
            raise InvalidDataError(f"evaluate_similar takes ancf.Interactions as {what}, not {type(table).__name__}.")
    refuse_other_table(used_ids(test, "item"), scorer.item_ids, "the items of the test table")
    known = Known.of_scorer(scorer)
    pairs = _questions(known, test, train)
    if not len(pairs):
        raise InvalidDataError(
            "evaluate_similar: nobody buys an item that the model knows and then another. Give a test table with more "
            "purchases, or train=."
        )
    asked = pairs[["user", "basket", "query"]].drop_duplicates()
    question = pairs.groupby(["user", "basket", "query"], sort=False).ngroup().to_numpy()
    totals = np.bincount(question).astype(np.int64)
    found = pairs["item"].to_numpy() >= 0
    truth = ItemSets(
        offsets_from_lengths(np.bincount(question[found], minlength=len(asked))),
        pairs["item"].to_numpy()[found].astype(np.int32),
    )
    cut_offs = sorted({cut for _, cut in wanted.values()})
    queries, row = np.unique(asked["query"].to_numpy(), return_inverse=True)
    answer = similar_items(
        scorer,
        scorer.item_ids.values[queries],
        cut_offs[-1],
        "cosine",
        items=None,
        filter_items=None,
        num_threads=model.num_threads,
    )
    _, positions, scores, counts = answer.parts()
    top = TopN(positions, scores, counts)
    parts = []
    for start in range(0, len(asked), _CHUNK):
        rows = slice(start, start + _CHUNK)
        lists = top.rows(row[rows])
        some = truth.take(np.arange(start, min(start + _CHUNK, len(asked))))
        shown = Lists(np.ascontiguousarray(lists.items), lists.counts)
        parts.append(hits_of(shown, some, totals[rows], cut_offs, known, model.num_threads))
    users, user = np.unique(asked["user"].to_numpy(), return_inverse=True)
    n_questions = np.bincount(user)

    def by_user(label: str) -> NDArray[np.float64]:
        values = np.concatenate([part[label] for part in parts])
        means: NDArray[np.float64] = np.bincount(user, weights=values) / n_questions
        return means

    per_user = {label: by_user(f"{name}@{cut}") for label, (name, cut) in wanted.items()}
    item_of = scorer.item_ids.positions(test.item_ids.values[np.unique(test.items)])
    return Evaluation(
        {label: float(values.mean()) for label, values in per_user.items()},
        per_user,
        test.user_ids.values[users],
        model=f"{scorer.model}, bought next",
        n_unknown_items=int((item_of < 0).sum()),
        notes=[f"{len(asked):,} questions"],
        seconds=time.perf_counter() - began,
    )


def _questions(known: Known, test: Interactions, train: Interactions | None) -> "pd.DataFrame":
    """One row for each question and wanted item: user (position in test), basket, query and item (the model's, or -1).

    Sorted by question, and by item within; each unknown item counts.
    """
    events = _events(known, test, np.arange(test.n_users))
    if train is not None:
        at = test.user_ids.positions(train.user_ids.values)
        users = np.zeros(test.n_users, bool)
        users[test.users] = True
        before = _events(known, train, np.where((at >= 0) & users[at], at, -1))
        last = before.groupby("user")["time"].transform("max")
        events = pd.concat([before[before["time"] == last], events], ignore_index=True)
    events["basket"] = events.groupby("user")["time"].rank(method="dense").astype(np.int64)
    query = events.loc[events["item"] >= 0, ["user", "basket", "item"]].rename(columns={"item": "query"})
    query = query.drop_duplicates()
    following = events[["user", "basket", "item", "raw"]].drop_duplicates()
    following = following.assign(basket=following["basket"] - 1)
    pairs = query.merge(following, on=["user", "basket"])
    pairs = pairs[pairs["item"] != pairs["query"]]
    return pairs.sort_values(["user", "basket", "query", "item"], kind="stable", ignore_index=True)


def _events(known: Known, table: Interactions, user_of: NDArray[np.int64]) -> "pd.DataFrame":
    """The events of a table's users that have a position in ``user_of``."""
    frame = pd.DataFrame(
        {
            "user": user_of[table.users],
            "item": known.item_ids.positions(table.item_ids.values)[table.items],
            "raw": table.items,
            "time": table.times,
        }
    )
    return frame[frame["user"] >= 0]
