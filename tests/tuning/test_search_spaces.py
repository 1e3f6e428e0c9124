"""What a model declares to be worth trying can be tried, and a dimension holds what it draws."""

from itertools import product

import numpy as np
import pytest

import ancf
from ancf.models import MODELS, class_of
from ancf.search_space import Categorical, Integer, Real, as_dimension, n_settings

NAMES = [name for name, entry in MODELS.items() if entry.cli_name is not None]
# Beyond this many corners, each option goes to its ends while the others stay.
MAX_CORNERS = 8


@pytest.fixture(scope="module")
def table():
    users = np.repeat(np.arange(12), 5)
    items = (users * 3 + np.tile([0, 1, 2, 4, 7], 12)) % 10
    return ancf.Interactions.from_ids(user=users, item=items, weight=1 + items % 3, time=1000 * np.arange(len(users)))


def corners(space):
    ends = {name: each.grid(2) for name, each in space.items()}
    if np.prod([len(values) for values in ends.values()]) <= MAX_CORNERS:
        yield from (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
        return
    for at in (0, -1):
        yield {name: values[at] for name, values in ends.items()}
    for name, values in ends.items():
        yield from ({name: value} for value in values)


def small(name):
    model = class_of(name)()
    return model.set_params(epochs=1) if "epochs" in model.get_params() else model


@pytest.mark.parametrize("name", NAMES)
def test_every_corner_of_a_models_space_is_fitted(name, table):
    assert all(set(class_of(name)().search_space(timed=each)) <= {*small(name).get_params()} for each in (True, False))
    space = class_of(name)().search_space()
    assert space, f"{name} declares nothing to search: see search_space of the other models"
    untimed = ancf.Interactions.from_ids(**{each: table.to_pandas()[f"{each}_id"] for each in ("user", "item")})
    for params in corners(class_of(name)().search_space(timed=False)):
        small(name).set_params(**params).fit(untimed)
    for params in corners(space):
        model = small(name).set_params(**params).fit(table)
        assert len(model.recommend(0, N=3).ids), params


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mse", "attention": "none", "user_factors": True, "item_attention": False},
        {"loss": "bpr", "optimizer": "sgd"},
        {"attention": "target", "negatives": 4},
        {"output": "sigmoid", "loss": "bce"},
        {"attention": "learned", "optimizer": "adagrad"},
    ],
    ids=repr,
)
def test_the_space_of_ancf_has_no_option_that_the_others_leave_without_effect(options, table):
    model = ancf.ANCF(epochs=1, **options)
    for params in corners(model.search_space()):
        model.clone().set_params(**params).fit(table)


@pytest.mark.parametrize(
    "dimension",
    [
        *(Real(0.5, 8.0), Real(0.5, 8.0, log=True), Real(3.0, 3.0), Integer(1, 9), Integer(1, 9, log=True)),
        Categorical(["a", 1, None, True]),
    ],
    ids=repr,
)
def test_what_is_drawn_and_what_is_on_the_grid_lies_in_the_dimension(dimension):
    rng = np.random.default_rng(0)
    drawn = [dimension.sample(rng) for _ in range(200)]
    assert all(each in dimension for each in [*drawn, *dimension.grid(3)])
    if dimension.size is not None and dimension.size < 20:
        assert len({repr(each) for each in drawn}) == dimension.size


def test_the_ends_of_a_logarithmic_whole_number_are_drawn_as_often_as_their_width_says():
    drawn = [Integer(1, 2, log=True).sample(np.random.default_rng(seed)) for seed in range(400)]
    share = np.log(1.5 / 0.5) / np.log(2.5 / 0.5)  # of 1, from 0.5 to 1.5
    assert abs(drawn.count(1) / 400 - share) < 0.08  # three standard errors


def test_a_word_is_not_the_number_that_equals_it():
    assert True not in Categorical([1, 2])
    assert True not in Integer(0, 2)
    assert 1.5 not in Integer(0, 2)


def test_settings_are_counted_where_they_can_be():
    assert n_settings({"a": Integer(1, 4), "b": Categorical(["x", "y"])}) == 8
    assert n_settings({"a": Integer(1, 4), "b": Real(0.0, 1.0)}) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(2.0, 1.0), "low is 2.0 and high is 1.0"),
        (lambda: Real(0.0, 1.0, log=True), "low is 0.0; on a logarithmic scale it must be above 0"),
        (lambda: Real(float("nan"), 1.0), "low is nan"),
        (lambda: Integer(1.5, 3), "low is 1.5"),
        (lambda: Integer(1, 3, log="yes"), "log is 'yes'"),
        (lambda: Categorical([]), "choices is []"),
        (lambda: Categorical("degree"), "choices is 'degree'"),
        (lambda: Categorical([1, 1]), "choices has 1 twice"),
        (lambda: Categorical([[1]]), "choices has [1]"),
        (lambda: as_dimension("factors", 64), "space: factors is 64"),
    ],
)
def test_a_dimension_that_makes_no_sense_is_refused_with_its_value(make, message):
    with pytest.raises(ancf.InvalidParameterError) as error:
        make()
    assert message in str(error.value)
