"""What users hold can be copied, pickled and sent to other processes, or says why not."""

import copy
import io
import multiprocessing
import operator
import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as TheirNotFittedError
from sklearn.utils.validation import check_is_fitted

import ancf
from ancf.data.normalize import Normalizer
from ancf.models import register


class Shelf(ancf.ItemKNN):
    """A model of somebody else, with an option and an attribute of its own."""

    def __init__(self, *, shelf="left", neighbors=3, num_threads=None):
        super().__init__(neighbors=neighbors, num_threads=num_threads)
        self.shelf = shelf

    def fit(self, interactions, *, validation=None):
        super().fit(interactions)
        self.fitted_on_ = len(interactions)
        return self


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    return ancf.Interactions.from_ids(
        user=[f"u{user}" for user in rng.integers(0, 15, 200)],
        item=[f"i{item}" for item in rng.integers(0, 12, 200)],
        time=rng.integers(1_600_000_000, 1_610_000_000, 200),
        item_names={f"i{item}": f"item {item}" for item in range(12)},
    )


@pytest.fixture(scope="module")
def model(data):
    return ancf.ANCF(factors=4, epochs=2, random_state=1).fit(data)


def lists(model):
    return model.recommend_all(N=4).to_pandas()


def test_a_subclass_that_is_not_registered_is_pickled_with_what_stands_on_it(data):
    model = Shelf(shelf="right").fit(data)
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is Shelf
    assert (again.shelf, again.fitted_on_) == ("right", len(data))
    assert lists(again).equals(lists(model))
    # A model file names a class; only those of the registry are made of it.
    with pytest.raises(ancf.ModelFileError, match="Shelf"):
        ancf.load(model.to_bytes())


def test_a_registered_model_is_loaded_from_its_bytes(data, monkeypatch):
    monkeypatch.setattr("ancf.models._REGISTERED", {})
    register(Shelf, "shelf")
    model = Shelf().fit(data)
    assert type(ancf.load(model.to_bytes())) is Shelf
    assert lists(ancf.load(model.to_bytes())).equals(lists(model))


def test_options_that_were_changed_after_fitting_come_back_with_what_was_learned_before(data):
    model = ancf.ItemKNN(neighbors=2).fit(data).set_params(neighbors=9, num_threads=1)
    again = pickle.loads(pickle.dumps(model))
    assert again.get_params() == model.get_params()
    assert again.to_bytes() == model.to_bytes()
    assert lists(again).equals(lists(model))


def test_options_may_be_numpy_numbers(data):
    model = ancf.ItemKNN(neighbors=np.int64(3), shrinkage=np.float32(0.5)).fit(data)
    assert lists(pickle.loads(pickle.dumps(model))).equals(lists(model))


def test_a_model_comes_from_a_path_bytes_or_a_file_object(model, tmp_path):
    path = tmp_path / "shop.ancf"
    model.save(path)
    raw = path.read_bytes()
    for source in (path, str(path), raw, bytearray(raw), memoryview(raw), io.BytesIO(raw)):
        assert lists(ancf.load(source)).equals(lists(model))
    with path.open("rb") as file:
        assert lists(ancf.load(file)).equals(lists(model))
        assert not file.closed


def test_bytes_that_change_afterwards_do_not_change_the_model(model):
    raw = bytearray(model.to_bytes())
    loaded = ancf.load(raw)
    raw[:] = bytes(len(raw))
    assert lists(loaded).equals(lists(model))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_no_model_file(model, tmp_path, protocol):
    raw = pickle.dumps(model, protocol)
    path = tmp_path / "model.pkl"
    path.write_bytes(raw)
    for source, place in ((raw, "these bytes"), (io.BytesIO(raw), "this file object"), (path, str(path))):
        with pytest.raises(ancf.ModelFileError, match="nothing is ever unpickled") as raised:
            ancf.load(source)
        assert str(raised.value).startswith(f"{place}: ")


