"""What an option may be while settings are searched for: a range of numbers, or some choices.

A model declares the options that are worth trying in ``Recommender.search_space``, a mapping name → dimension:

    {"factors": Integer(16, 256, log=True), "learning_rate": Real(0.001, 0.1, log=True), "attention": Categorical(...)}

``ancf.tune`` draws from it. The names are those of scikit-optimize; a dimension says nothing about how it is searched.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ancf.checks import check_flag, check_integer, check_number
from ancf.errors import InvalidParameterError

_MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class Real:
    """Any number from ``low`` to ``high``; with ``log`` each factor of ten is as likely as another.

    Raises
    ------
    InvalidParameterError
        If the bounds are no finite numbers, not in order, or not above 0 with ``log``.

    Examples
    --------
    >>> Real(0.001, 0.1, log=True).grid(3)
    [0.001, 0.01, 0.1]
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self, check_number, -math.inf)

    @property
    def size(self) -> int | None:
        """How many values there are; None for more than can be counted."""
        return 1 if self.low == self.high else None

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        """One value, all as likely."""
        if not self.log:
            return float(rng.uniform(self.low, self.high))
        return self._clip(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))

    def grid(self, n: int) -> list[float]:
        """``n`` values from one end to the other."""
        if self.low == self.high:
            return [self.low]
        if not self.log:
            return [float(each) for each in np.linspace(self.low, self.high, n)]
        # Rounded, as 0.01 is what is meant between 0.001 and 0.1.
        return [self._clip(float(f"{each:.6g}")) for each in np.geomspace(self.low, self.high, n)]

    def _clip(self, value: float) -> float:
        return min(max(float(value), float(self.low)), float(self.high))


@dataclass(frozen=True)
class Integer:
    """Any whole number from ``low`` to ``high``; with ``log`` each doubling is as likely as another.

    Examples
    --------
    >>> Integer(16, 64, log=True).grid(3)
    [16, 32, 64]
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self, lambda name, value, low, high: check_integer(name, value, int(low), int(high)), -(2**31))

    @property
    def size(self) -> int | None:
        """How many values there are."""
        return int(self.high) - int(self.low) + 1

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high and value == int(value)

    def sample(self, rng: np.random.Generator) -> int:
        """One value; the ends as likely as what is between them."""
        if not self.log:
            return int(rng.integers(self.low, self.high, endpoint=True))
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), int(self.low)), int(self.high))

    def grid(self, n: int) -> list[int]:
        """At most ``n`` values from one end to the other."""
        between = np.geomspace(self.low, self.high, n) if self.log else np.linspace(self.low, self.high, n)
        return sorted({round(float(each)) for each in between})


class Categorical:
    """One of some values: words, numbers, True, False or None.

    Raises
    ------
    InvalidParameterError
        If there is none, one comes twice, or is something else.

    Examples
    --------
    >>> Categorical(["degree", "mean"]).size
    2
    """

    def __init__(self, choices: Any) -> None:
        try:
            values = None if isinstance(choices, (str, bytes, Mapping)) else list(choices)
        except TypeError:
            values = None
        if not values:
            raise InvalidParameterError(f"choices is {choices!r}; give one or more values, such as [32, 64, 128].")
        values = [each.item() if isinstance(each, np.generic) else each for each in values]
        for at, value in enumerate(values):
            if value is not None and not isinstance(value, (bool, int, float, str)):
                raise InvalidParameterError(
                    f"choices has {value!r}; a choice is one number, word, True, False or None."
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidParameterError(f"choices has {value!r}; numbers must be finite.")
            if any(type(value) is type(other) and value == other for other in values[:at]):
                raise InvalidParameterError(f"choices has {value!r} twice; name each value once.")
        self.choices: tuple[Any, ...] = tuple(values)

    def __repr__(self) -> str:
        return f"Categorical({list(self.choices)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categorical) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def size(self) -> int | None:
        """How many values there are."""
        return len(self.choices)

    def __contains__(self, value: Any) -> bool:
        return any(type(value) is type(each) and value == each for each in self.choices)

    def sample(self, rng: np.random.Generator) -> Any:
        """One value, all as likely."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def grid(self, n: int) -> list[Any]:
        """All values, whatever ``n`` is."""
        return list(self.choices)


Dimension = Real | Integer | Categorical
SearchSpace = Mapping[str, Dimension]
"""Options by name, and what each may be."""


def as_dimension(name: str, value: Any) -> Dimension:
    """A dimension as it is; several values as choices.

    Raises
    ------
    InvalidParameterError
    """
    if isinstance(value, (Real, Integer, Categorical)):
        return value
    try:
        return Categorical(value)
    except InvalidParameterError as error:
        raise InvalidParameterError(
            f"space: {name} is {value!r}; give several values, or Real, Integer or Categorical of ancf.search_space "
            f"({str(error).rstrip('.')})."
        ) from None


def n_settings(space: SearchSpace) -> int | None:
    """How many settings a space has; None for more than can be counted."""
    total = 1
    for dimension in space.values():
        if dimension.size is None:
            return None
        total *= dimension.size
    return total


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _check_bounds(dimension: Any, check: Any, least: float) -> None:
    check_flag("log", dimension.log)
    most = _MAX_INTEGER if isinstance(dimension, Integer) else math.inf
    for name in ("low", "high"):
        check(name, getattr(dimension, name), least, most)
    if dimension.low > dimension.high:
        raise InvalidParameterError(f"low is {dimension.low} and high is {dimension.high}; low must not be above high.")
    if dimension.log and dimension.low <= 0:
        raise InvalidParameterError(f"low is {dimension.low}; on a logarithmic scale it must be above 0.")
