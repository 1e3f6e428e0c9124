"""The demo shop is the same for the same seed, has every kind of dirt, and is read without a question."""

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.demo_shop import demo_shop, write_csv, write_month


@pytest.fixture(scope="module")
def read():
    text = io.StringIO()
    write_csv(text, customers=600, products=200)
    return ancf.read_interactions(io.BytesIO(text.getvalue().encode()))


def test_the_same_seed_gives_the_same_shop():
    one, two = demo_shop(customers=80, products=60), demo_shop(customers=80, products=60)
    assert one.equals(two)
    assert not one.equals(demo_shop(1, customers=80, products=60))


def test_it_is_read_with_no_argument_and_every_row_is_accounted_for(read):
    report = read.report
    assert report.rows_read == report.rows_used + report.rows_left_out
    for reason in ("anonymous", "returns", "cancelled", "zero_quantity", "no_item", "duplicates", "reduced"):
        assert report.count(reason) > 0, reason
    assert set(report.columns) == {"user", "item", "weight", "time", "name", "category"}


def test_ids_keep_their_zeros_and_names_win_over_remarks(read):
    assert all(user.startswith("0") and len(user) == 6 for user in read.user_ids.values)
    assert {"damaged", "?", "sample"}.isdisjoint(read.item_names)
    assert any("Crème" in name for name in read.item_names)
    assert not any(name != name.strip() for name in read.item_names)


def test_popularity_has_a_long_tail_and_favorites_are_bought_again(read):
    popularity = np.sort(np.bincount(read.items))[::-1]
    assert popularity[: len(popularity) // 5].sum() > 0.4 * popularity.sum()
    assert (read.pair_counts() > 1).mean() > 0.05


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    folder = tmp_path_factory.mktemp("month")
    days = write_month(folder, customers=1000, products=240)
    tables = {day: pd.read_csv(folder / "orders" / f"{day}.csv", dtype=str, keep_default_na=False) for day in days}
    return folder, tables, pd.read_csv(folder / "history.csv", dtype=str, keep_default_na=False)


def test_the_same_seed_gives_the_same_month(tmp_path):
    def files(name, **more):
        write_month(tmp_path / name, customers=60, products=48, days=3, **more)
        paths = (path for path in sorted((tmp_path / name).rglob("*")) if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in paths}

    one = files("one")
    assert len(one) == 10
    assert one == files("two")
    assert one.keys() == files("three", seed=1).keys()
    assert one != files("three", seed=1)


def test_a_month_has_its_days_and_what_was_before_and_nothing_of_later(month):
    _, tables, history = month
    assert len(tables) == 30
    assert history["order_date"].max() < min(tables)
    for day, table in tables.items():
        assert len(table), day
        assert set(table["order_date"].str[:10]) == {day}


def test_a_month_has_new_customers_and_new_products_that_are_on_sale_from_a_day_on(month):
    folder, tables, history = month
    assert set(pd.concat(tables.values())["customer_id"]) - set(history["customer_id"])
    newest = pd.read_csv(folder / "products" / f"{max(tables)}.csv", dtype=str)
    assert newest["product_id"].is_unique
    new = newest[newest["since"] >= min(tables)]
    assert len(new) == len(newest) // 20
    assert not set(new["product_id"]) & set(history["product_id"])
    for day, table in tables.items():
        on_sale = pd.read_csv(folder / "products" / f"{day}.csv", dtype=str)
        assert on_sale.equals(newest[newest["since"] <= day].reset_index(drop=True))
        assert set(table["product_id"]) - {""} <= set(on_sale["product_id"])


def test_what_is_sold_out_is_not_bought_and_comes_again(month):
    folder, tables, _ = month
    stock = {day: set((folder / "stock" / f"{day}.txt").read_text().split()) for day in tables}
    for day, table in tables.items():
        bought = set(table.loc[table["quantity"].astype(int) > 0, "product_id"]) - {""}
        assert bought <= stock[day], day
    days = sorted(tables)
    gone = {item for today, later in pairwise(days) for item in stock[today] - stock[later]}
    assert len(gone) > 20
    assert len(gone & stock[days[-1]]) > 10


def test_a_month_before_christmas_sells_what_belongs_to_it(month):
    _, tables, history = month
    shares = [table["category"].isin(["Christmas", "Toys"]).mean() for table in (pd.concat(tables.values()), history)]
    assert shares[0] > 1.3 * shares[1]
