"""Text files as programs and people leave them: joined, with titles, comments, packed, as JSON, misnamed."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pandas as pd
import pytest

import ancf
from ancf.errors import AncfError, InvalidDataError, InvalidParameterError

ROWS = "ann,007,2\nbob,7,1\nann,7,3\n"
PLAIN = "customer,sku,qty\n" + ROWS


def read(text, **options):
    return ancf.read_interactions(io.BytesIO(text if isinstance(text, bytes) else text.encode()), **options)


def note(data, name):
    [found] = [each for each in data.report.notes if each.name == name]
    return found


def adds_up(data):
    return data.report.rows_read == data.report.rows_used + data.report.rows_left_out


EXPECTED = read(PLAIN).fingerprint()


@pytest.mark.parametrize(
    ("joined", "rows"),
    [
        (PLAIN[: -len("ann,7,3\n")] + "customer,sku,qty\nann,7,3\n", (4,)),
        ("customer,sku,qty\n" * 3 + ROWS, (2, 3)),
        (PLAIN + "customer,sku,qty\n", (5,)),
        (PLAIN + "\ufeffcustomer,sku,qty\n", (5,)),
        (PLAIN + '"customer","sku","qty"\n', (5,)),
        (PLAIN + '\ufeff"customer","sku","qty"\n', (5,)),
        (PLAIN + "customer , sku,qty\n", (5,)),
    ],
)
def test_a_header_repeated_by_joining_files_is_left_out_and_told(joined, rows):
    data = read(joined)
    assert data.fingerprint() == EXPECTED
    [reason] = data.report.reasons
    assert (reason.name, reason.first_rows) == ("repeated_header", rows)
    assert adds_up(data)


def test_a_repeated_header_does_not_disturb_the_kind_of_ids_and_dates():
    text = "user,item,date\n17850.0,1.0,2020-01-02\nuser,item,date\n13047.0,2.0,2020-01-03\n"
    data = read(text)
    assert data.user_ids.values.tolist() == ["13047", "17850"]
    assert data.report.count("repeated_header") == 1
    assert "user" not in read("user,item\na,x\nuser,item\nuser,y\n").item_ids.values.tolist()
    assert read("user,item\na,x\nuser,item\nuser,y\n").user_ids.values.tolist() == ["a", "user"]


@pytest.mark.parametrize(
    ("above", "lines"),
    [
        ("Sales report\n", (1,)),
        ("Sales report\nfrom: 2020, to: 2021\n\n", (1, 2)),
        ("# exported by shop 3.1\n# all customers\n", (1, 2)),
        ("\n\nSales report;;\n\n", (3,)),
        ('"Sales\nreport"\n', (1, 2)),
        ('"never closed\n', (1,)),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_is_found_below_title_lines_which_are_told(above, lines, delimiter):
    above = above.replace(";;", delimiter * 2)
    data = read(above + PLAIN.replace(",", delimiter))
    assert data.fingerprint() == EXPECTED
    assert note(data, "skipped_lines").first_rows == lines
    assert read(PLAIN.replace("bob,7,1", "bob,7,x"), on_bad_rows="drop").report.reasons[0].first_rows == (3,)
    broken = above + PLAIN.replace("bob,7,1", "bob,7,x").replace(",", delimiter)
    [reason] = read(broken, on_bad_rows="drop").report.reasons
    assert reason.first_rows == (3 + above.count("\n"),)


def test_title_lines_are_found_by_the_names_that_the_caller_gave():
    text = "a title\nKd,Art\nann,1\nbob,2\n"
    data = read(text, user="Kd", item="Art")
    assert data.user_ids.values.tolist() == ["ann", "bob"]
    assert read("a title\nann,1\nbob,2\n", header=False, user=0, item=1).fingerprint() == data.fingerprint()


def test_a_header_with_another_order_of_columns_is_refused_with_its_row(tmp_path):
    parts = ["user,item,tag\na,x,1\n", "item,user,tag\nx,b,2\n"]
    with pytest.raises(InvalidDataError, match=r"row 3 is a header with the columns in another order.*list of paths"):
        read("".join(parts))
    for at, part in enumerate(parts):
        (tmp_path / f"{at}.csv").write_text(part)
    assert ancf.read_interactions([tmp_path / "0.csv", tmp_path / "1.csv"]).user_ids.values.tolist() == ["a", "b"]


def test_lines_to_skip_can_be_counted_and_are_told():
    for text, n in (("user,item\nx,y\n" + PLAIN, 2), ("a\n\n" + PLAIN, 2), (PLAIN, 0)):
        data = read(text, skip_lines=n)
        assert data.fingerprint() == EXPECTED
        assert sum(each.rows for each in data.report.notes) == n
    with pytest.raises(InvalidDataError, match="nothing is left below the 4 lines skipped"):
        read(PLAIN, skip_lines=9)


def test_comments_are_left_out_where_a_character_is_named():
    text = '# one\ncustomer,sku,qty\nann,007,2\n#bob,9,9\nbob,7,1\n# "x,\nann,7,3\n#end'
    data = read(text, comment="#")
    assert data.fingerprint() == EXPECTED
    assert [(each.name, each.first_rows) for each in data.report.reasons] == [("comments", (4, 6, 8))]
    assert note(data, "comment_lines").first_rows == (1,)
    assert adds_up(data)
    assert read("customer,sku\n#1,x\n2,y\n").user_ids.values.tolist() == ["#1", "2"]
    assert read("qty,customer,sku\n1,a,x\n#2,b,y\n", comment="#").report.count("comments") == 1


def test_rows_that_begin_like_comments_above_are_noted_with_a_remedy_that_works():
    text = "# one\ncustomer,sku\nann,x\n#bob,y\n"
    data = read(text)
    assert note(data, "hashes").first_rows == (4,)
    assert "comment='#'" in note(data, "hashes").text
    assert read(text, comment="#").user_ids.values.tolist() == ["ann"]


@pytest.mark.parametrize("width", [1 << 16, 1 << 17, 3 << 20])
def test_a_header_line_may_be_long(tmp_path, width):
    path = tmp_path / "wide.csv"
    padding = ",".join(f"column_{at:08d}" for at in range(width // 16))
    empty = "," * (padding.count(",") + 1)
    path.write_text(f"customer,{padding},sku\n" + f"ann{empty},1\n" + f"bob{empty},2\n")
    for source in (path, io.BytesIO(path.read_bytes())):
        assert ancf.read_interactions(source).item_ids.values.tolist() == ["1", "2"]


def test_headings_may_hold_line_ends_and_delimiters():
    data = read('"customer\r\nid","sku, or ean",qty\r\nann,1,2\r\nbob,2,x\r\n', item=1, on_bad_rows="drop")
    assert data.report.columns["user"] == "customer\r\nid"
    assert data.report.reasons[0].first_rows == (4,)


RECORDS = [
    {"customer": "ann", "sku": "007", "qty": 2},
    {"customer": "bob", "sku": "7", "qty": 1},
    {"customer": "ann", "sku": "7", "qty": 3},
]
LINES = "\n".join(map(json.dumps, RECORDS)) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES.rstrip(),
        "\ufeff" + LINES.replace("\n", "\r\n"),
        LINES.replace('"7"', "7"),
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        " \n" + json.dumps(RECORDS, separators=(",", ":")) + "\n",
        "\n".join(json.dumps({"customer": {"id": r["customer"]}, "sku": r["sku"], "qty": r["qty"]}) for r in RECORDS),
        "\n".join(json.dumps({**r, "tags": ["a", {"b": 1}], "no": None}) for r in RECORDS),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_json_lines_and_arrays_say_what_the_table_says(text, pack):
    assert read(pack(text.encode())).fingerprint() == EXPECTED


def _zipped(raw):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("table.csv", raw)
    return packed.getvalue()


def _parquet(raw):
    packed = io.BytesIO()
    pd.read_csv(io.BytesIO(raw), dtype=str).to_parquet(packed, index=False)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("table.csv.gz", gzip.compress),
        ("table.csv.bz2", bz2.compress),
        ("table.csv.xz", lzma.compress),
        ("table.zip", _zipped),
        ("table.parquet", _parquet),
    ],
)
def test_another_copy_in_place_of_a_damaged_file_is_read_whole(tmp_path, name, pack):
    rows = "".join(f"ann{at % 90},{at % 70}\n" for at in range(2000))
    whole, path = pack(f"user,item\n{rows}".encode()), tmp_path / name
    for damaged in (whole[: len(whole) // 2], whole[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidDataError, match="another copy"):
            ancf.read_interactions(path)
    path.write_bytes(whole)
    assert ancf.read_interactions(path).report.rows_read == 2000


def test_numbers_of_json_stay_as_they_are_written():
    data = read('{"user": 12345678901234567890123, "item": 1.50}\n{"user": 1e3, "item": "é\\n,"}\n')
    assert data.user_ids.values.tolist() == ["12345678901234567890123", "1e3"]
    assert data.item_ids.values.tolist() == ["1.50", "é\n,"]


def test_every_line_of_json_is_used_or_told_by_its_number():
    text = (
        LINES.replace("}\n", "}\n\n", 1) + "[1]\n" + '{"customer": "ann", "sku"' + '\n{"customer": null, "sku": "7"}\n'
    )
    with pytest.raises(InvalidDataError, match=r'2 rows are no JSON objects \(rows 5, 6: "\[1\]"'):
        read(text)
    data = read(text, on_bad_rows="drop")
    assert [(each.name, each.first_rows) for each in data.report.reasons] == [
        ("blank", (2,)),
        ("bad_json", (5, 6)),
        ("anonymous", (7,)),
    ]
    assert adds_up(data)
    assert data.fingerprint() == EXPECTED


def test_json_of_many_blocks_loses_no_row(tmp_path):
    path = tmp_path / "big.jsonl"
    path.write_text(
        "".join(f'{{"user": "u{at % 997}", "item": {at % 31}, "x": "{"y" * 90}"}}\n' for at in range(40_000))
    )
    data = ancf.read_interactions(path)
    assert (data.report.rows_read, data.report.rows_used, data.n_users, data.n_items) == (40_000, 40_000, 997, 31)
    lines = path.read_text().splitlines()
    array = read("[" + ",\n".join(lines) + "]")
    assert array.fingerprint() == data.fingerprint()
    late = read(path.read_text() + '{"user": "a", "item": 1, "qty": 5}\n')
    assert [each.first_rows for each in late.report.notes if each.name == "late_key"] == [(40_001,)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"user": ["a"], "item": 1}\n', "the user column 'user' holds a list in row 1"),
        ('{\n  "user": 1,\n  "item": 2\n}\n', "one object a line"),
        ('[{"user": 1, "item": 2}, {"user": 1,', "the JSON array is damaged after row 1"),
        ('{"a": 1, "b": 2}\n', "Found: 'a', 'b'"),
        ("[[1, 2], [3, 4]]", "array of objects"),
        ("{}\n", "one object a line"),
        ("[]", "one object a line"),
        ('[{"user": 1, "item": 2}] more', "something follows the JSON array, after row 1"),
        ('[{"user": 1, "item": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_no_table_is_refused_in_words(text, words):
    with pytest.raises(InvalidDataError, match=words):
        read(text)


@pytest.mark.parametrize("option", [{"delimiter": ","}, {"header": False}, {"skip_lines": 1}, {"comment": "#"}])
def test_an_option_that_says_nothing_about_the_source_is_refused(option):
    [name] = option
    with pytest.raises(InvalidParameterError, match=f"{name}=.* is JSON"):
        read(LINES, **option)
    with pytest.raises(InvalidParameterError, match=f"{name}=.*DataFrame is no text table"):
        ancf.read_interactions(pd.DataFrame(RECORDS), **option)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_tables_are_read_and_damaged_ones_refused(tmp_path, pack):
    path = tmp_path / "any.name"
    path.write_bytes(pack(PLAIN.encode()))
    assert ancf.read_interactions(path).fingerprint() == EXPECTED
    whole = pack((PLAIN * 5000).encode())
    for damaged in (whole[:-20], whole[: len(whole) // 2] + b"\xff" * 40 + whole[len(whole) // 2 + 40 :]):
        with pytest.raises(InvalidDataError, match=r"damaged|part-way"):
            read(damaged)


def _zip(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_dot_", ".").replace("_in_", "/"), content)
    return out.getvalue()


FOREIGN = {
    "Excel": (_zip(**{"[Content_Types].xml": "x", "xl_in_workbook_dot_xml": "y"}), "Save it as CSV"),
    "OpenDocument": (_zip(mimetype="x", content_dot_xml="y"), "Save it as CSV"),
    "an old Excel": (b"\xd0\xcf\x11\xe0" + bytes(600), "Save it as CSV"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "Export the table as CSV"),
    "an HTML page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "Get the table itself"),
    "XML": (b'<?xml version="1.0"?><rows/>', "Export the table as CSV"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd -d"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "Unpack it first"),
    "tar": (b"a.csv" + bytes(252) + b"ustar\x0000" + bytes(300), "Unpack it first"),
    "Parquet": (b"PAR1" + bytes(20), "Give the path"),
    "zero bytes": (b"user,item\n\0a,b\n", r"tr -d"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_a_file_is_is_told_whatever_its_name(kind, pack):
    content, remedy = FOREIGN[kind]
    with pytest.raises(InvalidDataError, match=f"(?s){kind}.*{remedy}|zip archive.*unpack it"):
        read(pack(content))


def test_a_zip_archive_is_unpacked_block_by_block(monkeypatch):
    sizes = []
    original = zipfile.ZipExtFile.read

    def spied(self, n=-1):
        data = original(self, n)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", spied)
    read(_zip(a_dot_csv="user,item\n" + "ann,tea\n" * 2_000_000))
    assert max(sizes) <= 1 << 21
    assert len(sizes) > 5


@pytest.mark.parametrize(
    ("name", "meant"), [("sep", "delimiter"), ("skiprows", "skip_lines"), ("usr", "user"), ("retuns", "returns")]
)
def test_an_option_of_another_name_gets_the_right_one(name, meant):
    with pytest.raises(InvalidParameterError, match=f"no option '{name}' .given: ';'.; did you mean '{meant}'"):
        read(PLAIN, **{name: ";"})


TYPOS = [
    ({"delimiter": "::"}, "one ASCII character"),
    ({"skip_lines": -1}, "skip_lines=-1"),
    ({"skip_lines": True}, "skip_lines=True"),
    ({"comment": "//"}, "comment='//'"),
    ({"comment": ",", "delimiter": ","}, "is the delimiter"),
]


@pytest.mark.parametrize(("options", "words"), TYPOS)
def test_options_without_a_meaning_are_refused(options, words):
    with pytest.raises(InvalidParameterError, match=words):
        read(PLAIN, **options)


UTF16 = PLAIN.encode("utf-16-le")

# What was read and how; the words of the message; what it says to do.
REMEDIES = [
    ("a,b\n1,2\n", {}, "user='a', item='b'", {"user": "a", "item": "b"}),
    ("196,242,3\n186,302,3\n", {}, "header=False", {"header": False, "user": 0, "item": 1}),
    ("196\t242\n186\t302\n", {}, "header=False", {"header": False, "user": 0, "item": 1}),
    ("Report\n196,242\n186,302\n", {}, "header=False", {"header": False, "user": 0, "item": 1}),
    (PLAIN, {"delimiter": ";"}, "leave out delimiter=", {"delimiter": None}),
    ("user,item,qty\na,x,n/a\nb,y,1\n", {}, 'on_bad_rows="drop"', {"on_bad_rows": "drop"}),
    ("user,item,qty\na,x,1,2\nb,y,1\n", {}, 'on_bad_rows="drop"', {"on_bad_rows": "drop"}),
    ("user,item,date\na,x,never\nb,y,soon\n", {}, "time=False", {"time": False}),
    ("user,item,date\na,x,never\nb,y,2020-01-02\n", {}, 'on_bad_rows="drop"', {"on_bad_rows": "drop"}),
    ("user,item\n,x\n-1,y\n", {}, 'anonymous="group"', {"anonymous": "group"}),
    ("user,item,qty\na,x,1\na,x,-1\n", {}, 'returns="keep"', {"returns": "keep"}),
    ("user,item,nr\na,x,1\n,x,2\n", {"anonymous": "baskets"}, "basket='", {"basket": "nr"}),
    (PLAIN.replace("ann", "åsa").encode("cp1252"), {"encoding": "utf-8"}, "encoding='cp1252'", {"encoding": "cp1252"}),
    (PLAIN.replace("ann", "åsa").encode("cp1252"), {"encoding": "utf-8"}, "left out", {"encoding": None}),
    (UTF16, {}, "encoding='utf-16-le'", {"encoding": "utf-16-le"}),
    (PLAIN.encode("utf-16-be"), {}, "encoding='utf-16-be'", {"encoding": "utf-16-be"}),
    ("one,two,three\n" + PLAIN, {}, "skip_lines=1", {"skip_lines": 1}),
    ('"a title\nKd,Art\nann,1\n', {}, "skip_lines=1", {"skip_lines": 1, "user": "Kd", "item": "Art"}),
    (LINES + "oops\n", {}, 'on_bad_rows="drop"', {"on_bad_rows": "drop"}),
    (LINES, {"delimiter": ","}, "Leave it out", {"delimiter": None}),
    (PLAIN, {"skip_lines": 4}, "smaller number", {"skip_lines": 0}),
]


@pytest.mark.parametrize(("text", "options", "words", "remedy"), REMEDIES)
def test_what_a_message_says_to_do_works_on_the_very_input(text, options, words, remedy):
    with pytest.raises(AncfError) as caught:
        read(text, **options)
    assert words in str(caught.value)
    assert adds_up(read(text, **{**options, **remedy}))
