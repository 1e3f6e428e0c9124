"""P7: nothing that is not a finite number passes silently, wherever it gets in."""

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ancf

BAD = [float("nan"), float("inf"), float("-inf")]
# Finite as float64, infinite as float32, in which models calculate.
TOO_LARGE = 1e300

_path = Path(__file__).parent / "attacks" / "model_files.py"
_spec = importlib.util.spec_from_file_location("attacks_model_files_", _path)
attacks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(attacks)


@pytest.fixture
def data():
    users = [1, 1, 2, 2, 3, 3, 3, 4]
    return ancf.Interactions.from_ids(user=users, item=list("abbcacdd"), weight=np.arange(1, 9))


# ---- tables


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "Infinity", "1e999", "NaN"])
def test_a_quantity_in_a_file_is_reported_by_its_row(value):
    text = f"customer,sku,qty\nann,a,1\nbob,a,{value}\nbob,b,2\n".encode()
    with pytest.raises(ancf.InvalidDataError, match="row 3"):
        ancf.read_interactions(io.BytesIO(text), strict=True)
    data = ancf.read_interactions(io.BytesIO(text), on_bad_rows="drop")
    assert (data.report.rows_read, data.report.rows_used) == (3, 2)
    assert np.isfinite(data.weights).all()


@pytest.mark.parametrize("value", [*BAD, TOO_LARGE, -TOO_LARGE])
@pytest.mark.parametrize("kind", [np.float64, object])
def test_a_quantity_in_a_data_frame_is_reported(value, kind):
    frame = pd.DataFrame({"user": [1, 2, 2], "item": [5, 5, 6], "qty": np.array([1.0, value, 2.0], kind)})
    with pytest.raises(ancf.InvalidDataError, match="row 1"):
        ancf.read_interactions(frame, strict=True)
    data = ancf.read_interactions(frame, on_bad_rows="drop", returns="keep")
    assert data.report.rows_used == 2
    assert np.isfinite(data.weights).all()


@pytest.mark.parametrize("value", [*BAD, TOO_LARGE, -TOO_LARGE])
def test_a_weight_given_to_from_ids_is_refused(value):
    with pytest.raises(ancf.InvalidDataError, match=r"weight.*position 1"):
        ancf.Interactions.from_ids(user=[1, 1, 2], item=[1, 2, 2], weight=[1, value, 1])


def test_weights_whose_sum_is_too_large_are_refused():
    with pytest.raises(ancf.InvalidDataError, match="weight"):
        ancf.Interactions.from_ids(user=[1, 1, 1], item=[1, 1, 1], weight=[3e38, 3e38, 3e38])
    with pytest.raises(ancf.InvalidDataError, match="weight"):
        ancf.Interactions.from_ids(user=[1, 1, 1], item=[1, 1, 1], weight=[3e38] * 3, time=[1, 2, 3]).to_csr()


@pytest.mark.parametrize("value", BAD)
def test_a_time_given_to_from_ids_is_refused(value):
    with pytest.raises(ancf.InvalidDataError, match="time"):
        ancf.Interactions.from_ids(user=[1, 1], item=[1, 2], time=[1.0, value])


@pytest.mark.parametrize("value", BAD)
def test_an_id_that_is_not_finite_is_refused_or_dropped(value):
    with pytest.raises(ancf.InvalidDataError, match="user"):
        ancf.Interactions.from_ids(user=[1.0, value], item=[1, 2])
    frame = pd.DataFrame({"user": [1.0, value, 2.0], "item": [1.0, 2.0, value], "qty": [1, 1, 1]})
    if np.isinf(value):
        with pytest.raises(ancf.InvalidDataError, match=r"user id -?inf \(row 1\)"):
            ancf.read_interactions(frame, on_bad_rows="drop")
        return
    data = ancf.read_interactions(frame, on_bad_rows="drop")
    assert (data.report.rows_read, data.report.rows_used) == (3, 1)


