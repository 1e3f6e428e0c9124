"""Tables of every shape in memory: what is told is honoured, what is not told is refused or named in the report."""

import io
import uuid
from collections import namedtuple
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ancf
from ancf.errors import InvalidDataError, InvalidParameterError

FRAME = pd.DataFrame({"user": [1, 2, 1, 3], "item": ["a", "b", "b", "c"], "qty": [1, 2, 3, 4]})
PIVOT = FRAME.pivot_table(index="user", columns="item", values="qty")
DENSE = np.array([[1, 0, 2], [0, 3, np.nan]])
BIG = [1205640308657491975, 1205640308657491976, None]
NUMBERED = ancf.Interactions.from_ids([0, 0, 1], [0, 2, 1], [1, 2, 3]).fingerprint()


def read(source, **options):
    return ancf.read_interactions(source, **options)


def read_text(text, **options):
    return read(io.BytesIO(text.encode()), **options)


def notes(data, name):
    return [note.text for note in data.report.notes if note.name == name]


@pytest.mark.parametrize(
    "matrix",
    [
        DENSE,
        np.matrix(DENSE),
        DENSE.tolist(),
        pd.DataFrame(DENSE),
        pd.DataFrame(DENSE).astype("Int64"),
        pd.DataFrame(DENSE).astype(object),
        pd.DataFrame(DENSE).astype(pd.SparseDtype(float)),
        pd.DataFrame(DENSE).fillna(0).astype(pd.SparseDtype(float, 0)),
        np.ma.masked_equal([[1, 9, 2], [9, 3, 9]], 9),
        sp.csr_array(np.nan_to_num(DENSE)),
        DENSE.astype(">f8"),
    ],
    ids=["array", "matrix", "lists", "frame", "Int64", "object", "sparse NaN", "sparse 0", "masked", "scipy", "endian"],
)
def test_every_make_of_a_matrix_gives_its_entries(matrix):
    data = read(matrix, layout="matrix")
    assert data.fingerprint() == NUMBERED
    assert data.report.rows_read == data.report.rows_used == 3


def test_a_sparse_matrix_needs_no_layout():
    assert read(sp.coo_matrix(np.nan_to_num(DENSE))).fingerprint() == NUMBERED
    data = read(sp.csr_matrix(DENSE))
    assert data.fingerprint() == NUMBERED
    assert notes(data, "matrix") == ["1 stored values are NaN, which is no entry"]


def test_a_pivot_frame_has_its_ids_in_index_and_headings():
    expected = read(FRAME).fingerprint()
    assert read(PIVOT, layout="matrix").fingerprint() == expected
    data = read(FRAME.pivot_table(index="user", columns="item", values=["qty"]), layout="matrix")
    assert data.fingerprint() == expected
    assert data.report.ignored == ("qty (level 0 of the headings)",)


@pytest.mark.parametrize("matrix", [sp.eye(3).tocsr(), np.eye(3), pd.DataFrame(np.eye(3))])
@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pd.Index, pd.Categorical, iter])
def test_ids_of_a_matrix_can_be_given(matrix, kind):
    data = read(matrix, layout="matrix", user=kind(["ann", "bob", "cyd"]), item=kind([7, 5, 2**60 + 1]))
    assert data.to_pandas()[["user_id", "item_id"]].to_numpy().tolist() == [
        ["ann", 7],
        ["bob", 5],
        ["cyd", 2**60 + 1],
    ]


def test_weights_of_a_matrix_can_be_left_out():
    assert set(read(sp.csr_matrix([[5, 0, 2]]), weight=False).weights) == {1.0}
    assert set(read([[5, 0, 2]], layout="matrix", weight=False).weights) == {1.0}


