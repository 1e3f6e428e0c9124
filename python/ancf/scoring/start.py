"""What training goes on from: the numbers that an earlier one learned, by ids, so that they are found in another table.

A model keeps them where its users ask for it (``warm_start=True``), since they are as much again as what is served.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ancf.data.ids import IdMap
from ancf.errors import AncfError, InvalidDataError, ModelFileError

Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float32]
Side = Literal["users", "items", "all"]


class Start(NamedTuple):
    """The numbers of a trainer by name, and whose they are."""

    user_ids: IdMap
    item_ids: IdMap
    numbers: Mapping[str, Floats]
    """Of users and items a row for each, one after the other."""
    sides: Mapping[str, Side]

    @classmethod
    def of(
        cls, user_ids: IdMap, item_ids: IdMap, numbers: Mapping[str, NDArray[Any]], sides: Mapping[str, Side]
    ) -> Self:
        """Those of a trainer's numbers that ``sides`` names."""
        kept = {name: np.ascontiguousarray(numbers[name], np.float32).ravel() for name in sides}
        return cls(user_ids, item_ids, kept, dict(sides))

    def put_into(
        self, numbers: Mapping[str, NDArray[Any]], user_ids: IdMap, item_ids: IdMap
    ) -> dict[str, NDArray[np.float32]]:
        """The numbers of a trainer of the same shape over these ids, with what is known of them; others begin anew.

        Raises
        ------
        InvalidDataError
            If the ids are of another kind.
        """
        result = {name: np.array(array, np.float32).ravel() for name, array in numbers.items()}
        for name, side in self.sides.items():
            known, new = self.numbers[name], result[name]
            if side == "all":
                new[:] = known
                continue
            had, have = (self.user_ids, user_ids) if side == "users" else (self.item_ids, item_ids)
            if had.kind != have.kind:
                raise InvalidDataError(
                    f"the {side} of this table have ids of kind {have.kind!r} ({have[0]!r}) where those that training "
                    f"goes on from are of kind {had.kind!r} ({had[0]!r}). Read it with ids as those of that table, or "
                    "fit a new model (clone)."
                )
            at = have.positions(had.values)
            new.reshape(len(have), -1)[at[at >= 0]] = known.reshape(len(had), -1)[at >= 0]
        return result

    def state(self, user_ids: IdMap, item_ids: IdMap) -> tuple[Arrays, dict[str, Any]]:
        """As a model file keeps it; ids that are the model's are not written again."""
        arrays: Arrays = {f"start.{name}": array for name, array in self.numbers.items()}
        about: dict[str, Any] = {"sides": dict(self.sides)}
        for side, own, of_model in (("user_ids", self.user_ids, user_ids), ("item_ids", self.item_ids, item_ids)):
            if own != of_model:
                parts, about[side] = own.state()
                arrays |= {f"start.{side}.{name}": part for name, part in parts.items()}
        return arrays, {"start": about}

    @classmethod
    def from_state(cls, arrays: Arrays, meta: Mapping[str, Any], user_ids: IdMap, item_ids: IdMap) -> Self | None:
        """That of a model file, every number checked; None for a file without it.

        Raises
        ------
        ModelFileError
        """
        if "start" not in meta:
            return None
        try:
            about, ids = meta["start"], {"user_ids": user_ids, "item_ids": item_ids}
            for side in ids:
                if side in about:
                    begins = f"start.{side}."
                    parts = {
                        name.removeprefix(begins): part for name, part in arrays.items() if name.startswith(begins)
                    }
                    ids[side] = IdMap.from_state(parts, about[side])
            n_rows = {"users": len(ids["user_ids"]), "items": len(ids["item_ids"]), "all": 1}
            numbers = {name: arrays[f"start.{name}"] for name in about["sides"]}
            for name, side in about["sides"].items():
                array = numbers[name]
                if array.dtype != np.float32 or array.ndim != 1 or len(array) % n_rows[side]:
                    raise ModelFileError(f"{name} is of another type or length")
                if not np.isfinite(array).all():
                    raise ModelFileError(f"{name} holds numbers that are not finite")
            return cls(ids["user_ids"], ids["item_ids"], numbers, dict(about["sides"]))
        except (AncfError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"model file: what training goes on from does not fit ({error}). Load another copy."
            ) from error
