"""What may import what, in the Python package and in the Rust core: only downwards, and never in a cycle.

FLOORS says on which floor each child of a folder is: a module or a subfolder. An import (in Rust: a path or a `use`)
goes to a lower floor or stays inside its child. There is no cycle among the children of a folder, nor one of a folder's
own file and its modules. Imports count wherever they are: inside functions, under TYPE_CHECKING, by `import_module`.
Rust's tests do not count.

The sources are read, never imported or built. `python tests/test_architecture.py` prints how many modules, imports and
cycles there are.
"""

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CORE = "python/ancf", "rust/core/src"

# The floors of a folder's children, from the highest to the lowest. Its `__init__.py` or `mod.rs` is above them all.
FLOORS = {
    "ancf": [
        "__main__",
        "cli testing",
        "ray spark",
        "engines",
        "serving",
        "comparison",
        "tuning distributed",
        "models",
        "evaluation",
        "scoring",
        "data checkpoints",
        "model_file search_space",
        "atomic_file checks epochs params",
        "errors _native _pandas _text demo_shop reference reference_neural",
    ],
    "ancf.engines": ["worker request", "schema"],
    "ancf.evaluation": [
        "measuring similar",
        "result",
        "given_lists slices",
        "candidates ranking",
        "beyond",
        "ground_truth",
        "batches leakage metrics pair_errors user_groups",
    ],
    "ancf.comparison": [
        "comparing",
        "result progress process",
        "report",
        "document text_tables measured_models",
        "running sentence",
        "budget",
        "contestants pairs slices",
        "statistics",
    ],
    "ancf.comparison.report": [
        "page",
        "figures",
        "tables customers popularity pictures",
        "material definitions texts",
    ],
    "crate": ["rank serve train", "model", "data metrics store", "runtime", "error"],
    "crate::rank": [
        "calls_by_rules",
        "calls plain first_thresholds",
        "ranker block",
        "batch single target_attention",
        "item_rows offers plan",
        "scorer group_scan",
        "candidates index head",
        "sketches",
        "byte_rows row_sums",
        "bounds neighbor_sums exclusions",
        "arrange query",
        "mixtures",
        "output diversity",
        "key sets checks settled",
    ],
}

# Modules and folders that use the package as its users do, by `import ancf`.
USERS = {"cli", "testing", "comparison"}

REMEDY = "move what both need down, or pass it in"

# Imports that should not be there but are, (from, to): why. One that is no longer needed is an error.
KNOWN: dict[tuple[str, str], str] = {}

# ("models", "base"). A folder's own file is ("models", "__init__") or ("rank", "mod").
Module = tuple[str, ...]


class Import(NamedTuple):
    """One module uses another: where it first does, and how."""

    source: Module
    target: Module
    place: str
    text: str


class Tree(NamedTuple):
    """The modules of one language and what they import, one import a pair."""

    top: str
    separator: str
    own_file: str  # `__init__` or `mod`
    modules: dict[Module, Path]
    imports: list[Import]

    def name(self, module: Module) -> str:
        return self.separator.join((self.top, *module)).removesuffix(self.separator + self.own_file)

    def folders(self) -> dict[str, Module]:
        folders = {module[:depth] for module in self.modules for depth in range(len(module))}
        return {self.name(folder): folder for folder in sorted(folders)}

    def children(self, folder: Module) -> set[str]:
        inside = [module for module in self.modules if module[: len(folder)] == folder]
        return {module[len(folder)] for module in inside} - {self.own_file}

    def between_children(self, folder: Module) -> dict[tuple[Module, Module], Import]:
        """The first import of each child of the folder by each other one."""
        inside, depth = {}, len(folder) + 1
        for each in self.imports:
            source, target = each.source[:depth], each.target[:depth]
            if source[:-1] == target[:-1] == folder and source != target:
                inside.setdefault((source, target), each)
        return inside

    def without(self, known: Iterable[tuple[str, str]]) -> "Tree":
        known = set(known)
        rest = [each for each in self.imports if (self.name(each.source), self.name(each.target)) not in known]
        return self._replace(imports=rest)


