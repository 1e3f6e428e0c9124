"""Products that nobody has bought: where attributes put them, what is told of it, and how their buyers take over."""

import io

import numpy as np
import pytest

import ancf
from ancf import model_file
from ancf.data.feature_encoding import encode, text_properties
from ancf.demo_shop import demo_shop
from ancf.models.ancf import attribute_trial

EPOCHS = 4


@pytest.fixture(scope="module")
def shop():
    """Purchases, a table of attributes, and the products that are taken out."""
    table = demo_shop(customers=400, products=240)
    items = table[table["product_id"] != ""].drop_duplicates("product_id")
    items = items[["product_id", "product_name", "category", "price"]]
    new = sorted(items["product_id"])[::12]
    return table[["customer_id", "product_id", "quantity", "order_date"]], items, new


def without(shop):
    table, _, new = shop
    return table[~table["product_id"].isin(new)]


@pytest.fixture(scope="module")
def plain(shop):
    return ancf.ANCF(epochs=EPOCHS).fit(ancf.read_interactions(without(shop)))


@pytest.fixture(scope="module")
def model(shop):
    return ancf.ANCF(epochs=EPOCHS).fit(ancf.read_interactions(without(shop), item_features=shop[1]))


def test_products_without_a_buyer_are_listed_and_marked(model, shop):
    new = shop[2]
    assert set(new) <= set(model.item_ids_.values)
    user = model.user_ids_[3]
    rows = model.recommend([user, model.user_ids_[4]], N=240).to_pandas()
    assert set(rows.loc[rows["source"] == "attributes", "item_id"]) == set(new)
    assert set(model.recommend(user, N=3, items=new).to_pandas()["source"]) == {"attributes"}
    assert set(model.recommend_for_history([model.item_ids_[0]], N=3, items=new).to_dict()["source"]) == {"attributes"}
    assert model.recommend(user, N=1, items=new).to_pandas()["name"].notna().all()


def test_scores_of_known_products_keep_their_bits(plain, model, shop):
    for with_bought in (True, False):
        options = {"N": 20, "filter_already_liked_items": not with_bought}
        before, after = plain.recommend_all(**options), model.recommend_all(**options, filter_items=shop[2])
        assert np.array_equal(before.ids, after.ids)
        assert np.array_equal(before.scores, after.scores)


def test_a_new_product_is_scored_near_those_that_are_alike(model, shop):
    _, items, new = shop
    category = dict(zip(items["product_id"], items["category"], strict=True))
    same, all_rows = 0, 0
    for item in new:
        alike = model.similar_items(item, N=5).ids
        same += sum(category[each] == category[item] for each in alike)
        all_rows += len(alike)
    assert same > 0.8 * all_rows


def test_an_explanation_names_what_is_shared_and_adds_up(model, shop):
    item = shop[2][0]
    found = model.explain(model.user_ids_[3], item)
    assert found.total == pytest.approx(found.score, rel=1e-5, abs=1e-6)
    closest = found.companions[0]
    assert closest.share == max(each.share for each in found.companions)
    assert sum(each.share for each in found.companions) == pytest.approx(1.0, rel=1e-5)
    assert any(text.startswith("category: ") for text in closest.shared)
    assert any(text.startswith("product_name: ") for text in closest.shared)
    assert "by its attributes" in str(found)
    assert model.explain(model.user_ids_[3], model.recommend(model.user_ids_[3], N=1).ids[0]).companions == []


def test_the_model_file_gives_the_same_lists_and_bytes(model):
    raw = model.to_bytes()
    again = ancf.load(raw)
    assert again.to_bytes() == raw
    mine, other = model.recommend_all(N=30), again.recommend_all(N=30)
    assert np.array_equal(mine.ids, other.ids)
    assert np.array_equal(mine.scores, other.scores)
    assert mine.to_dict()["source"].tolist() == other.to_dict()["source"].tolist()


def test_one_thread_gives_the_bytes_of_two(shop, model):
    data = ancf.read_interactions(without(shop), item_features=shop[1])
    assert ancf.ANCF(epochs=EPOCHS, num_threads=1).fit(data).to_bytes() == model.to_bytes()


