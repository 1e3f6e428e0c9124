"""Ids keep their kind, their order and their text; unknown ones are -1."""

import uuid
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf.data.ids import IdMap
from ancf.errors import InvalidDataError, InvalidParameterError, ModelFileError

KINDS = {
    "int": [5, -3, 2**62],
    "str": ["007", "7", "é", "", "a\x00b"],
    "uuid": [uuid.UUID(int=3), uuid.UUID(int=1)],
    "bytes": [b"a", b"", b"\xff\x00"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_from_its_state(kind):
    ids = IdMap(KINDS[kind])
    assert ids.kind == kind
    arrays, meta = ids.state()
    again = IdMap.from_state(arrays, meta)
    assert again == ids
    assert [type(each) for each in again.values.tolist()] == [type(each) for each in KINDS[kind]]
    assert ids.positions(KINDS[kind]).tolist() == list(range(len(ids)))
    assert ids.take(ids.positions(KINDS[kind])).tolist() == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_factorize_sorts_and_points_back(kind):
    values = KINDS[kind] * 2
    ids, codes = IdMap.factorize(values)
    assert ids.values.tolist() == sorted(KINDS[kind])
    assert ids.take(codes).tolist() == values
    assert codes.dtype == np.int32


def test_text_is_no_number_and_true_is_no_one():
    numbers, text = IdMap([0, 1, 2]), IdMap(["0", "1", "2"])
    assert [numbers.position(each) for each in (1, np.int32(1), 1.0, "1", True, None, [1])] == [1, 1, 1, -1, -1, -1, -1]
    assert numbers.positions([1, "1", True]).tolist() == [1, -1, -1]
    assert text.positions([1, "1"]).tolist() == [-1, 1]
    assert text.positions(np.array([0, 1])).tolist() == [-1, -1]
    assert text.positions(np.array(["2", "3"])).tolist() == [2, -1]
    assert text.hint(1) == 'the ids are text; "1" is known'
    assert numbers.hint("2") == "the ids are numbers; 2 is known"


def test_pandas_columns_of_every_make_are_ids():
    assert IdMap(pd.Series(["b", "a"], dtype="category")).values.tolist() == ["b", "a"]
    assert IdMap(pd.Series([3, 1], dtype="Int64")).kind == "int"
    assert IdMap(pd.Series([3.0, 1.0])).values.tolist() == [3, 1]
    assert IdMap(pd.Index(["x", "y"], dtype="string")).kind == "str"
    assert IdMap(np.array([3, 1], np.uint8)).positions(pd.Series([1, 2])).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", "a"], "stand more than once"),
        (["a", None], "are missing"),
        ([1.5], "no whole numbers"),
        ([float("nan"), 1.0], "missing"),
        (["a", 1], "mixed kinds"),
        ([True, False], "unusable"),
        ([2**63], "63 bits"),
        (np.array([2**63], np.uint64), "63 bits"),
        (np.zeros((2, 2)), "2 dimensions"),
        (np.array(["2020-01-01"], "M8[s]"), "datetime64"),
    ],
)
def test_wrong_ids_are_refused_with_value_and_remedy(values, words):
    with pytest.raises(InvalidDataError, match=words):
        IdMap(values)


def test_damaged_states_are_refused():
    arrays, meta = IdMap(["a", "bc"]).state()
    for wrong in (
        {**arrays, "offsets": np.array([0, 5, 3])},
        {**arrays, "offsets": np.array([0, 1, 9])},
        {**arrays, "offsets": np.array([0.0, 1, 3])},
        {**arrays, "bytes": np.array([0xFF, 0xFF, 0xFF], np.uint8)},
        {"bytes": arrays["bytes"]},
    ):
        with pytest.raises(ModelFileError):
            IdMap.from_state(wrong, meta)
    for bad_meta in ({"kind": "pickle", "n": 2}, {"kind": "str", "n": 3}, {"kind": "int", "n": 2}, {}):
        with pytest.raises(ModelFileError):
            IdMap.from_state(arrays, bad_meta)
    with pytest.raises(ModelFileError):
        IdMap.from_state({"values": np.array([1, 1])}, {"kind": "int", "n": 2})
    twice = {"offsets": np.array([0, 1, 2, 3]), "bytes": np.frombuffer(b"aba", np.uint8)}
    with pytest.raises(ModelFileError, match="1 ids stand more than once"):
        IdMap.from_state(twice, {"kind": "str", "n": 3})


