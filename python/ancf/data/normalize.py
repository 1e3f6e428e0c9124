"""Quantities on a common scale, fitted on the training part, and back.

A normalizer is fitted on the training part alone, stored with the model, and applied as it is to everything that comes
later: what validation and test look like must not leak into training.
"""

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ancf._text import format_value
from ancf.checks import as_numbers
from ancf.errors import InvalidDataError, InvalidParameterError, NotFittedError
from ancf.params import checks_call

NormalizerKind = Literal["none", "log", "minmax", "standard"]
NORMALIZERS: tuple[str, ...] = get_args(NormalizerKind)


class Normalizer:
    """A fitted, invertible map of quantities: ``y = f((x - shift) / scale)``.

    Parameters
    ----------
    kind : "none", "log", "minmax" or "standard"
        ``log``: sign(x)·log(1 + |x|), needs no fitting. ``minmax``: the training part's range becomes 0..1.
        ``standard``: the training part gets mean 0 and standard deviation 1 (of the whole part, not of a sample).
        Where all training values are equal, ``minmax`` and ``standard`` give 0.

    Examples
    --------
    >>> normalizer = Normalizer("minmax").fit([2, 4, 6])
    >>> normalizer.transform([2, 3, 8]).tolist()
    [0.0, 0.25, 1.5]
    >>> normalizer.inverse(normalizer.transform([2, 3, 8])).tolist()
    [2.0, 3.0, 8.0]
    """

    @checks_call
    def __init__(self, kind: str = "none") -> None:
        if not isinstance(kind, str) or kind not in NORMALIZERS:
            raise InvalidParameterError(
                f"normalize={kind!r}: there is no such kind. Give one of {', '.join(map(repr, NORMALIZERS))}."
            )
        self.kind = kind
        self.shift, self.scale = 0.0, 1.0
        self._fitted = kind in ("none", "log")

    @checks_call
    def fit(self, values: ArrayLike) -> Self:
        """Learn shift and scale from the quantities of the training part; returns self.

        Parameters
        ----------
        values : array-like of numbers

        Returns
        -------
        Normalizer, itself

        Raises
        ------
        InvalidDataError
            If there are none, or one is not finite.

        Examples
        --------
        >>> Normalizer("standard").fit([1, 3])
        Normalizer('standard', shift=2, scale=1)
        """
        array = as_numbers("values", values).ravel()
        if not len(array):
            raise InvalidDataError(
                f"Normalizer({self.kind!r}): values is {format_value(values)}, without a quantity to fit on. Give the "
                "quantities of the training part."
            )
        if not np.isfinite(array).all():
            at = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InvalidDataError(
                f"Normalizer({self.kind!r}): {array[at]} at position {at} of values is not finite. Leave it out."
            )
        if self.kind == "minmax":
            self.shift, self.scale = float(array.min()), float(array.max() - array.min())
        elif self.kind == "standard":
            self.shift, self.scale = float(array.mean()), float(array.std())
        if self.scale == 0.0:
            self.scale = 1.0
        self._fitted = True
        return self

    @checks_call
    def transform(self, values: ArrayLike) -> NDArray[np.float64]:
        """Normalized quantities (float64, the shape of ``values``).

        Parameters
        ----------
        values : array-like of numbers

        Returns
        -------
        float64 array, shaped like ``values``

        Raises
        ------
        NotFittedError
        InvalidDataError
            If they are no numbers.

        Examples
        --------
        >>> Normalizer("none").transform([1, 3]).tolist()
        [1.0, 3.0]
        """
        array = self._require_fitted(values)
        if self.kind == "log":
            return np.asarray(np.sign(array) * np.log1p(np.abs(array)))
        return np.asarray((array - self.shift) / self.scale)

    @checks_call
    def inverse(self, values: ArrayLike) -> NDArray[np.float64]:
        """Quantities from normalized ones.

        Parameters
        ----------
        values : array-like of numbers

        Returns
        -------
        float64 array, shaped like ``values``

        Raises
        ------
        NotFittedError
        InvalidDataError
            If they are no numbers.

        Examples
        --------
        >>> Normalizer("minmax").fit([2, 4]).inverse([0.5]).tolist()
        [3.0]
        """
        array = self._require_fitted(values)
        if self.kind == "log":
            return np.asarray(np.sign(array) * np.expm1(np.abs(array)))
        return np.asarray(array * self.scale + self.shift)

    def _require_fitted(self, values: ArrayLike) -> NDArray[np.float64]:
        if not self._fitted:
            raise NotFittedError(
                f"Normalizer({self.kind!r}) is not fitted. Call fit with the training quantities first."
            )
        return as_numbers("values", values)

    def state(self) -> dict[str, Any]:
        """Plain values from which ``from_state`` builds the same normalizer."""
        return {"kind": self.kind, "shift": self.shift, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The normalizer that ``state`` described; refuses what is not finite or unknown."""
        new = cls(str(state.get("kind")))
        shift, scale = float(state.get("shift", 0.0)), float(state.get("scale", 1.0))
        if not (np.isfinite(shift) and np.isfinite(scale) and scale != 0):
            raise InvalidDataError(
                f"normalizer with shift {shift} and scale {scale}: both must be finite, scale not zero."
            )
        new.shift, new.scale, new._fitted = shift, scale, True
        return new

    def __repr__(self) -> str:
        return f"Normalizer({self.kind!r}, shift={self.shift:g}, scale={self.scale:g})"