WIDE = np.ones((50, 30))
REFUSED = {
    "a wide array": (WIDE, {}, 'array of shape .50, 30.: rows are .user, item.*layout="matrix"'),
    "wide lists": ([("a", "x", 1, "2024-01-01", "blue", "DE")], {}, 'layout="matrix"'),
    "a wide matrix": (np.matrix(WIDE), {}, 'layout="matrix"'),
    "a pivot": (PIVOT, {}, 'recognized as the item.*layout="matrix"'),
    "a dict of dicts": ({"a": {"x": 1}}, {}, 'DataFrame.table..T and layout="matrix"'),
    "too few ids": (sp.eye(3), {"user": ["ann"]}, "user has 1 ids where 3 are needed"),
    "too many ids": (DENSE, {"layout": "matrix", "item": list("abcd")}, "item has 4 ids where 3 are needed"),
    "an id twice": (sp.eye(2), {"item": ["x", "x"]}, "item id 'x' stands more than once"),
    "a heading for a matrix": (sp.eye(2), {"user": "customer"}, "user='customer': a matrix has no headings"),
    "a position for a matrix": (sp.eye(2), {"item": 1}, "item=1: a matrix has no headings"),
    "no users": (sp.eye(2), {"user": False}, "user=False: a matrix has no headings"),
    "a time for a matrix": (sp.eye(2), {"time": "when"}, "time='when': a matrix has no columns"),
    "a basket for a matrix": (sp.eye(2), {"basket": 0}, "basket=0: a matrix has no columns"),
    "a set of ids": (sp.eye(2), {"user": {"a", "b"}}, "a matrix has no headings"),
    "rows of a matrix": (sp.eye(2), {"layout": "rows"}, 'layout="rows": a sparse matrix'),
    "a file as matrix": ("x.csv", {"layout": "matrix"}, "read_csv"),
    "a dict as matrix": ({"a": [1]}, {"layout": "matrix"}, "dict is no matrix"),
    "another layout": (DENSE, {"layout": "dense"}, "layout is 'dense'"),
    "text in a matrix": ([[1, "two"]], {"layout": "matrix"}, "'two' in row 0, column 1 is no number"),
    "complex numbers": (DENSE * 1j, {"layout": "matrix"}, "complex"),
    "three dimensions": (np.ones((2, 2, 2)), {"layout": "matrix"}, "two dimensions"),
    "nothing in it": (np.zeros((2, 2)), {"layout": "matrix"}, "no entries"),
    "headings for rows": ([[1, 2], [3, 4]], {"user": "customer"}, "by position, from 0 to 1"),
    "no such position": ([[1, 2], [3, 4]], {"time": 2}, "time=2: rows without headings"),
    "one position twice": ([[1, 2], [3, 4]], {"user": 1, "item": 1}, "named for user already"),
    "ids for rows": ([[1, 2], [3, 4]], {"user": ["a", "b"]}, "by position"),
    "rows without items": ([[1, 2], [3, 4]], {"item": False}, "a purchase has a user and an item"),
    "a date as weight": ([("a", "x", "2024-01-01")], {}, "time=2"),
    "uneven rows": ([(1, 2), (3,)], {}, "row 1 has 1 values where row 0 has 2"),
    "a number as heading": (FRAME, {"user": 3.5}, "user is 3.5; it must be a heading"),
    "a list as heading": (FRAME, {"user": ["user"]}, "user is a list; it must be a heading"),
    "true as heading": (FRAME, {"user": True}, "user is True; it must be a heading"),
    "a misspelt heading": (FRAME, {"weight": "qtty"}, "Did you mean 'qty'"),
    "no user column": (FRAME, {"user": False}, "a purchase has a user and an item"),
    "no frame": (pd.DataFrame(), {}, "there are no rows"),
    "one column": (pd.DataFrame({"user": [1]}), {}, "recognized as the item"),
    "a Series": (pd.Series([1, 2], name="user"), {}, "recognized as the item"),
}


