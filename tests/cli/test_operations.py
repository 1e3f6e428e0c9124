"""docs/operations.md, command by command, through a month of a shop; and each alarm of its monitor goes off."""

import os
import re
import runpy
import shlex
import shutil
import sqlite3
import string
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import ancf
from ancf.cli import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
SCRIPTS = {name: runpy.run_path(str(ROOT / "examples" / f"{name}.py")) for name in ("monitor", "lists_to_database")}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


SET_UP, EXPORTS, NIGHT, EVALUATE, HOUR, MONITOR, BACK, ROLL_BACK, TIDY = blocks("sh")
(LOOK_UP,) = blocks("python")
LOOK_UP_IN_SHELL = f"python - <<'END'\n{LOOK_UP}END\n"
(RULES,) = blocks("toml")


def call(line, day, before):
    """One line of the page, its programs called within this process where they are ours."""
    words = [string.Template(word).substitute(TODAY=day, YESTERDAY=before) for word in shlex.split(line)]
    if words[0] == "ancf":
        return run(words[1:])
    if words[:2] == ["python", "monitor.py"]:
        return SCRIPTS["monitor"]["main"](words[2:])
    if words[:2] == ["python", "lists_to_database.py"]:
        return SCRIPTS["lists_to_database"]["main"](*words[2:])
    if words[0] == "python":
        words[0] = sys.executable
    return subprocess.run(words).returncode


def follow(block, day, before="-"):
    for line in block.splitlines():
        assert call(line, day, before) == 0, f"{day}: {line}"


def published():
    with closing(sqlite3.connect("shop.db")) as database:
        return database.execute("SELECT user_id, rank, item_id FROM current_list").fetchall()


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """The shop's folder after the month, and what was seen on the way."""
    seen = SimpleNamespace(folder=tmp_path_factory.mktemp("shop"), published=[], sources=set())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(seen.folder)
        patch.setenv("ANCF_TRAIN_EPOCHS", "3")
        follow(SET_UP, "-")
        Path("ancf.toml").write_text(RULES)
        seen.days = sorted(path.stem for path in Path("month/orders").iterdir())
        for before, day in pairwise([None, *seen.days]):
            follow(EXPORTS, day)
            if before is not None:
                follow(NIGHT, day, before)
            follow(HOUR, day)
            if before is not None and day.endswith("0"):
                follow(EVALUATE, day, before)
                follow(MONITOR, day)
            seen.published.append(published())
            seen.sources |= set(pd.read_csv("lists.csv")["source"])
        for name in SCRIPTS:
            shutil.copy(ROOT / "examples" / f"{name}.py", f"{name}.py")
    return seen


@pytest.fixture
def shop(month, tmp_path, monkeypatch):
    """A copy of the folder on the evening of the last day."""
    older = shutil.ignore_patterns(*(f"{day}.ancf" for day in month.days[:-2]))
    shutil.copytree(month.folder, tmp_path, dirs_exist_ok=True, ignore=older)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANCF_TRAIN_EPOCHS", "3")
    return SimpleNamespace(day=month.days[-1], before=month.days[-2])


def test_every_day_has_lists_of_what_is_in_stock(month):
    assert len(month.published) == 30
    for day, rows in zip(month.days, month.published, strict=True):
        stock = set((month.folder / "stock" / f"{day}.txt").read_text().split())
        assert {item for _, _, item in rows} <= stock, day


def test_new_customers_and_products_come_into_the_lists(month):
    first, last = month.published[0], month.published[-1]
    assert len({user for user, *_ in last}) > len({user for user, *_ in first})
    before = set(pd.read_csv(month.folder / "month" / "history.csv", dtype=str)["product_id"])
    assert {item for *_, item in last} - before
    assert month.sources == {"model", "attributes"}


def test_the_hours_of_a_day_come_to_the_model_of_the_day(shop):
    whole, update = Path("shop.ancf").read_bytes(), HOUR.splitlines()[0]
    lines = Path(f"exports/{shop.day}.csv").read_text().splitlines(keepends=True)
    for n in (len(lines) // 2, len(lines)):
        Path(f"exports/{shop.day}.csv").write_text("".join(lines[:n]))
        assert call(update, shop.day, shop.before) == 0
        assert (Path("shop.ancf").read_bytes() == whole) == (n == len(lines))


def shell(script, shop):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "TODAY": shop.day, "YESTERDAY": shop.before}
    return subprocess.run(["sh", "-eu", "-c", script], env=env, capture_output=True, text=True)


def test_the_scripts_run_in_a_shell_as_they_stand(shop):
    before = published()
    done = shell(HOUR + LOOK_UP_IN_SHELL, shop)
    assert done.returncode == 0, done.stderr
    assert published() == before
    listed = [item for user, rank, item in sorted(before) if user == "011610" and rank <= 5]
    assert done.stdout.splitlines()[-1] == str(listed)


def test_a_night_that_fails_changes_no_model_and_may_run_again(shop):
    model, products = Path(f"models/{shop.day}.ancf"), Path(f"products/{shop.day}.csv")
    night, served, table = model.read_bytes(), Path("shop.ancf").read_bytes(), products.read_bytes()
    model.unlink()
    products.unlink()
    assert [call(line, shop.day, shop.before) for line in NIGHT.splitlines()[:3]] == [0, 0, 3]
    assert not model.exists()
    assert Path("shop.ancf").read_bytes() == served
    products.write_bytes(table)
    follow(NIGHT, shop.day, shop.before)
    assert model.read_bytes() == Path("shop.ancf").read_bytes() == night


