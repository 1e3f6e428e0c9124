"""Whatever is wrong about an argument, the error is one of ancf's, names the argument, and nothing has changed.

A battery over signatures: each parameter of each public callable that is not a question to a model gets each wrong
value, the others being right.
"""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf import models
from ancf.data.normalize import Normalizer


class Thing:
    """Something that nobody expects."""

    def __repr__(self):
        return "<a thing>"


NAN = float("nan")
WRONG = {
    "a thing": Thing(),
    "None": None,
    "nan": NAN,
    "negative": -3,
    "huge": 10**40,
    "text": "what",
    "empty text": "",
    "empty list": [],
    "one number": [0.5],
    "nested": [[1, 2], [3]],
    "nans": [NAN] * 3,
    "things": [Thing()] * 3,
    "mapping": {"a": 1},
    "bytes": b"what",
    "type": int,
    "true": True,
    "scalar array": np.array(3.5),
    "matrix": np.ones((2, 2)),
}

DATA = ancf.Interactions.from_ids(
    user=[1, 1, 2, 2, 3, 3, 4, 5, 6, 6], item=list("abbcacabca"), time=range(1_600_000_000, 1_600_000_010)
)
FRAME = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "product_id": list("abcabc"), "quantity": [1, 2, 3, 4, 5, 6]})
FITTED = ancf.Popular().fit(DATA)
BATCH = {"user_ids": [0, 1], "item_ids": [1, 2]}


def network():
    return ancf.ANCFModel(3, 4, embedding_dim=4)


# What is called, and arguments with which it works.
CALLS = {
    "Interactions.from_ids": (ancf.Interactions.from_ids, {"user": [1, 2, 3], "item": [1, 2, 3]}),
    "Interactions.subset": (DATA.subset, {"which": [0]}),
    "Interactions.__getitem__": (DATA.__getitem__, {"which": slice(2)}),
    "IdMap": (ancf.IdMap, {"values": [1, 2]}),
    "concat": (ancf.concat, {"tables": [DATA, DATA]}),
    "random_split": (ancf.random_split, {"data": DATA, "on_leak": "ignore"}),
    "time_split": (ancf.time_split, {"data": DATA}),
    "user_split": (ancf.user_split, {"data": DATA}),
    "leave_last_out": (ancf.leave_last_out, {"data": DATA}),
    "kfold": (ancf.kfold, {"data": DATA, "on_leak": "ignore"}),
    "preprocess_data": (ancf.preprocess_data, {"data": FRAME}),
    "batch_data": (ancf.batch_data, {"X": [[0, 1]] * 3, "y": [1.0] * 3}),
    "dcg_score": (ancf.dcg_score, {"y_true": [1, 0, 1], "y_score": [0.1, 0.2, 0.3]}),
    "calculate_ndcg": (ancf.calculate_ndcg, {"y_true": [1, 0, 1], "y_score": [0.1, 0.2, 0.3]}),
    "Normalizer": (Normalizer, {"kind": "minmax"}),
    "Normalizer.fit": (Normalizer("minmax").fit, {"values": [1, 2, 3]}),
    "Normalizer.transform": (Normalizer("log").transform, {"values": [1, 2, 3]}),
    "Normalizer.inverse": (Normalizer("log").inverse, {"values": [1, 2, 3]}),
    "ANCFModel": (ancf.ANCFModel, {"num_users": 3, "num_items": 4}),
    "ANCFModel.forward": (network().forward, BATCH),
    "ANCFModel.backward": (network().backward, {**BATCH, "targets": [1.0, 0.0]}),
    "ANCFModel.step": (network().step, {**BATCH, "targets": [1.0, 0.0]}),
    "load": (ancf.load, {"file": FITTED.to_bytes()}),
    "inspect": (ancf.model_file.inspect, {"source": FITTED.to_bytes()}),
    "save": (FITTED.save, {"path": "unused"}),
    "from_factors": (ancf.from_factors, {"user_factors": np.ones((2, 2)), "item_factors": np.ones((3, 2))}),
}
for _name in models.MODELS:
    _class = getattr(ancf, _name)
    if _name != "Factors":
        CALLS[f"{_name}.fit"] = (_class(**models.MODELS[_name].example).fit, {"interactions": DATA})
        CALLS[_name] = (
            lambda _class=_class, _example=models.MODELS[_name].example, **options: _class(
                **{**_example, **options}
            ).fit(DATA),
            {},
        )

# A file of such a name would be written; what is no table at all is the reading's to tell.
HARMLESS = {("save", "path"): {"text"}, ("preprocess_data", "data"): {"scalar array"}}


def parameters(name):
    call, _ = CALLS[name]
    signature = inspect.signature(getattr(ancf, name).__init__ if name in models.MODELS else call)
    return [
        each
        for each, about in signature.parameters.items()
        if about.kind not in (about.VAR_KEYWORD, about.VAR_POSITIONAL) and each != "self"
    ]


PAIRS = [(name, parameter) for name in CALLS for parameter in parameters(name)]


@pytest.mark.parametrize(("name", "parameter"), PAIRS, ids=lambda each: each)
def test_a_wrong_argument_is_named_or_taken_and_changes_nothing(name, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[name]
    fingerprint, bytes_before = DATA.fingerprint(), FITTED.to_bytes()
    faults = []
    for what, wrong in WRONG.items():
        if what in HARMLESS.get((name, parameter), ()):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = call(**{**right, parameter: wrong})
                if inspect.isgenerator(answer):
                    list(answer)
        except ancf.InternalError as error:
            faults.append(f"{what}: {error!r}")
        except ancf.AncfError as error:
            if len(str(error)) < 20:
                faults.append(f"{what}: says too little: {error}")
        except (FileNotFoundError, IsADirectoryError) as error:
            if parameter not in ("file", "source", "path"):
                faults.append(f"{what}: {error!r}")
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {str(error)[:90]}")
        else:
            if what == "a thing" and (name, parameter) not in TAKES_ANYTHING:
                faults.append("a thing is taken without a word")
    assert not faults, "\n".join(faults)
    assert DATA.fingerprint() == fingerprint
    assert FITTED.to_bytes() == bytes_before


TAKES_ANYTHING = set()
