"""``ANCFModel`` computes what ``ancf.reference`` says, with the same bits for every number of threads."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf import reference

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "network.json").read_text())
N_USERS, N_ITEMS = 6, 7

# float32 against float64: parameters and sums are of the order of one, ten steps carry the rounding on.
TOLERANCE = 2e-5


def timed():
    """The golden history as a table: ids are positions, and everybody's newest purchase is on the same day."""
    history = GOLDEN["history"]
    ages = np.array(history["ages"])
    data = ancf.Interactions.from_ids(
        user=[*history["users"], 4],
        item=[*history["items"], 0],
        weight=[*history["weights"], 1.0],
        time=[*(1_000_000_000 - (ages * 86400).astype(int)), 0],
    )
    return data.subset(data.users != 4)


def build(options, **more):
    """A model over the golden history."""
    return ancf.ANCFModel(N_USERS, N_ITEMS, history=timed(), **{"factor_attention": False, **options, **more})


def arguments(batch):
    more = {name: batch[name] for name in ("negatives", "log_weights") if name in batch}
    return (batch["users"], batch["items"], batch.get("targets")), more


@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_the_core_equals_the_reference(name):
    case = GOLDEN["cases"][name]
    model = build(case["options"])
    model.parameters = case["parameters"]
    batches = case["batches"]
    predictions = model.forward(batches[0]["users"], batches[0]["items"])
    assert np.allclose(predictions, case["predictions"], rtol=TOLERANCE, atol=TOLERANCE)
    positional, more = arguments(batches[0])
    loss, gradients = model.backward(*positional, **more)
    assert loss == pytest.approx(case["losses"][0], rel=TOLERANCE)
    assert gradients.keys() == case["gradient"].keys()
    for parameter, expected in case["gradient"].items():
        assert np.allclose(gradients[parameter], expected, rtol=TOLERANCE, atol=TOLERANCE), parameter
    losses = []
    for batch in batches:
        positional, more = arguments(batch)
        losses.append(model.step(*positional, **more))
    assert np.allclose(losses, case["losses"], rtol=TOLERANCE, atol=TOLERANCE)


def test_a_forward_sees_every_change_of_the_parameters():
    users, items = np.arange(N_USERS - 1), np.arange(N_USERS - 1)
    targets = np.linspace(0, 1, len(users))
    model = build({"attention": "degree", "item_attention": True})

    def fresh():
        other = build({"attention": "degree", "item_attention": True})
        other.parameters = model.parameters
        return other.forward(users, items)

    before = model.forward(users, items)
    assert (model.forward(users, items) == before).all()
    model.step(users, items, targets)
    stepped = model.forward(users, items)
    assert (stepped == fresh()).all()
    assert (stepped != before).any()
    model.backward(users, items, targets)
    assert (model.forward(users, items) == stepped).all()
    model.parameters = {"item_factors": 2 * model.parameters["item_factors"]}
    doubled = model.forward(users, items)
    assert (doubled == fresh()).all()
    assert (doubled != stepped).any()


def test_the_golden_file_is_what_its_script_makes():
    made = runpy.run_path(str(FOLDER / "make_network.py"))["make"]()
    assert made["history"] == GOLDEN["history"]
    assert made["cases"].keys() == GOLDEN["cases"].keys()
    for name, case in made["cases"].items():
        kept = GOLDEN["cases"][name]
        assert case["options"] == kept["options"]
        # NumPy's sums may differ in the last places from machine to machine.
        for part in ("predictions", "losses"):
            assert np.allclose(case[part], kept[part], rtol=1e-7, atol=1e-9), name
        for parameter, value in case["gradient"].items():
            assert np.allclose(value, kept["gradient"][parameter], rtol=1e-6, atol=1e-9), name


def test_top_n_of_the_reference_is_the_sort_of_the_scores_of_the_core():
    options = {"embedding_dim": 4, "attention": "degree", "factor_attention": True}
    model = build(options, random_state=3, init_scale=1.0)
    history = GOLDEN["history"]
    past = reference.History.of((N_USERS, N_ITEMS), history["users"], history["items"])
    parameters = {name: value.astype(np.float64) for name, value in model.parameters.items()}
    items, scores = reference.top_n(reference.Options(N_USERS, N_ITEMS, **options), parameters, past, 0, 3)
    found = model.forward(np.zeros(N_ITEMS, int), np.arange(N_ITEMS))
    new = [item for item in np.argsort(-found) if item not in (0, 2, 5)]
    assert items.tolist() == new[:3]
    assert np.allclose(scores, found[items], rtol=1e-5)


CHILD = """
import hashlib, sys, numpy as np, ancf
rng = np.random.default_rng(0)
n_users, n_items, n = 400, 300, 3000
key = np.unique(rng.integers(0, n_users * n_items, 6000))
indptr = np.append(0, np.cumsum(np.bincount(key // n_items, minlength=n_users)))
history = (indptr, (key % n_items).astype(np.int32), np.ones(len(key), np.float32))
digest = hashlib.sha256()
for options in (
    {"attention": "learned", "loss": "bpr", "item_attention": True},
    {"attention": "target", "loss": "softmax", "factor_attention": True, "optimizer": "adagrad"},
    {"attention": "degree", "loss": "softmax", "output": "sigmoid", "biases": True, "similarity": "cosine"},
    {"factor_attention": True, "loss": "softmax", "output": "sigmoid"},
    {"attention": "batch", "loss": "mse", "output": "sigmoid", "optimizer": "sgd"},
    {"output": "sigmoid", "layer": "concat", "loss": "bce", "biases": True},
):
    model = ancf.ANCFModel(
        n_users, n_items, 19, history=history, num_threads=int(sys.argv[1]), temperature=0.3,
        learning_rate=0.01, **options
    )
    for _ in range(3):
        users, items = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
        batch = {
            "bpr": {"negatives": rng.integers(0, n_items, n)},
            "softmax": {"negatives": rng.integers(0, n_items, 37)},
        }.get(options["loss"], {"targets": rng.random(n)})
        digest.update(np.float64(model.step(users, items, **batch)).tobytes())
    digest.update(model.forward(users, items).tobytes())
    for name, value in sorted(model.parameters.items()):
        digest.update(name.encode() + value.tobytes())
print(digest.hexdigest())
"""


