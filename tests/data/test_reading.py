"""Tables of every make give the same interactions, and what is wrong with a table is said with place and remedy."""

import gzip
import io
import itertools
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import ancf
from ancf.errors import InvalidDataError, InvalidParameterError, MissingExtraError

ROWS = [
    ("17850", "85123A", 6, "2010-12-01 08:26:00"),
    ("17850", "00071", 2, "2010-12-01 08:26:00"),
    ("013047", "85123A", 1, "2010-12-02 10:00:00"),
    ("é", "ü,1", 3, "2010-12-03 10:00:00"),
]
HEAD = ["CustomerID", "StockCode", "Quantity", "InvoiceDate"]
FRAME = pd.DataFrame(ROWS, columns=HEAD)


def csv_of(frame, **options):
    out = io.StringIO()
    frame.to_csv(out, index=False, **options)
    return out.getvalue()


def read(text, **options):
    return ancf.read_interactions(io.BytesIO(text if isinstance(text, bytes) else text.encode()), **options)


EXPECTED = read(csv_of(FRAME)).fingerprint()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("lines", ["\n", "\r\n", "\r"])
def test_every_dialect_says_the_same(tmp_path, encoding, delimiter, lines):
    path = tmp_path / "purchases.txt"
    path.write_bytes(csv_of(FRAME, sep=delimiter, lineterminator=lines).encode(encoding))
    given = {"encoding": "utf-16-le"} if encoding == "utf-16-le" else {}
    assert ancf.read_interactions(path, **given).fingerprint() == EXPECTED


def test_paths_gzip_file_objects_and_text_say_the_same(tmp_path):
    plain, packed = tmp_path / "p.csv", tmp_path / "p.csv.gz"
    plain.write_text(csv_of(FRAME), encoding="utf-8")
    packed.write_bytes(gzip.compress(csv_of(FRAME).encode()) + gzip.compress(b""))
    with plain.open("rb") as binary, plain.open(encoding="utf-8") as text:
        sources = [plain, str(plain), packed, binary, text, io.StringIO(csv_of(FRAME)), io.BytesIO(packed.read_bytes())]
        assert [ancf.read_interactions(source).fingerprint() for source in sources] == [EXPECTED] * len(sources)


def test_standard_input_is_read(tmp_path):
    code = "import ancf; print(ancf.read_interactions('-').fingerprint())"
    for text in (csv_of(FRAME).encode(), gzip.compress(csv_of(FRAME).encode())):
        run = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, check=True, timeout=60)
        assert run.stdout.decode().strip() == EXPECTED


@pytest.mark.parametrize("order", list(itertools.permutations(["user", "item", "quantity", "date"])))
def test_the_columns_of_a_parquet_file_stand_in_any_order(order, tmp_path):
    columns = {"user": ["ann", "bob"], "item": ["tea", "cup"], "quantity": [2, 3], "date": ["2011-12-09", "2011-12-10"]}
    path = tmp_path / "purchases.parquet"
    pd.DataFrame({name: columns[name] for name in order}).to_parquet(path)
    expected = ancf.read_interactions(pd.DataFrame(columns))
    assert ancf.read_interactions(path).fingerprint() == expected.fingerprint()


