"""Views, carts and purchases: which column says what happened, what each type weighs, and what is told of it."""

import io

import numpy as np
import pandas as pd
import pytest

import ancf

LOG = (
    "event_time,event_type,product_id,user_id\n"
    "2020-01-01 10:00,view,a,1\n"
    "2020-01-01 10:01,add_to_cart,a,1\n"
    "2020-01-01 10:02,Purchase,a,1\n"
    "2020-01-01 10:02,view,b,2\n"
    "2020-01-01 10:03,remove_from_cart,b,2\n"
    "2020-01-01 10:04,strange,b,2\n"
)


def read(text=LOG, **options):
    return ancf.read_interactions(io.BytesIO(text.encode()), **options)


def test_types_are_recognized_weighed_and_told():
    data = read()
    assert data.weights.tolist() == [1.0, 3.0, 10.0, 1.0]
    assert data.event_weights == {"view": 1.0, "add_to_cart": 3.0, "Purchase": 10.0, "remove_from_cart": 0.0}
    report = data.report
    assert report.columns["event"] == "event_type"
    assert {reason.name: (reason.rows, reason.first_rows) for reason in report.reasons} == {
        "unweighted_event": (1, (7,)),
        "weightless_event": (1, (6,)),
    }
    told = next(str(note) for note in report.notes if note.name == "event_types")
    for part in ("view 2 rows × 1,", "add_to_cart 1 row × 3,", "Purchase 1 row × 10,", "remove_from_cart 1 row × 0"):
        assert part in told


@pytest.mark.parametrize("heading", ["event", "Action", "behavior", "eventType"])
def test_a_heading_of_another_spelling_is_recognized(heading):
    assert read(LOG.replace("event_type", heading)).weights.max() == 10.0


def test_given_weights_are_the_only_ones():
    data = read(event_weights={"VIEW": 2, "strange": 0.5, "like": 1})
    assert data.weights.tolist() == [2.0, 2.0, 0.5]
    assert data.event_weights == {"view": 2.0, "strange": 0.5}
    assert data.report.count("unweighted_event") == 3
    assert any("no row is of the type 'like'" in str(note) for note in data.report.notes)


def test_a_quantity_is_multiplied_and_a_frame_reads_as_a_file():
    frame = pd.DataFrame({"user": [1, 1], "item": ["a", "b"], "qty": [2, 5], "action": ["buy", "click"]})
    assert ancf.read_interactions(frame).weights.tolist() == [20.0, 5.0]
    table = io.BytesIO(frame.to_csv(index=False).encode())
    assert ancf.read_interactions(table).weights.tolist() == [20.0, 5.0]
    lines = io.BytesIO(frame.to_json(orient="records", lines=True).encode())
    assert ancf.read_interactions(lines).weights.tolist() == [20.0, 5.0]


def test_a_column_whose_types_mean_nothing_is_none_and_that_is_told():
    text = "user,item,event\n1,a,concert\n2,a,opera\n"
    data = read(text)
    assert data.weights.tolist() == [1.0, 1.0]
    assert data.event_weights is None
    assert data.report.ignored == ("event",)
    assert any(
        "'event' is not taken for event types ('concert' 1, 'opera' 1)" in str(each) for each in data.report.notes
    )
    with pytest.raises(ancf.InvalidDataError, match=r"'concert' 1, 'opera' 1.*event_weights=\{'concert': 1\}"):
        read(text, event="event")
    assert read(text, event="event", event_weights={"concert": 1, "opera": 2}).weights.tolist() == [1.0, 2.0]


def test_event_false_counts_each_row_once():
    data = read(event=False)
    assert data.weights.tolist() == [1.0] * 6
    assert data.event_weights is None
    assert "event_type" in data.report.ignored


def test_a_negative_weight_takes_back_or_is_kept():
    text = "user,item,event,time\n1,a,buy,2020-01-01\n1,a,dislike,2020-01-02\n1,b,buy,2020-01-01\n"
    weights = {"buy": 1, "dislike": -1}
    assert read(text, event_weights=weights).to_pandas()["item_id"].tolist() == ["b"]
    assert read(text, event_weights=weights, returns="keep").weights.tolist() == [1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"view": "much"}, "'view' has 'much'"),
        ({"view": float("nan")}, "'view' has nan"),
        ({"view": True}, "'view' has True"),
        ({}, r"event_weights is \{\}"),
        (3, "event_weights is 3"),
        ({"view": 0, "cart": -1}, "no type weighs more than 0"),
        ({"add_to_cart": 1, "AddToCart": 2}, "'add_to_cart' and 'AddToCart' are one type"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, words):
    with pytest.raises(ancf.InvalidParameterError, match=words):
        read(event_weights=weights)


def test_weights_without_a_column_of_types_are_an_error_with_the_way_out():
    with pytest.raises(ancf.InvalidParameterError, match="event='kind'"):
        read("user,item\n1,a\n", event_weights={"view": 1})
    with pytest.raises(ancf.InvalidDataError, match="row 2 weighs 1e\\+39"):
        read("user,item,event,qty\n1,a,view,10\n", event_weights={"view": 1e38})


def test_a_model_and_its_file_keep_the_weights():
    model = ancf.Popular().fit(read())
    again = ancf.load(model.to_bytes())
    assert again.event_weights_ == model.event_weights_ == read().event_weights
    assert ancf.Popular().fit(read(event=False)).event_weights_ is None


def test_an_update_in_which_a_type_weighs_something_else_is_refused():
    model = ancf.Popular().fit(read())
    with pytest.raises(ancf.InvalidDataError, match="'view' weighs 2 in this table and 1 in the model"):
        model.partial_fit(read(event_weights={"view": 2}))
    model.partial_fit(read("event_type,product_id,user_id,time\ndetail,c,9,2020-01-05\n"))
    assert model.event_weights_["detail"] == 1.0
    with pytest.raises(ancf.InvalidDataError, match="'view' weighs 2 in table 1"):
        ancf.concat([read(), read(event_weights={"view": 2})])


def test_files_of_one_table_are_weighed_together(tmp_path):
    for name, event in (("a", "view"), ("b", "buy")):
        (tmp_path / f"{name}.csv").write_text(f"user,item,event\n{name},x,{event}\n", encoding="utf-8")
    assert np.sort(ancf.read_interactions(tmp_path).weights).tolist() == [1.0, 10.0]
