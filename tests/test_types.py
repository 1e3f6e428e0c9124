"""What a type checker and an editor know of ancf: every public name, the words of every choice, what comes back."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest

import ancf
from ancf import models
from ancf.cli.options import parameter_docs

# A program that must pass.
RIGHT = """
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, assert_type

import numpy as np
from numpy.typing import NDArray

import ancf
from ancf import ANCF, Interactions, Recommendations
from ancf import *
from ancf.comparison import Comparison
from ancf.data.normalize import Normalizer
from ancf.scoring import Encoder
from ancf.scoring.bulk import StreamResult
from ancf.scoring.purchases import History
from ancf.scoring.results import Explanation
from ancf.scoring.update_report import UpdateReport
from ancf.scoring.why_not import WhyNot
from ancf.search_space import Integer, Real


class Own(ancf.Recommender):
    def __init__(self, *, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        return self

    def _load_encoder(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Encoder:
        raise NotImplementedError


def learn(data: Interactions) -> ANCF:
    own = Own(strength=2.0).fit(data)
    assert_type(own, Own)
    assert_type(ancf.Popular(count="events").fit(data), Popular)
    assert_type(ancf.ItemKNN(neighbors=5).fit(data).set_params(neighbors=6).clone(), ItemKNN)
    assert_type(ANCF.classic(epochs=3), ANCF)
    assert_type(ancf.from_factors([[1.0]], [[1.0]], item_ids=["tea"]), ancf.Factors)
    assert_type(ancf.load("shop.ancf"), ancf.Recommender)
    assert_type(ancf.compare([own, ANCF()], data, data), Comparison)
    assert_type(ancf.compare({"own": own, "loaded": load("shop.ancf")}, data, data)["own"], ancf.Evaluation)
    model = ANCF(factors=8, epochs="auto", attention="learned", half_life=None, negatives=5, loss="bpr")
    assert_type(model.fit(data, validation=data), ANCF)
    assert_type(model.normalizer_, Normalizer | None)
    assert_type(model.partial_fit(data, deduplicate=True), ANCF)
    assert_type(model.last_update_, UpdateReport | None)
    assert_type(model.mark_, int | str | None)
    return model


def ask(model: ancf.Recommender, out: Path | None, some: Sequence[str], one_or_more: str | list[str]) -> None:
    ids, scores = model.recommend("ann", N=5, items={"ann": ["tea"]}, filter_items="cup", on_unknown="popular")
    assert_type(ids, NDArray[Any])
    assert_type(model.recommend(some), Recommendations)
    rules = ancf.Rules(where="price < 3", deny="cup", boosts={"buyers < 9": 2}, pins={1: "tea"}, at_most={"brand": 3})
    assert_type(model.recommend("ann", rules=rules, shown={"ann": ["tea"]}), Recommendations)
    assert_type(model.with_stock(["tea"]).recommend_all(rules=rules), Recommendations)
    assert_type(model.why_not("ann", "cup", rules=rules), WhyNot)
    assert_type(model.bought_together([["tea"], ["cup"]], rules=ancf.Rules(pins=["mat"])), Recommendations)
    assert_type(model.recommend(one_or_more, items=np.array([True])), Recommendations)
    assert_type(model.recommend_for_history({"tea": 2.0}), Recommendations)
    assert_type(model.recommend_for_history([["tea"], ["cup"]], weights=[[1.0], [2.0]]), Recommendations)
    assert_type(model.recommend_all(5), Recommendations)
    assert_type(model.recommend_all(out="lists.csv", resume=True), StreamResult)
    assert_type(model.recommend_all(out=out), Recommendations | StreamResult)
    assert_type(model.predict("ann", "tea"), float)
    assert_type(model.predict(np.int64(3), 7), float)
    assert_type(model.predict(some, "tea"), NDArray[np.float32])
    assert_type(model.predict("ann", model.item_ids_.values), NDArray[np.float32])
    assert_type(model.predict({"ann", "bob"}, ("tea", "cup")), NDArray[np.float32])
    assert_type(model.predict("ann", one_or_more), float | NDArray[np.float32])
    assert_type(model.explain("ann", "tea"), Explanation)
    assert_type(model.explain(item="tea", history=["cup"]).reasons[0].contribution, float)
    assert_type(model.similar_items("tea", metric="inner"), Recommendations)
    assert_type(model.history("ann"), History)
    assert_type(model.export("folder", "npy"), list[Path])
    assert_type([row.score for row in model.recommend("ann").rows()], list[float])


def measure(model: ancf.Recommender, data: Interactions) -> float:
    result = ancf.evaluate(model, data, ["ndcg@10"], on_unknown="raise")
    lists = {"ann": ["tea", "cup"], "bob": ["tea"]}
    assert_type(ancf.evaluate(lists, data, train=data, candidates="sampled", n_negatives=50), ancf.Evaluation)
    ancf.evaluate(model.recommend(["ann"]), data, candidates=lists)
    ancf.evaluate("lists.csv", data)
    result.by("history_length", bins=3)
    result.by({"tea": "drinks"}, of="item")
    assert_type(ancf.leakage_report(data, data), ancf.LeakageReport)
    assert_type(ancf.evaluate_similar(model, data, "hit@5", train=data), ancf.Evaluation)
    ancf.evaluate_metrics(model, [([["ann", "tea"]], [1.0])])
    ancf.evaluate_metrics(ancf.ANCFModel(3, 4, attention="batch"), ancf.batch_data([[0, 1]], [1.0]))
    assert_type(result["ndcg@10"], float)
    space = {"factors": Integer(8, 64, log=True), "learning_rate": Real(0.01, 0.1)}
    tuned = ancf.tune(ancf.BPR, data, test=data, timeout=60, method="random", space=space, storage=Path("trials.db"))
    assert_type(ancf.tune("als", data, validation=0.1), ancf.TuningResult)
    assert_type(tuned.best_model, ancf.Recommender)
    assert_type(tuned.test_value, float | None)
    return result["ndcg@10"]
"""

# Lines that must each be an error, and of which kind.
WRONG = {
    "ancf.ANCF(factrs=3)": "call-arg",
    "ancf.ANCFModel(3, 4, factrs=3)": "arg-type",
    'ancf.ANCF(loss="mze")': "arg-type",
    'ancf.ANCF(attention="batch")': "arg-type",
    'ancf.ANCF(epochs="soon")': "arg-type",
    'ancf.Popular(count="views")': "arg-type",
    "ancf.ANCF().fit(3)": "arg-type",
    "ancf.ANCF().partial_fit(3)": "arg-type",
    "ancf.nothing": "attr-defined",
    "from ancf import nobody": "attr-defined",
    "from ancf.models import Popularity": "attr-defined",
    "model.recomend(5)": "attr-defined",
    "model.recommend(None)": "arg-type",
    'model.recommend(5, on_unknown="ignore")': "arg-type",
    "model.recommend(5, items=5.5)": "arg-type",
    "text: str = model.recommend(5)": "assignment",
    'model.recommend_for_history("tea")': "arg-type",
    "model.recommend_all(out=3)": "call-overload",
    'scores: list[float] = model.predict(5, ["tea"])': "assignment",
    'model.similar_items("tea", metric="euclid")': "arg-type",
    'model.export("folder", "csv")': "arg-type",
    "ancf.evaluate(3, data)": "arg-type",
    'ancf.evaluate(model, data, on_unknown="ignore")': "arg-type",
    'ancf.evaluate(model, data, candidates="some")': "arg-type",
    'ancf.evaluate(model, data).by("age")': "arg-type",
    "ancf.evaluate_similar({1: [2]}, data)": "arg-type",
    "ancf.evaluate_metrics(3, [])": "arg-type",
    "ancf.compare([3], data, data)": "list-item",
    'ancf.tune("als", data, method="bayes")': "arg-type",
    "ancf.tune(3, data)": "arg-type",
}
_GIVEN = "import ancf\nmodel: ancf.Recommender\ndata: ancf.Interactions\n"


class Remark(NamedTuple):
    """A line of mypy's."""

    file: str
    line: int
    kind: str
    text: str


@pytest.fixture(scope="module")
def remarks(tmp_path_factory: Any) -> list[Remark]:
    """What mypy --strict says of the right lines, the wrong lines and the names, in one run."""
    folder = tmp_path_factory.mktemp("types")
    names = [f"reveal_type(ancf.{name})" for name in ancf.__all__]
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(_GIVEN + "\n".join(WRONG))
    (folder / "names.py").write_text("\n".join(["import ancf", *names]))
    settings = dict(os.environ)
    settings.pop("MYPYPATH", None)
    # What is installed mypy finds by itself; the package that is tested may lie elsewhere.
    package = Path(ancf.__file__).parents[1]
    if package not in {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}:
        settings["MYPYPATH"] = str(package)
    options = ("--strict", "--config-file=", "--cache-dir=cache", "--follow-imports=silent", "--no-pretty")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--no-color-output", "right.py", "wrong.py", "names.py"],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [
        Remark(match[1], int(match[2]), match[3], match[4])
        for match in re.finditer(r"^(\w+\.py):(\d+): (error|note): (.*)$", done.stdout, re.MULTILINE)
    ]
    assert found, done.stdout + done.stderr
    return found


def test_a_right_program_passes_a_strict_check(remarks):
    assert [each for each in remarks if each.file == "right.py"] == []


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_an_error_of_its_kind(remarks, line):
    at = _GIVEN.count("\n") + list(WRONG).index(line) + 1
    errors = [each.text for each in remarks if (each.file, each.line, each.kind) == ("wrong.py", at, "error")]
    assert len(errors) == 1
    assert errors[0].endswith(f"[{WRONG[line]}]")


def test_no_public_name_is_any_and_no_call_returns_it(remarks):
    revealed = {
        ancf.__all__[each.line - 2]: each.text.removeprefix('Revealed type is "').removesuffix('"')
        for each in remarks
        if each.file == "names.py"
    }
    assert set(revealed) == set(ancf.__all__)
    assert [name for name, text in revealed.items() if text == "Any" or text.endswith("-> Any")] == []
    # No option of a model is without a type.
    assert [name for name in models.MODELS if "Any" in revealed[name]] == []


def _typed_imports(module):
    """What stands under TYPE_CHECKING: name → module."""
    tree = ast.parse(Path(module.__file__).read_text())
    blocks = [each for each in tree.body if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"]
    assert len(blocks) == 1
    imports = [each for each in blocks[0].body if isinstance(each, ast.ImportFrom)]
    return {alias.asname or alias.name: each.module for each in imports for alias in each.names}


@pytest.mark.parametrize("module", [ancf, models], ids=lambda module: module.__name__)
def test_the_names_for_type_checkers_are_those_that_are_loaded(module):
    typed = _typed_imports(module)
    assert sorted(typed) == sorted(module._MODULE_OF)
    assert set(typed) <= set(module.__all__)
    for name, home in typed.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)


def test_every_model_of_the_registry_is_a_public_name():
    assert set(models.MODELS) <= set(ancf.__all__)
    for name in models.MODELS:
        assert getattr(ancf, name) is models.class_of(name)


def _in_a_new_process(expression):
    command = f"import sys, ancf; print({expression})"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.strip()


def test_completion_knows_every_public_name_before_it_is_loaded():
    assert _in_a_new_process("set(ancf.__all__) - set(dir(ancf))") == "set()"
    assert len(set(ancf.__all__)) == len(ancf.__all__)


def test_importing_ancf_loads_neither_numpy_nor_pandas():
    assert _in_a_new_process("{'numpy', 'pandas', 'ancf.models.base'} & set(sys.modules)") == "set()"


@pytest.mark.parametrize("name", [*models.MODELS, "ANCFModel"])
def test_a_choice_has_the_words_that_its_docstring_names(name):
    model = getattr(ancf, name)
    docs = parameter_docs(model)
    for option, parameter in inspect.signature(model.__init__).parameters.items():
        if get_origin(parameter.annotation) is Literal:
            assert set(re.findall(r'"([^"]+)"', docs[option][0])) == set(get_args(parameter.annotation)), option
