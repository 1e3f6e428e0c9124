"""Which events of the journal count on top of what a model has learned, and what each of them weighs.

Weights: those that the server was started with; for other types those of the model (``event_weights_``); for what
neither knows the usual ones, in units of a purchase, so that a return takes back what a purchase gave whatever that
weighs. Names that mean the same weigh the same: ``order`` and ``purchase``.

An item is *had*, and left out of lists, by a purchase: an event of a type that means one or, where the model knows
types of which none does, of its heaviest type. Other events are interest: they stand in the history, and the item may
be listed.

An item is *rejected*, and in no list, by a dislike or a removal from a cart, and by a return where the training table
has a type for it, until a later purchase (``data/rejections.py``).

Learned: a model that took in events of this journal names the last of them in its mark (``mark_``); an event up to that
one is learned, any later one is not, whatever its time. Of other models it is known up to which moment their training
table reached (``Purchases.until``): an event of a user and item that they know, at or before it, is one of those. A
type that was not in the training table is never learned.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from ancf.data.columns import normalize_heading
from ancf.data.event_types import EVENT_WEIGHTS, Rejection, had_types, is_return, meaning_of, rejection_of
from ancf.scoring.scorer import Scorer

PURCHASE, RETURN = "purchase", "return"
USUAL_WEIGHTS: Mapping[str, float] = {
    PURCHASE: 1.0,
    RETURN: -1.0,
    **{name: weight / EVENT_WEIGHTS[PURCHASE] for name, weight in EVENT_WEIGHTS.items() if name != PURCHASE},
}
"""In units of a purchase."""
_MARK = re.compile(r"journal ([0-9a-f]{1,64}):(\d{1,18})", re.ASCII)
_LONGEST_NAME = 64
_MOST_KNOWN = 1000


class Weighed(NamedTuple):
    """What an event of some type is to a model."""

    weight: float
    """By quantity, in the units of the training table."""
    share: float
    """The same in purchases."""
    had: int
    """1 where it says that somebody has the item, -1 that they have it no more, 0 that it interests them."""
    rejects: Rejection | None
    """How it rejects the item, so that no list has it (``data/rejections.py``)."""
    trained: bool
    """Whether events of this type are in training tables of this model, and so in its updates."""


def kind_of(name: str) -> str | None:
    """The type among ``USUAL_WEIGHTS`` that a name means; None for any other."""
    return RETURN if is_return(name) else meaning_of(name)


class EventWeights:
    """What events weigh to one model."""

    def __init__(self, chosen: Mapping[str, float], trained: Mapping[str, float] | None = None) -> None:
        self._named = [chosen, trained or {}]
        self._trained = trained
        self.known: dict[str, Weighed] = {}
        """What was looked up by now, by the name as it came."""
        heaviest = max((trained or {}).values(), default=0.0)
        self._had = had_types(trained or {})
        of_purchase = self._weight(PURCHASE, PURCHASE)
        if of_purchase is None:
            of_purchase = heaviest if self._had else USUAL_WEIGHTS[PURCHASE]
        self.of_purchase = of_purchase

    def get(self, name: str) -> Weighed | None:
        """What an event of this type is; None for a type that nobody knows."""
        found = self.known.get(name)
        return self._resolve(name) if found is None else found

    def to_dict(self) -> dict[str, float]:
        """The types by name, those that are known by themselves first."""
        names = dict.fromkeys((*USUAL_WEIGHTS, *self._named[1], *self._named[0]))
        found = {name: self.get(name) for name in names}
        return {name: weighed.weight for name, weighed in found.items() if weighed is not None}

    def _resolve(self, name: str) -> Weighed | None:
        if len(name) > _LONGEST_NAME:
            return None
        kind, heading = kind_of(name), normalize_heading(name)
        weight = self._weight(name, kind)
        if weight is None:
            if kind is None:
                return None
            weight = USUAL_WEIGHTS[kind] * self.of_purchase
        had = -1 if kind == RETURN else int(kind == PURCHASE or heading in self._had)
        if self._trained is None:
            trained = had != 0
        else:
            same = {normalize_heading(each) for each in self._trained} | {kind_of(each) for each in self._trained}
            trained = kind == RETURN or heading in same or (kind is not None and kind in same)
        share = weight / self.of_purchase if self.of_purchase else 0.0
        # A table without types does not say why something came back, and neither does a return beside it.
        is_rejection = kind != RETURN or RETURN in {kind_of(each) for each in self._trained or ()}
        rejects = rejection_of(name, weight) if is_rejection else None
        found = Weighed(weight, share, had, rejects, trained)
        if len(self.known) < _MOST_KNOWN:
            self.known[name] = found
        return found

    def _weight(self, name: str, kind: str | None) -> float | None:
        """What a type was said to weigh, by its name or by what it means; what was chosen goes first."""
        heading = normalize_heading(name)
        for said in self._named:
            for other, weight in said.items():
                if normalize_heading(other) == heading:
                    return weight
            alike = [weight for other, weight in said.items() if kind is not None and kind_of(other) == kind]
            if alike:
                return max(alike)
        return None


def mark_of(journal: str, seq: int) -> str:
    """What a model is marked with that has learned a journal up to an event."""
    return f"journal {journal}:{seq}"


def learned_seq(mark: object, journal: str | None) -> int | None:
    """The last event of this journal that a mark says is learned; None for a mark of something else, or of none.

    Examples
    --------
    >>> learned_seq(mark_of("1f", 4711), "1f"), learned_seq(mark_of("1f", 4711), "2e"), learned_seq(4711, "1f")
    (4711, None, None)
    """
    found = _MARK.fullmatch(mark) if isinstance(mark, str) else None
    return int(found[2]) if found and found[1] == journal else None


class Counting(NamedTuple):
    """What a model makes of the events of a journal."""

    weights: EventWeights
    seq: int | None
    """The last event that it has learned; None where only times tell."""
    until: int | None
    """The moment up to which it knows its pairs; None where there is a mark, or no time."""

    @classmethod
    def of(cls, scorer: Scorer, chosen: Mapping[str, float] | None = None, journal: str | None = None) -> Self:
        """That of a model, with weights that go before its own, over the journal of this name."""
        purchases = scorer.purchases
        seq = None if purchases is None else learned_seq(purchases.mark, journal)
        until = None if purchases is None or seq is not None else purchases.until
        return cls(EventWeights(chosen or {}, scorer.event_weights), seq, until)