def test_an_alarm_publishes_nothing(shop):
    before = published()
    some_lists(shop)
    done = shell("\n".join(HOUR.splitlines()[2:]), shop)
    assert done.returncode == 1
    assert "ALARM empty_lists is 0." in done.stderr
    assert published() == before


def test_one_goes_back_to_the_lists_before_and_no_further_than_there_are_any(shop, month, capsys):
    for earlier in (-2, -3):
        follow(BACK, shop.day)
        assert published() == month.published[earlier]
    assert call(BACK, shop.day, shop.before) == 1
    assert "there is no version before" in capsys.readouterr().err
    assert published() == month.published[-3]
    follow(HOUR.splitlines()[-1], shop.day)
    assert published() == month.published[-1]


def test_lists_that_cannot_be_read_change_nothing(shop, month, capsys):
    for text, said in (("user_id,item_id,score,rank,source\n", "has no lists"), ("user,item\n1,2\n", "binding")):
        Path("lists.csv").write_text(text)
        assert call(HOUR.splitlines()[-1], shop.day, shop.before) == 1
        assert said in capsys.readouterr().err
    assert published() == month.published[-1]


def test_the_model_that_was_gone_back_to_knows_what_the_bad_one_did(shop):
    bad = ancf.load("shop.ancf")
    follow(ROLL_BACK, shop.day, shop.before)
    good = ancf.load("shop.ancf")
    assert good.to_bytes() != bad.to_bytes()
    assert list(good.user_ids_) == list(bad.user_ids_)
    assert set(bad.item_ids_) == set(good.item_ids_)
    follow(TIDY, shop.day, shop.before)


def of_the_month(shop, **columns):
    """The orders of the whole month in place of today's, with other columns."""
    table = pd.concat([pd.read_csv(path, dtype=str) for path in sorted(Path("month/orders").glob("*.csv"))])
    table.assign(**columns).to_csv(f"exports/{shop.day}.csv", index=False)


def foreign_customers(shop):
    of_the_month(shop, customer_id=lambda table: "x" + table["customer_id"])


def foreign_products(shop):
    of_the_month(shop, product_id=lambda table: "x" + table["product_id"])


def anonymous(shop):
    of_the_month(shop, customer_id=lambda table: table["customer_id"].where(table.reset_index().index < 99))


def many_orders(shop):
    table = pd.read_csv("month/history.csv", dtype=str)
    table.assign(customer_id="x" + table["customer_id"]).to_csv(f"exports/{shop.day}.csv", index=False)


def another_taste(shop):
    """Everybody buys what they were thought to want least."""
    model = ancf.load("shop.ancf")
    least = model.recommend(list(model.user_ids_), N=len(model.item_ids_)).to_pandas().groupby("user_id").tail(1)
    rows = least.rename(columns={"user_id": "customer_id", "item_id": "product_id"})[["customer_id", "product_id"]]
    rows.assign(quantity=1, order_date=f"{shop.day} 12:00").to_csv(f"exports/{shop.day}.csv", index=False)


def only_three_products(shop):
    lists = pd.read_csv("lists.csv", dtype=str)
    lists[lists["item_id"].isin(lists["item_id"].unique()[:3])].to_csv("lists.csv", index=False)


def some_lists(shop):
    pd.read_csv("lists.csv", dtype=str).head(3000).to_csv("lists.csv", index=False)


def stock_gone(shop):
    path = Path(f"stock/{shop.day}.txt")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def all_new(shop):
    table = pd.read_csv(f"products/{shop.day}.csv", dtype=str)
    table.assign(since=shop.day).to_csv(f"products/{shop.day}.csv", index=False)


@pytest.mark.parametrize(
    ("what_happens", "alarm"),
    [
        (anonymous, "rows_used"),
        (foreign_customers, "unknown_customers"),
        (foreign_products, "unknown_products"),
        (another_taste, "fit"),
        (many_orders, "since_training"),
        (only_three_products, "coverage"),
        (some_lists, "empty_lists"),
        (stock_gone, "sold_out"),
        (all_new, "new_in_lists"),
    ],
)
def test_each_limit_has_an_alarm(shop, capsys, what_happens, alarm):
    what_happens(shop)
    assert call(HOUR.splitlines()[2], shop.day, shop.before) == 1
    assert f"ALARM {alarm} is " in capsys.readouterr().err


def test_what_cannot_be_read_is_an_alarm_too(shop, capsys):
    Path(f"exports/{shop.day}.csv").write_text("customer_id,product_id\n")
    assert call(HOUR.splitlines()[2], shop.day, shop.before) == 2
    assert "ALARM unreadable: " in capsys.readouterr().err


def test_a_limit_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        SCRIPTS["monitor"]["main"](["m", "l", "--orders", "o", "--stock", "s", "--products", "p", "--limit", "fitt=1"])
    assert "'fitt' is none of rows_used, " in capsys.readouterr().err


def test_the_page_names_every_figure():
    table = "".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert set(SCRIPTS["monitor"]["LIMITS"]) <= set(re.findall(r"`(\w+)`", table))
