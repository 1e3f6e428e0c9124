"""The founding functions: the split of scikit-learn, row by row, and batches in order."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

import ancf
from ancf.data.normalize import NORMALIZERS, Normalizer
from ancf.demo_shop import demo_shop
from ancf.errors import InvalidDataError, InvalidParameterError, NotFittedError


def shop_of(n):
    """A clean table of n rows; the users -1 are one class of their own."""
    rng = np.random.default_rng(n)
    frame = pd.DataFrame({"user_id": rng.integers(-1, 40, n), "product_id": rng.integers(0, 30, n).astype(str)})
    frame["quantity"] = rng.integers(-3, 50, n)
    return frame


@pytest.fixture
def table():
    return shop_of(503)


def sklearn_parts(X, y, random_state):
    """X_train, X_val, X_test, y_train, y_val, y_test as scikit-learn splits them: 60 %, and half of the rest each."""
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, test_size=0.4, random_state=random_state)
    X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=random_state)
    return X_train, X_val, X_test, y_train, y_val, y_test


def assert_same_rows_in_order(parts, expected):
    assert len(parts) == len(expected) == 6
    for part, wanted in zip(parts, expected, strict=True):
        assert part.index.tolist() == wanted.index.tolist()
        assert part.to_numpy().tolist() == wanted.to_numpy().tolist()


@pytest.mark.parametrize("n", [5, 6, 7, 8, 9, 10, 11, 12, 13, 99, 100, 503, 1000, 1001, 12_347])
@pytest.mark.parametrize("random_state", [0, 1, 42, 20_240_101, 2**32 - 1])
def test_the_six_parts_are_those_of_train_test_split(n, random_state):
    table = shop_of(n)
    parts = ancf.preprocess_data(table, normalize="none", random_state=random_state)
    X, y = table[["user_id", "product_id"]], table["quantity"].astype(float)
    assert_same_rows_in_order(parts, sklearn_parts(X, y, random_state))
    assert sum(map(len, parts[:3])) == n


@pytest.mark.parametrize("random_state", [None, 7])
def test_the_six_parts_of_the_demo_shop_are_those_of_train_test_split(random_state):
    shop = demo_shop()
    given = {} if random_state is None else {"random_state": random_state}
    parts = ancf.preprocess_data(shop, user="customer_id", item="product_id", **given)
    rows = shop[(shop["customer_id"] != "") & (shop["product_id"] != "")]
    assert 0.8 * len(shop) < len(rows) < len(shop)
    X = rows[["customer_id", "product_id"]].rename(columns={"customer_id": "user_id"})
    expected = sklearn_parts(X, rows["quantity"].astype(float), 42 if random_state is None else random_state)
    low, high = expected[3].min(), expected[3].max()
    assert_same_rows_in_order(parts, (*expected[:3], *((y - low) / (high - low) for y in expected[3:])))


def test_the_default_random_state_is_42(table):
    assert_same_rows_in_order(ancf.preprocess_data(table), ancf.preprocess_data(table, random_state=42))


def test_the_split_does_without_scikit_learn(table, monkeypatch):
    expected = ancf.preprocess_data(table)
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert_same_rows_in_order(ancf.preprocess_data(table), expected)


def test_minus_one_is_a_class_of_its_own_or_excluded(table):
    grouped = ancf.preprocess_data(table)
    assert sum((part["user_id"] == -1).sum() for part in grouped[:3]) == (table["user_id"] == -1).sum() > 0
    excluded = ancf.preprocess_data(table, anonymous="exclude")
    assert sum(map(len, excluded[:3])) == (table["user_id"] != -1).sum()
    assert all((part["user_id"] >= 0).all() for part in excluded[:3])
    text = table.astype({"user_id": str})
    assert sum((part["user_id"] == "-1").sum() for part in ancf.preprocess_data(text)[:3]) > 0
    assert sum(map(len, ancf.preprocess_data(text, anonymous="exclude")[:3])) == (table["user_id"] != -1).sum()


def test_rows_without_ids_are_discarded(table):
    holes = table.astype({"user_id": float})
    holes.loc[3, "user_id"] = np.nan
    holes.loc[7, "product_id"] = None
    parts = ancf.preprocess_data(holes)
    kept = np.sort(np.concatenate([part.index for part in parts[:3]]))
    assert kept.tolist() == [row for row in range(len(table)) if row not in (3, 7)]
    assert pd.api.types.is_integer_dtype(parts.X_train["user_id"].dtype)


@pytest.mark.parametrize("kind", NORMALIZERS)
def test_the_normalizer_sees_the_training_part_alone(table, kind):
    parts = ancf.preprocess_data(table, normalize=kind)
    alone = Normalizer(kind).fit(table["quantity"].to_numpy()[parts.X_train.index])
    assert parts.normalizer.state() == alone.state()
    for X, y in zip(parts[:3], parts[3:], strict=True):
        quantities = table["quantity"].to_numpy()[X.index]
        assert y.tolist() == alone.transform(quantities).tolist()
        assert parts.normalizer.inverse(y) == pytest.approx(quantities, abs=1e-9)
    if kind == "minmax":
        assert (parts.y_train.min(), parts.y_train.max()) == (0, 1)
    if kind == "standard":
        assert (parts.y_train.mean(), parts.y_train.std(ddof=0)) == pytest.approx((0, 1), abs=1e-12)


def test_a_normalizer_comes_back_from_its_state():
    for kind in NORMALIZERS:
        fitted = Normalizer(kind).fit([1, 2, 9])
        assert Normalizer.from_state(fitted.state()).transform([3]).tolist() == fitted.transform([3]).tolist()
    assert Normalizer("minmax").fit([5, 5]).transform([5]).tolist() == [0]
    for wrong in ({"kind": "log", "scale": 0}, {"kind": "minmax", "shift": float("nan")}):
        with pytest.raises(InvalidDataError):
            Normalizer.from_state(wrong)
    with pytest.raises(NotFittedError):
        Normalizer("standard").transform([1])
    with pytest.raises(InvalidDataError, match="not finite"):
        Normalizer("standard").fit([1, np.inf])
    with pytest.raises(InvalidParameterError, match="'minmax'"):
        Normalizer("max")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"anonymous": "baskets"}, InvalidParameterError, "'group', 'exclude'"),
        ({"normalize": "max"}, InvalidParameterError, "normalize='max'"),
        ({"on_bad_rows": "keep"}, InvalidParameterError, "on_bad_rows is 'keep'"),
        ({"user": "who"}, InvalidParameterError, "user='who'"),
    ],
)
def test_wrong_options_say_what_is_allowed(table, options, error, words):
    with pytest.raises(error, match=words):
        ancf.preprocess_data(table, **options)


def test_bad_quantities_and_tiny_tables_are_refused(table):
    with pytest.raises(InvalidDataError, match="needs 5 or more"):
        ancf.preprocess_data(table.head(4))
    bad = table.astype({"quantity": str})
    bad.loc[2, "quantity"] = "n/a"
    with pytest.raises(InvalidDataError, match='rows 2: "n/a"'):
        ancf.preprocess_data(bad)
    assert sum(map(len, ancf.preprocess_data(bad, on_bad_rows="drop")[:3])) == len(table) - 1
    bad.loc[1, ["quantity", "product_id"]] = "many", None
    with pytest.raises(InvalidDataError, match=r'1 rows have .* \(rows 2: "n/a"\)'):
        ancf.preprocess_data(bad)


def test_batches_are_neighboring_rows_in_order(table):
    X, y = table[["user_id", "product_id"]], table["quantity"]
    batches = list(ancf.batch_data(X, y))
    assert [len(part) for part, _ in batches] == [64] * 7 + [55]
    assert pd.concat([part for part, _ in batches]).equals(X)
    assert pd.concat([part for _, part in batches]).equals(y)
    arrays = list(ancf.batch_data(X.to_numpy(), y.to_numpy(), batch_size=500))
    assert [part.shape for part, _ in arrays] == [(500, 2), (3, 2)]
    assert list(ancf.batch_data([], [])) == []


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "64", None])
def test_a_batch_size_is_a_whole_number_of_at_least_one(size):
    with pytest.raises(InvalidParameterError, match="batch_size is"):
        ancf.batch_data([1], [1], batch_size=size)


def test_x_and_y_are_equally_long():
    with pytest.raises(InvalidDataError, match="X has 2 rows and y has 1"):
        ancf.batch_data([1, 2], [1])


def test_a_line_that_is_no_json_is_told_and_the_remedy_works(tmp_path):
    path = tmp_path / "shop.jsonl"
    lines = [f'{{"user_id": "u{n}", "item_id": "i{n % 3}", "quantity": {n + 1}}}' for n in range(10)]
    path.write_text("\n".join([*lines[:4], '{"user_id": "u4", ', *lines[4:]]) + "\n")
    with pytest.raises(ancf.InvalidDataError, match=r"rows? .*rows 5.*on_bad_rows=.drop."):
        ancf.preprocess_data(path)
    prepared = ancf.preprocess_data(path, on_bad_rows="drop")
    assert sum(map(len, prepared[:3])) == 10
