"""Checks of single options: each names the option, its value, and what it takes."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _text
from ancf.errors import InvalidDataError, InvalidParameterError


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """One of these words."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidParameterError(f"{name} is {value!r}; it must be {_text.format_list(choices)}.")


def check_integer(name: str, value: Any, low: int, high: int, *, words: str = "") -> None:
    """A whole number within these bounds."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise InvalidParameterError(f"{name} is {value!r}; it must be {words}a whole number from {low} to {high}.")


def check_number(name: str, value: Any, low: float, high: float, *, above: bool = False, words: str = "") -> None:
    """A finite number within these bounds; with ``above``, ``low`` itself is refused."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value > high or value < low or (above and value == low):
        bounds = f"above {low:g}" if above else f"of at least {low:g}"
        limit = "" if high == math.inf else f" and at most {high:g}"
        raise InvalidParameterError(f"{name} is {value!r}; it must be {words}a finite number {bounds}{limit}.")


def as_numbers(name: str, values: Any) -> NDArray[np.float64]:
    """An array of numbers in the shape that was given, as float64."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        shown = _text.format_value(values)
        raise InvalidDataError(f"{name} is {shown} ({error}); give numbers, in an array or a list.") from None
    if values is None:
        raise InvalidDataError(f"{name} is None; give numbers, in an array or a list.")
    return array


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidParameterError(f"{name} is {value!r}; it must be True or False.")


def check_threads(value: Any) -> None:
    """None, or a number of threads; the core says how many there may be at most."""
    if value is not None and (type(value) is not int or not 0 < value < 1 << 31):
        check_integer("num_threads", value, 1, 1024, words="None or ")


def check_path(name: str, value: Any) -> Path:
    """A path, as text or anything that ``os.fspath`` takes."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        raise InvalidParameterError(f"{name} is {value!r}; give a path, such as 'shop.ancf'.")
    if "\0" in os.fspath(value):
        raise InvalidParameterError(f"{name} is {value!r}; a path holds no zero byte.")
    return Path(value)
