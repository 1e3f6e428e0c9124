"""Model files: one ``.ancf`` file, written whole or not at all, checked to the last bit before it is used.

The layout is that of safetensors with a hash for every tensor and for the header (``rust/core/src/store/format.rs``).
A model file is data: nothing in it is executed, and what it holds is checked again by the model that takes it.
"""

import json
import math
import mmap
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.errors import InvalidDataError, InvalidParameterError, ModelFileError
from ancf.params import checks_call

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""Where a model file is: a path, its bytes, or a file opened for reading bytes."""

# Bytes, the description as text, and of each tensor its name, dtype, shape, first byte and number of bytes.
_Loaded = tuple[NDArray[np.uint8], str, list[tuple[str, str, list[int], int, int]]]

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

# A description longer than this (the history of many thousand epochs) does not stand in the header, which is bounded,
# but in a tensor of this name.
_MAX_HEADER_BYTES = 64 << 10
_DESCRIPTION = "description"

# A file begins with the length of its header in eight bytes and the header's first brace. Of a stream no more is read
# before these are right; the limit is that of the core (``MAX_HEADER`` in ``format.rs``).
_BEGINNING = 9
LONGEST_HEADER = 256 << 10

# How a pickle begins since its protocol 2: PROTO and the protocol's number.
_PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def save(path: str | Path, class_name: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write a model's arrays and its description.

    Parameters
    ----------
    path : path
        Holds the old file or the new one afterwards, whatever happens; never half of one.
    class_name : str
        Which model it is; loading looks it up.
    arrays : mapping name → array
    meta : mapping
        Plain values, as JSON has them.

    Raises
    ------
    OSError
        If the folder is missing, full or not writable; ``path`` is what it was.
    """
    _native.save_model(as_path(path), *_tensors(class_name, arrays, meta))


def to_bytes(class_name: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """The bytes of the file that ``save`` writes; the parameters are the same."""
    return _native.model_to_bytes(*_tensors(class_name, arrays, meta))


def _tensors(
    class_name: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]
) -> tuple[list[tuple[str, str, list[int], NDArray[np.uint8]]], str]:
    """What the core writes: the arrays as tensors, and the description as text."""
    tensors = []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        array = array.astype(dtype, copy=False)
        tensors.append((name, _DTYPE_NAMES[dtype], list(array.shape), array.reshape(-1).view(np.uint8)))
    about = {"class": class_name, "version": _native.__version__, **meta}
    if "history" in about:
        about["history"] = _finite(about["history"])
    try:
        text = json.dumps(about, ensure_ascii=False, sort_keys=True, allow_nan=False, default=_plain)
    except ValueError as error:
        raise InvalidParameterError(
            f"save: an option of this {class_name} is not finite, which a model file cannot hold ({meta}). Give it a "
            "finite value, and fit again."
        ) from error
    except TypeError as error:
        raise InvalidDataError(
            f"the description of this {class_name} cannot be written as JSON: {error}. Options and what training "
            "recorded must be plain, finite values."
        ) from None
    raw = np.frombuffer(text.encode(), np.uint8)
    if len(raw) > _MAX_HEADER_BYTES:
        tensors.append((_DESCRIPTION, "U8", [len(raw)], raw))
        text = json.dumps({_DESCRIPTION: len(raw)})
    return tensors, text


def _finite(value: Any) -> Any:
    """What was measured, with null for a number that is not finite, as JSON has none."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """A NumPy number as the Python number it is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def read(source: Source) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a model file by name (views into its bytes), and its description.

    Parameters
    ----------
    source : path, bytes, or a file opened for reading bytes

    Raises
    ------
    ModelFileError
        If it is damaged or no model file.
    InvalidParameterError
        If ``source`` is none of the three.
    """
    arrays, meta, _ = _read(source)
    return arrays, meta


def map_file(path: str | Path) -> NDArray[np.uint8]:
    """The bytes of a file that nobody writes to, without reading them: processes of one machine share its pages.

    Of a file that is shortened meanwhile the system ends its readers, so this is for copies that somebody vouches for.
    """
    with Path(path).open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def parse(raw: NDArray[np.uint8], path: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What ``read`` gives, of bytes that nobody else can change; ``path`` is what errors call them.

    Raises
    ------
    ModelFileError
    """
    arrays, meta, _ = _checked(path, lambda: (raw, *_native.parse_model(raw)))
    return arrays, meta


def read_with_bytes(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any], NDArray[np.uint8]]:
    """What ``read`` gives, and all bytes of the file.

    Raises
    ------
    ModelFileError, OSError
    """
    return _checked(str(path), lambda: _held(path))


def _read(source: Source) -> tuple[dict[str, NDArray[Any]], dict[str, Any], NDArray[np.uint8]]:
    """What ``read`` gives, and all bytes of the file."""
    return _checked(name_of(source), lambda: _load(source))