def test_frames_arrow_parquet_and_dicts_say_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    polars = pytest.importorskip("polars")
    table = pyarrow.Table.from_pandas(FRAME)
    import pyarrow.parquet

    path = tmp_path / "purchases.parquet"
    pyarrow.parquet.write_table(table, path)
    sources = [
        FRAME,
        FRAME.astype({"CustomerID": "category", "StockCode": "string"}),
        table,
        path,
        FRAME.to_dict("list"),
    ]
    sources += [polars.DataFrame(FRAME.to_dict("list")), FRAME.assign(InvoiceDate=pd.to_datetime(FRAME["InvoiceDate"]))]
    sources += [
        FRAME.assign(InvoiceDate=pd.to_datetime(FRAME["InvoiceDate"]).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    ]
    assert [ancf.read_interactions(source).fingerprint() for source in sources] == [EXPECTED] * len(sources)


def test_matrices_and_arrays_have_numbers_as_ids():
    users, items, weights = np.array([0, 0, 2]), np.array([1, 3, 1]), np.array([2.0, 1.0, 5.0])
    expected = ancf.Interactions.from_ids(user=users, item=items, weight=weights).fingerprint()
    matrix = scipy.sparse.csr_matrix((weights, (users, items)))
    for source in (matrix, matrix.tocsc(), scipy.sparse.coo_array(matrix), np.column_stack([users, items, weights])):
        assert ancf.read_interactions(source).fingerprint() == expected
    assert ancf.read_interactions([(0, 1, 2), (0, 3, 1), (2, 1, 5)]).fingerprint() == expected
    named = np.array([(0, 1), (0, 3), (2, 1)], dtype=[("user", "i4"), ("item", "i4")])
    assert ancf.read_interactions(named).weights.tolist() == [1, 1, 1]
    ids = [uuid.UUID(int=1), uuid.UUID(int=2)]
    assert ancf.read_interactions({"user": ids, "item": [1, 2]}).user_ids.values.tolist() == ids


def test_explicit_zeros_of_a_matrix_are_reported():
    matrix = scipy.sparse.csr_matrix(([0.0, 1.0], ([0, 1], [0, 1])))
    assert ancf.read_interactions(matrix).report.count("zero_quantity") == 1


@pytest.mark.parametrize(
    ("headings", "roles"),
    [
        (
            ["household_key", "BASKET_ID", "DAY", "PRODUCT_ID", "QUANTITY"],
            {"user": 0, "time": 2, "item": 3, "weight": 4},
        ),
        (["userId", "movieId", "rating", "timestamp"], {"user": 0, "item": 1, "weight": 2, "time": 3}),
        (["Kundennummer", "Artikelnummer", "Menge", "Datum"], {"user": 0, "item": 1, "weight": 2, "time": 3}),
        (["reviewerID", "asin", "overall"], {"user": 0, "item": 1}),
        (["sku", "customer"], {"item": 0, "user": 1}),
        (["user", "user_id", "item"], {"user": 1, "item": 2}),
    ],
)
def test_columns_are_recognized_in_many_spellings(headings, roles):
    from ancf.data.columns import recognize_columns

    found = recognize_columns(headings, {"basket": False}, "table")
    assert found == roles


def test_columns_can_be_named_left_out_and_counted():
    text = "a,b,c,d\n1,x,2,9\n2,y,3,9\n"
    data = read(text, user="a", item="B", weight=2)
    assert data.weights.tolist() == [2, 3]
    assert read("1,x,2\n2,y,3\n", header=False, user=0, item=1, weight=2).fingerprint() == data.fingerprint()
    quantities = csv_of(FRAME)
    assert set(read(quantities, weight=False).weights) == {1.0}
    assert read(quantities, time=False).times is None


def test_ids_are_kept_as_they_stand():
    data = read("user,item\n007,1\n7,01\n1e5,1\n 8 ,1\n")
    assert data.user_ids.values.tolist() == ["007", "1e5", "7", "8"]
    assert data.item_ids.values.tolist() == ["01", "1"]
    assert data.report.count("spaces") == 1


def test_ids_that_went_through_floats_lose_their_point_zero():
    data = read("user,item\n17850.0,1.0\n,2.0\n-1.0,2.0\n13047.0,1.0\n")
    assert data.user_ids.values.tolist() == ["13047", "17850"]
    assert data.item_ids.values.tolist() == ["1"]
    assert data.report.count("anonymous") == 2
    assert read("user,item\n1.0,a\n1.5,a\n").user_ids.values.tolist() == ["1.0", "1.5"]


def test_windows_text_is_read_and_reported():
    data = read("user,item,description\nann,1,Café\nbob,2,Tea\n".encode("cp1252"))
    assert data.item_names.tolist() == ["Café", "Tea"]
    assert data.report.count("encoding") == 1
    assert [note.first_rows for note in data.report.notes] == [(2,)]


def test_only_rows_that_are_not_utf8_are_reported_as_windows_text():
    rows = b"user,item,date,qty\na,x,never,1\nb,y,caf\xe9,2\n"
    rows += b"c,z,2020-01-02,2 \xa3\nd,z,2020-01-02,3 pcs\ne,z,2020-01-02,4\n"
    notes = read(rows, on_bad_rows="drop").report.notes
    assert [(note.text.partition(",")[0], note.first_rows) for note in notes] == [
        ("are not UTF-8 (weight)", (4,)),
        ("are not UTF-8 (time)", (3,)),
    ]


def test_quoted_fields_hold_delimiters_quotes_and_line_ends():
    data = read('user,item,name,qty\r\n"a,1","x","9"" PLATE,\r\nround",2\r\nb,y,"",1\r\n')
    assert data.user_ids.values.tolist() == ["a,1", "b"]
    assert data.item_names.tolist() == ['9" PLATE,\r\nround', None]
    assert data.weights.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("user;item;qty\na;x;2,5\nb;y;3\n", [2.5, 3]),
        ("user\titem\tqty\na\tx\t2,5\nb\ty\t3.5\n", [2.5, 3.5]),
        ('user,item,qty\na,x,"1,234"\nb,y,"1,234,567.5"\n', [1234, 1234567.5]),
    ],
)
def test_decimal_commas_and_thousands_are_understood(text, weights):
    assert read(text).weights.tolist() == weights


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["2010-12-01", "2010-12-25"], "2010-12-01"),
        (["12/1/2010 8:26", "12/25/2010 8:26"], "2010-12-01 08:26"),
        (["01/12/2010 08:26", "25/12/2010 08:26"], "2010-12-01 08:26"),
        (["01.12.2010", "25.12.2010"], "2010-12-01"),
        (["2010-12-01T08:26:00+02:00", "2010-12-25T08:26:00Z"], "2010-12-01 06:26"),
        (["1291191960", "1293265560"], "2010-12-01 08:26"),
        (["1291191960123", "1293265560123"], "2010-12-01 08:26"),
        (["20101201", "20101225"], "2010-12-01"),
        (["Dec 1, 2010", "Dec 25, 2010"], "2010-12-01"),
    ],
)
def test_dates_of_many_kinds_are_moments(dates, first):
    data = read(csv_of(pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "date": dates})))
    assert data.times[0] == pd.Timestamp(first).timestamp()
    assert (data.times[1] - data.times[0]) // 86400 in (23, 24)


