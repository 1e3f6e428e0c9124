"""What a docstring of a question to a model says: every parameter, what comes back, what is raised, an example."""

import inspect
import re

import pytest

import ancf
from ancf.model_file import inspect as inspect_file

METHODS = (
    "recommend recommend_for_history recommend_all predict explain similar_items similar_users save to_bytes export"
)
DOCUMENTED = {name: getattr(ancf.Recommender, name) for name in METHODS.split()}
DOCUMENTED |= {"load": ancf.load, "inspect": inspect_file, "concat": ancf.concat}
RETURNS_NOTHING = {"save"}
# "Other parameters are those of recommend", says its text.
REFERS = {"recommend_for_history": {"filter_already_liked_items", "items", "filter_items", "N"}}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_names_every_parameter_and_has_returns_raises_and_an_example(name):
    text = inspect.getdoc(DOCUMENTED[name])
    parameters = set(inspect.signature(DOCUMENTED[name]).parameters) - {"self"} - REFERS.get(name, set())
    assert [each for each in sorted(parameters) if not re.search(rf"\b{each}\b", text)] == []
    assert "Raises\n------" in text
    assert ">>> " in text
    if name not in RETURNS_NOTHING | set(REFERS):
        assert "Returns\n-------" in text
