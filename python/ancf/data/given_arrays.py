"""What ``Interactions.from_ids`` takes beside ids: weights, times and texts, one for each event, checked."""

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
from ancf.errors import InvalidDataError


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