def test_dates_of_any_century_are_moments():
    texts = ["1500-01-02 10:00:00+01:00", "9999-12-31T00:00:00+01:00", "0001-01-02", "2020-01-02 03:04:05.9+00:00"]
    rows = "\n".join(f"u,i{at},{text}" for at, text in enumerate(texts))
    data = read("user,item,date\nu,first,2020-01-02\n" + rows)
    expected = ["1500-01-02T09:00:00", "9999-12-30T23:00:00", "0001-01-02T00:00:00", "2020-01-02T03:04:05"]
    assert np.array(data.times[1:], "datetime64[s]").astype(str).tolist() == expected


def test_an_undecided_order_of_day_and_month_is_noted():
    data = read("user,item,date\na,x,01/02/2010\nb,y,03/04/2010\n")
    assert data.times[0] == pd.Timestamp("2010-01-02").timestamp()
    assert "month first" in str(data.report)


def test_anonymous_rows_are_excluded_grouped_or_baskets():
    text = "order,user,item\n1,a,x\n2,,x\n2,-1,y\n3,nan,y\n,,y\n"
    assert read(text).user_ids.values.tolist() == ["a"]
    grouped = read(text, anonymous="group")
    assert grouped.user_ids.values.tolist() == ["a", "anonymous"]
    assert grouped.report.rows_used == 5
    baskets = read(text, anonymous="baskets")
    assert baskets.user_ids.values.tolist() == ["a", "basket:2", "basket:3"]
    assert baskets.report.count("anonymous") == 1 + 3
    numbers = pd.DataFrame({"user": [5, -1], "item": [1, 2], "basket": [7, 8]})
    assert ancf.read_interactions(numbers, anonymous="group").user_ids.values.tolist() == [-1, 5]
    assert ancf.read_interactions(numbers, anonymous="baskets").user_ids.values.tolist() == ["5", "basket:8"]
    with pytest.raises(InvalidParameterError, match="basket="):
        read("user,item\na,x\n,y\n", anonymous="baskets")


def test_a_row_is_counted_once_and_under_its_own_number():
    data = read("user,item,qty\n,x,1\n,,1\na,x,1\na,x,2\n", anonymous="group")
    assert [(reason.name, reason.first_rows) for reason in data.report.reasons] == [("no_item", (3,))]
    assert [(note.name, note.first_rows) for note in data.report.notes] == [("anonymous", (2,)), ("duplicates", (5,))]


def test_returns_are_netted_dropped_or_kept():
    text = "user,item,qty\na,x,5\na,x,-2\nb,x,1\nb,x,-3\nb,y,1\n"
    assert read(text).to_csr().data.tolist() == [3, 1]
    assert read(text, returns="drop").to_csr().data.tolist() == [5, 1, 1]
    assert read(text, returns="keep").to_csr().data.tolist() == [3, -2, 1]


