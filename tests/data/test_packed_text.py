"""Packed text comes back as it was, byte by byte as model files hold it, and damaged arrays are refused."""

import numpy as np
import pytest

from ancf.data.packed_text import (
    pack_bytes,
    pack_optional_texts,
    pack_texts,
    unpack_bytes,
    unpack_optional_texts,
    unpack_texts,
)

TEXTS = ["ab", "", "é", "a\0b", "\udcff"]


def test_text_comes_back_as_it_was():
    offsets, joined = pack_texts(TEXTS)
    assert (offsets.dtype, joined.dtype) == (np.int64, np.uint8)
    assert joined.tobytes() == b"ab\xc3\xa9a\0b\xed\xb3\xbf"
    assert offsets.tolist() == [0, 2, 2, 4, 7, 10]
    assert unpack_texts(offsets, joined, "ids") == TEXTS
    assert unpack_texts(*pack_texts(["ab", "", "a\0b"]), "ids") == ["ab", "", "a\0b"]
    assert unpack_bytes(*pack_bytes([b"\xff", b""]), "ids") == [b"\xff", b""]


def test_no_text_and_empty_text_are_two_things():
    offsets, joined = pack_optional_texts([None, "", "é"])
    assert joined.tobytes() == b"\x01\x01\xc3\xa9"
    assert offsets.tolist() == [0, 0, 1, 4]
    assert unpack_optional_texts(offsets, joined, "names").tolist() == [None, "", "é"]
    assert unpack_optional_texts(*pack_optional_texts([]), "names").shape == (0,)


@pytest.mark.parametrize(
    ("offsets", "joined", "words"),
    [
        (np.array([0, 2], np.int32), np.zeros(2, np.uint8), "names need int64 offsets and uint8 bytes"),
        (np.array([0, 2]), np.zeros(2, np.int8), "need int64"),
        (np.zeros((1, 1), np.int64), np.zeros(0, np.uint8), "need int64"),
        (np.zeros(0, np.int64), np.zeros(0, np.uint8), "need int64"),
        (np.array([1, 2]), np.zeros(2, np.uint8), "offsets of the names do not fit"),
        (np.array([0, 3]), np.zeros(2, np.uint8), "do not fit"),
        (np.array([0, 2, 1, 2]), np.zeros(2, np.uint8), "do not fit"),
    ],
)
def test_damaged_arrays_are_refused(offsets, joined, words):
    for unpack in (unpack_bytes, unpack_texts, unpack_optional_texts):
        with pytest.raises(ValueError, match=words):
            unpack(offsets, joined, "names")
