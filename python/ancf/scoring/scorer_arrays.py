"""A ``Scorer`` as plain arrays and a small dictionary, and back: what a model file holds.

Arrays: ``item_vectors``, ``user_vectors``, ``seen.*``, ``history.*``, ``neighbours.*``, ``sharpness``,
``item_bias``, ``user_shift``, ``target.*``, ``layers.numbers``, ``events.*``, the ids under ``user_ids.*`` and
``item_ids.*``, names and categories as offsets into UTF-8 bytes, and those of the encoder.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr, ItemSets
from ancf.data.features import Features
from ancf.data.ids import IdMap
from ancf.data.packed_text import pack_optional_texts, unpack_optional_texts
from ancf.scoring.parts import Arrays, Layers, Placed, TargetAttention
from ancf.scoring.purchases import Purchases
from ancf.scoring.scorer import Encoder, Scorer
from ancf.scoring.start import Start


def to_arrays(scorer: Scorer) -> tuple[Arrays, dict[str, Any]]:
    """Everything that serving needs, as arrays and a JSON-able dictionary."""
    arrays: Arrays = {
        "item_vectors": scorer.item_vectors,
        "user_vectors": scorer.user_vectors,
        "seen.indptr": scorer.seen.indptr,
        "seen.items": scorer.seen.items,
    }
    meta: dict[str, Any] = {"head": scorer.head, "link": scorer.link}
    for side, ids in (("user_ids", scorer.user_ids), ("item_ids", scorer.item_ids)):
        parts, meta[side] = ids.state()
        arrays.update({f"{side}.{name}": part for name, part in parts.items()})
    if scorer.item_names is not None:
        arrays["item_names.offsets"], arrays["item_names.bytes"] = pack_optional_texts(scorer.item_names)
    if scorer.item_categories is not None:
        packed = pack_optional_texts(scorer.item_categories)
        arrays["item_categories.offsets"], arrays["item_categories.bytes"] = packed
    for name, part in (
        ("sharpness", scorer.sharpness),
        ("item_bias", scorer.item_bias),
        ("user_shift", scorer.user_shift),
    ):
        if part is not None:
            arrays[name] = part
    if scorer.target is not None:
        arrays["target.keys"], arrays["target.queries"] = scorer.target.keys, scorer.target.queries
        arrays["target.item_logits"] = scorer.target.item_logits
        meta["attention_exponent"] = scorer.target.attention_exponent
    if scorer.layers is not None:
        arrays["layers.numbers"] = scorer.layers.numbers
        meta["layers"] = {"product": scorer.layers.product, "widths": scorer.layers.widths}
    if scorer.neighbors is not None:
        arrays["neighbours.indptr"], arrays["neighbours.items"] = scorer.neighbors.sets
        arrays["neighbours.values"] = scorer.neighbors.data
    if scorer.dense_neighbors is not None:
        arrays["neighbours.dense"] = scorer.dense_neighbors
    if scorer.history is not None:
        arrays["history.weights"] = scorer.history.data
        if not _same_pattern(scorer.history.sets, scorer.seen):
            arrays["history.indptr"], arrays["history.items"] = scorer.history.sets
    # Some parts are optional; written down, none can get lost unnoticed.
    meta["parts"] = sorted(arrays)
    # How many threads a machine has is no part of what was learned: the same bytes for any number of them.
    meta["options"] = {name: value for name, value in scorer.options.items() if name != "num_threads"}
    for name, features in (("item_features", scorer.item_features), ("user_features", scorer.user_features)):
        if features is not None:
            parts, meta[name] = features.state(name)
            arrays |= parts
            meta["parts"] = sorted(arrays)
    if scorer.placed is not None:
        arrays["placed.items"], companions = scorer.placed
        arrays["placed.indptr"], arrays["placed.companions"], arrays["placed.shares"] = companions
        meta["parts"] = sorted(arrays)
    if scorer.placed_users is not None:
        arrays["placed_users"] = scorer.placed_users
        meta["parts"] = sorted(arrays)
    if scorer.start is not None:
        parts, about = scorer.start.state(scorer.user_ids, scorer.item_ids)
        arrays, meta = {**arrays, **parts}, {**meta, **about}
        meta["parts"] = sorted(arrays)
    if scorer.event_weights is not None:
        meta["event_weights"] = dict(scorer.event_weights)
    if scorer.training is not None:
        meta["history"] = scorer.training
    for more, about in (
        scorer.encoder.to_arrays(),
        ({}, {}) if scorer.purchases is None else scorer.purchases.to_arrays(),
    ):
        arrays, meta = {**arrays, **more}, {**meta, **about}
    return arrays, meta


def from_arrays(
    model: str, options: Mapping[str, Any], encoder: Encoder, arrays: Arrays, meta: dict[str, Any]
) -> Scorer:
    """The scorer that ``to_arrays`` described; the ranker checks shapes, ranges and numbers.

    Raises
    ------
    KeyError
        If a part is missing.
    ModelFileError, ValueError, TypeError, IndexError
        If a part does not fit the others. ``Recommender._from_arrays`` says of all these that the file is damaged.
    """
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
    seen = ItemSets(arrays["seen.indptr"], arrays["seen.items"])
    names = categories = history = neighbors = target = layers = None
    if "item_names.offsets" in arrays:
        names = unpack_optional_texts(arrays["item_names.offsets"], arrays["item_names.bytes"], "names")
    if "item_categories.offsets" in arrays:
        categories = unpack_optional_texts(
            arrays["item_categories.offsets"], arrays["item_categories.bytes"], "categories"
        )
    if "history.weights" in arrays:
        history = Csr(
            arrays.get("history.indptr", seen.indptr),
            arrays.get("history.items", seen.items),
            arrays["history.weights"],
        )
    if "neighbours.indptr" in arrays:
        neighbors = Csr(*(arrays[f"neighbours.{name}"] for name in ("indptr", "items", "values")))
    if "target.keys" in arrays:
        target = TargetAttention(
            arrays["target.keys"],
            arrays["target.queries"],
            arrays["target.item_logits"],
            float(meta["attention_exponent"]),
        )
    if "layers.numbers" in arrays:
        shape = meta["layers"]
        layers = Layers(int(shape["product"]), [int(width) for width in shape["widths"]], arrays["layers.numbers"])
    return Scorer(
        model=model,
        options=options,
        user_ids=user_ids,
        item_ids=item_ids,
        item_names=names,
        seen=seen,
        item_vectors=arrays["item_vectors"],
        user_vectors=arrays["user_vectors"],
        encoder=encoder,
        item_categories=categories,
        item_features=_features_of("item_features", arrays, meta),
        user_features=_features_of("user_features", arrays, meta),
        event_weights=_event_weights_of(meta),
        placed=_placed_of(arrays, len(item_ids)),
        placed_users=_placed_users_of(arrays, seen),
        neighbors=neighbors,
        dense_neighbors=arrays.get("neighbours.dense"),
        history=history,
        head=str(meta["head"]),
        sharpness=arrays.get("sharpness"),
        item_bias=arrays.get("item_bias"),
        target=target,
        layers=layers,
        user_shift=arrays.get("user_shift"),
        link=str(meta.get("link", "identity")),
        training=None if meta.get("history") is None else dict(meta["history"]),
        purchases=Purchases.from_arrays(arrays, meta, len(seen.items)),
        start=Start.from_state(arrays, meta, user_ids, item_ids),
    )


def _placed_of(arrays: Arrays, n_items: int) -> Placed | None:
    if "placed.items" not in arrays:
        return None
    items = arrays["placed.items"]
    companions = Csr(arrays["placed.indptr"], arrays["placed.companions"], arrays["placed.shares"])
    well = items.dtype == companions.indices.dtype == np.int32 and companions.data.dtype == np.float32
    well = well and companions.indptr.dtype == np.int64 and companions.n_rows == len(items)
    well = well and companions.indptr[0] == 0 and bool((np.diff(companions.indptr) >= 0).all())
    well = well and int(companions.indptr[-1]) == len(companions.indices) == len(companions.data)
    well = well and bool((np.diff(items) > 0).all()) and bool(np.isfinite(companions.data).all())
    for part in (items, companions.indices):
        well = well and (not len(part) or (int(part.min()) >= 0 and int(part.max()) < n_items))
    if not well:
        raise ValueError("what attributes make of items does not fit them")
    return Placed(items, companions)


def _placed_users_of(arrays: Arrays, seen: ItemSets) -> NDArray[np.int32] | None:
    users = arrays.get("placed_users")
    if users is None:
        return None
    well = users.dtype == np.int32 and users.ndim == 1 and bool((np.diff(users) > 0).all())
    if not well or (len(users) and (users[0] < 0 or users[-1] >= seen.n_rows or np.diff(seen.indptr)[users].any())):
        raise ValueError("users that have a place by their attributes have purchases, or are not there")
    return users


def _event_weights_of(meta: Mapping[str, Any]) -> dict[str, float] | None:
    weights = meta.get("event_weights")
    return None if weights is None else {str(name): float(weight) for name, weight in weights.items()}


def _features_of(name: str, arrays: Arrays, meta: Mapping[str, Any]) -> Features | None:
    """The attributes of a model file; None where it has none."""
    return Features.from_state(name, arrays, meta[name]) if name in meta else None


def _same_pattern(history: ItemSets, seen: ItemSets) -> bool:
    pairs = ((history.indptr, seen.indptr), (history.items, seen.items))
    return all(mine is other or np.array_equal(mine, other) for mine, other in pairs)
