"""P14: every mistake is an ``Exception`` with value, place and remedy, and leaves the object as it was.

One table over all kinds of errors. A case is what is done, the class of the error, the value and the place that the
message must name, and words of its remedy.
"""

import io
import pickle

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf import errors
from ancf.scoring import scorer_arrays


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    return ancf.Interactions.from_ids(
        user=[f"u{user}" for user in rng.integers(0, 12, 150)],
        item=[f"i{item}" for item in rng.integers(0, 15, 150)],
        time=rng.integers(0, 10**6, 150),
    )


@pytest.fixture(scope="module")
def model(data):
    return ancf.ANCF(factors=4, epochs=2).fit(data)


def read(text, **options):
    return ancf.read_interactions(io.BytesIO(text.encode()), **options)


ROWS = "customer,sku,qty\nann,a,1\nbob,b,12 pcs\n"

# What is done, the error, what its message names (value, place), what it advises.
MISTAKES = {
    "an unknown user": (
        lambda m, d: m.recommend("u99", N=3),
        ancf.UnknownUserError,
        ["u99", "not in training"],
        "recommend_for_history",
    ),
    "unknown users among known ones": (
        lambda m, d: m.recommend(["u1", "x", "y"], N=3),
        ancf.UnknownUserError,
        ["2 of 3 users", "'x'"],
        'on_unknown="popular"',
    ),
    "an unknown item": (lambda m, d: m.predict("u1", "i99"), ancf.UnknownItemError, ["i99"], "Leave such items out"),
    "an unknown item of a history": (
        lambda m, d: m.recommend_for_history(["i1", "lamp"]),
        ancf.UnknownItemError,
        ["lamp"],
        "Leave such items out",
    ),
    "a table that was not read": (
        lambda m, d: ancf.time_split(pd.DataFrame({"user": [1]})),
        ancf.InvalidDataError,
        ["DataFrame", "time_split"],
        "ancf.read_interactions(table)",
    ),
    "columns of different lengths": (
        lambda m, d: ancf.read_interactions({"user": [1, 2], "item": [1]}),
        ancf.InvalidDataError,
        ["dict", "length"],
        "one array for each column",
    ),
    "a missing user": (lambda m, d: m.recommend(None), ancf.UnknownUserError, ["None"], "recommend_for_history"),
    "a number for a text id": (lambda m, d: m.recommend(-1), ancf.UnknownUserError, ["-1"], "recommend_for_history"),
    "no items": (lambda m, d: m.recommend("u1", N=0), ancf.InvalidParameterError, ["N is 0"], "at least 1"),
    "a fraction of items": (lambda m, d: m.recommend("u1", N=2.5), ancf.InvalidParameterError, ["N is 2.5"], "whole"),
    "an unknown policy": (
        lambda m, d: m.recommend("u1", on_unknown="ignore"),
        ancf.InvalidParameterError,
        ["on_unknown is 'ignore'"],
        "must be",
    ),
    "an empty history": (
        lambda m, d: m.recommend_for_history([]),
        ancf.InvalidDataError,
        ["history 0 is empty"],
        "Give at least one item",
    ),
    "weights of another length": (
        lambda m, d: m.recommend_for_history(["i1", "i2"], weights=[1.0]),
        ancf.InvalidDataError,
        ["1 weights for 2 items", "history 0"],
        "one for each",
    ),
    "times of another length": (
        lambda m, d: m.recommend_for_history(["i1", "i2"], times=[1]),
        ancf.InvalidDataError,
        ["history 0", "1 for 2 items"],
        "give one time for each",
    ),
    "pairs of different lengths": (
        lambda m, d: m.predict(["u1", "u2"], ["i1", "i2", "i3"]),
        ancf.InvalidDataError,
        ["2 users", "3 items"],
        "same length",
    ),
    "a file of an unknown kind": (
        lambda m, d: m.recommend_all(out="recs.xls"),
        ancf.InvalidParameterError,
        ["recs.xls"],
        "must end in",
    ),
    "resume without a file": (
        lambda m, d: m.recommend_all(resume=True),
        ancf.InvalidParameterError,
        ["resume=True"],
        "needs out=",
    ),
    "a misspelt option": (
        lambda m, d: ancf.ANCF(factor=5),
        ancf.InvalidCallError,
        ["'factor'"],
        "did you mean 'factors'",
    ),
    "a misspelt option of a fitted model": (
        lambda m, d: m.set_params(epoch=5),
        ancf.InvalidCallError,
        ["'epoch'"],
        "did you mean 'epochs'",
    ),
    "no factors": (
        lambda m, d: ancf.ANCF(factors=0).fit(d),
        ancf.InvalidParameterError,
        ["factors is 0"],
        "whole number",
    ),
    "a negative rate": (
        lambda m, d: ancf.ANCF(learning_rate=-1).fit(d),
        ancf.InvalidParameterError,
        ["learning_rate is -1"],
        "must be",
    ),
    "text for threads": (
        lambda m, d: ancf.ItemKNN(num_threads="two").fit(d),
        ancf.InvalidParameterError,
        ["num_threads is 'two'"],
        "whole number",
    ),
    "no threads": (
        lambda m, d: ancf.ItemKNN(num_threads=0).fit(d),
        ancf.InvalidParameterError,
        ["num_threads is 0"],
        "from 1",
    ),
    "too many threads": (
        lambda m, d: ancf.ItemKNN(num_threads=10**6).fit(d),
        ancf.InvalidParameterError,
        ["num_threads is 1000000"],
        "between 1 and",
    ),
    "too many threads for a few pairs": (
        lambda m, d: ancf.ANCFModel(3, 3, num_threads=10**6).forward([0], [2]),
        ancf.InvalidParameterError,
        ["num_threads is 1000000"],
        "between 1 and",
    ),
    "no table": (lambda m, d: m.fit([1, 2, 3]), ancf.InvalidDataError, ["list"], "read_interactions"),
    "nothing in the table": (
        lambda m, d: m.fit(d.subset(np.zeros(len(d), bool))),
        ancf.InvalidDataError,
        ["no interactions"],
        "Look at its report",
    ),
    "not fitted": (lambda m, d: ancf.ANCF().recommend("u1"), ancf.NotFittedError, ["ANCF"], "Call fit"),
    "saving what is not fitted": (lambda m, d: ancf.ANCF().save("x.ancf"), ancf.NotFittedError, ["ANCF"], "Call fit"),
    "text in a quantity": (lambda m, d: read(ROWS), ancf.InvalidDataError, ["12 pcs", "3"], "on_bad_rows="),
    "no columns that are known": (
        lambda m, d: read("foo,bar\n1,2\n"),
        ancf.InvalidDataError,
        ["foo", "bar"],
        "user=",
    ),
    "a column that is not there": (
        lambda m, d: read(ROWS, user="client"),
        ancf.InvalidParameterError,
        ["client"],
        "customer",
    ),
    "an empty file": (lambda m, d: read(""), ancf.InvalidDataError, ["empty"], ""),
    "a header alone": (
        lambda m, d: read("customer,sku,qty\n"),
        ancf.InvalidDataError,
        ["no row below"],
        "Give a table",
    ),
    "a file that is not there": (
        lambda m, d: ancf.read_interactions("nowhere/purchases.csv"),
        ancf.InvalidDataError,
        ["nowhere/purchases.csv"],
        "Check the path",
    ),
    "a missing id": (
        lambda m, d: ancf.Interactions.from_ids(user=["a", None], item=[1, 2]),
        ancf.InvalidDataError,
        ["user", "1"],
        "",
    ),
    "a model file that is not there": (lambda m, d: ancf.load("nowhere.ancf"), OSError, ["nowhere.ancf"], ""),
    "a picture as a model": (
        lambda m, d: ancf.load(__file__),
        ancf.ModelFileError,
        [__file__.rpartition("/")[2]],
        "load another copy",
    ),
    "factors that do not fit": (
        lambda m, d: ancf.from_factors(np.ones((3, 2)), np.ones((4, 3))),
        ancf.InvalidDataError,
        ["2 columns", "3"],
        "same factors",
    ),
    "an unknown metric": (
        lambda m, d: ancf.evaluate(m, d, ["ndgc@10"]),
        ancf.InvalidParameterError,
        ["ndgc@10"],
        "There are ndcg@k",
    ),
    "a test table of strangers": (
        lambda m, d: ancf.evaluate(m, ancf.Interactions.from_ids(user=["x"], item=["i1"])),
        ancf.InvalidDataError,
        ["no test pair"],
        "Split the table",
    ),
    "shares that are more than all": (
        lambda m, d: ancf.random_split(d, (0.9, 0.5)),
        ancf.InvalidParameterError,
        ["0.9"],
        "",
    ),
    "a time split without times": (
        lambda m, d: ancf.time_split(ancf.Interactions.from_ids(user=[1, 2], item=[1, 2])),
        ancf.InvalidDataError,
        ["time"],
        "random_split",
    ),
    "explaining nothing": (lambda m, d: m.explain(), ancf.InvalidParameterError, ["user"], "history="),
    "a user beyond the low-level model": (
        lambda m, d: ancf.ANCFModel(3, 4).forward([0, 3], [1, 1]),
        ancf.UnknownUserError,
        ["user_ids: 3", "position 1"],
        "users 0 to 2",
    ),
    "a negative item of the low-level model": (
        lambda m, d: ancf.ANCFModel(3, 4).forward([0], [-1]),
        ancf.UnknownItemError,
        ["item_ids: -1"],
        "items 0 to 3",
    ),
    "a misspelt option of the low-level model": (
        lambda m, d: ancf.ANCFModel(3, 4, loss="hinge"),
        ancf.InvalidParameterError,
        ["hinge"],
        "must be",
    ),
    "a rate beyond all numbers": (
        lambda m, d: ancf.ANCF(learning_rate=3e38, regularization=1e30, epochs=30, neighbors=0).fit(d),
        ancf.DivergedError,
        ["epoch", "3"],
        "smaller learning_rate",
    ),
    "training that diverges with an object in use": (
        lambda m, d: changed(m, learning_rate=3e38, regularization=1e30, epochs=30).fit(d),
        ancf.DivergedError,
        ["epoch"],
        "smaller learning_rate",
    ),
}