# ---- What is wrong with a tree


def upward(tree: Tree) -> list[str]:
    """Imports that do not go down, and modules and folders without a floor."""
    wrong = []
    for name, folder in tree.folders().items():
        if name not in FLOORS:
            continue
        height = {child: at for at, floor in enumerate(reversed(FLOORS[name])) for child in floor.split()}
        children = tree.children(folder)
        for child in sorted(children - {*height}):
            wrong.append(f"new module {tree.name((*folder, child))}: give it a floor in FLOORS")
        for child in sorted({*height} - children):
            wrong.append(f"FLOORS[{name!r}] names {child}, which is not there: remove it")
        if folder:
            height.setdefault(tree.own_file, len(height))
        for each in tree.imports:
            if each.source[: len(folder)] == each.target[: len(folder)] == folder:
                source, target = each.source[len(folder)], each.target[len(folder)]
                if source != target and {source, target} <= {*height} and height[source] <= height[target]:
                    how = "on a lower floor than" if height[source] < height[target] else "on the same floor as"
                    wrong.append(
                        f"{each.place}: {each.text}: {tree.name((*folder, source))} is {how} "
                        f"{tree.name((*folder, target))}; {REMEDY}"
                    )
    return wrong


def cycles(tree: Tree) -> list[str]:
    """Children of a folder that import each other, and modules that do so with their folder's own file: a path each."""
    modules = {(each.source, each.target): each for each in tree.imports}
    groups, wrong = cyclic_groups(modules), []
    for folder in tree.folders().values():
        own_file = (*folder, tree.own_file)
        children = {pair: each for pair, each in tree.between_children(folder).items() if own_file not in pair}
        paths = [min((path_back(child, children) for child in group), key=len) for group in cyclic_groups(children)]
        inside = [group for group in groups if all(module[: len(folder)] == folder for module in group)]
        paths += [path_back(own_file, modules) for group in inside if own_file in group]
        for path in paths:
            steps = [children.get(step) or modules[step] for step in pairwise(path)]
            names = " -> ".join(map(tree.name, path))
            imports = ", ".join(f"{each.place}: {each.text}" for each in steps)
            wrong.append(f"cycle {names} ({imports}); {REMEDY}")
    return wrong


def cyclic_groups(pairs: Iterable[tuple[Module, Module]]) -> list[list[Module]]:
    """The strongly connected components that hold a cycle."""
    onward: dict[Module, list[Module]] = {}
    for source, target in pairs:
        onward.setdefault(source, []).append(target)
    reached: dict[Module, set[Module]] = {}
    for start in onward:
        reached[start], ahead = set(), [start]
        while ahead:
            new = {*onward.get(ahead.pop(), ())} - reached[start]
            reached[start] |= new
            ahead += new
    groups = [sorted(each for each in reached[start] if start in reached.get(each, ())) for start in sorted(reached)]
    return [group for at, group in enumerate(groups) if group and group not in groups[:at]]


def path_back(start: Module, pairs: Iterable[tuple[Module, Module]]) -> list[Module]:
    """The shortest path from a module of a cycle back to it."""
    paths, visited = [[start]], {start}
    for path in paths:
        for source, target in sorted(pairs):
            if source == path[-1] and target == start:
                return [*path, start]
            if source == path[-1] and target not in visited:
                visited.add(target)
                paths.append([*path, target])
    raise ValueError(f"{start} is in no cycle")


def forbidden_imports(tree: Tree) -> list[str]:
    """The package's public names used inside it, modules that do not exist, and `_core` outside `_native`."""
    wrong = []
    for each in tree.imports:
        if each.target == ("_core",) and each.source != ("_native",):
            wrong.append(f"{each.place}: {each.text}: take it from ancf._native")
        if each.target == ("__init__",):
            if not re.match(r"import ancf\b|from (ancf|\.+) import ", each.text):
                wrong.append(f"{each.place}: {each.text}: there is no such module")
            elif each.text != "import ancf" or each.source[0] not in USERS:
                wrong.append(f"{each.place}: {each.text}: import from the module that holds the name, not from ancf")
    return wrong


