"""Attributes by id: how a table is read, what is recognized, what is told, and what a model file keeps of it."""

import io

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.data.features import Features

PURCHASES = b"customer,sku,description,category,qty\nann,007,Tea pot,Kitchen,2\nbob,7,Mug,Kitchen,1\nann,7,Mug,,1\n"


@pytest.fixture
def data():
    return ancf.read_interactions(io.BytesIO(PURCHASES))


def read(table, **options):
    return ancf.read_features(table, **options)


def csv(text, **options):
    return read(io.BytesIO(text.encode(options.pop("saved_as", "utf-8"))), **options)


def test_each_kind_is_recognized():
    features = csv(
        "sku;price;color;tags;name;code;fragile\n"
        "a;1,5;red;tea|green;Tea pot with lid;007;true\n"
        "b;;blue;tea;Blue mug;008;false\n"
        "c;3;red;;Red mug of tin;009;\n"
    )
    assert {name: column.kind for name, column in features.items()} == {
        "price": "number",
        "color": "category",
        "tags": "tags",
        "name": "text",
        "code": "category",
        "fragile": "category",
    }
    assert features["price"].cells() == [1.5, None, 3.0]
    assert features["tags"].cells() == [["green", "tea"], ["tea"], None]
    assert features["code"].cells() == ["007", "008", "009"]
    assert features["fragile"].cells() == ["true", "false", None]


@pytest.mark.parametrize("name", ["Teekanne aus Böhmen", "青い茶碗と急須のセット", "إبريق شاي أزرق", "Чайник синий"])
def test_names_in_any_language_are_texts(name):
    features = read({"item_id": [1, 2, 3], "title": [name, f"{name} 2", "Mug of tin"]})
    assert features["title"].kind == "text"
    assert features["title"].cells()[0] == name
    assert csv(f"item_id,title\n1,{name}\n2,{name} 2\n")["title"].cells() == [name, f"{name} 2"]


def test_a_told_kind_is_taken_and_an_ignored_column_left():
    features = csv(
        'sku,size,note,tags\na,38,x,"red, blue"\nb,40,y,red\n',
        kinds={"size": "category", "Note": "ignore", "tags": "tags"},
    )
    assert list(features) == ["size", "tags"]
    assert features["size"].cells() == ["38", "40"]
    assert features["tags"].cells() == [["blue", "red"], ["red"]]


def test_the_last_row_of_an_id_counts_and_the_account_adds_up():
    features = csv("sku,price\na,1\n,5\nb,2\na,3\n")
    assert features["price"].cells() == [3.0, 2.0]
    report = features.report
    assert report.rows_read == report.rows_used + sum(reason.rows for reason in report.reasons) == 4
    assert [(reason.name, reason.first_rows) for reason in report.reasons] == [("no_id", (3,)), ("repeated_id", (2,))]


def test_the_report_of_the_purchases_accounts_for_the_attributes(data):
    told = data.with_features(item_features={"sku": ["7", "9", "9"], "price": [1, None, 2], "empty": [None] * 3})
    note = next(each for each in told.report.notes if each.name == "item_features")
    assert str(note) == (
        "item features of dict: 2 rows: price (number); 1 item without attributes; 1 item without a purchase; "
        "1 row repeats the item id of a later row, which counts (row 1); nothing stands in empty"
    )
    assert not any(each.name == "item_features" for each in data.report.notes)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"sku": [1, 2], "price": [1, 2]}, ["none of the 2 ids", "(1, …)", "'007'"]),
        ({"x": [1, 2]}, ["no column is recognized", "id='x'"]),
        (5, ["5 is no table of attributes"]),
        ({"sku": [], "price": []}, ["there are no rows"]),
        (io.BytesIO(b"sku,price\n7,1,2\n"), ["row 2 has 3 fields", "header has 2"]),
        (pd.DataFrame([["7", 1, 2]], columns=["sku", "price", "price"]), ["'price' stands 2 times"]),
        ({"sku": ["7"], "price": [float("inf")]}, ["'price'", "infinite"]),
    ],
)
def test_what_cannot_be_read_is_an_error_with_the_place(data, table, words):
    with pytest.raises(ancf.InvalidDataError) as caught:
        data.with_features(item_features=table)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_told_kind_that_is_wrong_names_the_value():
    with pytest.raises(ancf.InvalidDataError, match="'price' holds 'cheap', which is no number"):
        csv("sku,price\na,cheap\n", kinds={"price": "number"})
    with pytest.raises(ancf.InvalidParameterError, match="no column 'prize'"):
        csv("sku,price\na,1\n", kinds={"prize": "number"})
    with pytest.raises(ancf.InvalidParameterError, match="'price' is 'float'"):
        csv("sku,price\na,1\n", kinds={"price": "float"})


def test_all_sources_of_one_table_say_the_same(tmp_path):
    frame = pd.DataFrame({"sku": ["b", "a"], "price": [1.5, np.nan], "color": ["red", None]})
    frame.to_parquet(tmp_path / "items.parquet")
    frame.to_csv(tmp_path / "items.csv.gz", index=False)
    frame.to_json(tmp_path / "items.jsonl", orient="records", lines=True)
    by_id = {"b": {"price": 1.5, "color": "red"}, "a": {}}
    sources = [
        frame,
        frame.set_index("sku"),
        by_id,
        *(tmp_path / f"items.{end}" for end in ("parquet", "csv.gz", "jsonl")),
    ]
    for source in sources:
        features = read(source)
        assert features.ids.values.tolist() == ["a", "b"], source
        assert {name: column.cells() for name, column in features.items()} == {
            "price": [None, 1.5],
            "color": [None, "red"],
        }, source


