"""Model files: one ``.ancf`` file, written whole or not at all, checked to the last bit before it is used.

The layout is that of safetensors with a hash for every tensor and for the header (``rust/core/src/store/format.rs``).
A model file is data: nothing in it is executed, and what it holds is checked again by the model that takes it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf import _native
from ancf.errors import InvalidParameterError, ModelFileError

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
    path = as_path(path)
    tensors = []
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        array = array.astype(dtype, copy=False)
        tensors.append((name, _DTYPE_NAMES[dtype], list(array.shape), array.reshape(-1).view(np.uint8)))
    about = {"class": class_name, "version": _native.__version__, **meta}
    text = json.dumps(about, ensure_ascii=False, sort_keys=True, allow_nan=False)
    raw = np.frombuffer(text.encode(), np.uint8)
    if len(raw) > _MAX_HEADER_BYTES:
        tensors.append((_DESCRIPTION, "U8", [len(raw)], raw))
        text = json.dumps({_DESCRIPTION: len(raw)})
    _native.save_model(path, tensors, text)


def read(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a model file by name (views into its bytes), and its description."""
    data, text, places = _native.load_model(as_path(path))
    arrays = {
        name: data[start : start + n_bytes].view(_DTYPES[dtype]).reshape(shape)
        for name, dtype, shape, start, n_bytes in places
    }
    meta = _description(path, text)
    if _DESCRIPTION in arrays:
        meta = _description(path, arrays.pop(_DESCRIPTION).tobytes())
    return arrays, meta


def _description(path: str | Path, text: str | bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its description is not JSON. Load another copy.") from error
    if not isinstance(meta, dict):
        raise ModelFileError(f"{path}: its description is not an object. Load another copy.")
    return meta


def inspect(path: str | Path) -> dict[str, Any]:
    """What a model file holds: its class, version, options, history, and each array's type, shape and bytes."""
    arrays, meta = read(path)
    return {
        **meta,
        "bytes": Path(path).stat().st_size,
        "arrays": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape), "bytes": array.nbytes}
            for name, array in sorted(arrays.items())
        },
    }


def as_path(path: str | Path) -> Path:
    """A path, or an error that says what was given instead."""
    try:
        return Path(path)
    except TypeError:
        raise InvalidParameterError(f"path is {path!r}; it must be a path.") from None