def test_names_and_categories_stand_beside_the_items():
    rows = "user,sku,description,category\na,2,?,Toys\nb,2,KITE ,Toys\nc,2,KITE,\nd,1,,\ne,3,zeta,A\nf,3,alpha,B\n"
    data = read(rows)
    assert data.item_ids.values.tolist() == ["1", "2", "3"]
    assert data.item_names.tolist() == [None, "KITE", "alpha"] or data.item_names.tolist() == [None, "KITE", "zeta"]
    assert data.item_names.tolist() == [None, "KITE", "zeta"]
    assert data.item_categories.tolist() == [None, "Toys", "A"]


def test_blank_lines_and_short_rows_are_accounted_for():
    data = read("user,item,qty\na,x,1\n\nb\nc,y,2\n\n\n")
    assert data.report.rows_read == 4
    assert data.report.count("blank") == 1
    assert [reason.first_rows for reason in data.report.reasons if reason.name == "blank"] == [(3,)]
    assert data.report.count("no_item") == 1


def test_row_numbers_are_those_of_a_spreadsheet():
    with pytest.raises(InvalidDataError, match='row 4: "12 pcs"'):
        read("user,item,qty\na,x,1\nb,y,2\nc,z,12 pcs\n")
    with pytest.raises(InvalidDataError, match='row 2: "n/a"'):
        read("a,x,1\nb,y,n/a\n", header=False, user=0, item=1, weight=2)
    with pytest.raises(InvalidDataError, match='row 1: "n/a"'):
        ancf.read_interactions({"user": [1, 2], "item": [1, 2], "qty": ["1", "n/a"]})


WRONG = [
    ("", {}, "the file is empty"),
    ("\n\n \n", {}, "the file is empty"),
    ("user,item\n", {}, "no row below"),
    ("user,item\n\n\n", {}, "no row below"),
    ("alpha,beta\n1,2\n", {}, "Found: 'alpha', 'beta'. Name them, for example user='alpha', item='beta'"),
    ("user,price\n1,2\n", {}, "recognized as the item"),
    ("196,242,3\n186,302,3\n", {}, "header=False"),
    (
        "user,item,qty\na,x,1\nb,y,n/a\nc,z,\n",
        {},
        '2 rows have a quantity that is not a finite number .rows 3, 4: "n/a", "".',
    ),
    ("user,item,qty\na,x,inf\n", {}, "not a finite number"),
    ("user,item,date\na,x,2020-01-01\nb,y,soon\n", {}, '1 row has a date that cannot be read .row 3: "soon"'),
    ("user,item,date\na,x,never\nb,y,soon\n", {}, "no value of the time column 'date' is a date"),
    ("user,item,qty\na,x,1,2,3\nb,y,1\n", {}, "more fields than the header"),
    ('user,item\na,x\n"b,y\n', {}, "in row 3, a field begins with a quote that is never closed"),
    ("user,item\n,x\n-1,y\n", {}, 'none of 2 rows can be used.*anonymous="group"'),
    ("user,item,qty\na,x,0\n", {}, "none of 1 rows"),
    ("user,item,qty\na,x,1\na,x,-1\n", {}, 'returns="keep"'),
    ("user,item\na,x\na,x\n", {"strict": True}, "strict=True"),
    (b"\x89PNG\r\n\x1a\n\0\0", {}, "a PNG image"),
    (b"PK\x03\x04", {}, "Excel"),
    (b"\x00\x01\x02,\n", {}, "no text"),
    (gzip.compress(b"user,item\na,x\n", mtime=0)[:-9], {}, "gzip data is damaged|part-way"),
    ("user,item\na,x\n".encode("utf-16")[:-1], {}, "utf-16"),
]


