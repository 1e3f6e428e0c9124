"""What ``Interactions`` takes beside ids, checked: weights, times, texts and masks, one for each event."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf._text import format_value
from ancf.data import timestamps
from ancf.data.arrays import fits_float32
from ancf.data.events import ItemTexts
from ancf.data.ids import IdMap
from ancf.data.report import Report
from ancf.errors import InvalidDataError, InvalidParameterError


def check_weights(weight: ArrayLike, n: int) -> NDArray[np.float64]:
    try:
        values = np.asarray(weight, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"weight is {format_value(weight)} ({str(error).rstrip('.')}); give a number for each event."
        ) from None
    if values.shape != (n,):
        raise InvalidDataError(
            f"weight is {format_value(weight)} (shape {values.shape}) where user has {n} values; give one per event."
        )
    bad = np.flatnonzero(~fits_float32(values) | (values == 0))
    if len(bad):
        shown = ", ".join(str(value) for value in values[bad[:3]])
        raise InvalidDataError(
            f"weight: {len(bad)} of {n} are zero or not finite as float32 ({shown}; first at position {bad[0]}). "
            "Leave those events out, or use ancf.read_interactions, which reports them."
        )
    return values


def read_times(time: ArrayLike, n: int, report: Report) -> NDArray[np.int64]:
    times = timestamps.read_argument(time, "time")
    if len(times.seconds) != n:
        raise InvalidDataError(f"time has {len(times.seconds)} values where user has {n}; give one per event.")
    for name, text, rows, hint in times.notes:
        report.note(name, f"{text}; give datetimes if that is wrong" if hint else text, rows)
    return times.seconds


def texts_by_item(
    names: Mapping[Any, str] | ArrayLike | None, ids: IdMap, codes: NDArray[np.int32], what: str
) -> ItemTexts | None:
    """One text per id: from a mapping, or from one text per event (the first one given for the id)."""
    if names is None:
        return None
    result = np.full(len(ids), None, object)
    if isinstance(names, Mapping):
        result[:] = [names.get(each) for each in ids.values.tolist()]
        return result
    try:
        each = np.asarray(names, object)
    except (TypeError, ValueError):
        each = np.asarray(None, object)
    if each.shape != (len(codes),):
        raise InvalidDataError(
            f"{what} has {each.size} values where there are {len(codes)} events ({format_value(names)}); "
            "give a mapping id to text, or one text "
            "for each event."
        )
    result[codes[::-1]] = each[::-1]
    return result


def flags(which: Any) -> NDArray[np.bool_] | None:
    """A one-dimensional mask; None for anything else."""
    try:
        mask = np.asarray(which)
    except (TypeError, ValueError):
        return None
    return mask if mask.ndim == 1 and mask.dtype == bool else None


def chosen_events(which: ArrayLike, n: int) -> NDArray[Any]:
    """Some of n events: a mask, or rising positions.

    Raises
    ------
    InvalidDataError
        If the mask has another length, or a position is outside the table.
    InvalidParameterError
        If it is neither.
    """
    try:
        chosen = np.asarray(which)
    except (TypeError, ValueError):
        chosen = np.asarray(None)
    if not chosen.size and chosen.ndim == 1:
        chosen = chosen.astype(bool if chosen.dtype == bool else np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "biu":
        raise InvalidParameterError(
            f"subset: which is {format_value(which)}; give a mask of True and False, or whole numbers, one-dimensional."
        )
    if chosen.dtype == bool and len(chosen) != n:
        raise InvalidDataError(
            f"the mask has {len(chosen)} values where there are {n} events. Give one for each event."
        )
    if chosen.dtype != bool:
        outside = np.flatnonzero((chosen < 0) | (chosen >= n))
        if len(outside):
            raise InvalidDataError(
                f"subset: {chosen[outside[0]]} at position {outside[0]} is outside the table; "
                f"give numbers from 0 to {n - 1}."
            )
        chosen = np.unique(chosen.astype(np.int64))
    return chosen