def test_a_stream_that_does_not_begin_like_a_model_file_is_not_read_on():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            assert size > 0, "the whole of an endless stream was asked for"
            self.given += size
            return b"\0" * size

    stream = Endless()
    with pytest.raises(ancf.ModelFileError, match="does not begin like a model file"):
        ancf.load(stream)
    assert stream.given < 64


def test_a_file_opened_as_text_is_told_how_to_open_it():
    with pytest.raises(ancf.InvalidParameterError, match="'rb'"):
        ancf.load(io.StringIO("text"))


def test_joblib_and_a_spawned_process_get_the_same_bits(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    assert joblib.load(tmp_path / "model.joblib").to_bytes() == model.to_bytes()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (ids,) = pool.map(model.recommend, ["u1"])
        assert pool.apply(operator.methodcaller("to_bytes"), (model,)) == model.to_bytes()
    assert ids.to_pandas().equals(model.recommend("u1").to_pandas())


def parts_of(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ancf.random_split(data)


def measured(data, model):
    return ancf.evaluate(model, parts_of(data)[2], filter_already_liked_items=False)


def compared(data):
    train, _, test = parts_of(data)
    return ancf.compare([ancf.Popular()], train, test, filter_already_liked_items=False)


# What it is, how to get one, and what must be the same of a copy.
HELD = {
    "interactions": (lambda d, m: d, lambda each: each.fingerprint()),
    "part of a split": (lambda d, m: parts_of(d)[2], lambda each: (each.fingerprint(), each.leakage)),
    "report": (lambda d, m: d.report, str),
    "matrix": (lambda d, m: d.to_csr(), lambda each: each.data.tobytes()),
    "ids": (lambda d, m: d.user_ids, lambda each: (each.kind, list(each))),
    "no ids of a kind": (lambda d, m: ancf.IdMap([b"a"])[:0], lambda each: (each.kind, list(each))),
    "list": (lambda d, m: m.recommend("u1"), lambda each: each.to_pandas().to_csv()),
    "lists": (lambda d, m: m.recommend_all(N=3), lambda each: each.to_pandas().to_csv()),
    "explanation": (lambda d, m: m.explain("u1", "i1"), repr),
    "normalizer": (lambda d, m: Normalizer("standard").fit([1, 2, 4]), lambda each: each.transform([3]).tolist()),
    "evaluation": (measured, lambda each: each.to_pandas(per_user=True).to_csv()),
    "comparison": (lambda d, m: compared(d), lambda each: each["Popular"].to_pandas().to_csv()),
    "prepared rows": (
        lambda d, m: ancf.preprocess_data(d.to_pandas()[["user_id", "item_id"]]),
        lambda each: (each.X_test.to_csv(), each.normalizer.state()),
    ),
    "history": (lambda d, m: m.history_, repr),
    "error": (lambda d, m: ancf.UnknownUserError("nobody"), str),
}


@pytest.mark.parametrize("name", HELD)
def test_what_users_hold_survives_a_pickle_and_a_copy(data, model, name):
    make, shown = HELD[name]
    thing = make(data, model)
    for again in (pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing), copy.copy(thing)):
        assert type(again) is type(thing)
        assert shown(again) == shown(thing)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy, copy.copy])
def test_a_network_in_training_says_why_it_cannot_be_copied(copied):
    with pytest.raises(ancf.InvalidParameterError, match="ANCFModel cannot be pickled or copied"):
        copied(ancf.ANCFModel(3, 4, embedding_dim=4))


def test_arrays_stay_read_only_after_a_pickle_and_a_copy(data):
    for again in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert not again.weights.flags.writeable
        assert not again.times.flags.writeable
        assert not again.user_ids.values.flags.writeable


def test_scikit_learn_finds_out_whether_a_model_is_fitted(data):
    with pytest.raises(TheirNotFittedError):
        check_is_fitted(ancf.ItemKNN())
    check_is_fitted(ancf.ItemKNN().fit(data))
    assert clone(ancf.ItemKNN(neighbors=3).fit(data)).get_params()["neighbors"] == 3
    with pytest.raises(TheirNotFittedError):
        check_is_fitted(clone(ancf.ItemKNN().fit(data)))
