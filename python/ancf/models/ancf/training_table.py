"""The training table as the trainers want it, whole or without what was held out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr
from ancf.data.interactions import Interactions
from ancf.data.normalize import Normalizer
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.models.ancf.machines import machines
from ancf.models.ancf.options import Settings
from ancf.models.ancf.selection import HeldOut
from ancf.models.ancf.temporal import PurchaseTimes
from ancf.models.factor_training import validation_pairs
from ancf.models.network import pair_ages

# Of users and of the item that a weight starts from; chosen on validation parts (docs/measurements/choices.md).
_RIDGE_POWER = 0.3


class TrainingTable:
    """A table over exactly the ids that occur in it, and what a loss wants of its quantities.

    Raises
    ------
    InvalidDataError, InvalidParameterError
        If the settings want of the table what it does not have: times, quantities above 0, a range from 0 to 1.
    """

    def __init__(self, data: Interactions, settings: Settings) -> None:
        self.data, self._settings = data, settings
        self.matrix = data.to_csr()
        self.normalizer: Normalizer | None = None
        self._targets = np.ones(len(self.matrix.indices), np.float32)
        if settings.loss == "mse":
            self._normalize()
        if settings.use_weights:
            self._check_quantities()
        self._check_times()
        self.purchase_times = PurchaseTimes.from_interactions(data)
        """When and how often each pair was bought."""
        self.ages: NDArray[np.float32] | None = None
        """Days from each pair to the newest one of its user, where attention needs them."""
        times = self.purchase_times.times
        if settings.needs_network and settings.half_life is not None and times is not None:
            self.ages = pair_ages(self.matrix.indptr, times)

    @property
    def n_items(self) -> int:
        """The number of items."""
        return self.data.n_items

    def pairs(self, held_out: HeldOut | None = None) -> Csr:
        """What is learned from: all pairs with their targets, or those that were not held out."""
        if held_out is None:
            return self.matrix.with_data(self._targets)
        return Csr(*held_out.kept, self._targets[held_out.places])

    def validation_targets(self, validation: Interactions) -> Csr:
        """Validation pairs by the positions of training: all of them for quantities, the new ones for lists."""
        data = self.data
        pairs = validation_pairs(data, validation, self.matrix.sets if self.normalizer is None else None)
        keys = pairs.users * data.n_items + pairs.items
        values = pairs.weights if self.normalizer is None else self.normalizer.transform(pairs.weights)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        ends = offsets_from_lengths(np.bincount(keys // data.n_items, minlength=data.n_users))
        return Csr(ends, (keys % data.n_items).astype(np.int32), values[order].astype(np.float32))

    def _normalize(self) -> None:
        settings, quantities = self._settings, self.matrix.data
        kind = self.data.normalize if settings.normalize == "auto" else settings.normalize
        self.normalizer = Normalizer(kind).fit(quantities)
        self._targets = self.normalizer.transform(quantities).astype(np.float32)
        low, high = float(self._targets.min()), float(self._targets.max())
        if settings.output == "sigmoid" and (low < 0 or high > 1):
            raise InvalidParameterError(
                f'output="sigmoid" predicts numbers from 0 to 1; the normalized quantities run from {low:.4g} to '
                f'{high:.4g} (normalize={kind!r}). Take normalize="minmax", or output="linear".'
            )

    def _check_quantities(self) -> None:
        indptr, items, quantities = self.matrix
        if (quantities <= 0).any():
            at = int(np.flatnonzero(quantities <= 0)[0])
            user = self.data.user_ids.values.tolist()[int(np.searchsorted(indptr, at, side="right")) - 1]
            item = self.data.item_ids.values.tolist()[items[at]]
            raise InvalidDataError(
                f"use_weights takes the logarithm of the quantities; that of user {user!r} and "
                f"item {item!r} is {quantities[at]}. Leave such pairs out, or use_weights=False."
            )

    def _check_times(self) -> None:
        if self.data.times is not None:
            return
        settings = self._settings
        for name, value in (("half_life", settings.half_life), ("trend", settings.trend)):
            if value:
                raise InvalidDataError(
                    f"{name}={value!r} needs times, which this table does not have. Leave it out, or "
                    "give a column of times."
                )


def ridge_neighbors(pairs: Csr, n_items: int, settings: Settings) -> Csr | None:
    """The item-item weights of these pairs, one row for each source; None where the settings have no such part."""
    if not settings.neighbors or not settings.neighbor_weight:
        return None
    return ridge_path(pairs, n_items, settings, [settings.neighbor_shrinkage])[0]


def ridge_path(pairs: Csr, n_items: int, settings: Settings, shrinkages: Sequence[float]) -> list[Csr]:
    """Those by each λ, which is solved from the weights by the last one."""
    ones = pairs.with_data(np.ones(len(pairs.indices), np.float32))
    options = {**_ridge_options(settings), "neighbors": settings.neighbors, "shrinkages": list(shrinkages)}
    return machines().ridge_path(ones, n_items, **options)


def ridge_targets(pairs: Csr, n_items: int, settings: Settings, targets: NDArray[np.int32]) -> Csr:
    """Those that point to some targets, one row for each of these, before sources are cut to their strongest."""
    ones = pairs.with_data(np.ones(len(pairs.indices), np.float32))
    options = {**_ridge_options(settings), "shrinkages": [settings.neighbor_shrinkage]}
    (found,) = _native.ridge_targets(ones, n_items, targets, **options)
    return Csr(*found)


def _ridge_options(settings: Settings) -> dict[str, Any]:
    return {
        "candidates": settings.neighbor_candidates,
        "l1": settings.neighbor_l1,
        "user_power": _RIDGE_POWER,
        "source_power": _RIDGE_POWER,
        "num_threads": settings.num_threads,
    }
