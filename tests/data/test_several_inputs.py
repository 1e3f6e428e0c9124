"""Several files, frames, folders, patterns and archives are one table, and each row's file stands in the account."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import ancf
from ancf.errors import InvalidDataError, InvalidParameterError

MONTHS = {
    "jan.csv": "customer,sku,qty,date\nann,1,2,2020-01-03\nbob,2,1,2020-01-04\n",
    "feb.csv": "date;qty;customer;sku\n2020-02-03;3;ann;2\n2020-02-04;1;;2\n",
    "mar.csv": "sku\tcustomer\tqty\tdate\n2\tann\t-1\t2020-03-03\n",
}
WHOLE = (
    "customer,sku,qty,date\nann,1,2,2020-01-03\nbob,2,1,2020-01-04\nann,2,3,2020-02-03\n,2,1,2020-02-04\n"
    "ann,2,-1,2020-03-03\n"
)
EXPECTED = ancf.read_interactions(io.BytesIO(WHOLE.encode())).fingerprint()


@pytest.fixture
def folder(tmp_path):
    for name, text in MONTHS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def adds_up(report):
    assert report.rows_read == report.rows_used + report.rows_left_out
    assert report.rows_read == sum(each.rows_read for each in report.files)
    assert report.rows_used == sum(each.rows_used for each in report.files)
    return True


def test_paths_folders_patterns_archives_frames_and_streams_say_the_same(folder, tmp_path_factory):
    archive = tmp_path_factory.mktemp("zip") / "sales.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name in MONTHS:
            out.write(folder / name, f"2020/{name}")
        out.writestr("__MACOSX/2020/._jan.csv", "x")
    paths = [folder / name for name in MONTHS]
    frames = [pd.read_csv(path, sep=None, engine="python", dtype={"customer": str, "sku": str}) for path in paths]
    sources = [
        paths,
        [str(path) for path in paths],
        tuple(paths),
        iter(paths),
        folder,
        str(folder),
        f"{folder}/*.csv",
        f"{folder.parent}/**/{folder.name}/[a-z]*.csv",
        archive,
        str(archive),
        io.BytesIO(archive.read_bytes()),
        frames,
        [frames[0], paths[1], io.BytesIO(paths[2].read_bytes())],
        [f"{folder}/[jf]*.csv", folder / "mar.csv"],
    ]
    for source in sources:
        data = ancf.read_interactions(source)
        assert data.fingerprint() == EXPECTED
        assert adds_up(data.report)
        assert data.report.rows_read == 5


def test_an_archive_may_come_through_a_pipe(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in MONTHS:
            out.write(folder / name, name)
    code = "import ancf; print(ancf.read_interactions('-').fingerprint())"
    for raw, said in ((packed.getvalue(), EXPECTED), (packed.getvalue()[:-9], "is damaged")):
        done = subprocess.run([sys.executable, "-c", code], input=raw, capture_output=True, check=False)
        assert said in (done.stdout + done.stderr).decode()


def test_files_of_a_folder_come_by_name_and_those_of_a_list_as_they_stand(folder):
    by_name = ancf.read_interactions(folder).report
    assert [each.name for each in by_name.files] == ["feb.csv", "jan.csv", "mar.csv"]
    assert [(each.rows_read, each.rows_used) for each in by_name.files] == [(2, 1), (2, 2), (1, 0)]
    listed = ancf.read_interactions([folder / name for name in MONTHS]).report
    assert [each.name for each in listed.files] == list(MONTHS)


def test_a_row_is_named_by_its_file(folder):
    data = ancf.read_interactions(folder)
    [anonymous] = [each for each in data.report.reasons if each.name == "anonymous"]
    assert str(anonymous) == "1 row has no user id (anonymous) (feb.csv row 3)"
    assert (anonymous.first_rows, anonymous.first_files) == ((3,), ("feb.csv",))
    assert "  feb.csv: 2 rows read, 1 used" in str(data.report)
    (folder / "feb.csv").write_text(MONTHS["feb.csv"].replace(";3;", ";three;"))
    (folder / "mar.csv").write_text(MONTHS["mar.csv"].replace("-1", "no") * 2)
    with pytest.raises(InvalidDataError, match=r'feb.csv row 2, mar.csv rows 2, 4: "three", "no", "no"'):
        ancf.read_interactions(folder)
    dropped = ancf.read_interactions(folder, on_bad_rows="drop").report
    assert dropped.count("repeated_header") == 1
    assert adds_up(dropped)


def test_a_return_in_one_file_takes_back_what_another_sold(folder):
    data = ancf.read_interactions(folder)
    assert data.to_pandas().set_index(["user_id", "item_id"]).weight.to_dict()["ann", "2"] == 2
    assert data.report.count("reduced") == 1


def test_what_is_skipped_in_a_file_is_told_with_the_file(folder):
    (folder / "feb.csv").write_text("Sales\n\n" + MONTHS["feb.csv"])
    [skipped] = [each for each in ancf.read_interactions(folder).report.notes if each.name == "skipped_lines"]
    assert str(skipped) == '1 row stands above the header, skipped (feb.csv row 1: "Sales")'
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / "older").mkdir()
    (folder / "_SUCCESS").write_bytes(b"")
    report = ancf.read_interactions(folder).report
    [passed_over] = [each for each in report.notes if each.name == "passed_over"]
    assert str(passed_over) == "2 other files are not read: notes.pdf, older"


def test_the_order_of_day_and_month_is_that_of_all_files(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,date\na,x,05/06/2020\n")
    (tmp_path / "b.csv").write_text("user,item,date\na,y,25/06/2020\n")
    data = ancf.read_interactions(tmp_path)
    assert pd.to_datetime(data.times, unit="s").strftime("%Y-%m-%d").tolist() == ["2020-06-05", "2020-06-25"]
    assert not [each for each in data.report.notes if each.name == "date_order"]
    alone = ancf.read_interactions([tmp_path / "a.csv", tmp_path / "a.csv" / ".." / "a.csv"][:1])
    assert alone.report.count("date_order") == 0
    assert [each.name for each in alone.report.notes] == ["date_order"]


def test_a_file_without_a_row_is_in_the_account_and_an_empty_one_refused(folder):
    (folder / "apr.csv").write_text("customer,sku,qty,date\n")
    report = ancf.read_interactions(folder).report
    assert next((each.name, each.rows_read) for each in report.files) == ("apr.csv", 0)
    assert adds_up(report)
    (folder / "apr.csv").write_text("")
    with pytest.raises(InvalidDataError, match=r"apr.csv: the file is empty"):
        ancf.read_interactions(folder)


def test_names_and_baskets_that_some_files_lack_are_missing_there(folder):
    (folder / "jan.csv").write_text("customer,sku,qty,date,title\nann,1,2,2020-01-03,Tea\nbob,2,1,2020-01-04,Cup\n")
    data = ancf.read_interactions(folder)
    assert data.item_names.tolist() == ["Tea", "Cup"]
    assert any("no name column is in feb.csv, mar.csv" in each.text for each in data.report.notes)


REFUSED = {
    "lacks the item": ({"feb.csv": "customer,qty\nann,1\n"}, {}, "feb.csv: no column is recognized as the item"),
    "lacks a named": ({}, {"user": "Kunde"}, "user='Kunde': .*feb.csv has no such column"),
    "lacks the time": (
        {"feb.csv": "customer,sku,qty\nann,1,1\n"},
        {},
        "feb.csv: no column is recognized as the time, which jan.csv has .'date'.*time=False",
    ),
    "lacks the quantity": (
        {"jan.csv": "customer,sku,date\nann,1,2020-01-02\n"},
        {},
        "jan.csv: .* the quantity, which feb.csv has .'qty'.*weight=False",
    ),
    "packed twice": ({"feb.csv.gz": "x"}, {}, "feb.csv.gz is the same table as feb.csv"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_does_not_fit_is_named(folder, kind):
    files, options, words = REFUSED[kind]
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises((InvalidDataError, InvalidParameterError), match=words):
        ancf.read_interactions(folder, **options)


@pytest.mark.parametrize("role", ["time", "weight"])
def test_the_remedy_for_a_column_that_a_file_lacks_works(folder, role):
    kept = {"time": "customer,sku,qty\nann,1,1\n", "weight": "customer,sku,date\nann,1,2020-02-02\n"}[role]
    (folder / "feb.csv").write_text(kept)
    with pytest.raises(InvalidDataError, match=f"{role}=False"):
        ancf.read_interactions(folder)
    assert adds_up(ancf.read_interactions(folder, **{role: False}).report)


def test_ids_of_two_kinds_are_refused_with_a_remedy_that_works(folder):
    frame = pd.DataFrame({"customer": [1, 2], "sku": [1, 2], "qty": [1, 1], "date": ["2020-01-01", "2020-01-02"]})
    with pytest.raises(InvalidDataError, match=r"user ids are numbers where those of jan.csv are text") as caught:
        ancf.read_interactions([folder / "jan.csv", frame])
    assert "frame.astype({'customer': str})" in str(caught.value)
    both = ancf.read_interactions([folder / "jan.csv", frame.astype({"customer": str, "sku": str})])
    assert both.n_users == 4


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (["jan.csv", "jan.csv"], "jan.csv is the same table as jan.csv"),
        (["jan.csv", "./jan.csv"], "the same table"),
        (["jan.csv", "no.csv"], "no.csv: there is no such file"),
        ("sub", "is a folder without a table"),
        ("no*.csv", "no file has a name like this"),
        ("bad.zip", "zip archive .* is damaged"),
        ("empty.zip", "no table is in the zip archive"),
        (["jan.csv", 3], "give rows of|no purchase table|array"),
    ],
)
def test_sources_that_cannot_be_read_together_are_refused(folder, monkeypatch, source, words):
    monkeypatch.chdir(folder)
    Path("sub").mkdir()
    Path("bad.zip").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile("empty.zip", "w") as out:
        out.writestr("a.png", "x")
        out.writestr("b.png", "x")
    with pytest.raises((InvalidDataError, InvalidParameterError), match=words):
        ancf.read_interactions(source)


def test_row_numbers_and_values_hold_over_many_bad_rows(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,qty\n" + "a,x,bad\n" * 30)
    (tmp_path / "b.csv").write_text("user,item,qty\n" + "a,x,worse\n" * 30 + "a,x,1\n")
    data = ancf.read_interactions(tmp_path, on_bad_rows="drop")
    assert 'a.csv rows 2, 3, 4, 5, 6, …: "bad"' in str(data.report.reasons[0])
    assert [each.rows_used for each in data.report.files] == [0, 1]
    (tmp_path / "a.csv").write_text("user,item,qty\na,x,bad\n")
    report = ancf.read_interactions(tmp_path, on_bad_rows="drop").report
    assert 'a.csv row 2, b.csv rows 2, 3, 4, 5, …: "bad", "worse"' in str(report.reasons[0])
