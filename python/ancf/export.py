"""A model's vectors for other programs: NumPy files, Arrow files, or a usearch index.

The score of a pair is the inner product of its two vectors, for models whose score is nothing more; a model with a
sparse item-item part or another head says so instead of exporting half of itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ancf.errors import InvalidParameterError, MissingExtraError
from ancf.infer import arrow_column

if TYPE_CHECKING:
    from ancf.models.base import Recommender

_FORMATS = ("npy", "arrow", "usearch")


def export(model: "Recommender", path: Path, format: str | None = None, *, dense_only: bool = False) -> list[Path]:  # noqa: A002
    """Write the vectors of users and items into a folder.

    Parameters
    ----------
    path : folder, made if it is missing
    format : "npy" (default), "arrow" or "usearch"
        ``npy``: item_vectors.npy, user_vectors.npy (float32), item_ids.npy, user_ids.npy (integers, or text).
        ``arrow``: items.arrow and users.arrow with the columns ``id`` and ``vector``; needs ``ancf[arrow]``.
        ``usearch``: items.usearch, an index for the inner product whose keys are row numbers, and item_ids.npy;
        needs the package usearch.
    dense_only : bool
        Export the vectors of a model whose score has more parts than their inner product.

    Returns
    -------
    list of the files written

    Raises
    ------
    InvalidParameterError
        If the format is unknown, or the model's score is more than an inner product and ``dense_only`` is False.
    MissingExtraError
        If the format needs a package that is not installed.
    """
    model._fitted()
    kind = format or "npy"
    if kind not in _FORMATS:
        raise InvalidParameterError(f"format is {format!r}; it must be one of {', '.join(_FORMATS)}.")
    parts = {
        "a sparse item-item part": model._neighbours is not None,
        f"the head {model._head!r}": model._head != "inner",
        "a shift of each user": model._user_shift is not None,
        f"the link {model._link!r}": model._link != "identity",
    }
    more = " and ".join(part for part, there in parts.items() if there)
    if more and not dense_only:
        raise InvalidParameterError(
            f"the score of this {type(model).__name__} has {more} besides the inner product of its vectors. "
            "Save the model whole with save(path), or export the vectors alone with dense_only=True."
        )
    if not model._item_vectors.shape[1]:
        raise InvalidParameterError(f"this {type(model).__name__} has no vectors to export. Use save(path).")
    write = {"npy": _npy, "arrow": _arrow, "usearch": _usearch}[kind]
    path.mkdir(parents=True, exist_ok=True)
    return write(model, path)


def _plain_ids(values: NDArray[Any]) -> NDArray[Any]:
    """Ids as an array that needs no pickle: integers, or text."""
    return values if values.dtype.kind == "i" else np.array([str(value) for value in values.tolist()], np.str_)


def _npy(model: "Recommender", folder: Path) -> list[Path]:
    tables = {
        "item_vectors": model._item_vectors,
        "user_vectors": model._user_vectors,
        "item_ids": _plain_ids(model.item_ids_.values),
        "user_ids": _plain_ids(model.user_ids_.values),
    }
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.npy")
        np.save(written[-1], table, allow_pickle=False)
    return written


def _arrow(model: "Recommender", folder: Path) -> list[Path]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("format 'arrow' needs pyarrow. Install it with: pip install 'ancf[arrow]'") from error
    written = []
    for side, ids, vectors in (
        ("items", model.item_ids_, model._item_vectors),
        ("users", model.user_ids_, model._user_vectors),
    ):
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"id": arrow_column(ids.values), "vector": rows})
        written.append(folder / f"{side}.arrow")
        with pa.OSFile(str(written[-1]), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return written


def _usearch(model: "Recommender", folder: Path) -> list[Path]:
    try:
        from usearch.index import Index  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            "format 'usearch' needs usearch. Install it with: pip install 'ancf[usearch]'"
        ) from error
    index = Index(ndim=model._item_vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(model._item_vectors)), model._item_vectors)
    written = [folder / "items.usearch", folder / "item_ids.npy"]
    index.save(str(written[0]))
    np.save(written[1], _plain_ids(model.item_ids_.values), allow_pickle=False)
    return written