def test_threads_and_instruction_sets_do_not_change_a_bit():
    from ancf import _native

    _, available = _native.simd_levels()
    found = {}
    for level in available:
        for threads in (1, 2, 3, 8):
            run = subprocess.run(
                [sys.executable, "-c", CHILD, str(threads)],
                env={**os.environ, "ANCF_SIMD": level},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            found.setdefault(run.stdout, []).append((level, threads))
    assert len(found) == 1, found


def test_it_learns_from_the_batches_of_a_table_by_raw_ids():
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "user_id": [f"u{at}" for at in rng.integers(0, 12, 300)],
            "product_id": [f"p{at:03d}" for at in rng.integers(0, 9, 300)],
            "quantity": rng.integers(1, 6, 300),
        }
    )
    data = ancf.preprocess_data(table)
    users, items = sorted(table["user_id"].unique()), sorted(table["product_id"].unique())
    model = ancf.ANCFModel(len(users), len(items), 8, user_ids=users, item_ids=items, learning_rate=0.01)
    before = ancf.evaluate_metrics(model, ancf.batch_data(data.X_train, data.y_train))
    for _ in range(30):
        for X, y in ancf.batch_data(data.X_train, data.y_train):
            model.step(X["user_id"], X["product_id"], y)
    after = ancf.evaluate_metrics(model, ancf.batch_data(data.X_train, data.y_train))
    assert after["mse"] < 0.7 * before["mse"]
    with pytest.raises(ancf.UnknownUserError, match="nobody"):
        model.forward(["nobody"], ["p000"])


def test_predictions_of_batch_attention_depend_on_the_batch_and_others_do_not():
    users, items = [0, 1, 2, 3], [1, 2, 3, 4]
    for options, depends in (({"attention": "batch"}, True), ({"factor_attention": True}, False)):
        model = ancf.ANCFModel(6, 7, 4, init_scale=1.0, **options)
        together = model.forward(users, items)[:2]
        alone = model.forward(users[:2], items[:2])
        assert np.array_equal(together, alone) != depends


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attention": "target"}, "history="),
        ({"attention": "nonsense"}, "attention is 'nonsense'"),
        ({"output": "linear", "layer": "concat"}, 'needs output="sigmoid"'),
        ({"output": "sigmoid", "layer": "concat", "loss": "bpr"}, 'take layer="product"'),
        ({"attention": "batch", "loss": "softmax"}, '"mse" and "bce" only'),
        ({"attention": "batch", "factor_attention": True}, "choose one"),
        ({"user_factors": False}, "leaves nothing of a user"),
        ({"half_life": 3.0}, "half_life needs"),
        ({"use_weights": True}, "use_weights needs"),
        ({"learning_rte": 0.1}, "learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"optimizer": "adamw"}, "must be 'adam', 'adagrad', 'sgd'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options, says):
    with pytest.raises(ancf.InvalidParameterError, match=says):
        ancf.ANCFModel(3, 4, 2, **options)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (([0, 1], [0], [1.0, 1.0]), "user_ids has 2 values and item_ids has 1; give pairs"),
        (([0, 1], [0, 1], [1.0, np.nan]), "target 1 is NaN"),
        (([0, 1], [0, 1], [1.0, np.inf]), "target 1 is inf"),
        (([0, 1], [0, 1], [1.0]), r"targets is \[1.0\] \(1 values\) where there are 2 pairs"),
        (([0, 1], [0, 1], None), "targets is None; loss='mse' takes a number for each pair"),
        (([], [], []), "empty"),
        (([0.5], [0], [1.0]), "positions"),
        (([0], [0], ["much"]), "targets"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_and_changes_nothing(batch, says):
    model = ancf.ANCFModel(3, 4, 2)
    before = model.parameters
    with pytest.raises(ancf.InvalidDataError, match=says):
        model.step(*batch)
    assert all(np.array_equal(before[name], value) for name, value in model.parameters.items())


def test_unknown_positions_are_named():
    model = ancf.ANCFModel(3, 4, 2)
    with pytest.raises(ancf.UnknownUserError, match="user_ids: 3 at position 1"):
        model.forward([0, 3], [0, 0])
    with pytest.raises(ancf.UnknownItemError, match="item_ids: -1"):
        model.forward([0], [-1])


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_a_step_out_of_the_finite_numbers_is_not_taken(optimizer):
    model = ancf.ANCFModel(3, 4, 2, optimizer=optimizer, learning_rate=3e38, init_scale=1.0)
    batch = [0, 1, 2], [0, 1, 2], [1.0, 0.0, 5.0]
    before = [model.parameters]

    def steps():
        for _ in range(5):
            before[0] = model.parameters
            model.step(*batch)

    with pytest.raises(ancf.DivergedError, match="learning rate 3"):
        steps()
    after = model.parameters
    assert all(np.array_equal(before[0][name], after[name]) for name in after)
    assert all(np.isfinite(value).all() for value in after.values())
