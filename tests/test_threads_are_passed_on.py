"""Whatever of the core takes ``num_threads`` is called with it: left out, it takes every processor."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "python" / "ancf"
# It says what a number of threads comes to.
EXEMPT = {"resolve_num_threads"}


def core_functions():
    """The place of ``num_threads`` among the positional arguments, by function or class; None where it goes by name."""
    found = {}
    for node in ast.parse((PACKAGE / "_core.pyi").read_text()).body:
        methods = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in methods:
            if not isinstance(function, ast.FunctionDef):
                continue
            if isinstance(node, ast.ClassDef) and function.name not in ("__init__", "__new__"):
                continue
            positional = [each.arg for each in function.args.args if each.arg not in ("self", "cls")]
            if "num_threads" in positional:
                found[node.name] = positional.index("num_threads")
            elif any(each.arg == "num_threads" for each in function.args.kwonlyargs):
                found[node.name] = None
    return found


def calls_without_threads(source, functions):
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, node.func.value
        if not (isinstance(owner, ast.Name) and owner.id == "_native") or name not in functions:
            continue
        at = functions[name]
        by_name = any(each.arg in (None, "num_threads") for each in node.keywords)
        by_place = any(isinstance(each, ast.Starred) for each in node.args) or (at is not None and len(node.args) > at)
        if not (by_name or by_place):
            yield node.lineno, name


def test_every_call_into_the_core_says_its_number_of_threads():
    functions = {name: at for name, at in core_functions().items() if name not in EXEMPT}
    assert {"weighted_sums", "ridge_targets", "SoftmaxShard", "NetworkTrainer"} <= set(functions)
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in calls_without_threads(path.read_text(), functions)
    ]
    assert wrong == []


def test_a_call_that_leaves_the_threads_out_is_found():
    source = "_native.f(1)\n_native.f(1, 2)\n_native.f(1, num_threads=None)\n_native.g(1)\n_native.h(1)\n_native.f(*a)"
    assert list(calls_without_threads(source, {"f": 1, "g": None})) == [(1, "f"), (4, "g")]
