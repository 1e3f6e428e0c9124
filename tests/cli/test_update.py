"""``ancf update``: new purchases into a model file."""

import re
from pathlib import Path

import pandas as pd
import pytest

import ancf as package

PAGE = (Path(__file__).parents[2] / "docs" / "updating.md").read_text()


@pytest.fixture
def days(shop, tmp_path):
    """Two days of purchases in the shop's own columns, the second with a return of the first."""
    table = pd.read_csv(shop / "purchases.csv", dtype=str)
    newest = table[table["customer_id"].notna() & (table["customer_id"] != "-1")].tail(40).copy()
    newest["customer_id"] = [f"new-{at % 7}" for at in range(len(newest))]
    newest["quantity"] = "2"
    back = newest.head(1).assign(quantity="-2")
    newest.head(20).to_csv(tmp_path / "monday.csv", index=False)
    pd.concat((newest.tail(20), back)).to_csv(tmp_path / "tuesday.csv", index=False)
    pd.concat((newest, back)).to_csv(tmp_path / "both.csv", index=False)
    return tmp_path


def test_two_days_one_by_one_give_the_file_of_both(ancf, days):
    code, out, err = ancf("update", "shop.ancf", days / "monday.csv", "-o", days / "m.ancf")
    assert (code, out) == (0, "")
    assert re.search(r"20 events taken in: 7 new users, 0 new items, \d+ items touched", err)
    assert "updated in" in err
    code, _, err = ancf("update", days / "m.ancf", days / "tuesday.csv", "-o", days / "m.ancf")
    assert code == 0
    assert "1 return (1 purchase gone)" in err
    assert ancf("update", "shop.ancf", days / "both.csv", "-o", days / "once.ancf")[0] == 0
    assert ancf("update", "shop.ancf", days / "monday.csv", days / "tuesday.csv", "-o", days / "t.ancf")[0] == 0
    assert (days / "m.ancf").read_bytes() == (days / "once.ancf").read_bytes() == (days / "t.ancf").read_bytes()
    assert "new-3" in package.load(days / "m.ancf").user_ids_


def test_rows_that_come_twice_are_counted_once_when_asked(ancf, days):
    ancf("update", "shop.ancf", days / "monday.csv", "-o", days / "once.ancf")
    code, _, err = ancf("update", days / "once.ancf", days / "monday.csv", "-o", days / "m.ancf", "--deduplicate")
    assert code == 0
    assert "20 events in already" in err
    assert (days / "m.ancf").read_bytes() == (days / "once.ancf").read_bytes()


def test_returns_may_be_left_out(ancf, days):
    code, _, err = ancf("update", "shop.ancf", days / "both.csv", "-o", days / "m.ancf", "--returns", "drop")
    assert code == 0
    assert "return (" not in err


def test_an_update_that_fails_leaves_the_file_as_it_was(ancf, days, shop):
    (days / "m.ancf").write_bytes((shop / "shop.ancf").read_bytes())
    table = pd.read_csv(days / "monday.csv", dtype=str)
    table.drop(columns="order_date").to_csv(days / "timeless.csv", index=False)
    code, _, err = ancf("update", days / "m.ancf", days / "timeless.csv", "-o", days / "m.ancf")
    assert code == 3
    assert "--time-column" in err
    assert (days / "m.ancf").read_bytes() == (shop / "shop.ancf").read_bytes()
    code, _, err = ancf("update", days / "m.ancf", days / "monday.csv", "-o", days / "missing" / "m.ancf")
    assert code == 2
    assert "does not exist" in err
    assert ancf("update", days / "none.ancf", days / "monday.csv", "-o", days / "m.ancf")[0] == 5
    assert ancf("update", "-", "-", "-o", days / "m.ancf")[0] == 2


def test_a_model_that_cannot_be_updated_is_told(ancf, days, shop):
    assert ancf("train", "purchases.csv", "-o", days / "b.ancf", "--model", "bpr", "--epochs", 1, "-q")[0] == 0
    before = (days / "b.ancf").read_bytes()
    code, _, err = ancf("update", days / "b.ancf", days / "monday.csv", "-o", days / "b.ancf")
    assert code == 2
    assert "ancf train --warm-start" in err
    assert (days / "b.ancf").read_bytes() == before
    options = ("--model", "bpr", "--epochs", 1, "--warm-start", "-q")
    assert ancf("train", "purchases.csv", "-o", days / "b.ancf", *options)[0] == 0
    code, _, err = ancf("update", days / "b.ancf", days / "monday.csv", "-o", days / "b.ancf")
    assert (code, "7 new users" in err) == (0, True)
    assert "new-3" in package.load(days / "b.ancf").user_ids_


def test_the_page_on_updating_runs(ancf, days, shop, monkeypatch, capfd):
    (days / "shop.ancf").write_bytes((shop / "shop.ancf").read_bytes())
    (days / "today.csv").write_bytes((days / "monday.csv").read_bytes())
    monkeypatch.chdir(days)
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(example, "updating.md", "exec"), {})
    assert "events taken in" in capfd.readouterr().out
    for line in re.findall(r"^    ancf (.*)$", PAGE, re.MULTILINE):
        assert ancf(*line.split())[0] == 0


def test_a_prepared_table_is_taken_in_like_the_file_that_it_came_from(ancf, days):
    for name, kept in (("monday", ()), ("both", ("--returns", "keep"))):
        assert ancf("prepare", days / f"{name}.csv", "-o", days / name, *kept)[0] == 0
        assert ancf("update", "shop.ancf", days / f"{name}.csv", "-o", days / "file.ancf")[0] == 0
        assert ancf("update", "shop.ancf", days / name, "-o", days / "folder.ancf")[0] == 0
        assert (days / "folder.ancf").read_bytes() == (days / "file.ancf").read_bytes()


def test_a_prepared_table_whose_returns_are_gone_is_refused_with_what_prepares_it(ancf, days):
    assert ancf("prepare", days / "both.csv", "-o", days / "netted")[0] == 0
    code, _, err = ancf("update", "shop.ancf", days / "netted", "-o", days / "m.ancf")
    assert code == 3
    assert "1 return was taken off the purchases of this table alone" in err
    assert "--returns keep" in err
    assert not (days / "m.ancf").exists()
    assert ancf("prepare", days / "both.csv", "-o", days / "dropped", "--returns", "drop")[0] == 0
    code, _, err = ancf("update", "shop.ancf", days / "dropped", "-o", days / "m.ancf")
    assert code == 0
    assert "taken off" not in err
    code, _, err = ancf("update", "shop.ancf", days / "dropped", "-o", days / "m.ancf", "--returns", "keep")
    assert code != 0
    assert "--returns" in err
    assert "is a prepared table" in err
