"""Reading the file of a model that is to be served, which may be replaced meanwhile.

It needs little else of the package, so that a server reads its file while it loads the rest.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ancf import model_file
from ancf.errors import ModelFileError


class ReadModel(NamedTuple):
    """What a file held, every byte of it checked."""

    version: str
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]


def read_model(path: str | Path) -> ReadModel:
    """The model in a file, and its version.

    Raises
    ------
    ModelFileError, OSError
        If it is damaged or missing.
    """
    # The version is that of the bytes that were read, whatever has taken the file's place meanwhile.
    arrays, meta, raw = model_file.read_with_bytes(Path(path))
    return ReadModel(_version(raw[: 8 + model_file.LONGEST_HEADER].tobytes(), path), arrays, meta)


def version_of(path: str | Path) -> str:
    """What tells a model file from others: the hash of its header, which has a hash of everything else.

    Raises
    ------
    ModelFileError
        If it does not begin like a model file.
    """
    with Path(path).open("rb") as file:
        return _version(file.read(8 + model_file.LONGEST_HEADER), path)


def _version(begins: bytes, path: str | Path) -> str:
    length = int.from_bytes(begins[:8], "little")
    if length > len(begins) - 8:
        raise ModelFileError(f"{path}: it does not begin like a model file. Load another copy.")
    return hashlib.sha256(begins[8 : 8 + length]).hexdigest()[:12]