def unneeded(trees: list[Tree], known: dict[tuple[str, str], str]) -> list[str]:
    """Entries of KNOWN without which everything would be as right as with them."""

    def wrongs(known):
        return [wrong for tree in trees for wrong in upward(tree.without(known)) + cycles(tree.without(known))]

    return [
        f"KNOWN names {source} -> {target}, which is not needed: remove it"
        for source, target in known
        if wrongs(known) == wrongs(known.keys() - {(source, target)})
    ]


# ---- Reading Python


class PythonSource(NamedTuple):
    """What one file imports and uses, before it is known which modules there are."""

    imports: list[tuple[int, str, str | None, str | None]]  # line, module, name, as what
    calls: list[tuple[int, str]]  # line, module given to import_module
    attributes: list[tuple[int, list[str]]]  # line, ["ancf", "load"]
    lazy_names: list[tuple[str, list[str]]]  # a name that __getattr__ finds, and the strings beside it


@cache
def read_python(text: str) -> PythonSource:
    source, inner = PythonSource([], [], [], []), set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                source.imports.extend((node.lineno, each.name, None, each.asname) for each in node.names)
            case ast.ImportFrom():
                module = "." * node.level + (node.module or "")
                source.imports.extend((node.lineno, module, each.name, each.asname) for each in node.names)
            case (
                ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[first, *_])
                | ast.Call(func=ast.Attribute(attr="import_module"), args=[first, *_])
            ):
                # import_module(f"ancf.models.{name}") counts as the folder.
                pieces = first.values if isinstance(first, ast.JoinedStr) else [first]
                if pieces and isinstance(pieces[0], ast.Constant) and isinstance(pieces[0].value, str):
                    module = pieces[0].value
                    source.calls.append((node.lineno, module if len(pieces) == 1 else module.rpartition(".")[0]))
            case ast.Attribute() if node not in inner:
                line, chain = node.lineno, []
                while isinstance(node, ast.Attribute):
                    chain.insert(0, node.attr)
                    node = node.value
                    inner.add(node)
                if isinstance(node, ast.Name):
                    source.attributes.append((line, [node.id, *chain]))
    if any(isinstance(each, ast.FunctionDef) and each.name == "__getattr__" for each in tree.body):
        tables = [each.value for each in tree.body if isinstance(each, ast.Assign | ast.AnnAssign) and each.value]
        source.lazy_names.extend(row for table in tables for row in _rows(table))
    return source


def _rows(table: ast.expr) -> Iterator[tuple[str, list[str]]]:
    """{name: module}, {name: (module, ...)} or ((name, module, ...), ...), as names and the strings beside them."""

    def strings(node):
        return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]

    for node in ast.walk(table):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from ((name, strings(value)) for key, value in pairs if key for name in strings(key))
        elif isinstance(node, ast.Tuple | ast.Call) and (row := strings(node)):
            yield row[0], row[1:]


class Names:
    """Which module of the package a dotted name leads to."""

    def __init__(self, sources: dict[Module, PythonSource]) -> None:
        self.sources = sources
        self.folders = {module[:depth] for module in sources for depth in range(len(module))}

    def known(self, parts: Module) -> bool:
        return parts in self.folders or parts in self.sources or parts == ("_core",)

    def absolute(self, module: Module, name: str) -> Module | None:
        """An imported name's parts after `ancf`; None for other people's."""
        first, *parts = resolve_name(name, ".".join(("ancf", *module[:-1]))).split(".")
        return tuple(parts) if first == "ancf" else None

    def home(self, parts: Module, depth: int = 0) -> Module:
        """A submodule where there is one, or the module from which `__init__` takes a name, or that `__init__`."""
        at = next(at for at in range(len(parts), -1, -1) if parts[:at] in self.folders)
        folder, name, init = parts[:at], parts[at : at + 1], (*parts[:at], "__init__")
        if name and ((*folder, *name) in self.sources or parts[:1] == ("_core",)):
            return (*folder, *name)
        source = self.sources.get(init)
        if name and source and depth < 9:
            for _, module, imported, alias in source.imports:
                origin = self.absolute(init, module)
                if imported and (alias or imported,) == name and origin is not None:
                    return self.home((*origin, imported), depth + 1)
            for public, strings in source.lazy_names:
                for module in strings if (public,) == name else ():
                    for origin in ((*folder, *module.split(".")), tuple(module.removeprefix("ancf.").split("."))):
                        if self.known(origin):
                            return self.home((*origin, public), depth + 1)
        return init