def changed(model, **options):
    return model.set_params(**options)


def state(model):
    arrays, _ = scorer_arrays.to_arrays(model._fitted())
    return {name: array.tobytes() for name, array in arrays.items()}, dict(model.history_)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_its_value_and_place_and_what_to_do_and_changes_nothing(mistake, model, data):
    call, kind, named, remedy = MISTAKES[mistake]
    before, options, fingerprint = state(model), model.get_params(), data.fingerprint()
    try:
        with pytest.raises(kind) as raised:
            call(model, data)
    finally:
        model.set_params(**options)
    said = str(raised.value)
    for part in [*named, remedy]:
        assert part in said, said
    assert type(raised.value) is kind or kind is OSError
    assert isinstance(raised.value, Exception)
    assert said[0] != "'"  # a KeyError's own text is in quotes
    assert "\n  File" not in said
    assert state(model) == before
    assert data.fingerprint() == fingerprint


def test_every_class_of_error_is_in_the_table():
    tabled = {kind for _, kind, _, _ in MISTAKES.values()}
    # A missing extra needs an environment without it (tests/data/test_reading.py), a server its own (tests/serve); a
    # defect is that of test_no_panic_reaches_python.
    elsewhere = {ancf.MissingExtraError, ancf.InternalError, ancf.ServerError}
    classes = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.AncfError) and not each.__name__.startswith("_")
    }
    assert classes - tabled - elsewhere == {errors.AncfError}


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (ancf.UnknownUserError, (KeyError,)),
        (ancf.UnknownItemError, (KeyError,)),
        (ancf.NotFittedError, (ValueError, AttributeError)),
        (ancf.InvalidDataError, (ValueError,)),
        (ancf.InvalidParameterError, (ValueError,)),
        (ancf.InvalidCallError, (ValueError, TypeError, ancf.InvalidParameterError)),
        (ancf.DivergedError, (ArithmeticError,)),
        (ancf.ModelFileError, (OSError, ValueError)),
        (ancf.MissingExtraError, (ImportError,)),
        (ancf.InternalError, (RuntimeError,)),
    ],
)
def test_errors_are_caught_as_what_python_calls_them_and_cross_processes(kind, bases):
    assert issubclass(kind, (*bases, errors.AncfError))
    assert str(pickle.loads(pickle.dumps(kind("what it says")))) == "what it says"


def test_a_data_frame_given_to_a_failed_reading_is_not_changed():
    frame = pd.DataFrame({"user": [1, 2], "item": ["a", "b"], "qty": ["1", "12 pcs"]})
    before = frame.copy(deep=True)
    with pytest.raises(ancf.InvalidDataError, match="12 pcs"):
        ancf.read_interactions(frame)
    pd.testing.assert_frame_equal(frame, before)
