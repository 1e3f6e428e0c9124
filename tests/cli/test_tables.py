"""Tables on the command line: several as one, lines to skip, JSON, and messages in the words of the command line."""

import json
import re

import pytest

JANUARY = "customer,sku,qty\nann,1,2\nbob,2,1\ncid,1,1\n"
FEBRUARY = "sku;qty;customer\n2;3;ann\n1;1;\n3;1;bob\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "january.csv").write_text(JANUARY)
    (tmp_path / "february.csv").write_text(FEBRUARY)
    return tmp_path


def test_several_tables_a_folder_and_a_pattern_are_one_table(ancf, rows, folder):
    for tables in ([folder / "january.csv", folder / "february.csv"], [folder], [f"{folder}/*.csv"]):
        found = rows("describe", *tables)
        assert (found["rows_read"], found["rows_used"]) == (6, 5)
        assert {each["name"]: each["rows_used"] for each in found["files"]} == {"january.csv": 3, "february.csv": 2}
        assert [each["first_files"] for each in found["reasons"]] == [["february.csv"]]
    model = folder / "m.ancf"
    tables = [folder / "january.csv", folder / "february.csv"]
    code, _, err = ancf("train", *tables, "-o", model, "--model", "popular", "-q")
    assert code == 0, err
    assert "january.csv, february.csv: 3 users, 3 items" in err
    assert ancf("evaluate", *tables, "--model-file", model, "--repeats")[0] == 0
    code, _, err = ancf("train", tables[0], "-o", model, "--epochs", 1, "-q", "--validation", folder)
    assert (code, "5 events" in err) == (0, True)


def test_lines_above_the_header_comments_and_json_are_read(ancf, rows, folder):
    (folder / "titled.csv").write_text("a,b,c\n" + JANUARY + "#end\n")
    found = rows("describe", folder / "titled.csv", "--skip-lines", "1", "--comment", "#")
    assert (found["rows_read"], found["rows_used"]) == (4, 3)
    (folder / "t.jsonl").write_text('{"user": 1, "item": 2}\n{"user": 2, "item": 3}\n')
    assert rows("describe", folder / "t.jsonl")["rows_used"] == 2
    (folder / "title.csv").write_text("Report\n" + JANUARY)
    code, _, err = ancf("train", folder / "title.csv", "-o", folder / "m.ancf", "--model", "popular")
    assert code == 0
    assert '1 row stands above the header, skipped (row 1: "Report")' in err


def test_a_tab_may_be_typed_as_people_do(rows, folder):
    (folder / "tabs.txt").write_text(JANUARY.replace(",", "\t"))
    assert rows("describe", folder / "tabs.txt", "--delimiter", r"\t")["rows_used"] == 3


# Files and arguments; the remedy that must be shown, as it is typed.
REMEDIES = [
    ("196,242,3\n186,302,3\n", [], "--no-header", ["--no-header", "--user-column", "0", "--item-column", "1"]),
    ("a,b\n1,2\n3,4\n", [], "--user-column a, --item-column b", ["--user-column", "a", "--item-column", "b"]),
    ("user,item,date\na,x,no\nb,y,never\n", [], "--time-column none", ["--time-column", "none"]),
    ("user,item,qty\na,x,n/a\nb,y,1\n", [], "--on-bad-rows drop", ["--on-bad-rows", "drop"]),
    ("user,item\n,x\n,y\n", [], "--anonymous group", ["--anonymous", "group"]),
    ("user,item,qty\na,x,1\na,x,-1\n", [], "--returns keep", ["--returns", "keep"]),
    ("p,q,r\nuser,item,qty\na,x,1\n", [], "--skip-lines 1", ["--skip-lines", "1"]),
    ("user,item\na,x\n", ["--delimiter", ";"], "leave out --delimiter", None),
    ("user,item\nå,x\n", ["--encoding", "utf-8"], "--encoding cp1252", None),
    ('{"user": 1, "item": 2}\noops\n', [], "--on-bad-rows drop", ["--on-bad-rows", "drop"]),
    ("user,item\na,x\n", ["--sep", ","], "Did you mean '--delimiter'?", ["--delimiter", ","]),
    ("user,item\na,x\n", ["--skiprows", "0"], "Did you mean '--skip-lines'?", ["--skip-lines", "0"]),
    ("user,item\na,x\n", ["--anonymous", "baskets", "--basket-column", "nr"], "It has 'user', 'item'", None),
    ("user,item\na,x\n,y\n", ["--anonymous", "baskets"], "--basket-column InvoiceNo", None),
    ("user,item\na,x\n", ["--skip-lines", "7"], "--skip-lines 7", ["--skip-lines", "0"]),
    ("", [], "the file is empty", None),
    ('user,item\n"a,x\n', [], "Close it", None),
    ("%PDF-1.4", [], "Export the table as CSV", None),
    ("user,item,qty\na,x,1\na,x,2\n", ["--strict"], "--strict", None),
    ('{"user": 1, "item": 2}\n', ["--delimiter", ","], "--delimiter ,: ", []),
]


@pytest.mark.parametrize(("text", "arguments", "shown", "remedy"), REMEDIES)
def test_a_reading_error_names_options_as_they_are_typed_and_the_remedy_works(
    ancf, tmp_path, text, arguments, shown, remedy
):
    path = tmp_path / "table.txt"
    path.write_bytes(text.encode("cp1252" if "å" in text else "utf-8"))
    code, out, err = ancf("describe", path, *arguments)
    assert (code in (2, 3), out) == (True, "")
    assert shown in err
    assert not re.search(r"\b[a-z_]+=", err.replace(str(path), "")), err
    if remedy is not None:
        code, out, err = ancf("describe", path, *remedy)
        assert code == 0, err
        assert not re.search(r"\b(comment|delimiter|header|skip_lines|encoding|time|on_bad_rows)=", out), out


def test_a_note_names_options_as_they_are_typed(ancf, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# one\nuser,item\na,x\n#b,y\n")
    for arguments in (["describe", path], ["describe", path, "--format", "json"]):
        _, out, _ = ancf(*arguments)
        assert "--comment '#'" in re.sub(r"\s+", " ", out)
    notes = json.loads(ancf("describe", path, "--format", "json")[1])["notes"]
    assert [each["name"] for each in notes] == ["skipped_lines", "hashes"]
