"""The demo shop is the same for the same seed, has every kind of dirt, and is read without a question."""

import io

import numpy as np
import pytest

import ancf
from ancf.demo_shop import demo_shop, write_csv


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
