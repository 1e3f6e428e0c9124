"""A served model as plain arrays and a small dictionary, and back: what every model file holds.

Arrays: ``item_vectors``, ``user_vectors``, ``seen.*``, ``history.*``, ``neighbours.*``, ``sharpness``,
``item_bias``, ``user_shift``, ``target.*``, the ids under ``user_ids.*`` and ``item_ids.*``, the names as
offsets into UTF-8 bytes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.ids import IdMap
from ancf.errors import ModelFileError

if TYPE_CHECKING:
    from ancf.models.base import Recommender

Arrays = dict[str, NDArray[Any]]


def served_state(model: "Recommender") -> tuple[Arrays, dict[str, Any]]:
    """What ``_install`` was given, by name."""
    arrays: Arrays = {
        "item_vectors": model._item_vectors,
        "user_vectors": model._user_vectors,
        "seen.indptr": model._seen[0],
        "seen.items": model._seen[1],
    }
    meta: dict[str, Any] = {"head": model._head, "link": model._link}
    for side, ids in (("user_ids", model.user_ids_), ("item_ids", model.item_ids_)):
        parts, meta[side] = ids.state()
        arrays.update({f"{side}.{name}": part for name, part in parts.items()})
    if model.item_names_ is not None:
        arrays["item_names.offsets"], arrays["item_names.bytes"] = _packed(model.item_names_)
    for name, part in (
        ("sharpness", model._sharpness),
        ("item_bias", model._item_bias),
        ("user_shift", model._user_shift),
    ):
        if part is not None:
            arrays[name] = part
    if model._target is not None:
        arrays["target.keys"], arrays["target.queries"], arrays["target.item_logits"] = model._target[:3]
        meta["attention_exponent"] = model._target.attention_exponent
    if model._neighbours is not None:
        arrays["neighbours.indptr"], arrays["neighbours.items"], arrays["neighbours.values"] = model._neighbours
    if model._history is not None:
        arrays["history.weights"] = model._history[2]
        if not _same_pattern(model._history, model._seen):
            arrays["history.indptr"], arrays["history.items"] = model._history[:2]
    # Some parts are optional; written down, none can get lost unnoticed.
    meta["parts"] = sorted(arrays)
    return arrays, meta


def restore(model: "Recommender", arrays: Arrays, meta: dict[str, Any]) -> None:
    """Make ``model`` serve what ``served_state`` described; the ranker checks shapes, ranges and numbers.

    Raises
    ------
    ModelFileError
        If a part is missing or does not fit the others.
    """
    try:
        lost = [name for name in meta["parts"] if name not in arrays]
        if lost:
            raise KeyError(lost[0])
        user_ids, item_ids = (
            IdMap.from_state(
                {name.removeprefix(f"{side}."): part for name, part in arrays.items() if name.startswith(f"{side}.")},
                meta[side],
            )
            for side in ("user_ids", "item_ids")
        )
        seen = (arrays["seen.indptr"], arrays["seen.items"])
        history = neighbours = names = None
        if "history.weights" in arrays:
            history = (
                arrays.get("history.indptr", seen[0]),
                arrays.get("history.items", seen[1]),
                arrays["history.weights"],
            )
        if "neighbours.indptr" in arrays:
            neighbours = (arrays["neighbours.indptr"], arrays["neighbours.items"], arrays["neighbours.values"])
        target = None
        if "target.keys" in arrays:
            from ancf.models.base import Target

            target = Target(
                arrays["target.keys"],
                arrays["target.queries"],
                arrays["target.item_logits"],
                float(meta["attention_exponent"]),
            )
        if "item_names.offsets" in arrays:
            names = _unpacked(arrays["item_names.offsets"], arrays["item_names.bytes"])
        item_vectors, user_vectors = arrays["item_vectors"], arrays["user_vectors"]
        for what, found, expected in (
            ("item vectors", len(item_vectors), len(item_ids)),
            ("user vectors", len(user_vectors), len(user_ids)),
            ("rows of seen items", len(seen[0]) - 1, len(user_ids)),
            ("names", len(item_ids) if names is None else len(names), len(item_ids)),
        ):
            if found != expected:
                raise ValueError(f"{found} {what} for {expected} ids")
        model._install(
            user_ids=user_ids,
            item_ids=item_ids,
            item_names=names,
            seen=seen,
            item_vectors=item_vectors,
            user_vectors=user_vectors,
            neighbours=neighbours,
            history=history,
            head=str(meta["head"]),
            sharpness=arrays.get("sharpness"),
            item_bias=arrays.get("item_bias"),
            target=target,
            user_shift=arrays.get("user_shift"),
            link=str(meta.get("link", "identity")),
        )
    except ModelFileError:
        raise
    except (KeyError, ValueError, TypeError, IndexError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"model file: {what}. The file is damaged; load another copy.") from error


def _same_pattern(history: tuple[Any, ...], seen: tuple[Any, ...]) -> bool:
    return all(mine is other or np.array_equal(mine, other) for mine, other in zip(history[:2], seen, strict=True))


def _packed(names: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Names as UTF-8 bytes, each with a leading byte 1; an absent name is no byte at all."""
    parts = [b"" if name is None else b"\x01" + str(name).encode("utf-8", "surrogatepass") for name in names]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return offsets, np.frombuffer(b"".join(parts), np.uint8).copy()


def _unpacked(offsets: NDArray[Any], joined: NDArray[Any]) -> NDArray[Any]:
    if (
        offsets.dtype != np.int64
        or joined.dtype != np.uint8
        or offsets.ndim != 1
        or joined.ndim != 1
        or not len(offsets)
    ):
        raise ValueError("names need int64 offsets and uint8 bytes")
    if offsets[0] != 0 or offsets[-1] != len(joined) or (np.diff(offsets) < 0).any():
        raise ValueError("the offsets of the names do not fit their bytes")
    raw, ends = joined.tobytes(), offsets.tolist()
    names = np.empty(len(ends) - 1, object)
    for at in range(len(names)):
        part = raw[ends[at] : ends[at + 1]]
        names[at] = part[1:].decode("utf-8", "surrogatepass") if part else None
    return names