@pytest.mark.parametrize(("source", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused_with_the_remedy(source, options, words):
    with pytest.raises((InvalidDataError, InvalidParameterError), match=f"(?s){words}"):
        read(source, **options)


def test_columns_of_rows_without_headings_are_named_by_position():
    assert read(np.array([[77, 1], [88, 1], [77, 2]]), user=1, item=0).user_ids.values.tolist() == [1, 2]
    assert read([[77, 1], [88, 2]], user=1).user_ids.values.tolist() == [1, 2]
    data = read(np.array([[1, 77, 1323388800], [2, 77, 1323388900]]), time=2)
    assert (data.times.tolist(), data.weights.tolist()) == ([1323388800, 1323388900], [1, 1])
    dated = [("a", "x", "2024-01-01"), ("b", "y", "2024-01-02")]
    assert read(dated, time=2).times.tolist() == [1704067200, 1704153600]
    assert read(dated, weight=False).times.tolist() == [1704067200, 1704153600]
    data = read([("a", "x", 5, "blue", "DE", 9)], user=0, item=1, category=3)
    assert data.item_categories.tolist() == ["blue"]
    assert data.report.ignored == ("column 2", "column 4", "column 5")
    assert read([("a", "x", 5, 1704067200)], weight=False, time=3).report.ignored == ("column 2",)


def test_rows_with_names_are_read_by_them():
    Row = namedtuple("Row", "item user")
    for rows in ([{"item": "x", "user": 1}, {"user": 2, "item": "y"}], [Row("x", 1), Row("y", 2)]):
        assert read(rows).user_ids.values.tolist() == [1, 2]


def test_a_series_has_users_and_items_in_its_index_and_weights_as_values():
    expected = read(FRAME).fingerprint()
    grouped = FRAME.groupby(["user", "item"])["qty"].sum()
    assert read(grouped).fingerprint() == expected
    assert read(grouped.rename("price")).report.columns["weight"] == "price"
    assert read(grouped.rename(None)).fingerprint() == expected
    assert set(read(grouped, weight=False).weights) == {1.0}
    dated = FRAME.assign(date=pd.Timestamp("2024-01-01")).groupby(["user", "item"])["date"].max()
    assert read(dated).times.tolist() == [1704067200] * 4


def test_index_levels_named_like_a_role_are_used_and_others_are_named_in_the_report():
    expected = read(FRAME).fingerprint()
    for levels in (["user"], ["user", "item"], ["user", "item", "qty"]):
        assert read(FRAME.set_index(levels)).fingerprint() == expected
    data = read(FRAME.assign(shop="north", price=2.5).set_index(["user", "shop"]))
    assert data.fingerprint() == expected
    assert data.report.ignored == ("price", "shop")
    assert "  ignored: price, shop" in str(data.report)
    assert data.report.to_dict()["ignored"] == ["price", "shop"]
    assert read(FRAME.set_index(pd.Index(list("wxyz")))).report.ignored == ("index",)
    assert read(FRAME[FRAME["qty"] > 2]).report.ignored == ()


def test_levels_of_headings_are_told_apart_and_named_in_the_report():
    expected = read(FRAME).fingerprint()
    data = read(pd.concat({"shop": FRAME}, axis=1))
    assert data.fingerprint() == expected
    assert data.report.ignored == ("level 0 of the headings",)
    summed = FRAME.groupby(["user", "item"]).agg({"qty": ["sum", "count"]})
    for choice in (("qty", "sum"), "qty sum"):
        data = read(summed, weight=choice)
        assert data.fingerprint() == expected
        assert data.report.ignored == ("qty count", "level 1 of the headings")
    with pytest.raises(InvalidDataError, match=r"the heading 'qty' stands 2 times .columns 0, 1.*weight=0"):
        read(summed)
    assert read(summed, weight=1).weights.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("parquet", [False, True])
def test_two_columns_of_one_name_are_seen_and_told(tmp_path, parquet):
    pyarrow = pytest.importorskip("pyarrow")
    parquets = pytest.importorskip("pyarrow.parquet")

    def sources(other):
        names = ["user", "item", "qty", "qty"]
        arrays = [[1, 2], ["a", "b"], [1, 2], other]
        frame = pd.DataFrame(dict(enumerate(arrays))).set_axis(names, axis=1)
        table = pyarrow.Table.from_arrays([pyarrow.array(column) for column in arrays], names=names)
        if parquet:
            parquets.write_table(table, tmp_path / "p.parquet")
            return [tmp_path / "p.parquet"]
        return [frame, table, io.BytesIO(frame.to_csv(index=False).encode())]

    for source in sources([1, 2]):
        data = read(source)
        assert data.weights.tolist() == [1, 2]
        assert notes(data, "repeated_heading") == [
            "the heading 'qty' stands 2 times, with the same values (columns 2, 3)"
        ]
    for source in sources([1, 3]):
        with pytest.raises(InvalidDataError, match=r"'qty' stands 2 times .*different values.*weight=2"):
            read(source)
    for source in sources([1, 3]):
        assert read(source, weight=3).weights.tolist() == [1, 3]


def test_ignored_columns_of_files_are_named_in_the_report(tmp_path):
    pytest.importorskip("pyarrow")
    frame = FRAME.assign(price=1, country="DE")
    frame.to_parquet(tmp_path / "p.parquet")
    for source in (frame, tmp_path / "p.parquet", io.BytesIO(frame.to_csv(index=False).encode())):
        assert read(source).report.ignored == ("price", "country")


def test_64_bit_ids_beside_nulls_are_exact_in_every_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    polars, parquets = pytest.importorskip("polars"), pytest.importorskip("pyarrow.parquet")

    items = ["a", "b", "c"]
    table = pyarrow.table({"user_id": pyarrow.array(BIG, pyarrow.int64()), "item_id": items})
    parquets.write_table(table, tmp_path / "t.parquet")
    sources = [
        table,
        table.to_batches()[0],
        tmp_path / "t.parquet",
        polars.DataFrame({"user_id": BIG, "item_id": items}),
        polars.DataFrame({"user_id": BIG, "item_id": items}, schema_overrides={"user_id": polars.UInt64}),
        pd.DataFrame({"user_id": pd.array(BIG, "Int64"), "item_id": items}),
        pd.DataFrame({"user_id": pd.array(BIG, "UInt64"), "item_id": items}),
        pd.DataFrame({"user_id": pd.Series(BIG, dtype=pd.ArrowDtype(pyarrow.int64())), "item_id": items}),
        {"user_id": pd.Series(BIG, dtype=object), "item_id": items},
        {"user_id": [None if each is None else Decimal(each) for each in BIG], "item_id": items},
        table.set_column(0, "user_id", table["user_id"].cast(pyarrow.decimal128(19, 0))),
        table.set_column(0, "user_id", table["user_id"].dictionary_encode()),
    ]
    for source in sources:
        data = read(source)
        assert data.user_ids.values.tolist() == BIG[:2]
        assert data.report.count("anonymous") == 1


def test_texts_of_every_arrow_type_are_text_ids():
    pyarrow = pytest.importorskip("pyarrow")
    texts = pyarrow.array(["x", "y", None])
    dictionary = pyarrow.dictionary(pyarrow.int8(), pyarrow.large_string())
    arrays = [texts.cast(kind) for kind in (pyarrow.large_string(), pyarrow.string_view())]
    arrays += [texts, texts.dictionary_encode(), texts.dictionary_encode().cast(dictionary)]
    arrays += [pyarrow.DictionaryArray.from_arrays([0, 1, 2], ["x", "y", None])]
    arrays += [pyarrow.compute.run_end_encode(texts)]
    for array in arrays:
        data = read(pyarrow.table({"user": array, "item": [1, 2, 3]}))
        assert data.user_ids.values.tolist() == ["x", "y"]
    chunks = [pyarrow.array(["a", "b"]).dictionary_encode(), pyarrow.array(["c", "a"]).dictionary_encode()]
    data = read(pyarrow.table({"user": pyarrow.chunked_array(chunks), "item": [1, 2, 3, 4]}))
    assert data.to_pandas()["user_id"].tolist() == ["a", "a", "b", "c"]
    assert read(pyarrow.table({"user": [b"x", None], "item": [1, 2]})).user_ids.values.tolist() == [b"x"]
    uuids = [uuid.UUID(int=5), uuid.UUID(int=6)]
    extension = pyarrow.array([each.bytes for each in uuids], pyarrow.uuid())
    assert read(pyarrow.table({"user": extension, "item": [1, 2]})).user_ids.values.tolist() == uuids
    assert read(pyarrow.Table.from_pandas(FRAME.set_index("user"))).fingerprint() == read(FRAME).fingerprint()


def test_what_arrow_cannot_hand_over_is_an_error_with_the_remedy():
    pyarrow = pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    wide = polars.DataFrame({"user_id": polars.Series([1, 2], dtype=polars.Int128), "item_id": ["a", "b"]})
    objects = polars.DataFrame({"user_id": polars.Series([object()], dtype=polars.Object), "item_id": ["a"]})
    for source, words in (
        (polars.Series("user_id", ["a"]), "polars Series is one column, not a table"),
        (pyarrow.chunked_array([[1]]), "one column, not a table"),
        (wide, "'user_id' has a type.*Cast 128-bit integers"),
        (objects, "'user_id' holds Python objects"),
        (polars.LazyFrame({"user": [1]}), "collect"),
        (pyarrow.table({"user": [[1]], "item": [1]}), "holds no ids"),
    ):
        with pytest.raises(InvalidDataError, match=words):
            read(source)
    cast = wide.cast({"user_id": polars.Int64})
    assert read(cast).user_ids.values.tolist() == [1, 2]


def test_numbers_are_ids_where_they_are_whole_and_exact():
    for ids in (
        np.array([5.0, 6.0], np.float32),
        np.array([5, 6], np.float16),
        np.array([5, 6], ">i8"),
        np.array([5, 6], ">f4"),
        [Decimal("5.0"), Decimal(6)],
        pd.Series([5, Decimal(6)], dtype=object),
        pd.arrays.SparseArray([5, 6]),
    ):
        assert read({"user": ids, "item": [1, 2]}).user_ids.values.tolist() == [5, 6]
    assert read(np.array([(5, 6)], [("user", ">i4"), ("item", ">i8")])).user_ids.values.tolist() == [5]
    same = read({"user": pd.Series([7, Decimal("7.0")], dtype=object), "item": [1, 2]})
    assert same.user_ids.values.tolist() == [7]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (np.array([1, 2**24], np.float32), "16777216.0 .row 1. is too large for a float.*int64 or text"),
        ([1.0, 2.0**53], "too large for a float"),
        ([2**70, 1], "does not fit 63 bits"),
        (np.array([2**64 - 1, 1], np.uint64), "does not fit 63 bits"),
        ([Decimal("7.5"), Decimal(1)], "no whole number"),
        ([Decimal("Infinity"), Decimal(1)], "no whole number"),
        ([1j, 2], "complex"),
        (pd.to_timedelta([1, 2]), "durations"),
        (pd.period_range("2020", periods=2), "periods"),
        ([True, None], "bool"),
    ],
)
def test_numbers_that_are_no_ids_are_refused(ids, words):
    with pytest.raises(InvalidDataError, match=words):
        read({"user": ids, "item": [1, 2]})