def test_rows_of_the_table_of_attributes_may_stand_in_any_order(shop, model):
    data = ancf.read_interactions(without(shop), item_features=shop[1].iloc[::-1])
    assert ancf.ANCF(epochs=EPOCHS).fit(data).to_bytes() == model.to_bytes()


@pytest.fixture(scope="module")
def later(shop):
    table, _, new = shop
    return table[table["product_id"].isin(new[:4])]


def test_updates_of_a_day_do_not_depend_on_how_they_were_cut(model, later):
    whole, parts = ancf.load(model.to_bytes()), ancf.load(model.to_bytes())
    table = ancf.read_interactions(later, returns="keep")
    whole.partial_fit(table)
    half = len(table) // 2
    parts.partial_fit(table[:half])
    parts.partial_fit(table[half:])
    assert parts.to_bytes() == whole.to_bytes()


def test_a_product_that_is_bought_for_the_first_time_is_new_in_the_account_and_no_longer_marked(model, later, shop):
    updated = ancf.load(model.to_bytes())
    updated.partial_fit(ancf.read_interactions(later, returns="keep"))
    assert updated.last_update_.new_items == 4
    rows = updated.recommend_all(N=240).to_pandas()
    assert set(rows.loc[rows["source"] == "attributes", "item_id"]) == set(shop[2][4:])


def test_buyers_take_over_step_by_step(model, shop):
    item = shop[2][0]
    others = model.user_ids_.values[:60].tolist()
    asked = others[40:]
    place = model.predict(asked, item)
    distances = []
    for n_buyers in (1, 4, 9, 10):
        updated = ancf.load(model.to_bytes())
        time = ["2025-03-01"] * n_buyers
        updated.partial_fit(ancf.Interactions.from_ids(user=others[:n_buyers], item=[item] * n_buyers, time=time))
        distances.append(float(np.abs(updated.predict(asked, item) - place).mean()))
        companions = updated.explain(asked[0], item).companions
        assert bool(companions) == (n_buyers < 10)
    assert distances[0] < distances[-1]


def test_an_update_brings_attributes_of_products_that_nobody_has_bought(plain, model, shop, later):
    assert "brand-new" not in model.item_ids_
    updated = ancf.load(model.to_bytes())
    table = ancf.read_interactions(later.head(3), returns="keep")
    name = shop[1]["product_name"].iloc[0]
    updated.partial_fit(table, item_features={"product_id": ["brand-new"], "product_name": [name]})
    assert updated.recommend(updated.user_ids_[0], items=["brand-new"]).to_dict()["source"].tolist() == ["attributes"]
    with pytest.raises(ancf.InvalidDataError, match="of kind 'int'"):
        updated.partial_fit(table, item_features={"product_id": [7], "product_name": [name]})


def test_what_is_like_nothing_has_no_place(shop):
    features = {"item_id": ["a", "b", "c", "zz"], "name": ["red mug", "blue mug", "red cup", "Ωμέγα"]}
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "a"], item_features=features)
    model = ancf.ANCF(factors=4, epochs=2).fit(data)
    assert model.item_ids_.values.tolist() == ["a", "b", "c"]
    features["name"][3] = "red cup and mug"
    model = ancf.ANCF(factors=4, epochs=2).fit(data.with_features(item_features=features))
    assert model.item_ids_.values.tolist() == ["a", "b", "c", "zz"]
    assert model.recommend(3, items=["zz"]).to_dict()["source"].tolist() == ["attributes"]


def test_words_of_any_language_are_compared_by_their_parts():
    for one, other, foreign in (
        ("Teekanne", "Teekannen", "Kerze"),
        ("красная кружка", "красную кружку", "синий нож"),
        ("青い茶碗", "青い湯呑", "木製椅子"),
        ("إبريق شاي", "إبريق الشاي", "كرسي"),
    ):
        mine = text_properties(one)
        assert len(mine & text_properties(other)) > len(mine & text_properties(foreign))
    assert text_properties("CAFÉ") == text_properties("cafe\u0301")