@pytest.mark.parametrize(("text", "options", "words"), WRONG)
def test_wrong_tables_are_refused_with_place_and_remedy(text, options, words):
    with pytest.raises(InvalidDataError, match=f"(?s){words}") as caught:
        read(text, **options)
    assert str(caught.value).rstrip().endswith((".", '"'))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"anonymous": "no"}, "anonymous='no': give one of 'exclude'"),
        ({"returns": "no"}, "returns='no'"),
        ({"on_bad_rows": "no"}, "on_bad_rows='no'"),
        ({"normalize": "no"}, "normalize='no'"),
        ({"user": "nobody"}, "user='nobody': file object has no such column. It has 'user', 'item'"),
        ({"user": 7}, "user=7"),
        ({"user": "user", "item": "user"}, "named for user already"),
        ({"delimiter": "::"}, "one ASCII character"),
        ({"encoding": "klingon"}, "encoding='klingon'"),
        ({"num_threads": 0}, "num_threads"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(options, words):
    with pytest.raises(InvalidParameterError, match=words):
        read("user,item\na,x\n", **options)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/no/such/file.csv", "no such file"),
        (Path("/proc/sys"), "is a folder without a table"),
        (42, "int is no purchase table"),
        (b"user,item\n", "bytes is no purchase table"),
        (pd.DataFrame({"user": [], "item": []}), "there are no rows"),
        (pd.DataFrame({"user": [True], "item": [1]}), "true and false"),
        (pd.DataFrame({"user": [1.5], "item": [1]}), "user id 1.5 .row 0. is no whole number"),
        (pd.DataFrame({"user": pd.to_datetime(["2020-01-01"]), "item": [1]}), "holds dates"),
        (pd.DataFrame({"user": [[1]], "item": [1]}), "unhashable|list"),
        (np.array([1, 2, 3]), "give rows of"),
        (scipy.sparse.csr_matrix((2, 2)), "no entries"),
        ([], "no rows"),
    ],
)
def test_what_is_no_table_is_refused(source, words):
    with pytest.raises(InvalidDataError, match=words):
        ancf.read_interactions(source)


def test_a_missing_pyarrow_is_named_with_its_extra(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InvalidDataError, match="damaged"):
        ancf.read_interactions(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"ancf\[arrow\]"):
        ancf.read_interactions(path)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_do_not_change_what_is_read(threads):
    rows = 60_000
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"user": rng.integers(0, 9000, rows), "item": rng.integers(0, 800, rows)})
    frame["qty"], frame["date"] = (
        rng.integers(-1, 9, rows),
        pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), "s"),
    )
    text = csv_of(frame)
    one = read(text, num_threads=1)
    many = read(text, num_threads=threads)
    assert one.fingerprint() == many.fingerprint()
    assert str(one.report) == str(many.report)
    assert (
        ancf.read_interactions(pd.read_csv(io.StringIO(text), dtype={"user": str, "item": str})).fingerprint()
        == one.fingerprint()
    )


LINE = b"7,23,4,2020-01-02 03:04:05\n"