def test_no_ids_are_ids_too():
    ids = IdMap([])
    assert len(ids) == 0
    assert ids.positions(["a"]).tolist() == [-1]
    assert IdMap.from_state(*ids.state()) == ids


def test_a_prepared_map_finds_what_another_finds():
    ids = IdMap([f"u{n}" for n in range(10)])
    ids.prepare()
    assert [ids.position(f"u{n}") for n in range(11)] == [*range(10), -1]


MORE_IDS = {
    "text": ["tea", "cup", "", "é", "日本", "a\0b", "007", "7", "\ud800"],
    "numbers": [7, 0, -1, 2**63 - 1, -(2**63)],
    "bytes": [b"tea", b"", b"\xff\xfe", b"7"],
    "uuids": [uuid.UUID(int=each) for each in (0, 1, 2**127)],
}
STRANGERS = ["x", "7", "07", 7, 8, 7.0, 7.5, 2**70, True, None, b"x", b"7", float("nan"), float("inf"), [], 1j]
STRANGERS += [Decimal(7), Fraction(7, 1), Fraction(7, 2), np.int32(7), np.str_("tea"), np.float64(7), uuid.UUID(int=1)]
STRANGERS += ["\udfff", "\ud800", b"\x00" * 16, np.array(7), np.datetime64(7, "s")]


@pytest.mark.parametrize("kind", MORE_IDS)
def test_a_map_of_a_file_finds_what_a_dictionary_finds(kind):
    made = IdMap(MORE_IDS[kind])
    read = IdMap.from_state(*made.state())
    naive = {each: at for at, each in enumerate(MORE_IDS[kind])}

    def expected(raw):
        raw = raw.item() if isinstance(raw, np.generic) else raw
        return -1 if isinstance(raw, (bool, list, np.ndarray)) else naive.get(raw, -1)

    for ids in (made, read):
        for raw in [*MORE_IDS[kind], *STRANGERS]:
            assert ids.position(raw) == expected(raw), raw
        assert ids.positions(MORE_IDS[kind][::-1]).tolist() == list(range(len(ids)))[::-1]
        assert [ids[at] for at in range(-len(ids), len(ids))] == 2 * MORE_IDS[kind]
        assert ids.take([[1, 0]]).tolist() == [[MORE_IDS[kind][1], MORE_IDS[kind][0]]]
    assert read == made
    assert repr(read) == repr(made)
    assert read.values.tolist() == MORE_IDS[kind]
    assert not read.values.flags.writeable


def test_a_few_ids_of_a_file_are_read_without_the_others():
    ids = IdMap.from_state(*IdMap([f"u{n}" for n in range(5000)]).state())
    assert (ids[3], ids[-1], ids.position("u77"), len(ids)) == ("u3", "u4999", 77, 5000)
    assert ids.take([1, -2]).tolist() == ["u1", "u4998"]
    assert 'did you mean "u12"' in ids.hint("u12x")
    assert "values" not in ids.__dict__
    with pytest.raises(InvalidParameterError, match="whole numbers below 5000"):
        ids.take([5000])
    assert len(ids.values) == 5000


WHOLE = st.integers(-20, 20) | st.integers(-(2**63), 2**63 - 1)


@given(known=st.lists(WHOLE, min_size=1, unique=True), near=st.booleans(), asked=st.lists(WHOLE))
def test_numbers_are_found_whether_ids_lie_close_together_or_far_apart(known, near, asked):
    ids = IdMap([known[0] // 2 + at * 3 for at in range(len(known))] if near else known)
    asked = np.array([*asked, *ids.values.tolist()], np.int64)
    assert ids.positions(asked).tolist() == [ids.position(each) for each in asked.tolist()]
