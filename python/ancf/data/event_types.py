"""What kinds of interest weigh: a view, a cart and a purchase are events of different types, each with a weight.

Types are compared as headings are, without case, spaces and punctuation: ``add_to_cart`` = ``AddToCart``.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ancf._text import format_value
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.columns import normalize_heading
from ancf.data.raw_table import EncodedColumn
from ancf.errors import InvalidDataError, InvalidParameterError

Rejection = Literal["dislike", "return"]
"""How an item is rejected: whatever was had of it, or as long as nothing is had of it."""
REJECTIONS: tuple[str, ...] = get_args(Rejection)

EVENT_WEIGHTS = {"view": 1.0, "cart": 3.0, "purchase": 10.0, "remove_from_cart": 0.0}
"""The default, for types of these names and their synonyms."""

_SYNONYMS = {
    "view": (
        *("view", "viewed", "views", "pageview", "productview", "viewitem", "viewproduct", "itemview", "detail"),
        *("detailview", "click", "clicked", "clicks", "visit", "pv", "browse", "show", "open", "seen"),
    ),
    "cart": (
        *("cart", "addtocart", "addcart", "addedtocart", "basket", "addtobasket", "wishlist", "addtowishlist"),
        *("favorite", "favourite", "fav", "like", "liked", "save", "bookmark"),
    ),
    "purchase": (
        *("purchase", "purchased", "buy", "bought", "order", "ordered", "transaction", "sale", "sold", "checkout"),
        *("paid", "payment", "kauf", "achat", "compra", "conversion"),
    ),
    "remove_from_cart": (
        *("removefromcart", "removecart", "removefrombasket", "removefromwishlist", "deletefromcart", "remove"),
        *("removed", "dislike", "disliked", "unlike", "impression"),
    ),
}
_DISLIKES = frozenset(("dislike", "disliked", "thumbsdown", "downvote", "notinterested"))
_REMOVALS = frozenset(_SYNONYMS["remove_from_cart"]) - _DISLIKES - {"impression"}
_RETURNS = frozenset(("return", "returned", "returns", "refund", "refunded"))
_MEANT = {word: name for name, words in _SYNONYMS.items() for word in words}

_MAX_SHOWN = 5


class WeighedEvents(NamedTuple):
    """What the types of a table's events weigh."""

    weights: dict[str, float]
    """By type, as it is written, most frequent first; without types that have no weight."""
    of_type: NDArray[np.float64]
    """The weight of each value of the column, and of none; NaN for types without a weight."""
    unknown: dict[str, int]
    """Types without a weight, and how many rows they have; no type at all is the empty text."""
    rows: dict[str, int]
    """How many rows each type of ``weights`` has."""
    is_default: bool
    values: list[Any]
    """The values of the column."""
    has_purchases: bool
    """Whether a type says that somebody has an item not only for want of a heavier one in this table."""

    def factors(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """The weight of each row; 0 where its type has none or a weight of 0."""
        return np.nan_to_num(self.of_type)[codes]

    def known(self, codes: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which rows are of a type that has a weight, which may be 0."""
        known: NDArray[np.bool_] = ~np.isnan(self.of_type)[codes]
        return known

    def had(self, codes: NDArray[np.int32]) -> NDArray[np.bool_] | None:
        """Which rows say that somebody has the item (``had_types``), or has it no more; None where all do."""
        had = had_types(self.weights)
        is_interest = [weight > 0 and normalize_heading(name) not in had for name, weight in self.weights.items()]
        if not any(is_interest):
            return None
        interest = {name for name, is_one in zip(self.weights, is_interest, strict=True) if is_one}
        of_value = np.array([str(value) not in interest for value in self.values] + [True])
        flags: NDArray[np.bool_] = of_value[codes]
        return flags

    def rejecting(self, codes: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Which rows reject their item (``rejection_of``), and which by a dislike; None where no type does."""
        kinds = {name: rejection_of(name, weight) for name, weight in self.weights.items()}
        if not any(kinds.values()):
            return None
        of_value = [kinds.get(str(value)) for value in self.values] + [None]
        rejects, dislikes = (np.array([each in which for each in of_value]) for which in (REJECTIONS, ("dislike",)))
        return rejects[codes], dislikes[codes]

    def has_any(self) -> bool:
        """Whether some row is of a type with a weight above 0."""
        return any(weight > 0 and self.rows[name] for name, weight in self.weights.items())


def check_event_weights(weights: Any) -> dict[str, float] | None:
    """The weights that a caller gave, as floats by type.

    Raises
    ------
    InvalidParameterError
        If they are no mapping from types to finite numbers, one stands twice, or none is above 0.

    Examples
    --------
    >>> check_event_weights({"view": 1, "purchase": 10})
    {'view': 1.0, 'purchase': 10.0}
    """
    if weights is None:
        return None
    example = 'Give a number for each type: event_weights={"view": 1, "purchase": 10}.'
    if not isinstance(weights, Mapping) or not weights:
        raise InvalidParameterError(f"event_weights is {format_value(weights)}. {example}")
    found: dict[str, float] = {}
    for name, weight in weights.items():
        is_number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, (bool, np.bool_))
        if not isinstance(name, str) or not is_number or not abs(float(weight)) <= FLOAT32_MAX:
            raise InvalidParameterError(f"event_weights: {name!r} has {weight!r}. {example}")
        twin = next((each for each in found if normalize_heading(each) == normalize_heading(name)), None)
        if twin is not None:
            raise InvalidParameterError(f"event_weights: {twin!r} and {name!r} are one type. Leave one of them out.")
        found[name] = float(weight)
    if max(found.values()) <= 0:
        raise InvalidParameterError(f"event_weights={weights!r}: no type weighs more than 0, so no row would be left.")
    return found


def weigh_events(column: EncodedColumn, given: Mapping[str, float] | None) -> WeighedEvents:
    """What each row of a column of types weighs."""
    by_name = {normalize_heading(name): weight for name, weight in (given or {}).items()}
    values = column.values.tolist()
    counts = column.count()
    of_value = np.full(len(values) + 1, math.nan)
    for at, value in enumerate(values):
        name = normalize_heading(value)
        if given is not None:
            of_value[at] = by_name.get(name, math.nan)
        elif name in _MEANT:
            of_value[at] = EVENT_WEIGHTS[_MEANT[name]]
    order = np.argsort(-counts[1:], kind="stable")
    weights = {str(values[at]): float(of_value[at]) for at in order if not math.isnan(of_value[at])}
    unknown = {str(values[at]): int(counts[at + 1]) for at in order if math.isnan(of_value[at])}
    if counts[0]:
        unknown[""] = int(counts[0])
    rows = {str(values[at]): int(counts[at + 1]) for at in order if not math.isnan(of_value[at])}
    means_purchase = {normalize_heading(name) for name in weights if meaning_of(name) == "purchase"}
    has_purchases = bool(had_types(weights) & (means_purchase if given is None else had_types(given)))
    return WeighedEvents(weights, of_value, unknown, rows, given is None, values, has_purchases)


def had_types(weights: Mapping[str, float]) -> set[str]:
    """The types by which somebody has an item: those that mean a purchase or, where none does, the heaviest.

    Normalized, as headings are. Events of other types are interest.

    Examples
    --------
    >>> sorted(had_types({"PageView": 1.0, "buy": 10.0})), sorted(had_types({"play": 1.0, "share": 5.0}))
    (['buy'], ['share'])
    """
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    purchases = [name for name in positive if meaning_of(name) == "purchase"]
    heaviest = max(positive.values(), default=0.0)
    had = purchases or [name for name, weight in positive.items() if weight == heaviest]
    return {normalize_heading(name) for name in had}


def rejection_of(name: str, weight: float) -> Rejection | None:
    """How an event of a type rejects its item; None for one that does not.

    A type that means a dislike, a removal or a return does so unless it weighs something above 0; so does any type that
    was given a weight below 0. A weight of 0 alone is no sign: nobody rejects what they were only shown.

    Examples
    --------
    >>> rejection_of("Dislike", -1.0), rejection_of("remove_from_cart", 0.0), rejection_of("complaint", -2.0)
    ('dislike', 'return', 'return')
    >>> rejection_of("impression", 0.0), rejection_of("dislike", 1.0)
    (None, None)
    """
    heading = normalize_heading(name)
    if weight > 0:
        return None
    if heading in _DISLIKES:
        return "dislike"
    return "return" if weight < 0 or heading in _REMOVALS or is_return(name) else None


def is_return(name: str) -> bool:
    """Whether a type means a return.

    Examples
    --------
    >>> is_return("Refund"), is_return("purchase")
    (True, False)
    """
    return normalize_heading(name) in _RETURNS


def event_shares(
    weights: NDArray[np.float32], had: NDArray[np.bool_], of_types: Mapping[str, float]
) -> NDArray[np.float32]:
    """What each event is in purchases: 1 for a purchase, its weight in those of one for interest.

    Examples
    --------
    >>> event_shares(np.float32([20, 1]), np.array([True, False]), {"view": 1.0, "purchase": 10.0}).tolist()
    [1.0, 0.10000000149011612]
    """
    types = had_types(of_types)
    of_purchase = max(weight for name, weight in of_types.items() if normalize_heading(name) in types)
    return np.where(had, np.float32(1.0), weights / np.float32(of_purchase)).astype(np.float32)


def had_among(
    had: NDArray[np.bool_] | None,
    weights: NDArray[np.float32],
    own: Mapping[str, float] | None,
    united: Mapping[str, float] | None,
) -> NDArray[np.bool_] | None:
    """Which of a table's events say that somebody has the item, or has it no more, where it becomes part of a larger
    one.

    Flags go by the types of their table, ``own``. Where those of the larger one have none of them, as where a table of
    views joins one of purchases, only returns do.

    Examples
    --------
    >>> had_among(None, np.float32([1, 1]), {"view": 1.0}, {"view": 1.0, "purchase": 10.0}).tolist()
    [False, False]
    """
    if own and united and not had_types(own) & had_types(united):
        return np.asarray(weights < 0)
    return had


def meaning_of(name: str) -> str | None:
    """Which of the types that weigh something by themselves a name means; None for any other.

    Examples
    --------
    >>> meaning_of("AddToCart"), meaning_of("transaction"), meaning_of("play")
    ('cart', 'purchase', None)
    """
    return _MEANT.get(normalize_heading(name))


def has_default_weights(weights: Mapping[str, float]) -> bool:
    """Whether all types weigh what their names say.

    Examples
    --------
    >>> has_default_weights({"PageView": 1.0, "buy": 10.0}), has_default_weights({"view": 2.0})
    (True, False)
    """
    return all(EVENT_WEIGHTS.get(_MEANT.get(normalize_heading(name), "")) == each for name, each in weights.items())


def describe_types(rows: Mapping[str, int]) -> str:
    """Types and their numbers of rows for a message.

    Examples
    --------
    >>> describe_types({"view": 1200, "": 3})
    "'view' 1,200, none 3"
    """
    shown = [f"{repr(name) if name else 'none'} {number:,}" for name, number in list(rows.items())[:_MAX_SHOWN]]
    return ", ".join(shown) + (", …" if len(rows) > _MAX_SHOWN else "")


def account(events: WeighedEvents) -> str:
    """One line about the types that have a weight."""
    parts = [
        f"{name} {events.rows[name]:,} row{'' if events.rows[name] == 1 else 's'} × {weight:g}"
        for name, weight in events.weights.items()
    ]
    told = "; event_weights= chooses others, event=False counts each row once" if events.is_default else ""
    return f"event types weigh: {', '.join(parts)}{told}"


def no_types_error(source: str, heading: str, events: WeighedEvents, given: bool) -> InvalidDataError:
    """The error of a column that was named, and of which no type has a weight."""
    what = "is named in event_weights" if given else "is one that has a weight by itself (view, cart, purchase, …)"
    example = next((name for name in events.unknown if name), "purchase")
    return InvalidDataError(
        f"{source}: no type in the column {heading!r} ({describe_types(events.unknown)}) {what}. Give each a weight, "
        f"such as event_weights={{{example!r}: 1}}, or read without: event=False."
    )
