"""Why an item is not in a list: the first rule that keeps it out, or its place in the ranking."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ancf.checks import check_flag
from ancf.errors import InvalidParameterError, UnknownItemError
from ancf.scoring import lists
from ancf.scoring.arranging import compile_rules
from ancf.scoring.filters import Filters, Requested
from ancf.scoring.limits import check_n
from ancf.scoring.list_request import ListRequest
from ancf.scoring.requests import is_one
from ancf.scoring.rules import Rules, check_rules
from ancf.scoring.scorer import Scorer
from ancf.scoring.unknown_ids import refuse_twin

Reason = Literal[
    "listed",
    "unknown",
    "seen",
    "rejected",
    "later",
    "stock",
    "items",
    "filter_items",
    "deny",
    "where",
    "at_most",
    "displaced",
    "ranked",
]
"""Why: see ``WhyNot``."""

_SENTENCES: dict[str, str] = {
    "listed": "it is in the list, at place {place}",
    "unknown": "nobody had bought it when the model was trained, so it has no score",
    "seen": "the user has it already (filter_already_liked_items=False lists it all the same)",
    "rejected": "the user rejected it (a dislike, a removal from the cart or a return) and did not buy it since",
    "later": "nobody had bought it by then (now=)",
    "stock": "it is not in stock (with_stock)",
    "items": "it is not among items=, which are all that may be listed",
    "filter_items": "it is among filter_items=",
    "deny": "the rule deny names it",
    "where": "it does not fulfill the rule where: {rule}",
    "at_most": "it is at place {place} of {n} by score, and the rule at_most {rule} is used up by better ones",
    "displaced": "it is at place {place} of {n} by score, and other rules ({rule}) gave places to others",
    "ranked": "it is at place {place} of {n} by score, and the list ends at {length}",
}


@dataclass(frozen=True)
class WhyNot:
    """Why an item is not in a list; prints as a sentence.

    Attributes
    ----------
    user_id, item_id : ids
    reason : str
        "listed", "unknown", "rejected", "seen", "later" (first bought after ``now``), "stock", "items",
        "filter_items", "deny", "where", "at_most" (a quota is used up), "displaced" (quotas, pins or diversity gave
        places to others) or "ranked" (too far down).
    place : int or None
        Its place in the list, or else among all that may be listed, by score after boosts; None where it may not be.
    n : int or None
        How many may be listed.
    score : float or None
        The model's score of it; None where it is unknown.
    rule : str
        The rule, where one is the reason.
    length : int
        How long the list is.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
    >>> print(ancf.Popular().fit(data).why_not(1, "a"))
    'a' is not listed: the user has it already (filter_already_liked_items=False lists it all the same).
    """

    user_id: Any
    item_id: Any
    reason: Reason
    place: int | None = None
    n: int | None = None
    score: float | None = None
    rule: str = ""
    length: int = 0

    def __str__(self) -> str:
        text = _SENTENCES[self.reason].format(place=self.place, n=self.n, rule=self.rule, length=self.length)
        return f"{self.item_id!r}: {text}." if self.reason == "listed" else f"{self.item_id!r} is not listed: {text}."


def why_not(
    scorer: Scorer,
    user: Any,
    item: Any,
    N: int,
    *,
    filter_already_liked_items: bool,
    items: Any,
    filter_items: Any,
    rules: Rules | None,
    shown: Any,
    num_threads: int | None,
) -> WhyNot:
    """See ``Asking.why_not``."""
    N = check_n(N)
    check_rules(rules)
    check_flag("filter_already_liked_items", filter_already_liked_items)
    for name, value in (("user", user), ("item", item)):
        if not is_one(value):
            raise InvalidParameterError(f"why_not takes one {name}, not a {type(value).__name__}. Ask for each.")
    (row,) = lists.find_known_users(scorer, user)
    at = scorer.item_ids.position(item)
    if at < 0:
        refuse_twin([item], scorer.item_ids, UnknownItemError)
        return WhyNot(user, item, "unknown")
    score = float(lists.pair_scores(scorer, np.array([row]), np.array([at]))[0])
    requested = np.empty(1, object)
    requested[0] = user
    whose = Requested(requested, scorer.user_ids)
    hard = _hard_reason(scorer, int(row), at, filter_already_liked_items, items, filter_items, rules, whose)
    if hard is not None:
        return WhyNot(user, item, hard, score=score, rule=str(rules.where) if rules and hard == "where" else "")
    rows, n_items = np.array([row], np.int64), len(scorer.item_ids)
    request = ListRequest.of(scorer, N, items, filter_items, rules, shown, whose, num_threads)
    top = request.known(rows, filter_already_liked_items)
    found = top.items[0, : top.counts[0]].tolist()
    if at in found:
        return WhyNot(user, item, "listed", found.index(at) + 1, score=score, length=len(found))
    ranking = request.whole_ranking(rows, filter_already_liked_items)
    place, n = ranking.index(at) + 1, len(ranking)
    about: dict[str, Any] = {"place": place, "n": n, "score": score, "length": len(found)}
    compiled = request.rules
    if compiled is not None:
        full = compiled.used_up(at, found)
        if full is not None:
            return WhyNot(user, item, "at_most", rule=full, **about)
        others = [each for each in ("at_most", "at_least", "pins", "diversity") if getattr(compiled.rules, each)]
        if others and place <= min(N, n_items):
            return WhyNot(user, item, "displaced", rule=", ".join(others), **about)
    return WhyNot(user, item, "ranked", **about)


def _hard_reason(
    scorer: Scorer, row: int, at: int, filter_seen: bool, items: Any, filter_items: Any, rules: Rules | None, whose: Any
) -> Reason | None:
    """What keeps the item out whatever its score."""
    here = np.array([at], np.int32)
    past = scorer.past
    if scorer.rejected is not None and at in scorer.rejected.row(row):
        return "rejected"
    if filter_seen and at in (scorer.had if past is None else past.had).row(row):
        return "seen"
    if past is not None and past.not_yet(len(scorer.item_ids))[at]:
        return "later"
    if scorer.stock is not None and not scorer.stock[at]:
        return "stock"
    if items is not None and not Filters.resolve(items, None, scorer.item_ids, whose).permits(0, here)[0]:
        return "items"
    if filter_items is not None and not Filters.resolve(None, filter_items, scorer.item_ids, whose).permits(0, here)[0]:
        return "filter_items"
    if rules is None:
        return None
    compiled = compile_rules(rules, scorer)
    if compiled.denied[at]:
        return "deny"
    return "where" if compiled.allowed is not None and not compiled.allowed[at] else None
