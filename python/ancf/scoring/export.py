"""A model's vectors for other programs: NumPy files, Arrow files, or a usearch index.

The score of a pair is the inner product of its two vectors, for models whose score is nothing more; a model with a
sparse item-item part or another head says so instead of exporting half of itself.
"""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.checks import check_flag
from ancf.errors import InvalidParameterError, MissingExtraError
from ancf.scoring.results import arrow_column
from ancf.scoring.scorer import Scorer

Format = Literal["npy", "arrow", "usearch"]


def export(scorer: Scorer, path: Path, format: str | None = None, *, dense_only: bool = False) -> list[Path]:  # noqa: A002
    """See ``Recommender.export``."""
    kind = "npy" if format is None else format
    if not isinstance(kind, str) or kind not in get_args(Format):
        raise InvalidParameterError(f"format is {format!r}; it must be one of {', '.join(get_args(Format))}.")
    check_flag("dense_only", dense_only)
    parts = {
        "a sparse item-item part": scorer.neighbors is not None,
        f"the head {scorer.head!r}": scorer.head != "inner",
        "a shift of each user": scorer.user_shift is not None,
        f"the link {scorer.link!r}": scorer.link != "identity",
    }
    more = " and ".join(part for part, there in parts.items() if there)
    if more and not dense_only:
        raise InvalidParameterError(
            f"the score of this {scorer.model} has {more} besides the inner product of its vectors. "
            "Save the model whole with save(path), or export the vectors alone with dense_only=True."
        )
    if not scorer.item_vectors.shape[1]:
        raise InvalidParameterError(f"this {scorer.model} has no vectors to export. Use save(path).")
    write = {"npy": _npy, "arrow": _arrow, "usearch": _usearch}[kind]
    path.mkdir(parents=True, exist_ok=True)
    return write(scorer, path)


def _plain_ids(values: NDArray[Any]) -> NDArray[Any]:
    """Ids as an array that needs no pickle: integers, or text."""
    return values if values.dtype.kind == "i" else np.array([str(value) for value in values.tolist()], np.str_)


def _npy(scorer: Scorer, folder: Path) -> list[Path]:
    tables = {
        "item_vectors": scorer.item_vectors,
        "user_vectors": scorer.user_vectors,
        "item_ids": _plain_ids(scorer.item_ids.values),
        "user_ids": _plain_ids(scorer.user_ids.values),
    }
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.npy")
        np.save(written[-1], table, allow_pickle=False)
    return written


def _arrow(scorer: Scorer, folder: Path) -> list[Path]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("format 'arrow' needs pyarrow. Install it with: pip install 'ancf[arrow]'") from error
    written = []
    for side, ids, vectors in (
        ("items", scorer.item_ids, scorer.item_vectors),
        ("users", scorer.user_ids, scorer.user_vectors),
    ):
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"id": arrow_column(ids.values), "vector": rows})
        written.append(folder / f"{side}.arrow")
        with pa.OSFile(str(written[-1]), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return written


def _usearch(scorer: Scorer, folder: Path) -> list[Path]:
    try:
        from usearch.index import Index  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            "format 'usearch' needs usearch. Install it with: pip install 'ancf[usearch]'"
        ) from error
    index = Index(ndim=scorer.item_vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(scorer.item_vectors)), scorer.item_vectors)
    written = [folder / "items.usearch", folder / "item_ids.npy"]
    index.save(str(written[0]))
    np.save(written[1], _plain_ids(scorer.item_ids.values), allow_pickle=False)
    return written