# ---- training


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    ("make", "option"),
    [
        (ancf.ANCF, "learning_rate"),
        (ancf.ANCF, "regularization"),
        (ancf.ANCF, "temperature"),
        (ancf.ANCF, "attention_exponent"),
        (ancf.ANCF, "negative_exponent"),
        (ancf.ANCF, "neighbor_shrinkage"),
        (ancf.ANCF, "neighbor_l1"),
        (ancf.ANCF, "neighbor_weight"),
        (ancf.ANCF, "serving_exponent"),
        (ancf.ANCF, "popularity_exponent"),
        (ancf.ItemKNN, "shrinkage"),
    ],
)
def test_an_option_is_refused_by_its_name(data, make, option, value):
    with pytest.raises(ancf.InvalidParameterError, match=rf"{option} is {value}"):
        make(**{option: value}).fit(data)


@pytest.mark.parametrize("rate", [1e6, 1e20, 1e38])
def test_an_absurd_learning_rate_raises_or_learns_finite_numbers_and_the_last_good_model_stays(data, rate):
    model = ancf.ANCF(factors=4, epochs=3, neighbors=0).fit(data)
    before = model.recommend_all(N=3).to_pandas()
    model.set_params(learning_rate=rate, epochs=30)
    try:
        model.fit(data)
    except ancf.DivergedError:
        assert model.recommend_all(N=3).to_pandas().equals(before)
    assert np.isfinite(model.history_["training_loss"]).all()
    assert np.isfinite(model.recommend_all(N=3).to_pandas()["score"]).all()


def test_a_rate_that_leaves_the_numbers_is_a_diverged_error(data):
    model = ancf.ANCF(factors=4, epochs=30, neighbors=0, learning_rate=3e38, regularization=1e30)
    with pytest.raises(ancf.DivergedError, match=r"epoch.*learning_rate"):
        model.fit(data)
    with pytest.raises(ancf.NotFittedError):
        model.recommend(1)


@pytest.mark.parametrize("scale", [1e25, 3e38])
def test_item_knn_over_weights_whose_squares_leave_float32_says_so_or_stays_finite(scale):
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2], item=list("abab"), weight=np.array([1, 0.5, 0.25, 1]) * scale)
    model = ancf.ItemKNN(use_weights=True)
    try:
        model.fit(data)
    except ancf.InvalidDataError:
        return
    scores = model.predict(1, ["a", "b"])
    assert np.isfinite(scores).all()


def network(**options):
    return ancf.ANCFModel(4, 5, 3, random_state=2, **options)


def bytes_of(model):
    return {name: array.tobytes() for name, array in model.parameters.items()}


@pytest.mark.parametrize("value", [*BAD, TOO_LARGE])
def test_targets_and_parameters_of_the_low_level_model_are_refused(value):
    model = network()
    before = bytes_of(model)
    for call in (model.backward, model.step):
        with pytest.raises(ancf.InvalidDataError, match="target"):
            call([0, 1], [1, 2], [1.0, value])
    name = next(iter(model.parameters))
    changed = model.parameters[name].copy().astype(np.float64)
    changed.flat[0] = value
    with pytest.raises(ancf.InvalidDataError, match=name):
        model.parameters = {name: changed}
    assert bytes_of(model) == before


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_a_step_that_would_leave_the_numbers_is_not_taken(optimizer):
    model = network(learning_rate=3e38, optimizer=optimizer)
    states = []

    def steps():
        for _ in range(20):
            states.append(bytes_of(model))
            model.step([0, 1, 2], [1, 2, 3], [5.0, -5.0, 3e5])

    with pytest.raises(ancf.DivergedError, match="learning_rate"):
        steps()
    assert bytes_of(model) == states[-1]
    assert np.isfinite(model.forward([0, 1], [1, 2])).all()


# ---- models


@pytest.mark.parametrize("value", [*BAD, TOO_LARGE])
@pytest.mark.parametrize("side", ["user_factors", "item_factors"])
def test_given_factors_are_refused_by_their_row(side, value):
    tables = {"user_factors": np.ones((3, 2)), "item_factors": np.ones((4, 2))}
    tables[side][2, 1] = value
    with pytest.raises(ancf.InvalidDataError, match=rf"{side}.*row 2"):
        ancf.from_factors(**tables)


