"""What a docstring says: every parameter, what comes back, what is raised, an example."""

import inspect
import re

import pytest

import ancf
from ancf import models
from ancf.comparison import Comparison
from ancf.data.normalize import Normalizer
from ancf.model_file import inspect as inspect_file
from ancf.models.asking import Asking
from ancf.scoring.results import Explanation

CLASSES = [
    *(getattr(ancf, name) for name in models.MODELS),
    *(ancf.Recommender, ancf.ANCFModel, ancf.Interactions, ancf.IdMap, ancf.Evaluation, ancf.Recommendations),
    *(Comparison, Explanation, Normalizer, ancf.LeakageReport, ancf.TuningResult),
    *(ancf.Client, ancf.AsyncClient),
    ancf.Features,
    ancf.Rules,
]
FUNCTIONS = {name: getattr(ancf, name) for name in ancf.__all__ if inspect.isroutine(getattr(ancf, name))}
FUNCTIONS["inspect"] = inspect_file

# Public among the modules of the package, no part of what users call.
INTERNAL = {
    *("IdMap.hint", "IdMap.state", "IdMap.from_state", "Normalizer.state", "Normalizer.from_state"),
    *(
        "Recommendations.parts",
        "Recommendations.flat_positions",
        "Recommendations.sources_of_users",
        "Explanation.link",
    ),
    "Comparison.blocks",
    *("Features.name_of", "Features.describe", "Features.column_of", "Features.with_texts", "Features.texts_of"),
    *("Features.updated", "Features.state", "Features.from_state"),
}
# Other parameters are those of the function that its text names.
REFERS = {
    "Recommender.recommend_for_history": {"filter_already_liked_items", "items", "filter_items", "N", "rules", "shown"}
}
RETURNS_NOTHING = {"Recommender.save", "Factors.fit", "Interactions.save", "IdMap.prepare"}
NEVER_RAISES = {
    "IdMap.parse",
    "IdMap.count",
    "IdMap.position",
    "IdMap.prepare",
    "Evaluation.to_pandas",
    "Recommender.search_space",
} | {*("Features.of", "Rules.to_dict")}
# A server is asked in docs/serving.md.
NO_EXAMPLE = {
    *(f"Client.{name}" for name in ("recommend", "recommend_for_history", "similar_items", "add_events")),
    *("Client.bought_together", "Client.forget_user", "Client.model", "Client.close"),
}
# Made by functions that have an example of them, or shown by their base class.
NO_EXAMPLE |= {"Factors", "Recommender", "Explanation", "Comparison", "Factors.fit", "Recommendations.to_arrow"}


def methods():
    for owner in [*CLASSES, Asking]:
        for name, value in vars(owner).items():
            function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            full = f"{owner.__name__}.{name}"
            if name == "search_space" and owner is not ancf.Recommender:
                continue  # says where its ranges come from; the rest is that of the base class
            if owner is ancf.AsyncClient:
                continue  # says what Client says
            if inspect.isfunction(function) and not name.startswith("_") and full not in INTERNAL:
                yield full, function


CALLABLES = FUNCTIONS | dict(methods())


def parameters(function):
    return [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]


def names_missing(text, names):
    return [each for each in names if not re.search(rf"\b{each}\b", text)]


@pytest.mark.parametrize("name", CALLABLES)
def test_a_docstring_names_every_parameter_and_has_returns_raises_and_an_example(name):
    text, names = inspect.getdoc(CALLABLES[name]), parameters(CALLABLES[name])
    assert names_missing(text, [each for each in names if each not in REFERS.get(name, ())]) == []
    sections = re.findall(r"^(\w+)\n-{4,}$", text, re.MULTILINE)
    assert len(sections) == len(set(sections))
    assert "Parameters" in sections or not names
    assert "Raises" in sections or not names or name in NEVER_RAISES
    assert {"Returns", "Yields"} & {*sections} or name in RETURNS_NOTHING
    assert ">>> " in text or name in NO_EXAMPLE or (name.endswith(".fit") and name.partition(".")[0] in models.MODELS)


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_the_docstring_of_a_class_names_what_it_is_made_with_or_has_and_shows_it(owner):
    text = inspect.getdoc(owner)
    made = owner in (ancf.IdMap, ancf.ANCFModel, Normalizer) or issubclass(owner, ancf.Recommender)
    names = [each for each in parameters(owner) if each not in ("args", "kwargs", "unknown")] if made else []
    assert names_missing(text, names) == []
    assert re.search(r"^(Parameters|Attributes)\n-{4,}$", text, re.MULTILINE)
    assert ">>> " in text or owner.__name__ in NO_EXAMPLE


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_every_property_has_a_docstring(owner):
    properties = {name: value for name, value in vars(owner).items() if isinstance(value, property)}
    assert [name for name, value in properties.items() if not name.startswith("_") and not value.__doc__] == []


def test_every_public_name_is_looked_at():
    looked_at = {*FUNCTIONS, *(owner.__name__ for owner in CLASSES)}
    others = [name for name in ancf.__all__ if name not in looked_at and isinstance(getattr(ancf, name), type)]
    assert all(issubclass(getattr(ancf, name), BaseException) for name in others), others
