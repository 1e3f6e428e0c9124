"""An update: the purchases a scorer has and those that come, as one table, and the account of it.

What a model makes of that table is its own matter (``Recommender._updated``); it has to be a function of what was
trained and of the table alone, so that it does not matter how the rows were cut into updates (``docs/updating.md``).
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import ItemSets
from ancf.data.feature_reading import Side, read_features_like
from ancf.data.features import Features
from ancf.data.id_kinds import events_like, features_like
from ancf.data.ids import IdMap
from ancf.data.interactions import Interactions
from ancf.data.ledger import Joined, join
from ancf.data.returns import n_netted
from ancf.errors import InvalidDataError, TrainingWarning
from ancf.scoring.purchases import Purchases
from ancf.scoring.scorer import Scorer
from ancf.scoring.update_report import UpdateReport

MAX_SINCE = 0.25
"""Events beyond the training, as a share of its own, from which on training anew is advised: a little beyond the .19 at
which the measurements end (docs/updating.md)."""
_FIT_PAIRS = 1000
_FEATURES = ("item_features", "user_features")


class Update(NamedTuple):
    """What a model makes its new scorer of."""

    data: Interactions
    """All purchases after returns, over all ids that ever occurred."""
    touched: NDArray[np.bool_]
    """Which items of ``data.item_ids`` have a row in this update."""
    returns: Interactions | None
    report: UpdateReport

    def about(
        self, data: Interactions, n_trained: int | None = None, untrained_items: int | None = None
    ) -> dict[str, Any]:
        """The parts of the scorer that are the same for all models; ``data`` is what it is made of.

        For a model that does not learn everything anew: the events of its training, and the items that came since.
        """
        report = self.report
        if n_trained is not None:
            since = max(0, len(data) - n_trained)
            report = replace(report, trained=n_trained, since=since, untrained_items=untrained_items)
        purchases = Purchases.from_interactions(data, n_trained=n_trained, returns=self.returns)
        return {"purchases": purchases, "update": report}


def apply(scorer: Scorer, new: Any, deduplicate: bool, updated: Callable[[Scorer, Update], Scorer]) -> Scorer:
    """The scorer that ``updated`` makes of all purchases; warns where training anew is worth it.

    Raises
    ------
    InvalidDataError
        If the table does not fit, or nothing would be left.
    """
    if not isinstance(new, Interactions):
        raise InvalidDataError(
            f"partial_fit takes ancf.Interactions, not {type(new).__name__}. "
            'Use ancf.read_interactions(table, returns="keep").'
        )
    purchases = scorer.purchases
    if purchases is None:
        raise InvalidDataError(
            f"this {scorer.model} was loaded from a file without the purchases that it learned from, so nothing can be "
            "added to them. Train it again with fit (or ancf train), and save it."
        )
    netted = n_netted(new.report)
    if netted:
        warnings.warn(
            f"{netted:,} returns were taken off this table's own purchases when it was read, and not off earlier ones. "
            "Read it with returns='keep' to take them off all.",
            TrainingWarning,
            stacklevel=4,
        )
    texts = {"item_names": scorer.item_names, "item_categories": scorer.item_categories}
    known = purchases.interactions(scorer.user_ids, scorer.item_ids, scorer.seen, **texts)
    known.event_weights = None if scorer.event_weights is None else dict(scorer.event_weights)
    joined = join(known, purchases.returns, new, deduplicate=deduplicate)
    features = {name: _features(getattr(scorer, name), getattr(new, name)) for name in _FEATURES}
    for name, found in features.items():
        setattr(joined.data, name, found)
    if not len(joined.data):
        raise InvalidDataError("after these returns no purchase would be left. The model is as it was.")
    report = _report(scorer, known, new, joined)
    joined.data.event_weights = _event_weights(scorer.event_weights, new.event_weights)
    if not joined.n_events and all(getattr(new, name) is None for name in _FEATURES):
        same = replace(purchases, mark=joined.data.mark, rejections=joined.data.rejections)
        return replace(scorer, purchases=same, update=report)
    found_scorer = updated(scorer, Update(joined.data, joined.touched, joined.returns, report))
    _warn(found_scorer.update)
    return found_scorer


def read_update(scorer: Scorer, new: Any, item_features: Any, user_features: Any) -> Any:
    """A table by ids as the model's are, with attributes that come beside it, of ids that need no purchase in it.

    Raises
    ------
    InvalidDataError
        If ids are of another kind than the model's.
    """
    if not isinstance(new, Interactions):
        return new
    new = events_like(new, scorer.user_ids, scorer.item_ids)
    sides: tuple[tuple[Side, Any, IdMap], ...] = (
        ("items", item_features, scorer.item_ids),
        ("users", user_features, scorer.user_ids),
    )
    for of, given, ids in sides:
        if given is None:
            continue
        features = (
            given
            if isinstance(given, Features)
            else read_features_like(given, of, getattr(scorer, f"{of[:-1]}_features"))
        )
        features = features_like(features, ids, of[:-1])
        if features.ids.kind != ids.kind:
            raise InvalidDataError(
                f"{of[:-1]}_features: the ids of {features.report.source} are of kind {features.ids.kind!r} "
                f"({features.ids[0]!r}) where the model's are of kind {ids.kind!r} ({ids[0]!r}). Give them as those of "
                "the training table."
            )
        new, name = copy.copy(new), f"{of[:-1]}_features"
        setattr(new, name, _features(getattr(new, name), features))
    return new


def _event_weights(known: Mapping[str, float] | None, new: Mapping[str, float] | None) -> dict[str, float] | None:
    """What events of each type weigh, in training and in an update.

    Raises
    ------
    InvalidDataError
        If a type weighs another number than before.
    """
    if known is None or new is None:
        return None if known is None and new is None else dict(known or new or {})
    other = next((name for name, weight in new.items() if known.get(name, weight) != weight), None)
    if other is not None:
        raise InvalidDataError(
            f"an event of the type {other!r} weighs {new[other]:g} in this table and {known[other]:g} in the model. "
            f"Read it with event_weights={dict(known)!r} (model.event_weights_)."
        )
    return {**known, **new}


def _features(known: Features | None, new: Features | None) -> Features | None:
    """Attributes with those that an update brings."""
    return new if known is None else known if new is None else known.updated(new)


def _report(scorer: Scorer, known: Interactions, new: Interactions, joined: Joined) -> UpdateReport:
    data = joined.data
    left_users, left_items = (
        np.bincount(part, minlength=n) > 0 for part, n in ((data.users, data.n_users), (data.items, data.n_items))
    )
    had_users = data.user_ids.positions(known.user_ids.values)
    occur = np.bincount(known.items, minlength=known.n_items) > 0
    had_items = data.item_ids.positions(known.item_ids.values[occur])
    new_items = left_items.copy()
    new_items[had_items] = False
    return UpdateReport(
        events=joined.n_events,
        repeated=joined.n_repeated,
        corrected=joined.n_corrected,
        new_users=int(left_users.sum() - left_users[had_users].sum()),
        new_items=int(new_items.sum()),
        touched_items=int(joined.touched.sum()),
        returns=joined.n_returns,
        cancelled=joined.n_cancelled,
        gone_users=int((~left_users[had_users]).sum()),
        fit=_fit(scorer, new),
    )


def _fit(scorer: Scorer, new: Interactions) -> float | None:
    """How often new pairs of known users and items score above random items."""
    new = new.compact()
    users = scorer.user_ids.positions(new.user_ids.values)[new.users] if len(new) else np.empty(0, np.int64)
    items = scorer.item_ids.positions(new.item_ids.values)[new.items] if len(new) else np.empty(0, np.int64)
    usable = np.flatnonzero((users >= 0) & (items >= 0) & (new.weights > 0))
    if len(usable):
        usable = usable[~_had(scorer.seen, users[usable], items[usable])]
    if not len(usable):
        return None
    draws = np.random.Generator(np.random.PCG64(0))
    if len(usable) > _FIT_PAIRS:
        usable = np.sort(draws.permutation(usable)[:_FIT_PAIRS])
    other = draws.integers(0, len(scorer.item_ids), len(usable))
    # Both of a user one after the other, whose history is then summed once.
    pairs = np.stack((items[usable], other), axis=1).ravel()
    bought, random = scorer.ranker.scores(np.repeat(users[usable], 2), pairs).reshape(-1, 2).T
    return float((bought > random).mean() + 0.5 * (bought == random).mean())


def _had(seen: ItemSets, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these pairs are among those seen."""
    rows = seen.take(np.unique(users))
    n_items = 1 + int(max(items.max(), seen.items.max(initial=0)))
    at = np.searchsorted(np.unique(users), users)
    keys = np.repeat(np.arange(rows.n_rows), np.diff(rows.indptr)) * n_items + rows.items
    wanted = at * n_items + items
    place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return np.asarray(keys[place] == wanted) if len(keys) else np.zeros(len(users), bool)


def _warn(report: UpdateReport | None) -> None:
    if report is None or report.trained is None or report.since is None:
        return
    if report.since > MAX_SINCE * report.trained:
        fit = (
            ""
            if report.fit is None
            else f"; new purchases score above random items {100 * report.fit:.0f} % of the time"
        )
        warnings.warn(
            f"{report.since:,} events and {report.untrained_items or 0:,} items came since the training on "
            f"{report.trained:,} events{fit}. "
            "Item vectors are as old as the training: train anew when there is time.",
            TrainingWarning,
            stacklevel=4,
        )
