"""A model's vectors for other programs: NumPy files, Arrow files, or a usearch index.

The score of a pair is the inner product of its two vectors, for models whose score is nothing more; a model with a
sparse item-item part or another head says so instead of exporting half of itself.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ancf.atomic_file import atomic_write
from ancf.checks import check_flag
from ancf.data.ids import IdMap
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
        ("a sparse" if scorer.dense_neighbors is None else "a dense") + " item-item part": scorer.has_neighbors,
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
    if path.exists() and not path.is_dir():
        raise InvalidParameterError(
            f"path is {str(path)!r}, which is a file. Give a folder; it is made if it is missing."
        )
    return write(scorer, path)


def _plain_ids(values: NDArray[Any]) -> NDArray[Any]:
    """Ids as an array that needs no pickle: integers, or text."""
    return values if values.dtype.kind == "i" else np.array([str(value) for value in values.tolist()], np.str_)


def _written(folder: Path, writers: Mapping[str, Callable[[IO[bytes]], Any]]) -> list[Path]:
    """Write files of these names; none of them takes its place before all are complete."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in writers]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(atomic_write(path)) for path in paths]
        for file, write in zip(files, writers.values(), strict=True):
            write(file)
    return paths


def _array(values: NDArray[Any]) -> Callable[[IO[bytes]], None]:
    return lambda file: np.save(file, values, allow_pickle=False)


def _npy(scorer: Scorer, folder: Path) -> list[Path]:
    return _written(
        folder,
        {
            "item_vectors.npy": _array(scorer.item_vectors),
            "user_vectors.npy": _array(scorer.user_vectors),
            "item_ids.npy": _array(_plain_ids(scorer.item_ids.values)),
            "user_ids.npy": _array(_plain_ids(scorer.user_ids.values)),
        },
    )


def _arrow(scorer: Scorer, folder: Path) -> list[Path]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("format 'arrow' needs pyarrow. Install it with: pip install 'ancf[arrow]'") from error

    def table(ids: IdMap, vectors: NDArray[np.float32]) -> Callable[[IO[bytes]], None]:
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        content = pa.table({"id": arrow_column(ids.values), "vector": rows})

        def write(file: IO[bytes]) -> None:
            with pa.ipc.new_file(file, content.schema) as writer:
                writer.write_table(content)

        return write

    return _written(
        folder,
        {
            "items.arrow": table(scorer.item_ids, scorer.item_vectors),
            "users.arrow": table(scorer.user_ids, scorer.user_vectors),
        },
    )


def _usearch(scorer: Scorer, folder: Path) -> list[Path]:
    try:
        from usearch.index import Index  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingExtraError(
            "format 'usearch' needs usearch. Install it with: pip install 'ancf[usearch]'"
        ) from error
    index = Index(ndim=scorer.item_vectors.shape[1], metric="ip", dtype="f32")
    # Several threads link the graph differently each time, and lose some of what is near.
    index.add(np.arange(len(scorer.item_vectors)), scorer.item_vectors, threads=1)
    return _written(
        folder,
        {
            "items.usearch": lambda file: file.write(index.save() or b""),
            "item_ids.npy": _array(_plain_ids(scorer.item_ids.values)),
        },
    )
