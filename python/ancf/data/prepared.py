"""A table that is cleaned and coded already, in a folder: what ``Interactions.save`` writes and ``read_interactions``
opens, with the same bits and the same account.

The events are mapped, so that a table larger than memory is opened at once and pages come in where they are used.
``array_folder.py`` has the files; here is what they mean. ``docs/reading.md`` describes them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf._native import __version__
from ancf.data.array_folder import forget_pages, read_arrays, write_arrays
from ancf.data.arrays import FLOAT32_MAX
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.packed_text import pack_optional_texts, unpack_optional_texts
from ancf.data.rejections import Rejections
from ancf.data.report import FileAccount, Reason, Report
from ancf.errors import InvalidDataError, ModelFileError

_EVENTS = {"users": np.int32, "items": np.int32, "weights": np.float32, "times": np.int64, "had": np.bool_}
_OPTIONAL = ("times", "had")
# Events that are checked at a time.
_BLOCK_EVENTS = 1 << 20
_TEXTS = ("item_names", "item_categories")
_FEATURES = ("item_features", "user_features")


def save_table(data: Any, folder: Path) -> None:
    """Write interactions; raises as ``write_arrays`` does."""
    arrays: dict[str, NDArray[Any]] = {name: getattr(data, name) for name in _EVENTS if getattr(data, name) is not None}
    about: dict[str, Any] = {"version": __version__, "report": asdict(data.report), "normalize": data.normalize}
    about |= {"leakage": list(data.leakage), "split_by": data.split_by, "event_weights": data.event_weights}
    about["mark"] = data.mark if isinstance(data.mark, str) or data.mark is None else int(data.mark)
    for side in ("user_ids", "item_ids"):
        parts, about[side] = getattr(data, side).state()
        arrays |= {f"{side}.{name}": part for name, part in parts.items()}
    for name in _TEXTS:
        if getattr(data, name) is not None:
            arrays[f"{name}.offsets"], arrays[f"{name}.bytes"] = pack_optional_texts(getattr(data, name))
    for name in _FEATURES:
        if getattr(data, name) is not None:
            parts, about[name] = getattr(data, name).state(name)
            arrays |= parts
    if data.rejections is not None:
        parts, about["rejections"] = data.rejections.state()
        arrays |= parts
    write_arrays(folder, arrays, about)


def load_table(folder: Path) -> dict[str, Any]:
    """The attributes of the interactions, by name, every number checked.

    Raises
    ------
    InvalidDataError
        If a part is damaged or missing, or does not fit the others.
    """
    arrays, about = read_arrays(folder)
    try:
        found: dict[str, Any] = {name: _events_column(arrays, name, kind) for name, kind in _EVENTS.items()}
        for side in ("user_ids", "item_ids"):
            parts = {
                name.removeprefix(f"{side}."): part for name, part in arrays.items() if name.startswith(f"{side}.")
            }
            found[side] = IdMap.from_state(parts, about[side])
        _check_events(found)
        for name in _TEXTS:
            found[name] = _texts(arrays, name, len(found["item_ids"]))
        for name in _FEATURES:
            found[name] = Features.from_state(name, arrays, about[name]) if name in about else None
        found["rejections"] = None
        if "rejections" in about:
            found["rejections"] = Rejections.from_state(arrays, about["rejections"], found["times"] is not None)
        found["report"] = _report_of(about["report"])
        found |= {name: about[name] for name in ("normalize", "split_by", "event_weights", "mark")}
        found["leakage"] = tuple(about["leakage"])
    except (KeyError, ValueError, TypeError, AttributeError, ModelFileError) as error:
        why = (
            str(error).removeprefix("ids in the model file: ").removesuffix(" The file is damaged; load another copy.")
        )
        raise InvalidDataError(
            f"{folder}: its parts do not fit each other ({why.rstrip('.')}). Prepare it again, or get another copy."
        ) from None
    return found


def _events_column(arrays: Mapping[str, NDArray[Any]], name: str, kind: Any) -> NDArray[Any] | None:
    if name in _OPTIONAL and name not in arrays:
        return None
    array = arrays[name]
    if array.dtype != kind or array.shape != arrays["users"].shape or array.ndim != 1:
        raise ValueError(f"{name} are of another type or length")
    return array


def _check_events(found: Mapping[str, Any]) -> None:
    """Positions lie among the ids, weights are finite, and the events are in their order, each once."""
    n = len(found["users"])
    for start in range(0, n, _BLOCK_EVENTS):
        # With the last event of the block before, so that every neighbor is compared.
        part = slice(max(start - 1, 0), start + _BLOCK_EVENTS)
        users, items, weights = (found[name][part] for name in ("users", "items", "weights"))
        for name, positions, ids in (("users", users, found["user_ids"]), ("items", items, found["item_ids"])):
            if positions.min() < 0 or positions.max() >= len(ids):
                raise ValueError(f"{name} has a position outside the ids")
        if not (np.abs(weights) <= FLOAT32_MAX).all():
            raise ValueError("a weight is not finite")
        rising = users[1:] > users[:-1]
        same = users[1:] == users[:-1]
        rising |= same & (items[1:] > items[:-1])
        same &= items[1:] == items[:-1]
        if found["times"] is not None:
            times = found["times"][part]
            rising |= same & (times[1:] > times[:-1])
        if not rising.all():
            raise ValueError("the events are not in their order")
        forget_pages(*(found[name] for name in _EVENTS))


def _texts(arrays: Mapping[str, NDArray[Any]], name: str, n_items: int) -> NDArray[Any] | None:
    if f"{name}.offsets" not in arrays:
        return None
    texts = unpack_optional_texts(arrays[f"{name}.offsets"], arrays[f"{name}.bytes"], name)
    if len(texts) != n_items:
        raise ValueError(f"{name} has {len(texts)} texts for {n_items} items")
    return texts


def _report_of(stored: Mapping[str, Any]) -> Report:
    def reasons(listed: Any) -> list[Reason]:
        found = []
        for one in listed:
            parts: dict[str, Any] = {
                name: tuple(each) if isinstance(each, list) else each for name, each in one.items()
            }
            found.append(Reason(**parts))
        return found

    fields = dict(stored)
    fields["ignored"] = tuple(fields["ignored"])
    fields["reasons"], fields["notes"] = reasons(fields["reasons"]), reasons(fields["notes"])
    fields["files"] = [FileAccount(**each) for each in fields["files"]]
    return Report(**fields)
