"""``Rules``: what a shop wants of every list, as one frozen object; ``docs/rules.md`` defines the lists.

A ``Rules`` knows no model. Its options are plain values, so that ``ancf.Rules(**table)`` reads the table ``[rules]`` of
a configuration file, or the object of a JSON body. ``ancf.scoring.arranging`` resolves it to a model's items and makes
the lists.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Self

from ancf._text import format_value
from ancf.checks import check_number
from ancf.errors import InvalidCallError, InvalidParameterError
from ancf.params import checks_call
from ancf.scoring.conditions import Condition
from ancf.scoring.requests import Id, Ids, as_sequence, is_one, materialize

_MAX_FACTOR = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """The rules of a shop: what may be listed, how often, and what comes earlier or later.

    Conditions compare attributes of items (``docs/rules.md``): ``"category == 'toys' and price < 50"``. There are the
    columns of the model's ``item_features_``, and beside them ``item_id``, ``buyers`` (the number of people who have
    the item) and ``age_days`` (since its first purchase, where there are times).

    Parameters
    ----------
    deny : id or ids
        Never listed. Ids that the model does not know are ignored, as long as it knows one of them.
    where : condition, optional
        What alone may be listed.
    boosts : mapping condition → factor above 0
        The score of an item that fulfills the condition is multiplied by the factor where it is 0 or more, and divided
        by it where it is negative: above 1 moves it up, below 1 down. Several factors of an item are multiplied.
    at_most : mapping attribute or condition → whole number
        So many items of one value of the attribute, or that fulfill the condition. Items without a value are free.
    at_least : mapping condition → whole number
        So many items that fulfill the condition, as far as there are some.
    pins : ids, or mapping place from 1 → id
        What stands at the first places, or at these, in the list of everybody who may be shown it.
    diversity : number from 0 to 1
        How much unlikeness to what stands before counts against relevance; 0 is the order of the scores.
    diversity_by : attribute, optional
        Items with the same value are alike; by default the vectors of the model are compared.
    fade : number above 0, at most 1
        The factor for each time that an item was shown before, where a call says so by ``shown=``.

    Raises
    ------
    InvalidParameterError
        If a rule has no meaning; names it and its value.

    Examples
    --------
    >>> import ancf
    >>> users, items = [1, 1, 2, 2, 3, 3], ["tea", "cup", "tea", "pot", "cup", "mat"]
    >>> model = ancf.Popular().fit(ancf.Interactions.from_ids(users, items))
    >>> model.recommend(3, N=2).ids.tolist()
    ['tea', 'pot']
    >>> model.recommend(3, N=2, rules=ancf.Rules(boosts={"item_id == 'pot'": 3}, deny="mat")).ids.tolist()
    ['pot', 'tea']
    """

    deny: Ids = ()
    where: str | None = None
    boosts: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, int] = field(default_factory=dict)
    at_least: Mapping[str, int] = field(default_factory=dict)
    pins: Iterable[Id] | Mapping[int, Id] = ()
    diversity: float = 0.0
    diversity_by: str | None = None
    fade: float = 0.7

    def __post_init__(self) -> None:
        deny = (self.deny,) if is_one(self.deny) else tuple(as_sequence(materialize(self.deny), "deny"))
        check_number("diversity", self.diversity, 0, 1)
        check_number("fade", self.fade, 0, 1, above=True)
        if self.where is not None and Condition(self.where, "where").attribute is not None:
            raise InvalidParameterError(f'where is {self.where!r}; give a condition such as "price < 50".')
        if self.diversity_by is not None:
            if Condition(self.diversity_by, "diversity_by").attribute is None:
                raise InvalidParameterError(f"diversity_by is {self.diversity_by!r}; give the name of an attribute.")
            if not self.diversity:
                raise InvalidParameterError(
                    f"diversity_by is {self.diversity_by!r}, and has no effect without diversity. Set it, from 0 to 1."
                )
        own = {
            "deny": tuple(each.item() if hasattr(each, "item") else each for each in deny),
            "boosts": _conditions("boosts", self.boosts, _check_factor),
            "at_most": _conditions("at_most", self.at_most, _check_count, attributes=True),
            "at_least": _conditions("at_least", self.at_least, _check_count),
            "pins": _places(self.pins),
            "diversity": float(self.diversity),
            "fade": float(self.fade),
        }
        for name, value in own.items():
            object.__setattr__(self, name, MappingProxyType(value) if isinstance(value, dict) else value)

    def to_dict(self) -> dict[str, Any]:
        """The rules that differ from none, as plain values.

        Returns
        -------
        dict, of which ``Rules(**that)`` makes the same

        Examples
        --------
        >>> import ancf
        >>> ancf.Rules(pins=["tea"], where="price < 9").to_dict()
        {'where': 'price < 9', 'pins': {1: 'tea'}}
        """
        found = {}
        for each in fields(self):
            value = getattr(self, each.name)
            plain = dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
            if plain not in ([], {}, None) and plain != each.default:
                found[each.name] = plain
        return found

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, each.name) for each in fields(self))
        return tuple(tuple(value.items()) if isinstance(value, Mapping) else value for value in values)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Rules) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Rules({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.to_dict(),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


Rules.__init__ = checks_call(Rules.__init__)  # type: ignore[method-assign]


def _rebuild(options: dict[str, Any]) -> Rules:
    return Rules(**options)


def check_rules(rules: Any) -> None:
    """None, or a ``Rules``."""
    if rules is not None and not isinstance(rules, Rules):
        remedy = "Write ancf.Rules(**rules)." if isinstance(rules, Mapping) else "Write ancf.Rules(where=...)."
        raise InvalidCallError(f"rules is {format_value(rules)}, no ancf.Rules. {remedy}")


def _conditions(name: str, given: Any, check: Any, *, attributes: bool = False) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidParameterError(f"{name} is {format_value(given)}; give a mapping from conditions to numbers.")
    for text, value in given.items():
        condition = Condition(text, name)
        if condition.attribute is not None and not attributes:
            raise InvalidParameterError(f"{name}: {text!r} is no condition; compare it, such as \"{text} == 'toys'\".")
        check(f"{name}[{text!r}]", value)
    return dict(given)


def _check_factor(name: str, value: Any) -> None:
    check_number(name, value, 1 / _MAX_FACTOR, _MAX_FACTOR)


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise InvalidParameterError(f"{name} is {value!r}; it must be a whole number of at least 0.")


def _places(given: Any) -> dict[int, Any]:
    """Pins by place, ascending; keys of a mapping may be text, as TOML and JSON have them."""
    if is_one(given):
        given = [given]
    if not isinstance(given, Mapping):
        given = dict(enumerate(as_sequence(materialize(given), "pins"), 1))
    found: dict[int, Any] = {}
    for place, item in given.items():
        at = int(place) if isinstance(place, str) and place.isascii() and place.isdigit() else place
        if not isinstance(at, int) or isinstance(at, bool) or not 1 <= at < 1 << 31:
            raise InvalidParameterError(f"pins: {place!r} is no place; give a whole number from 1.")
        if not is_one(item) or item is None or (isinstance(item, float) and math.isnan(item)):
            raise InvalidParameterError(f"pins: {format_value(item)} is no id; give one for each place.")
        if at in found:
            raise InvalidParameterError(f"pins: the place {at} is given twice. Give each place one item.")
        found[at] = item.item() if hasattr(item, "item") else item
    twice = next((item for item in found.values() if list(found.values()).count(item) > 1), None)
    if twice is not None:
        raise InvalidParameterError(f"pins: {twice!r} has two places. Give it one.")
    return dict(sorted(found.items()))
