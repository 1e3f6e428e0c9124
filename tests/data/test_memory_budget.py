"""What ``max_memory=`` takes, what it says where it cannot be kept, and that nothing is left behind."""

import contextlib
import io
import re

import pytest

import ancf
from ancf.cli.app import run
from ancf.data import bounded_cleaning, spill


def test_a_budget_that_is_no_size_or_too_small_is_refused():
    for wrong, told in (
        ("2 GBit", "max_memory='2 GBit': give a size such as '2GB'"),
        (-1, "max_memory=-1: give a size"),
        (True, "max_memory=True: give a size"),
        ("1MB", "max_memory='1MB' is less than reading takes at all. Give at least '64MB'"),
    ):
        with pytest.raises(ancf.InvalidParameterError, match=re.escape(told)):
            ancf.read_interactions(io.BytesIO(b"user,item\na,b\n"), max_memory=wrong)


def test_a_budget_for_which_the_ids_alone_are_too_many_says_what_they_need():
    text = b"user,item\n" + b"".join(b"customer number %d,i\n" % at for at in range(200_000))
    with pytest.raises(ancf.InvalidDataError, match=r"cannot be kept: the distinct .* take") as told:
        ancf.read_interactions(io.BytesIO(text), max_memory="64MB")
    enough = re.search(r"Give at least max_memory='(\w+)'", str(told.value))[1]
    for _ in range(4):  # what is needed is found out column by column
        try:
            assert len(ancf.read_interactions(io.BytesIO(text), max_memory=enough)) == 200_000
            break
        except ancf.InvalidDataError as error:
            enough = re.search(r"Give at least max_memory='(\w+)'", str(error))[1]
    else:
        pytest.fail("the remedy does not work")


def test_a_user_whose_rows_do_not_fit_is_named(monkeypatch):
    monkeypatch.setattr(bounded_cleaning, "BYTES_PER_ROW", 1_000_000)
    text = b"user,item\n" + b"ann,tea\n" * 90 + b"bob,tea\n"
    with pytest.raises(ancf.InvalidDataError, match="the 90 rows of the user 'ann' are sorted together"):
        ancf.read_interactions(io.BytesIO(text), max_memory="64MB")


def test_nothing_is_left_on_the_disk_after_an_error_or_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(spill.tempfile, "tempdir", str(tmp_path))
    for text in (b"user,item,qty\nann,tea,1\nbob,cup,2\n", b'user,item,qty\nann,tea,1\nbob,"cup,2\n'):
        with contextlib.suppress(ancf.InvalidDataError):
            ancf.read_interactions(io.BytesIO(text), max_memory="64MB")
        assert not list(tmp_path.iterdir())


def test_the_command_line_prepares_within_a_budget(tmp_path, capsys):
    (tmp_path / "shop.csv").write_text("user,item,qty\n" + "".join(f"u{at % 7},i{at % 5},1\n" for at in range(60)))
    shop, one, other = (str(tmp_path / name) for name in ("shop.csv", "one", "other"))
    assert run(["prepare", shop, "-o", one, "--max-memory", "64MB"]) == run(["prepare", shop, "-o", other]) == 0
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "other").iterdir()}
    assert run(["describe", shop, "--max-memory", "many"]) == 2
    assert "--max-memory many: give a size" in capsys.readouterr().err
