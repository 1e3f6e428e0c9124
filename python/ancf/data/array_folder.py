"""Arrays in a folder, written whole or not at all, and mapped when they are read: what is on the disk needs no memory.

Each array is a NumPy file (``.npy``, without objects, so nothing in it is ever unpickled) whose name has the hash of
what it holds. ``prepared.json`` names them, and has the hash of each and its own. It is put there last, by one
renaming: until then the folder is what it was, and what an interrupted writer left in it belongs to nothing. Files that
the new description does not name are removed afterwards; who has mapped them keeps them.
"""

import contextlib
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ancf.atomic_file import atomic_write
from ancf.errors import InvalidDataError, InvalidParameterError

MANIFEST = "prepared.json"
FORMAT = "ancf-prepared-1"

_BLOCK_BYTES = 1 << 22
_HASH_DIGITS = 16
_REMEDY = "Prepare it again, or get another copy."


def is_array_folder(path: Path) -> bool:
    """Whether a path is such a folder, whole or not."""
    return path.is_dir() and (path / MANIFEST).exists()


def is_unfinished(path: Path) -> bool:
    """Whether a folder holds what a writer left that was interrupted before it had written anything whole."""
    return path.is_dir() and not (path / MANIFEST).exists() and any(map(_is_ours, path.iterdir()))


def _is_ours(path: Path) -> bool:
    name = path.name
    if name.startswith(".") and name.endswith(".tmp"):
        return True
    stem, _, digits = name.removesuffix(".npy").rpartition(".")
    return (
        name.endswith(".npy") and bool(stem) and len(digits) == _HASH_DIGITS and set(digits) <= set("0123456789abcdef")
    )


def check_target(folder: Path) -> None:
    """Refuse a place for arrays before hours are spent on them.

    Raises
    ------
    InvalidParameterError
        If the path is a file, a folder that holds other files, or lies in no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidParameterError(f"{folder} is a file. Give the name of a folder, such as prepared/.")
    if not folder.exists() and not folder.absolute().parent.is_dir():
        raise InvalidParameterError(f"{folder}: the folder {folder.absolute().parent} does not exist. Make it first.")
    if folder.is_dir():
        others = sorted(each.name for each in folder.iterdir() if each.name != MANIFEST and not _is_ours(each))
        if others:
            raise InvalidParameterError(
                f"{folder} holds other files ({', '.join(others[:3])}). Give a new folder, or an empty one."
            )


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write arrays and their description, which is plain JSON, in place of what the folder held before.

    Raises
    ------
    InvalidParameterError
        If the path is a file, or a folder that holds other files.
    OSError
        If it cannot be written to, or the disk is full; the folder holds what it held.
    """
    check_target(folder)
    folder.mkdir(exist_ok=True)
    with _alone(folder):
        for stale in folder.glob(".*.tmp"):
            stale.unlink()
        written: list[Path] = []
        try:
            listed = {name: _write_array(folder, name, array, written) for name, array in arrays.items()}
            document = {"format": FORMAT, "arrays": listed, "about": dict(about), "sha256": ""}
            document["sha256"] = hashlib.sha256(_text_of(document)).hexdigest()
            with atomic_write(folder / MANIFEST) as file:
                file.write(_text_of(document))
        except BaseException:
            kept = _named_files(folder)
            for path in written:
                if path.name not in kept:
                    path.unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        kept = _named_files(folder)
        for path in folder.iterdir():
            if path.name != MANIFEST and path.name not in kept:
                path.unlink()


def _text_of(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def _named_files(folder: Path) -> set[str]:
    """The files of the description that is there."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        return {each["file"] for each in document["arrays"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidParameterError(
                f"{folder} is being written by another process. Wait for it, or give another folder."
            ) from None
        yield
    finally:
        os.close(handle)


def _write_array(folder: Path, name: str, array: NDArray[Any], written: list[Path]) -> dict[str, Any]:
    """One file, and its entry of the description."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    temporary = folder / f".{name}.tmp"
    digest = hashlib.sha256()
    written.append(temporary)
    with temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        raw = array.reshape(-1).view(np.uint8)
        for start in range(0, len(raw), _BLOCK_BYTES):
            file.write(raw[start : start + _BLOCK_BYTES].data)
        file.flush()
        os.fsync(file.fileno())
    with temporary.open("rb") as file:
        _hash_file(file, digest)
    path = folder / f"{name}.{digest.hexdigest()[:_HASH_DIGITS]}.npy"
    written.append(path)
    temporary.replace(path)
    return {"file": path.name, "dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest.hexdigest()}


def _hash_file(file: BinaryIO, digest: Any) -> None:
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)


def read_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays, mapped and read-only, and their description; every byte is checked.

    Raises
    ------
    InvalidDataError
        If the description or an array is damaged or missing, or another version wrote them.
    """
    document = _read_manifest(folder)
    arrays = {}
    for name, entry in document["arrays"].items():
        arrays[name] = _map_array(folder, name, entry)
    return arrays, document["about"]


def _read_manifest(folder: Path) -> dict[str, Any]:
    damaged = InvalidDataError(f"{folder}: its description, {MANIFEST}, is damaged. {_REMEDY}")
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), str):
        raise damaged
    if document["format"] != FORMAT:
        raise InvalidDataError(
            f"{folder} is of the version {document['format']!r}, and this ancf reads {FORMAT!r}. Prepare it again with "
            "this ancf, or install the one that wrote it."
        )
    if hashlib.sha256(_text_of({**document, "sha256": ""})).hexdigest() != document.get("sha256"):
        raise damaged
    return document


def _map_array(folder: Path, name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    file_name = str(entry["file"])
    path = folder / file_name
    if Path(file_name).name != file_name:
        raise InvalidDataError(f"{folder}: {file_name!r} lies outside the folder. {_REMEDY}")
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            _hash_file(file, digest)
        if digest.hexdigest() != entry["sha256"]:
            raise ValueError("its bytes have changed")
        if not np.prod(entry["shape"]):  # nothing to map
            return np.asarray(np.load(path, allow_pickle=False))
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InvalidDataError(f"{folder}: its part {file_name} is missing. {_REMEDY}") from None
    except (ValueError, EOFError) as error:
        raise InvalidDataError(f"{folder}: its part {file_name} is damaged ({error}). {_REMEDY}") from None
    if array.dtype.str != entry["dtype"] or list(array.shape) != entry["shape"]:
        raise InvalidDataError(f"{folder}: {name} is of another type or shape than described. {_REMEDY}")
    plain = np.asarray(array)
    return plain if plain.dtype.isnative else plain.astype(plain.dtype.newbyteorder("="))


def forget_pages(*arrays: NDArray[Any] | None) -> None:
    """Give back the memory of the pages that mapped arrays were read from; they come in again where they are used."""
    for array in arrays:
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)