def test_close_numbers_share_more_than_far_ones():
    prices = np.arange(100)
    matrix = encode(ancf.read_features({"id": prices, "price": prices}))
    has = np.zeros((matrix.n_rows, 100), bool)
    has[np.repeat(np.arange(matrix.n_rows), np.diff(matrix.indptr)), matrix.indices] = True
    shared = [int((has[:, 50] & has[:, other]).sum()) for other in (51, 60, 75, 99)]
    assert shared == sorted(shared, reverse=True)
    assert shared[0] > shared[1] > shared[2]
    assert shared[-1] == 0


def test_damaged_places_in_a_file_are_refused(model):
    arrays, meta = model_file.read(model.to_bytes())
    meta.pop("class"), meta.pop("version")
    for name, damage in (
        ("placed.items", lambda each: each[::-1].copy()),
        ("placed.companions", lambda each: each + np.int32(10_000)),
        ("placed.shares", lambda each: each * np.float32(np.nan)),
        ("placed.indptr", lambda each: each[:-1].copy()),
    ):
        with pytest.raises(ancf.ModelFileError):
            ancf.load(model_file.to_bytes("ANCF", {**arrays, name: damage(arrays[name])}, meta))


def test_lists_in_files_mark_new_products(model, shop, tmp_path):
    import pandas as pd

    users = model.user_ids_.values[:5].tolist()
    model.recommend_all(N=240, out=tmp_path / "lists.csv", users=users)
    rows = pd.read_csv(tmp_path / "lists.csv", dtype=str)
    assert set(rows.loc[rows["source"] == "attributes", "item_id"]) == set(shop[2])
    model.recommend_all(N=240, out=tmp_path / "lists.jsonl", users=users)
    lines = pd.read_json(tmp_path / "lists.jsonl", lines=True, dtype={"item_id": str})
    assert lines["source"].tolist() == rows["source"].tolist()


def test_settings_are_chosen_on_items_of_training(model):
    learned = model._scorer.encoder.trained.attributes
    assert learned.shrinkage in attribute_trial._SHRINKAGES
    assert learned.loudness in attribute_trial._LOUDNESS
    assert learned.own_weight > 0


def test_reading_from_text_gives_the_same_attributes(shop):
    _, items, _ = shop
    text = items.to_csv(index=False).encode()
    one, other = ancf.read_features(io.BytesIO(text)), ancf.read_features(items)
    assert {name: column.cells() for name, column in one.items()} == {
        name: column.cells() for name, column in other.items()
    }


def test_a_customer_without_purchases_gets_the_lists_of_those_who_are_alike(shop):
    table = without(shop)
    ids = sorted(set(table["customer_id"]) - {"", "-1"})
    group = {each: f"group{at % 3}" for at, each in enumerate(ids)}
    people = {each: {"club": club, "city": f"town{at % 5}"} for at, (each, club) in enumerate(group.items())}
    people["newcomer"] = {"club": "group1", "city": "town2"}
    people["stranger"] = {"club": "unheard", "city": "of"}
    data = ancf.read_interactions(table, user_features=people)
    model = ancf.ANCF(epochs=EPOCHS).fit(data)
    assert "newcomer" in model.user_ids_
    assert "stranger" not in model.user_ids_
    single, several = model.recommend("newcomer", N=5), model.recommend(["newcomer", ids[0]], N=5)
    assert set(single.to_dict()["source"]) == {"attributes"}
    assert several.to_dict()["source"].tolist() == ["attributes"] * 5 + ["model"] * 5
    assert np.array_equal(single.ids, several.ids[0])
    assert model.explain("newcomer", single.ids[0]).total == pytest.approx(float(single.scores[0]))
    plain = ancf.ANCF(epochs=EPOCHS).fit(ancf.read_interactions(table))
    known = plain.user_ids_.values
    assert np.array_equal(plain.recommend(known, N=9).scores, model.recommend(known, N=9).scores)
    again = ancf.load(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    assert again.recommend("newcomer", N=5).to_dict()["source"].tolist() == ["attributes"] * 5
    again.partial_fit(ancf.Interactions.from_ids(user=["newcomer"], item=[single.ids[0]], time=["2025-03-01"]))
    assert set(again.recommend("newcomer", N=3).to_dict()["source"]) == {"model"}