def test_scores_beyond_float32_never_pass():
    with pytest.raises(ancf.InvalidDataError, match="more than a float32 holds; scale the vectors"):
        ancf.from_factors([[1e30, 1e30], [1e30, -1e30]], [[1e30, 1e30], [1.0, 1.0]])
    model = ancf.from_factors([[1e19, 1e19]], [[1e18, 1e18], [-1e19, 1e19]])
    assert np.isfinite(model.recommend(0, N=2).scores).all()


@pytest.mark.parametrize("value", [*BAD, TOO_LARGE])
@pytest.mark.parametrize("make", [ancf.ANCF, ancf.ItemKNN, ancf.Popular])
def test_weights_of_a_history_are_refused_by_their_item(data, make, value):
    model = make(**({"epochs": 1, "factors": 4} if make is ancf.ANCF else {})).fit(data)
    before = model.recommend_all(N=2).to_pandas()
    for ask in (
        lambda: model.recommend_for_history({"a": 1.0, "b": value}, N=2),
        lambda: model.recommend_for_history(["a", "b"], N=2, weights=[1.0, value]),
        lambda: model.recommend_for_history([["a"], ["c", "b"]], N=2, weights=[[1.0], [1.0, value]]),
        lambda: model.explain(item="c", history={"a": 1.0, "b": value}),
    ):
        with pytest.raises(ancf.InvalidDataError, match="weight of 'b'"):
            ask()
    with pytest.raises(ancf.InvalidDataError, match="time"):
        model.recommend_for_history(["a", "b"], N=2, times=[1.0, float("nan")])
    assert model.recommend_all(N=2).to_pandas().equals(before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_in_a_model_file_are_refused_also_where_every_hash_is_right(tmp_path, data, value):
    path = tmp_path / "shop.ancf"
    ancf.ANCF(factors=4, epochs=1).fit(data).save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + length])
    about = head.pop("__metadata__")["ancf"]
    body = raw[8 + length :]
    parts = {name: (e["dtype"], e["shape"], body[slice(*e["data_offsets"])]) for name, e in head.items()}
    floats = [name for name, (dtype, _, part) in parts.items() if dtype == "F32" and part]
    assert len(floats) >= 3
    for name in floats:
        dtype, shape, part = parts[name]
        numbers = np.frombuffer(part, np.float32).copy()
        numbers[-1] = value
        path.write_bytes(attacks.sealed({**parts, name: (dtype, shape, numbers.tobytes())}, about))
        with pytest.raises(ancf.ModelFileError, match=r"shop\.ancf"):
            ancf.load(path)


# ---- measuring


@pytest.mark.parametrize("value", BAD)
def test_relevances_and_scores_are_refused_by_their_place(value):
    for function in (ancf.dcg_score, ancf.calculate_ndcg):
        with pytest.raises(ancf.InvalidDataError, match="y_true"):
            function([1, value, 0], [3, 2, 1])
        with pytest.raises(ancf.InvalidDataError, match="y_score"):
            function([1, 0, 0], [3, value, 1])


@pytest.mark.parametrize("value", BAD)
def test_predictions_and_truths_of_batches_are_refused(value):
    class Model:
        def predict(self, users, items):
            return np.where(np.asarray(items) == 2, value, 1.0)

    X = np.array([[1, 1], [1, 2], [2, 1]])
    with pytest.raises(ancf.InvalidDataError, match="finite"):
        ancf.evaluate_metrics(Model(), [(X, np.array([1.0, 0.0, 1.0]))])
    Model.predict = lambda self, users, items: np.ones(len(users))
    with pytest.raises(ancf.InvalidDataError, match="finite"):
        ancf.evaluate_metrics(Model(), [(X, np.array([1.0, value, 1.0]))])


@pytest.mark.parametrize("value", BAD)
def test_quantities_to_preprocess_are_refused(value):
    frame = pd.DataFrame({"user_id": range(20), "product_id": range(20), "quantity": [1.0] * 19 + [value]})
    with pytest.raises(ancf.InvalidDataError, match="19"):
        ancf.preprocess_data(frame)
