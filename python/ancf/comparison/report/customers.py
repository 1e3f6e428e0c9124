"""A few real customers: what they had bought, how much of it counts, and what they are recommended because of what."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.interactions import Interactions
from ancf.models.base import Recommender

LIST_LENGTH = 5
_MAX_COUNTED = 8
_MAX_REASONS = 2
# The quantiles of the history lengths at which a customer is looked for.
_KINDS = {"short": 0.1, "middle": 0.5, "long": 0.9}


class Counted(NamedTuple):
    """One purchase and how much it counts."""

    name: str
    share: float
    """Of all that speaks for the products of the list."""
    attention: float | None
    """The part of the attention that it gets, of 1; None for models without."""


class Listed(NamedTuple):
    """One product of a list."""

    name: str
    reasons: list[tuple[str, float]]
    """The purchases that speak most for it, and their part of what does."""
    bought: bool
    """Whether the customer bought it afterwards."""


class Customer(NamedTuple):
    """One customer of the report."""

    user_id: Any
    kind: str
    n_items: int
    counted: list[Counted]
    n_more: int
    share_more: float
    share_base: float
    """The part that comes from no purchase, such as the product's general popularity."""
    listed: list[Listed]


def customers_of(model: Recommender, test: Interactions, user_ids: NDArray[Any], *, new_only: bool) -> list[Customer]:
    """One with a short, a middling and a long history, where the model has reasons to give.

    The first of those measured whose history is as long as the 10 %, 50 % and 90 % quantile.
    """
    rows = model.user_ids_.positions(user_ids)
    lengths = np.diff(model._fitted().seen.indptr)[rows]
    found: list[Customer] = []
    chosen: set[int] = set()
    for kind, share in _KINDS.items():
        length = int(np.quantile(lengths, share, method="nearest")) if len(lengths) else 0
        at = int(np.argmax(lengths == length)) if length else -1
        if at >= 0 and at not in chosen:
            chosen.add(at)
            each = _customer(model, test, user_ids[at : at + 1].tolist()[0], kind, length, new_only=new_only)
            if each is not None:
                found.append(each)
    return found


def _customer(
    model: Recommender, test: Interactions, user: Any, kind: str, n_items: int, *, new_only: bool
) -> Customer | None:
    ids = model.recommend(user, N=LIST_LENGTH, filter_already_liked_items=new_only).ids.tolist()
    bought = _bought(test, user)
    names: dict[Any, str] = {}
    total: dict[Any, float] = {}
    base = 0.0
    listed = []
    for item in ids:
        why = model.explain(user, item)
        speaking = [each for each in why.reasons if each.contribution > 0]
        beside = sum(value for value in why.base.values() if value > 0)
        whole = sum(each.contribution for each in speaking) + beside
        base += beside
        for each in speaking:
            names[each.item_id] = _name(each.name, each.item_id)
            total[each.item_id] = total.get(each.item_id, 0.0) + each.contribution
        reasons = [(names[each.item_id], each.contribution / whole) for each in speaking[:_MAX_REASONS]]
        listed.append(Listed(_name(why.name, item), reasons, item in bought))
    whole = sum(total.values()) + base
    if not total or whole <= 0:
        return None
    attention = _attention(model, user)
    order = sorted(total, key=lambda item: -total[item])
    counted = [Counted(names[item], total[item] / whole, attention.get(item)) for item in order[:_MAX_COUNTED]]
    rest = sum(total[item] for item in order[_MAX_COUNTED:]) / whole
    return Customer(user, kind, n_items, counted, max(0, n_items - len(counted)), rest, base / whole, listed)


def _attention(model: Recommender, user: Any) -> Mapping[Any, float]:
    """Item → its part of a customer's attention; empty for models without."""
    scorer = model._fitted()
    row = scorer.user_ids.position(user)
    history = scorer.history_of(row)
    weights = scorer.encoder.attention_weights(scorer, history, row)
    if weights is None or not (whole := float(weights.sum())):
        return {}
    ids = scorer.item_ids.take(history.items).tolist()
    return dict(zip(ids, (weights / whole).tolist(), strict=True))


def _bought(test: Interactions, user: Any) -> set[Any]:
    at = test.user_ids.position(user)
    return set() if at < 0 else set(test.item_ids.take(test.items[test.users == at]).tolist())


def _name(name: str | None, item_id: Any) -> str:
    text = "" if name is None else str(name).strip()
    return text or str(item_id)