def table_with(part, before, length=3 << 20):
    """A table of plain lines in which ``part`` begins at byte ``before``; the line in front of it has a longer id."""
    text = b"user,item,qty,date\n"
    n_lines = (before - len(text)) // len(LINE) - 1
    text += LINE * n_lines
    text += b"8" * (before - len(text) - len(LINE) + 1) + LINE[1:]
    assert len(text) == before
    text += part
    return text + LINE * ((length - len(text)) // len(LINE)), n_lines + 1


@pytest.mark.parametrize("border", [1 << 16, 1 << 21, (1 << 16) + (1 << 21)])
def test_a_quoted_field_over_the_border_of_two_blocks_is_one_field(tmp_path, border):
    path = tmp_path / "purchases.csv"
    part = b'9,"a,\n1,2,3\n""b",5,2020-01-02\r\n'
    for before in range(len(part) + 1):
        text, _ = table_with(part, border - before)
        path.write_bytes(text)
        for source in (path, io.BytesIO(text)):
            data = ancf.read_interactions(source)
            assert data.item_ids.values.tolist() == ["23", 'a,\n1,2,3\n"b']
            assert data.report.rows_read == text.count(b"\n") - 3
            at = np.flatnonzero(data.items == 1)
            assert data.weights[at] == [5]
            assert data.user_ids.values[data.users[at]].tolist() == ["9"]
            assert data.report.count("duplicates") == data.report.rows_read - 3


@pytest.mark.parametrize("before", [1 << 16, 1 << 20, (1 << 21) - 9, (1 << 21) + (1 << 16) - 9, 5 << 19])
def test_row_numbers_in_errors_hold_over_several_blocks(tmp_path, before):
    path = tmp_path / "purchases.csv"
    wrong = {
        b"9,23,12 pcs,2020-01-02\n": 'not a finite number \\(row {row}: "12 pcs"',
        b"9,23,4,\0\0\0\0\0\0\0\0\0\0 03:04:05\n": "date that cannot be read \\(row {row}: ",
        b"9,23,4,2020-01-02,5\n": "more fields than the header \\(row {row}\\)",
        b'9,"23,4,2020-01-02\n': "in row {row}, a field begins with a quote that is never closed",
    }
    for part, said in wrong.items():
        text, n_lines = table_with(part, before)
        path.write_bytes(text)
        for source in (path, io.BytesIO(text)):
            with pytest.raises(InvalidDataError, match=said.format(row=n_lines + 2)):
                ancf.read_interactions(source)


@pytest.mark.parametrize(
    "start",
    [
        b"user,item,qty,date\n",
        b"\n\r\n\nuser,item,qty,date\n",
        b"\n" * 70_000 + b"user,item,qty,date\n",
        b"\n" * 65_530 + b"user,item,qty,date\n",
        b" \n" * 40_000 + b"user,item,qty,date\n",
        b"\xef\xbb\xbfuser,item,qty,date\n",
        b"user,item,qty,date," + b"x" * 65_000 + b"\n",
        b"user,item,qty,date\r" + b"1,2,3,2020-01-02\r" * 9000,
        b"user,item,qty,date\n" + "é,ü,3,2020-01-02\n".encode() * 9000,
    ],
    ids=[
        "plain",
        "blank",
        "blank first block",
        "heading over a border",
        "spaces",
        "mark",
        "long header",
        "CR",
        "two-byte characters",
    ],
)
def test_a_file_is_read_as_the_same_bytes_from_memory_are(tmp_path, start):
    path = tmp_path / "purchases.csv"
    text = start + LINE * 100_000
    path.write_bytes(text)
    outcomes = []
    for source in (path, io.BytesIO(text)):
        try:
            data = ancf.read_interactions(source)
            outcomes.append((data.fingerprint(), str(data.report).partition(":")[2]))
        except InvalidDataError as error:
            outcomes.append((type(error).__name__, str(error).partition(":")[2]))
    assert outcomes[0] == outcomes[1]


def test_the_name_of_an_item_is_its_most_common_one():
    rng = np.random.default_rng(5)
    for n_names in (1, 2, 9):
        items, names = rng.integers(0, 40, 600), rng.integers(0, n_names, 600)
        struck = rng.integers(0, 9, 600) == 0
        rows = [
            f"{'' if out else 'u'},{item},{f'n{(item * 3 + name) % 50}' if name < 8 else ''}"
            for item, name, out in zip(items, names, struck, strict=True)
        ]
        data = read("user,item,name\n" + "\n".join(rows))
        for item, name in zip(data.item_ids.values, data.item_names, strict=True):
            own = [row.split(",")[2] for row in rows if row.startswith(f"u,{item},") and not row.endswith(",")]
            # Of equally common ones the first in the table.
            assert name == (max(own, key=own.count) if own else None)


def datasets():
    """The folder of the shared data sets, where there is one."""
    return Path(os.environ.get("ANCF_DATASETS", Path(__file__).parents[3] / "shared" / "datasets"))


@pytest.fixture(scope="module")
def online_retail():
    path = datasets() / "online_retail.csv.gz"
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project (ANCF_DATASETS names the folder)")
    return ancf.read_interactions(path)


def test_the_raw_online_retail_is_read_with_no_argument_but_the_path(online_retail):
    report = online_retail.report
    assert report.rows_read == 541_909 == report.rows_used + report.rows_left_out
    assert report.count("anonymous") == 135_080
    assert [reason.first_rows[0] for reason in report.reasons if reason.name == "anonymous"] == [624]
    assert report.columns == {
        "user": "CustomerID", "item": "StockCode", "weight": "Quantity", "time": "InvoiceDate", "name": "Description",
    }  # fmt: skip
    assert online_retail.user_ids.kind == "str"
    position = online_retail.item_ids.position("85123A")
    assert online_retail.item_names[position] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert online_retail.weights.min() > 0


def test_the_raw_online_retail_agrees_with_pandas(online_retail):
    path = datasets() / "online_retail.csv.gz"
    frame = pd.read_csv(path, dtype={"CustomerID": str, "StockCode": str})
    known = frame[frame["CustomerID"].notna()]
    assert known["Quantity"].lt(0).sum() == online_retail.report.count("returns")
    dropped = ancf.read_interactions(path, returns="drop")
    sums = known[known["Quantity"] > 0].groupby(["CustomerID", "StockCode"])["Quantity"].sum()
    indptr, indices, data = dropped.to_csr()
    users = np.repeat(dropped.user_ids.values, np.diff(indptr))
    got = pd.Series(
        data, index=pd.MultiIndex.from_arrays([users, dropped.item_ids.take(indices)], names=sums.index.names)
    )
    assert got.astype(float).to_dict() == sums.to_dict()