def test_ids_given_as_float32_must_be_exact_too():
    with pytest.raises(InvalidDataError, match="too large for float32"):
        ancf.Interactions.from_ids(np.array([2**24], np.float32), [1])
    data = ancf.Interactions.from_ids(np.array([1, 2], ">i8"), np.array([5, 6], ">i4"))
    assert data.user_ids.values.tolist() == [1, 2]


@pytest.mark.parametrize("weight", ["1e39", "-1e39", "1e308"])
def test_weights_that_overflow_float32_are_bad_rows_with_row_and_value(weight):
    number = float(weight)
    sources = [
        io.BytesIO(f"user,item,qty\na,x,1\nb,y,{weight}\n".encode()),
        pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "qty": [1, number]}),
        pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "qty": ["1", weight]}),
        [("a", "x", 1), ("b", "y", number)],
        sp.csr_matrix([[1, 0], [0, number]]),
    ]
    for source in sources:
        with pytest.raises(InvalidDataError, match=r"1 row has a quantity .*row \d: \"-?1e\+?3"):
            read(source)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        data = read(source, on_bad_rows="drop")
        assert data.report.count("bad_quantity") == 1
        assert data.report.rows_read == data.report.rows_used + data.report.rows_left_out == 2


def test_a_weight_that_float32_rounds_to_zero_is_a_quantity_of_zero():
    data = read_text("user,item,qty\na,x,1e-46\nb,x,1e-44\n")
    assert data.report.count("zero_quantity") == 1
    assert (data.weights > 0).all()
