"""Text as two arrays, as model files hold it: the bytes of all entries end to end, and offsets to cut them apart.

``offsets`` is int64 (n + 1,) and begins with 0, ``joined`` is uint8. Lone surrogates, which some tables have in place
of bytes that are not UTF-8, survive.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import object_array, offsets_from_lengths

Packed = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""``(offsets, joined)``"""


def pack_bytes(entries: Iterable[bytes]) -> Packed:
    """Bytes end to end."""
    parts = list(entries)
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return offsets_from_lengths(lengths), np.frombuffer(b"".join(parts), np.uint8).copy()


def unpack_bytes(offsets: NDArray[Any], joined: NDArray[Any], what: str) -> list[bytes]:
    """The entries again; ``what`` names them in errors.

    Raises
    ------
    ValueError
        If the arrays are of another kind, or the offsets do not rise from 0 to the number of bytes.
    """
    check_packed(offsets, joined, what)
    raw = joined.tobytes()
    return [raw[start:end] for start, end in pairwise(offsets.tolist())]


def check_packed(offsets: NDArray[Any], joined: NDArray[Any], what: str) -> None:
    """Look whether offsets fit their bytes; raises as ``unpack_bytes`` does."""
    well_typed = offsets.dtype == np.int64 and joined.dtype == np.uint8
    if not well_typed or offsets.ndim != 1 or joined.ndim != 1 or not len(offsets):
        raise ValueError(f"{what} need int64 offsets and uint8 bytes")
    if offsets[0] != 0 or offsets[-1] != len(joined) or (np.diff(offsets) < 0).any():
        raise ValueError(f"the offsets of the {what} do not fit their bytes")


def pack_texts(texts: Iterable[str]) -> Packed:
    """Text as UTF-8."""
    return pack_bytes(text.encode("utf-8", "surrogatepass") for text in texts)


def unpack_texts(offsets: NDArray[Any], joined: NDArray[Any], what: str) -> list[str]:
    """The texts again; raises as ``unpack_bytes`` does, and where bytes are no UTF-8."""
    check_packed(offsets, joined, what)
    raw = joined.tobytes()
    if raw.isascii():
        # A byte is a character, so all are decoded at once.
        text = raw.decode("ascii")
        return [text[start:end] for start, end in pairwise(offsets.tolist())]
    return [raw[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(offsets.tolist())]


def pack_optional_texts(texts: Iterable[Any]) -> Packed:
    """Text or None: each text has a byte 1 in front of its UTF-8, None takes no byte at all.

    Examples
    --------
    >>> offsets, joined = pack_optional_texts(["ab", None, ""])
    >>> offsets.tolist(), joined.tobytes()
    ([0, 3, 3, 4], b'\\x01ab\\x01')
    """
    return pack_bytes(b"" if text is None else b"\x01" + str(text).encode("utf-8", "surrogatepass") for text in texts)


def unpack_optional_texts(offsets: NDArray[Any], joined: NDArray[Any], what: str) -> NDArray[Any]:
    """The texts again, as an object array with None where there is none; raises as ``unpack_texts`` does."""
    parts = unpack_bytes(offsets, joined, what)
    return object_array([part[1:].decode("utf-8", "surrogatepass") if part else None for part in parts])