def python_tree(root: Path) -> Tree:
    """The package under `root`. `ancf/__init__.py` may name everything and is left out; `_core` imports nothing."""
    paths = sorted((root / PACKAGE).rglob("*.py"))
    files = {path.relative_to(root / PACKAGE).with_suffix("").parts: path.relative_to(root) for path in paths}
    sources = {module: read_python((root / path).read_text()) for module, path in files.items()}
    names, imports = Names(sources), {}
    for module, source in sources.items():
        if module == ("__init__",):
            continue
        found: list[tuple[int, Module, str]] = []
        bound: dict[str, Module] = {}
        used = {first for _, (first, *_) in source.attributes}
        for line, name, imported, alias in source.imports:
            parts = names.absolute(module, name)
            if parts is None:
                continue
            text = f"from {name} import {imported}" if imported else f"import {name}"
            whole = (*parts, imported) if imported else parts
            value, local = (whole, alias or imported) if imported or alias else ((), "ancf")
            if not names.known(parts) or not value or (not parts and not names.known(value)):
                found.append((line, ("__init__",), text))
            if value in names.folders:
                bound[local or ""] = value
            # Of a folder, what is used of it counts.
            if whole and names.known(parts) and not (whole == value and whole in names.folders and local in used):
                found.append((line, names.home(whole), text))
        for line, name in source.calls:
            parts = names.absolute(module, name)
            if parts is not None and parts != module[:-1]:
                found.append((line, names.home(parts), f'import_module("{name}")'))
        for line, (first, *rest) in source.attributes:
            target = names.home((*bound[first], *rest)) if first in bound else ("__init__",)
            if target != ("__init__",):
                found.append((line, target, ".".join((first, *rest))))
        for line, target, text in sorted(found):
            if target != module:
                pair = (module, target, text if target == ("__init__",) else "")
                imports.setdefault(pair, Import(module, target, f"{files[module]}:{line}", text))
    return Tree("ancf", ".", "__init__", files, list(imports.values()))


# ---- Reading Rust

NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\(?:u\{\w+\}|x..|.)|[^\\'])'""", re.DOTALL
)
FOR_TESTS = re.compile(r"#\s*\[\s*cfg\s*\(\s*(?:all\s*\(\s*)?test\b[^\]]*\]")
TOKEN = re.compile(
    r"\bmod\s+(?P<mod>\w+)\s*\{|(?P<public>\bpub(?:\s*\([^)]*\))?\s+)?\buse\s+(?P<use>[^;]+);|\(\s*in\s[^)]*\)"
    r"|(?P<path>\b[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+)|(?P<brace>[{}])"
)


class RustSource(NamedTuple):
    """What one file uses outside its tests, before it is known which modules there are."""

    code: str  # without comments, strings and `use`
    test_files: list[str]  # `#[cfg(test)] mod name;`
    inline: set[Module]  # `mod name { ... }`
    uses: list[tuple[int, Module, bool, Module, str]]  # line, in which inline module, public, path, as what
    paths: list[tuple[int, Module, Module]]  # line, in which inline module, path


def _blank(hit: re.Match[str] | str) -> str:
    return re.sub(r"[^\n]", " ", hit if isinstance(hit, str) else hit[0])


def _end_of_item(code: str, start: int) -> int:
    """Where an item ends: at its `;`, or with the braces it opened."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "{([") - (code[at] in "})]")
        if depth <= 0 and code[at] in ";}":
            return at + (depth == 0)
    return len(code)


def _used(use: str, prefix: Module = ()) -> Iterator[tuple[Module, str]]:
    """`a::{b, c::{self, D as E}}`: its paths, and the name that each gets."""
    head, brace, group = use.strip().partition("{")
    *path, last = (part.strip() for part in head.split("::"))
    prefix += tuple(path)
    if brace:
        start, depth, group = 0, 0, group[: group.rindex("}")] + ","
        for at, sign in enumerate(group):
            depth += (sign == "{") - (sign == "}")
            if sign == "," and depth == 0:
                yield from _used(group[start:at], prefix) if group[start:at].strip() else ()
                start = at + 1
    else:
        last, _, alias = (part.strip() for part in last.partition(" as "))
        prefix += () if last in ("self", "*") else (last,)
        yield prefix, alias or ("*" if last == "*" else prefix[-1])


@cache
def read_rust(text: str) -> RustSource:
    code, test_files = NOT_CODE.sub(_blank, text).replace("$crate", " crate"), []
    while hit := FOR_TESTS.search(code):
        end = _end_of_item(code, hit.end())
        test_files += re.findall(r"\bmod\s+(\w+)\s*;", code[hit.start() : end])
        code = code[: hit.start()] + _blank(code[hit.start() : end]) + code[end:]
    without_use = re.sub(r"\buse\s[^;]+;", _blank, code)
    source = RustSource(without_use, test_files, set(), [], [])
    depth, opened = 0, []
    for hit in TOKEN.finditer(code):
        line, here = code.count("\n", 0, hit.start()) + 1, tuple(name for name, _ in opened)
        if hit["mod"]:
            opened.append((hit["mod"], depth))
            source.inline.add((*here, hit["mod"]))
            depth += 1
        elif hit["brace"]:
            depth += 1 if hit["brace"] == "{" else -1
            if opened and opened[-1][1] == depth:
                opened.pop()
        elif hit["use"]:
            source.uses.extend((line, here, bool(hit["public"]), *used) for used in _used(hit["use"]))
        elif hit["path"]:
            source.paths.append((line, here, tuple(re.split(r"\s*::\s*", hit["path"]))))
    return source


class Paths:
    """Which file of the core a path leads to, through what modules re-export or import."""

    def __init__(self, sources: dict[Module, RustSource]) -> None:
        self.files: dict[Module, Module] = {module: module for module in sources}
        self.names: dict[Module, dict[str, Module]] = {}
        for module, source in sources.items():
            self.files |= {(*module, *inline): module for inline in source.inline}
            for _, inline, _, path, name in source.uses:
                self.names.setdefault((*module, *inline), {})[name] = path

    def resolve(self, here: Module, path: Module, depth: int = 0) -> tuple[Module, bool] | None:
        """The module (and whether the path names all of it) that a path written `here` leads to; None outside."""
        at, rest = here, [*path]
        if rest[0] == "crate":
            at = ()
        elif rest[0] not in ("self", "super"):
            if (*here, rest[0]) not in self.files:
                known = self.names.get(here, {}).get(rest[0])
                return self.resolve(here, (*known, *rest[1:]), depth + 1) if known and depth < 9 else None
            rest.insert(0, "self")
        while rest and rest[0] in ("crate", "self", "super"):
            at = at[:-1] if rest.pop(0) == "super" else at
        while rest and (*at, rest[0]) in self.files:
            at = (*at, rest.pop(0))
        known = self.names.get(at, {}).get(rest[0]) if rest else None
        further = self.resolve(at, (*known, *rest[1:]), depth + 1) if known and depth < 9 else None
        return further or (at, not rest)


def rust_tree(root: Path) -> Tree:
    """The core under `root`. A `mod.rs` imports a child where its own code uses it, not where it re-exports it."""
    files = {}
    for path in sorted((root / CORE).rglob("*.rs")):
        *folder, stem = path.relative_to(root / CORE).with_suffix("").parts
        files[(*folder,) if stem in ("mod", "lib") else (*folder, stem)] = path.relative_to(root)
    sources = {module: read_rust((root / path).read_text()) for module, path in files.items()}
    tests = {(*module, name) for module, source in sources.items() for name in source.test_files}
    sources = {m: source for m, source in sources.items() if not any(m[:depth] in tests for depth in range(len(m) + 1))}
    paths, imports = Paths(sources), {}
    folders = {module[:-1] for module in sources if module}

    def node(module: Module) -> Module:
        return (*module, "mod") if module in folders else module

    for module, source in sources.items():
        found: list[tuple[int, Module, str]] = []
        for line, inline, public, path, name in source.uses if module else ():
            led = paths.resolve((*module, *inline), path)
            if led is None:
                continue
            target, whole = paths.files[led[0]], led[1]
            if public and module in folders and module == target[: len(module)] != target:
                used = rf"(?<![\w.:])(?<!fn ){re.escape(name)}\b" + r"\s*(?:::|\(|!)" * name[0].islower()
                if use := re.search(used, source.code):
                    found.append((source.code.count("\n", 0, use.start()) + 1, node(target), name))
            elif not (whole and target in folders and any(first == name for _, _, (first, *_) in source.paths)):
                found.append((line, node(target), f"use {'::'.join(path)}"))
        for line, inline, path in source.paths if module else ():
            first = paths.resolve((*module, *inline), path[:1])
            led = paths.resolve((*module, *inline), path) if first and first[1] else None
            if led:
                found.append((line, node(paths.files[led[0]]), "::".join(path)))
        for line, target, text in sorted(found):
            if target != node(module):
                found_import = Import(node(module), target, f"{files[module]}:{line}", text)
                imports.setdefault((found_import.source, target), found_import)
    return Tree("crate", "::", "mod", {node(module): files[module] for module in sources}, list(imports.values()))


# ---- The tests


def counted(tree: Tree) -> str:
    """Single modules, the imports between them and their cycles, then the same of the top-level modules and folders."""
    outside = ((tree.own_file,), ("_core",))
    modules = [(each.source, each.target) for each in tree.imports if each.target not in outside]
    top = [pair for pair in tree.between_children(()) if pair[1] not in outside]
    return (
        f"modules {len(tree.modules)}, imports {len(modules)}, cycles {len(cyclic_groups(modules))}; "
        f"top-level modules {len(tree.children(()))}, imports {len(top)}, cycles {len(cyclic_groups(top))}"
    )


READ = {"python": python_tree, "rust": rust_tree}


@pytest.fixture(scope="module")
def trees():
    return {language: read(ROOT) for language, read in READ.items()}


@pytest.fixture
def copied(tmp_path):
    def copied(*folders):
        for folder in folders:
            shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        return tmp_path

    return copied


def plant(path, code):
    """Writes code at the end of a file; the number of its first line."""
    text = path.read_text() if path.exists() else ""
    path.write_text(text + code)
    return text.count("\n") + 1


def new(check, before, after):
    known = check(before)
    return [wrong for wrong in check(after) if wrong not in known]


@pytest.mark.parametrize("language", READ)
def test_imports_go_only_downwards(trees, language):
    wrong = upward(trees[language].without(KNOWN))
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("language", READ)
def test_no_folders_and_no_modules_import_each_other_in_a_cycle(trees, language):
    wrong = cycles(trees[language].without(KNOWN))
    assert not wrong, "\n".join(["", *wrong])


def test_only_native_imports_the_core_and_the_package_does_not_use_its_own_public_names(trees):
    wrong = forbidden_imports(trees["python"])
    assert not wrong, "\n".join(["", *wrong])


def test_every_known_exception_is_still_needed(trees):
    wrong = unneeded([*trees.values()], KNOWN)
    assert not wrong, "\n".join(["", *wrong])


def test_the_core_names_neither_pyo3_nor_numpy():
    def dependencies(table):
        for key, value in table.items():
            if key.endswith("dependencies"):
                yield from value
                yield from (each["package"] for each in value.values() if "package" in each)
            elif isinstance(value, dict):
                yield from dependencies(value)

    named = {*dependencies(tomllib.loads((ROOT / "rust/core/Cargo.toml").read_text()))}
    assert "rayon" in named
    assert not named & {"pyo3", "numpy"}
    for path in (ROOT / CORE).rglob("*.rs"):
        assert not re.search(r"\b(pyo3|numpy)\b", NOT_CODE.sub(_blank, path.read_text())), path


UPWARD = {
    "python": [
        ("errors", "models", "def planted():\n    from ancf.models.base import Recommender\n"),
        ("_text", "data", "if TYPE_CHECKING:\n    from ancf.data.interactions import Interactions\n"),
        ("data.ids", "cli", "if True:\n    importlib.import_module('ancf.cli.app')\n"),
        ("data.report", "models", "def planted(name):\n    import_module(f'ancf.models.{name}')\n"),
        ("scoring.results", "evaluation", "class Planted:\n    from ..evaluation import evaluate\n"),
        ("scoring.limits", "comparison", "import ancf\nplanted = ancf.compare\n"),
    ],
    "rust": [
        ("rank::key", "rank::ranker", "fn planted() {\n    super::ranker::planted();\n}\n"),
        ("rank::index", "rank::scorer", "mod planted {\n    use super::super::scorer::planted;\n}\n"),
        ("runtime::rng", "model", "\nuse crate::{Error, model::{\n    fold_in as planted},\n};\n"),
        ("data::csr", "rank", "macro_rules! planted {\n    () => { $crate::rank::Sets };\n}\n"),
    ],
}


@pytest.mark.parametrize("language", READ)
def test_every_upward_import_is_reported_with_its_place_and_remedy(trees, copied, language):
    copy = copied(PACKAGE if language == "python" else CORE)
    top, separator = trees[language].top, trees[language].separator
    expected = set()
    for module, target, code in UPWARD[language]:
        file = f"{PACKAGE}/{module}.py" if language == "python" else f"{CORE}/{module}.rs"
        file = file.replace(module, module.replace(separator, "/"))
        line = plant(copy / file, code) + 1
        source = separator.join(module.split(separator)[: len(target.split(separator))])
        fault = f"{top}{separator}{source} is on a lower floor than {top}{separator}{target}"
        expected.add((f"{file}:{line}", f"{fault}; {REMEDY}"))
    found = [wrong.split(": ") for wrong in new(upward, trees[language], READ[language](copy))]
    assert {(parts[0], parts[-1]) for parts in found} == expected
    assert len(found) == len(expected)


def test_modules_of_one_floor_do_not_import_each_other(trees, copied):
    copy = copied(PACKAGE)
    line = plant(copy / PACKAGE / "errors.py", "from ancf import _text\n")
    assert new(upward, trees["python"], python_tree(copy)) == [
        f"{PACKAGE}/errors.py:{line}: from ancf import _text: ancf.errors is on the same floor as ancf._text; {REMEDY}"
    ]


def test_a_name_of_init_leads_to_the_module_that_defines_it(trees, copied):
    copy = copied(PACKAGE)
    file = f"{PACKAGE}/params.py"
    line = plant(copy / file, "import ancf\nfrom ancf.models import ANCF as planted\nancf.evaluate\n")
    tree = python_tree(copy)
    found = {(each.target[:2], each.place) for each in tree.imports if each.source == ("params",)}
    assert {(("models", "ancf"), f"{file}:{line + 1}"), (("evaluation", "measuring"), f"{file}:{line + 2}")} <= found
    assert new(forbidden_imports, trees["python"], tree) == [
        f"{file}:{line}: import ancf: import from the module that holds the name, not from ancf"
    ]


def test_an_import_of_the_core_outside_native_is_reported(trees, copied):
    copy = copied(PACKAGE)
    line = plant(copy / PACKAGE / "data/ids.py", "from ancf._core import canonical_events\n")
    [wrong] = new(forbidden_imports, trees["python"], python_tree(copy))
    assert wrong == f"{PACKAGE}/data/ids.py:{line}: from ancf._core import canonical_events: take it from ancf._native"


def test_a_cycle_of_python_modules_is_reported(trees, copied):
    copy = copied(PACKAGE)
    line = plant(
        copy / PACKAGE / "data/ids.py", "def planted():\n    from ancf.data.interactions import Interactions\n"
    )
    [wrong] = new(cycles, trees["python"], python_tree(copy))
    assert wrong.startswith("cycle ancf.data.ids -> ancf.data.interactions -> ancf.data.ids (")
    assert f"({PACKAGE}/data/ids.py:{line + 1}: from ancf.data.interactions import Interactions, {PACKAGE}/" in wrong
    assert wrong.endswith(f"); {REMEDY}")


def test_a_cycle_of_rust_modules_is_reported(trees, copied):
    copy = copied(CORE)
    line = plant(copy / CORE / "model/attention.rs", "use super::spectral::planted;\n")
    [wrong] = new(cycles, trees["rust"], rust_tree(copy))
    assert wrong.startswith("cycle crate::model::attention -> crate::model::spectral -> crate::model::attention (")
    assert f"({CORE}/model/attention.rs:{line}: use super::spectral::planted, {CORE}/model/spectral.rs:" in wrong


def test_a_cycle_of_a_folder_and_its_own_file_is_reported(trees, copied):
    copy = copied(CORE)
    plant(copy / CORE / "model/mod.rs", "pub use attention::propagate;\npub struct Planted;\n")
    line = plant(copy / CORE / "model/attention.rs", "fn planted() -> super::Planted {}\n")
    assert not new(cycles, trees["rust"], rust_tree(copy))
    used = plant(copy / CORE / "model/mod.rs", "fn planted() {\n    propagate();\n}\n") + 1
    [wrong] = new(cycles, trees["rust"], rust_tree(copy))
    assert wrong == (
        f"cycle crate::model -> crate::model::attention -> crate::model ({CORE}/model/mod.rs:{used}: propagate, "
        f"{CORE}/model/attention.rs:{line}: super::Planted); {REMEDY}"
    )


def test_comments_strings_and_tests_are_no_imports(trees, copied):
    copy = copied(PACKAGE, CORE)
    plant(
        copy / CORE / "error.rs",
        "// use crate::rank::Sets;\n"
        '/* crate::rank::Sets */ const PLANTED: &str = "crate::rank::Sets"; const QUOTE: char = \'"\';\n'
        'const RAW: &str = r#"crate::rank::"Sets"#; pub(in crate::error) fn planted<\'a>(_: &\'a str) {}\n'
        "#[cfg(test)]\nmod planted {\n    use crate::rank::Sets;\n}\n"
        "#[cfg(test)]\n#[allow(unused)]\nfn planted(sets: [crate::rank::Sets; 1]) {}\n"
        "#[cfg(test)]\nmod planted_tests;\n",
    )
    (copy / CORE / "error").mkdir()
    plant(copy / CORE / "error/planted_tests.rs", "use crate::rank::Sets;\n")
    plant(copy / PACKAGE / "errors.py", '"""\nfrom ancf.models.base import Recommender\n"""\n# import ancf\n')
    assert {language: counted(read(copy)) for language, read in READ.items()} == {
        language: counted(tree) for language, tree in trees.items()
    }


def test_a_module_without_a_floor_is_reported(trees, copied):
    copy = copied(PACKAGE)
    plant(copy / PACKAGE / "planted.py", "import ancf.errors\n")
    assert new(upward, trees["python"], python_tree(copy)) == ["new module ancf.planted: give it a floor in FLOORS"]
    (copy / PACKAGE / "reference.py").unlink()
    assert "FLOORS['ancf'] names reference, which is not there: remove it" in upward(python_tree(copy))


def test_a_known_exception_is_excused_while_it_is_needed(trees, copied):
    copy = copied(PACKAGE)
    plant(copy / PACKAGE / "errors.py", "from ancf.models.base import Recommender\n")
    known = {("ancf.errors", "ancf.models.base"): "planted", ("ancf.models.base", "ancf.errors"): "goes down"}
    tree = python_tree(copy)
    assert new(upward, trees["python"], tree)
    assert not new(upward, trees["python"], tree.without(known))
    assert unneeded([tree], known) == ["KNOWN names ancf.models.base -> ancf.errors, which is not needed: remove it"]


if __name__ == "__main__":
    for language, read in READ.items():
        print(f"{language}: {counted(read(Path(*sys.argv[1:2] or [ROOT])))}")
