"""What training left of a plain model, where trend, popularity, scales and updates cover it up: an update starts there.

An updated model is a function of what was trained and of all purchases (``updating.py``), so this part of it survives
every update as it is.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ancf.data.csr import Csr
from ancf.errors import ModelFileError
from ancf.scoring.parts import Arrays

Floats = NDArray[np.float32]

_CSR = ("indptr", "items", "values")

TRAINED, TOUCHED, NEW = 0, 1, 2
"""States of an item: as training left it; with other buyers, so that its weights are solved anew; not in training."""


class Scales(NamedTuple):
    """What brings the parts of a score on one scale."""

    neighbors: float
    """What the item-item weights c are multiplied with."""
    repeats: float
    """The weight of a repetition."""


class Learned(NamedTuple):
    """How attributes become the place of an item without buyers (``attributes.py``)."""

    shrinkage: float
    own_weight: float
    """What somebody who had something alike adds."""
    loudness: float
    """What all scores of such an item are multiplied with."""


class Trained(NamedTuple):
    """What an update starts from; arrays are by item."""

    scales: Scales
    start: Floats
    """The bare vectors x that training learned (n_items, d), zeros for items that came later."""
    values: Floats | None = None
    """The item-item weights c before trend, popularity and scale, in the order of the scorer's; None where there is
    neither, and the scorer's are as training left them."""
    states: NDArray[np.uint8] | None = None
    """None: all are TRAINED."""
    buyers: NDArray[np.int32] | None = None
    """How many users each item had in training; None before the first update."""
    covered: Csr | None = None
    """The item-item weights of the training that point to TOUCHED items, a row for each source, on the scale of those
    that are there; None before the first update, and without such weights."""
    thresholds: Floats | None = None
    """The least weight that each source kept in training, 0 where it kept all; None before the first update."""
    attributes: Learned | None = None
    """None: the training table had no attributes."""
    is_whole: bool = False
    """Whether ``start`` are whole vectors v, with what came from the graph in them: older files have these alone."""

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """As a model file keeps it."""
        parts = ("values", "states", "buyers", "thresholds")
        arrays = {f"trained.{name}": getattr(self, name) for name in parts if getattr(self, name) is not None}
        arrays["trained.whole" if self.is_whole else "trained.bare"] = self.start
        if self.covered is not None:
            arrays |= {f"trained.covered.{name}": part for name, part in zip(_CSR, self.covered, strict=True)}
        about = {"trained": {name: float(value) for name, value in self.scales._asdict().items()}}
        if self.attributes is not None:
            about["attributes"] = self.attributes._asdict()
        return arrays, about

    @classmethod
    def from_arrays(cls, arrays: Arrays, meta: dict[str, Any]) -> "Trained | None":
        """That of a model file, every shape and number checked; None for a file without it.

        Raises
        ------
        ModelFileError
        """
        about = meta.get("trained")
        if about is None:
            return None
        n_items, d = arrays["item_vectors"].shape
        indptr = arrays.get("neighbours.indptr")
        n_weights = 0 if indptr is None or len(indptr) <= n_items else int(indptr[n_items])
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("bare", "whole", "vectors"), (n_items, d))
        shapes |= {"scaling": (n_items,), "values": (n_weights,)}
        shapes |= {"states": (n_items,), "buyers": (n_items,), "thresholds": (n_items,)}
        found = {name: arrays.get(f"trained.{name}") for name in shapes}
        states = found["states"]
        well = any(found[name] is not None for name in ("bare", "whole", "scaling"))
        well = well and (states is None or bool((states <= NEW).all()))
        well = well and (found["buyers"] is not None or states is None or not bool((states == TOUCHED).any()))
        covered = None
        if "trained.covered.indptr" in arrays:
            covered = Csr(*(arrays.get(f"trained.covered.{name}", np.empty(0)) for name in _CSR))
            well = well and _fits(covered, n_items)
        for name, array in found.items():
            kind = {"states": np.uint8, "buyers": np.int32}.get(name, np.float32)
            well = well and (array is None or (array.dtype == kind and array.shape == shapes[name]))
            well = well and (array is None or bool(np.isfinite(array).all()))
        learned = None
        try:
            scales = Scales(float(about["neighbors"]), float(about["repeats"]))
            if "attributes" in meta:
                learned = Learned(*(float(meta["attributes"][name]) for name in Learned._fields))
        except (KeyError, TypeError, ValueError):
            scales = Scales(math.nan, math.nan)
        numbers = (*scales, *(learned or ()))
        if not well or not all(map(math.isfinite, numbers)) or (learned is not None and learned.shrinkage <= 0):
            raise ModelFileError("model file: what training left does not fit its items. Load another copy.")
        start, is_whole = _start(found, arrays["item_vectors"])
        if not np.isfinite(start).all():
            raise ModelFileError("model file: what training left is beyond the range of numbers. Load another copy.")
        values, thresholds, buyers = found["values"], found["thresholds"], found["buyers"]
        return cls(scales, start, values, states, buyers, covered, thresholds, learned, is_whole)


def _start(found: Mapping[str, NDArray[Any] | None], served: Floats) -> tuple[Floats, bool]:
    """Bare vectors, or whole ones as files from before have them: served, with what turns them back."""
    if found["bare"] is not None:
        return found["bare"], False
    if found["whole"] is not None:
        return found["whole"], True
    vectors, scaling = found["vectors"], found["scaling"]
    assert scaling is not None
    return (served if vectors is None else vectors) * scaling[:, None], True


def _fits(matrix: Csr, n: int) -> bool:
    """Whether it is one of n × n float32 numbers."""
    indptr, items, values = matrix
    kinds: list[Any] = [indptr.dtype, items.dtype, values.dtype]
    if kinds != [np.int64, np.int32, np.float32]:
        return False
    if indptr.shape != (n + 1,) or items.shape != values.shape or items.ndim != 1:
        return False
    rises = indptr[0] == 0 and indptr[-1] == len(items) and bool((np.diff(indptr) >= 0).all())
    return rises and bool(((items >= 0) & (items < n)).all()) and bool(np.isfinite(values).all())


def least_kept(neighbors: Csr, n_rows: int, k: int) -> Floats:
    """The least value of each of the first rows that has k of them, 0 for shorter ones."""
    lengths = np.diff(neighbors.indptr[: n_rows + 1])
    least = np.zeros(n_rows, np.float32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        values = neighbors.data[: neighbors.indptr[n_rows]]
        least[filled] = np.minimum.reduceat(values, neighbors.indptr[filled])
    least[lengths < k] = 0.0
    return least
