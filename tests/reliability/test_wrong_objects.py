"""Whatever is wrong about an argument: the error names the argument and what was given, and nothing has changed.

A battery over signatures: each parameter of each public callable that is not a question to a model gets each wrong
value, the others being right.
"""

import inspect
import io
import re
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
LISTS = FITTED.recommend([1, 2], 2)
IDS = ancf.IdMap(["a", "b"])
BATCH = {"user_ids": [0, 1], "item_ids": [1, 2]}
TEXT = b"user,item,stars,day,title,kind,order\n1,a,5,2011-12-01,A,x,7\n2,b,4,2011-12-02,B,y,8\n"


def network():
    return ancf.ANCFModel(3, 4, embedding_dim=4)


# What is called, and arguments with which it works.
CALLS = {
    "Interactions.from_ids": (ancf.Interactions.from_ids, {"user": [1, 2, 3], "item": [1, 2, 3]}),
    "Interactions.subset": (DATA.subset, {"which": [0]}),
    "Interactions.__getitem__": (DATA.__getitem__, {"which": slice(2)}),
    "IdMap": (ancf.IdMap, {"values": [1, 2]}),
    "IdMap.factorize": (ancf.IdMap.factorize, {"values": [1, 2]}),
    "IdMap.positions": (IDS.positions, {"ids": ["a"]}),
    "IdMap.take": (IDS.take, {"positions": [0]}),
    "IdMap.index": (IDS.index, {"raw": "a"}),
    "IdMap.__getitem__": (IDS.__getitem__, {"at": 0}),
    "read_interactions": (ancf.read_interactions, {"source": FRAME}),
    "read_interactions of text": (lambda **options: ancf.read_interactions(io.BytesIO(TEXT), **options), {}),
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
    "evaluate_metrics": (ancf.evaluate_metrics, {"model": FITTED, "batches": [([[1, "a"], [2, "b"]], [1.0, 2.0])]}),
    "Recommendations.__getitem__": (LISTS.__getitem__, {"part": 0}),
    "Normalizer": (Normalizer, {"kind": "minmax"}),
    "Normalizer.fit": (Normalizer("minmax").fit, {"values": [1, 2, 3]}),
    "Normalizer.transform": (Normalizer("log").transform, {"values": [1, 2, 3]}),
    "Normalizer.inverse": (Normalizer("log").inverse, {"values": [1, 2, 3]}),
    "ANCFModel": (ancf.ANCFModel, {"num_users": 3, "num_items": 4}),
    "ANCFModel.forward": (network().forward, BATCH),
    "ANCFModel.backward": (network().backward, {**BATCH, "targets": [1.0, 0.0]}),
    "ANCFModel.step": (network().step, {**BATCH, "targets": [1.0, 0.0]}),
    "load": (ancf.load, {"file": FITTED.to_bytes()}),
    "inspect": (ancf.model_file.inspect, {"file": FITTED.to_bytes()}),
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

# The network of another page: an ANCF of its options, as the original describes it.
CALLS["ANCF.classic"] = (lambda **options: ancf.ANCF.classic(**{"epochs": 1, "factors": 4, **options}).fit(DATA), {})

# A file of such a name would be written; the others are right by themselves, and do not go with another option.
HARMLESS = {
    ("save", "path"): {"text"},
    ("ANCFModel", "use_weights"): {"true"},
    ("ANCF", "factor_attention"): {"true"},
}
# What takes a thing, because every id may be asked for, or names are given as text.
TAKES_ANYTHING = {("IdMap.positions", "ids"), ("IdMap.index", "raw"), ("IdMap.factorize", "what")}
# Words that say the same of a parameter: a table is called a table, an argument without a name by its owner.
SAID = {
    ("IdMap.factorize", "values"): "ids",
    "interactions": "ancf.Interactions",
    "data": "data|table|array|path|file|dict|source",
    "source": "table|array|path|file|dict",
    "at": r"\bat\b|IdMap\[",
    "raw": "these 2 ids",
    "part": r"\[ids, scores|there is no \[",
    "name": r"\bname\b|metric",
}


def shown(value):
    """What a message may show of a value: its beginning, its type, its shape, its length, or an element."""
    texts = {repr(value)[:12], str(value)[:12] or "''", type(value).__name__}
    if isinstance(value, np.ndarray):
        texts |= {f"shape {value.shape}"}
    if isinstance(value, (list, dict)) or np.ndim(value):
        texts |= {f"has {len(value)}", *(f"{len(value)} {what}" for what in ("value", "row", "id"))}
    if isinstance(value, (list, dict)):
        texts |= {part for each in value for part in (repr(each), type(each).__name__)}
        texts |= {f"{len(each)} value" for each in value if isinstance(each, list)}
    return texts


def parameters(name):
    call, _ = CALLS[name]
    if name in models.MODELS or name == "ANCF.classic":
        call = getattr(ancf, name.split(".")[0]).__init__
    elif name == "read_interactions of text":
        return parameters("read_interactions")[1:]
    return [
        each
        for each, about in inspect.signature(call).parameters.items()
        if about.kind not in (about.VAR_KEYWORD, about.VAR_POSITIONAL) and each != "self"
    ]


PAIRS = [(name, parameter) for name in CALLS for parameter in parameters(name)]


@pytest.mark.parametrize(("name", "parameter"), PAIRS, ids=lambda each: each)
def test_a_wrong_argument_is_told_with_its_name_and_what_was_given_and_changes_nothing(
    name, parameter, tmp_path, monkeypatch
):
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
            said = str(error)
            if not re.search(SAID.get((name, parameter), SAID.get(parameter, rf"\b{parameter}\b")), said):
                faults.append(f"{what}: {parameter} is not named: {said}")
            if not any(re.search(rf"(?<!\w){re.escape(text)}", said) for text in shown(wrong)):
                faults.append(f"{what}: what was given is not shown: {said}")
        except (FileNotFoundError, IsADirectoryError) as error:
            if parameter not in ("file", "path"):
                faults.append(f"{what}: {error!r}")
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {str(error)[:90]}")
        else:
            if what == "a thing" and (name, parameter) not in TAKES_ANYTHING:
                faults.append("a thing is taken without a word")
    assert not faults, "\n".join(faults)
    assert DATA.fingerprint() == fingerprint
    assert FITTED.to_bytes() == bytes_before


MISSPELT = [name for name in CALLS if "__" not in name and name not in ("read_interactions of text", *models.MODELS)]


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_name_is_told_with_its_value_and_what_was_meant(name):
    call, right = CALLS[name]
    meant = parameters(name)[-1]
    with pytest.raises(ancf.InvalidCallError, match=rf"no option '{meant}_'.*77.*did you mean '{meant}'"):
        call(**right, **{f"{meant}_": 77})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ancf.read_interactions(FRAME, sep=";"), "'delimiter'"),
        (lambda: ancf.random_split(DATA, seed=3), "'random_state'"),
        (lambda: FITTED.recommend(1, top_k=3), "'N'"),
        (lambda: ancf.ALS(n_factors=3), "'factors'"),
    ],
)
def test_what_other_libraries_call_an_option_gets_its_name_here(call, said):
    with pytest.raises(ancf.InvalidCallError, match=f"did you mean {said}"):
        call()