def test_a_column_is_found_by_another_spelling_and_a_wrong_name_gets_the_nearest():
    features = read({"sku": ["a"], "Unit Price": [1]})
    assert features["unit_price"].cells() == [1.0]
    with pytest.raises(KeyError, match="Did you mean 'Unit Price'"):
        features["Unit Prize"]


def test_names_and_categories_of_the_purchases_are_attributes_at_once(data):
    features = ancf.Popular().fit(data).item_features_
    assert {name: (column.kind, column.cells()) for name, column in features.items()} == {
        "name": ("text", ["Tea pot", "Mug"]),
        "category": ("category", ["Kitchen", "Kitchen"]),
    }


def test_names_of_a_table_of_attributes_stand_in_lists_and_purchases_fill_what_it_lacks():
    plain = ancf.Interactions.from_ids(user=[1, 1, 2], item=["a", "b", "b"], item_names={"a": "Apple pie", "b": "x"})
    data = plain.with_features(item_features={"item_id": ["a", "b"], "title": [None, "Bread roll"]})
    assert data.item_names.tolist() == ["Apple pie", "x"]
    assert ancf.Popular().fit(data).item_features_["title"].cells() == ["Apple pie", "Bread roll"]


def test_a_model_file_keeps_every_attribute(data):
    table = {
        "sku": ["7", "007", "9"],
        "price": [1.25, None, 3],
        "color": ["red", None, "blå"],
        "tags": [["b", "a"], [], ["a"]],
        "about": ["a small mug", None, "a \ud800 tin"],
    }
    data = data.with_features(item_features=table, user_features={"customer": ["ann", "eve"], "city": ["Köln", "東京"]})
    model = ancf.ItemKNN().fit(data)
    raw = model.to_bytes()
    again = ancf.load(raw)
    assert again.to_bytes() == raw
    for mine, other in ((model.item_features_, again.item_features_), (model.user_features_, again.user_features_)):
        assert {name: column.cells() for name, column in mine.items()} == {
            name: column.cells() for name, column in other.items()
        }
    assert again.item_features_.ids == again.item_ids_
    assert again.item_features_["about"].cells() == [None, "a small mug"]


def test_damage_in_the_attributes_of_a_file_is_refused(data):
    from ancf import model_file

    model = ancf.Popular().fit(data.with_features(item_features={"sku": ["7", "9"], "color": ["red", "blue"]}))
    arrays, meta = model_file.read(model.to_bytes())
    meta.pop("class"), meta.pop("version")
    for codes in ([[0, 2]], [[-2, 0]], [[0]]):
        bad = {**arrays, "item_features.categories": np.array(codes, np.int32)}
        with pytest.raises(ancf.ModelFileError, match=r"attribute|shape"):
            ancf.load(model_file.to_bytes("Popular", bad, meta))
    lost = {name: array for name, array in arrays.items() if name != "item_features.values.bytes"}
    with pytest.raises(ancf.ModelFileError, match="item_features"):
        ancf.load(model_file.to_bytes("Popular", lost, meta))


def test_an_update_brings_new_rows_and_corrects_known_ones():
    data = ancf.Interactions.from_ids(
        user=[1, 1, 2],
        item=["a", "b", "b"],
        item_features={"item_id": ["a", "b"], "price": [1, 2], "color": ["x", "y"]},
    )
    model = ancf.Popular().fit(data)
    new = ancf.Interactions.from_ids(user=[3], item=["c"], item_features={"item_id": ["b", "c"], "price": [5, 6]})
    model.partial_fit(new)
    assert model.item_features_["price"].cells() == [1.0, 5.0, 6.0]
    assert model.item_features_["color"].cells() == ["x", "y", None]


def test_concat_takes_the_first_row_of_an_id():
    one = ancf.Interactions.from_ids(user=[1], item=["a"], item_features={"item_id": ["a"], "price": [1]})
    two = ancf.Interactions.from_ids(user=[1], item=["a"], item_features={"item_id": ["a", "b"], "price": [5, 6]})
    assert ancf.concat([one, two]).item_features["price"].cells() == [1.0, 6.0]
    assert ancf.concat([one, ancf.Interactions.from_ids(user=[2], item=["a"])]).item_features.n_rows == 1


def test_parts_of_a_split_keep_the_attributes(data):
    data = data.with_features(item_features={"sku": ["7"], "price": [1]})
    train, test = ancf.random_split(data, (0.5, 0.5), on_leak="ignore")
    assert train.item_features is data.item_features
    assert test.item_features is data.item_features


def test_a_file_without_attributes_has_the_bytes_it_had(data):
    from ancf import model_file

    arrays, meta = model_file.read(ancf.Popular().fit(data).to_bytes())
    assert not any("features" in name for name in (*arrays, *meta))
    assert isinstance(ancf.Popular().fit(data).item_features_, Features)
    bare = ancf.Interactions.from_ids(user=[1, 2], item=["a", "a"])
    assert ancf.Popular().fit(bare).item_features_ is None