def _checked(
    path: str, load: Callable[[], _Loaded]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], NDArray[np.uint8]]:
    try:
        data, text, places = load()
    except ModelFileError as error:
        # The core names the path itself; of bytes it knows no name.
        said = str(error)
        raise ModelFileError(said if said.startswith(f"{path}: ") else f"{path}: {said}") from None
    arrays = {
        name: data[start : start + n_bytes].view(_DTYPES[dtype]).reshape(shape)
        for name, dtype, shape, start, n_bytes in places
    }
    meta = _description(path, text)
    if _DESCRIPTION in arrays:
        meta = _description(path, arrays.pop(_DESCRIPTION).tobytes())
    return arrays, meta, data


def name_of(source: Source) -> str:
    """What messages call the place that a model is loaded from."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "these bytes"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return name if isinstance(name, str) else "this file object"
    return str(as_path(source, "file"))


def _load(source: Source) -> _Loaded:
    held: bytes | bytearray | memoryview
    if isinstance(source, (bytes, bytearray, memoryview)):
        held = source
    elif hasattr(source, "read"):
        held = _read_all(cast(BinaryIO, source))
    else:
        path = as_path(source)
        try:
            return _held(path)
        except ModelFileError:
            with path.open("rb") as file:
                _refuse_pickle(file.read(2))
            raise
        except InvalidParameterError:
            raise
        except ValueError as error:
            raise InvalidParameterError(f"path is {str(path)!r}: {error}. Give the path of a model file.") from None
    # What somebody else may change is copied before it is believed.
    raw = np.frombuffer(held if isinstance(held, bytes) else bytes(held), np.uint8)
    _refuse_pickle(raw[:2].tobytes())
    return (raw, *_native.parse_model(raw))


def _held(path: Path) -> _Loaded:
    """The bytes of a file in memory of the core, which needs no copy of what stands there; nobody writes to them."""
    held, text, places = _native.load_model(path)
    return np.asarray(held), text, places


def _read_all(file: BinaryIO) -> bytes:
    """What a file object has left; of something that does not begin like a model file, no more than its beginning."""
    begins = file.read(_BEGINNING)
    if not isinstance(begins, bytes):
        raise InvalidParameterError(
            f"the file object gives {type(begins).__name__}, not bytes. Open the file with mode 'rb'."
        )
    _refuse_pickle(begins[:2])
    length = int.from_bytes(begins[:8], "little")
    if not begins.endswith(b"{") or length > LONGEST_HEADER:
        raise ModelFileError("it does not begin like a model file. Load another copy.")
    return begins + file.read()


def _refuse_pickle(begins: bytes) -> None:
    if begins in _PICKLE:
        raise ModelFileError(
            "it is a pickle, not a model file, and nothing is ever unpickled here. "
            "Write the model with model.save(path) or model.to_bytes(), or load another copy."
        )


def later_version(meta: Mapping[str, Any]) -> str | None:
    """The version of ancf that wrote a file, by its description, where that is later than this one."""
    written = meta.get("version")
    later = isinstance(written, str) and _numbers(written) > _numbers(_native.__version__)
    return written if later else None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]{1,9}", version)]


def _description(path: str, text: str | bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its description is not JSON. Load another copy.") from error
    if not isinstance(meta, dict):
        raise ModelFileError(f"{path}: its description is not an object. Load another copy.")
    return meta


@checks_call
def inspect(file: Source) -> dict[str, Any]:
    """What a model file holds. Every byte of it is checked; no model is made.

    Parameters
    ----------
    file : path, bytes, or a file opened for reading bytes

    Returns
    -------
    dict
        ``class``, ``version``, ``options``, ``history`` (where the model keeps one), what else its description has,
        ``bytes`` (their number), and ``arrays``: name → dict of ``dtype``, ``shape`` and ``bytes``.

    Raises
    ------
    ModelFileError
        If the file is damaged or no model file.
    OSError
        If it cannot be read.
    InvalidParameterError
        If ``file`` is none of the three.

    Examples
    --------
    >>> import ancf
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])
    >>> about = inspect(ancf.Popular().fit(data).to_bytes())
    >>> about["class"], about["arrays"]["item_vectors"]["shape"]
    ('Popular', [2, 1])
    """
    arrays, meta, data = _read(file)
    return {
        **meta,
        "bytes": len(data),
        "arrays": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape), "bytes": array.nbytes}
            for name, array in sorted(arrays.items())
        },
    }


def as_path(path: Any, name: str = "path") -> Path:
    """A path, or an error that says what was given instead."""
    try:
        return Path(path)
    except TypeError:
        raise InvalidParameterError(
            f"{name} is {path!r}; it must be a path (of a model to load also its bytes, or a file opened with 'rb')."
        ) from None
