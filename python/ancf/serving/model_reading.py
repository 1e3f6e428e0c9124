"""Reading the file of a model that is to be served, which may be replaced meanwhile.

It needs little else of the package, so that a server reads its file while it loads the rest.
"""

import hashlib
import os
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
    for _ in range(3):
        version = version_of(path)
        arrays, meta = model_file.read(str(path))
        # The file may have been replaced while it was read.
        if version == version_of(path):
            return ReadModel(version, arrays, meta)
    raise ModelFileError(f"{path}: the file changes while it is read. Write it elsewhere and rename it.")


def version_of(path: str | Path) -> str:
    """What tells a model file from others: the hash of its header, which has a hash of everything else.

    Raises
    ------
    ModelFileError
        If it does not begin like a model file.
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(model_file.LONGEST_HEADER, os.fstat(file.fileno()).st_size):
            raise ModelFileError(f"{path}: it does not begin like a model file. Load another copy.")
        return hashlib.sha256(file.read(length)).hexdigest()[:12]
