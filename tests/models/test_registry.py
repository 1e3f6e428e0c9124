"""A model from outside is trained, saved, loaded, compared and used on the command line like those of ancf.

It comes into the registry in two ways: ``ancf.models.register`` in a script, and an installed package with an entry
point, which a child process finds.
"""

import importlib.metadata
import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pytest

import ancf
from ancf import model_file, models
from ancf.checks import check_choice, check_number
from ancf.cli import run
from ancf.data.interactions import Interactions
from ancf.errors import InvalidParameterError, MissingExtraError, ModelFileError
from ancf.models.base import Recommender
from ancf.scoring.histories import Histories
from ancf.scoring.scorer import Arrays, EncodedUsers, Encoder, Scorer
from ancf.testing import ModelContract


class Toy(Recommender):
    """Items by the mean of their weights, pulled towards the mean of all.

    Parameters
    ----------
    prior : float, at least 0
        How many events of the mean weight each item is given.
    order : "best" or "worst"
        Which items come first.
    num_threads : int, optional
    """

    def __init__(
        self, *, prior: float = 5.0, order: Literal["best", "worst"] = "best", num_threads: int | None = None
    ) -> None:
        self.prior = prior
        self.order = order
        self.num_threads = num_threads

    def fit(self, interactions: Interactions, validation: Interactions | None = None) -> Self:
        check_number("prior", self.prior, 0.0, math.inf)
        check_choice("order", self.order, ("best", "worst"))
        data = self._training_data(interactions)
        events = np.bincount(data.items, minlength=data.n_items)
        sums = np.bincount(data.items, weights=data.weights, minlength=data.n_items)
        means = (sums + self.prior * data.weights.mean()) / (events + self.prior)
        self._scorer = self._build_scorer(
            data,
            seen=data.to_csr().sets,
            item_vectors=(means if self.order == "best" else -means).astype(np.float32)[:, None],
            user_vectors=np.ones((data.n_users, 1), np.float32),
            encoder=SameForEverybody(),
        )
        return self

    def _load_encoder(self, arrays: Arrays, meta: dict[str, Any]) -> Encoder:
        return SameForEverybody()


class SameForEverybody(Encoder):
    vectors_compare = False

    def fold_in(self, scorer: Scorer, histories: Histories, num_threads: int | None) -> EncodedUsers:
        return EncodedUsers(np.ones((histories.n_rows, 1), np.float32))


TABLE = "customer,sku,qty\n" + "".join(
    f"c{user},p{(user * user + item) % 7},{1 + (user + 3 * item) % 5}\n" for user in range(12) for item in range(3)
)


@pytest.fixture
def toy(monkeypatch):
    """The toy, registered for one test."""
    monkeypatch.setattr(models, "_REGISTERED", {})
    return models.register(Toy, "toy", example={"prior": 2.0})


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


# ---- registered in a script


class TestRegisteredModel(ModelContract):
    @pytest.fixture(autouse=True)
    def _registered(self, toy):
        return toy

    def make(self, **options):
        return Toy(**{**models.all_models()["Toy"].example, **options})


def test_a_registered_model_is_saved_loaded_evaluated_and_compared(toy, table, tmp_path):
    data = ancf.read_interactions(table)
    train, test = ancf.random_split(data, (0.8, 0.2))
    fitted = toy(prior=2.0).fit(train)
    fitted.save(tmp_path / "toy.ancf")
    loaded = ancf.load(tmp_path / "toy.ancf")
    assert type(loaded) is toy
    assert loaded.get_params() == {"prior": 2.0, "order": "best", "num_threads": None}
    assert loaded.recommend_all(N=3).to_pandas().equals(fitted.recommend_all(N=3).to_pandas())
    result = ancf.compare([toy(prior=2.0), ancf.Popular()], train, test, "ndcg@5")
    assert result["Toy"]["ndcg@5"] == ancf.evaluate(loaded, test, "ndcg@5")["ndcg@5"]
    by_name = ancf.compare({"mine": "toy", "theirs": "Popular"}, train, test, "ndcg@5")
    assert by_name["mine"]["ndcg@5"] == ancf.evaluate(toy().fit(train), test, "ndcg@5")["ndcg@5"]
    assert by_name["theirs"]["ndcg@5"] == result["Popular"]["ndcg@5"]
    with pytest.raises(InvalidParameterError, match="no model 'toys'; did you mean 'toy'"):
        ancf.compare(["toys"], train, test)


def test_a_registered_model_is_trained_by_the_command_line_of_its_process(toy, table, tmp_path, capsys):
    model = tmp_path / "toy.ancf"
    assert run(["train", str(table), "-o", str(model), "--model", "toy", "--prior", "2", "--order", "worst"]) == 0
    assert ancf.load(model).get_params() == {"prior": 2.0, "order": "worst", "num_threads": None}
    capsys.readouterr()
    assert run(["train", str(table), "-o", str(model), "--model", "toy", "--loss", "mse"]) == 2
    assert "--loss is an option of the model ancf, not of toy." in capsys.readouterr().err
    assert run(["train", str(table), "-o", str(model), "--order", "worst"]) == 2
    assert "--order is an option of the model toy, not of ancf." in capsys.readouterr().err


def test_an_option_that_the_command_has_itself_gets_a_prefix(monkeypatch, table, tmp_path, capsys):
    class Colliding(Toy):
        """The toy, with options of names that are taken.

        Parameters
        ----------
        output : int
            Kept as it is.
        """

        def __init__(self, *, output: int = 1, metrics: "str" = "none", split=True, num_threads=None):
            super().__init__()
            self.output, self.metrics, self.split, self.num_threads = output, metrics, split, num_threads

    monkeypatch.setattr(models, "_REGISTERED", {})
    models.register(Colliding, "colliding")
    arguments = ["train", str(table), "-o", str(tmp_path / "c.ancf"), "--model", "colliding"]
    assert run([*arguments, "--model-output", "3", "--metrics", "all", "--no-model-split"]) == 0
    found = ancf.load(tmp_path / "c.ancf").get_params()
    assert (found["output"], found["metrics"], found["split"]) == (3, "all", False)
    capsys.readouterr()
    assert run([*arguments, "--help"]) == 0
    assert "--model-output INTEGER      Kept as it is. [1]" in capsys.readouterr().out


def test_only_new_models_under_new_names_are_registered(toy):
    another = type("ItemKNN", (Toy,), {})
    with pytest.raises(InvalidParameterError, match=r"takes a subclass of ancf\.Recommender, not <class 'dict'>"):
        models.register(dict)
    with pytest.raises(InvalidParameterError, match=r"takes a subclass of ancf\.Recommender, not Toy\(\)"):
        models.register(Toy())
    with pytest.raises(InvalidParameterError, match="a model named ItemKNN is known already"):
        models.register(another, "another")
    with pytest.raises(InvalidParameterError, match="cli_name='item-knn' is the model ItemKNN"):
        models.register(type("Another", (Toy,), {}), "item-knn")
    with pytest.raises(InvalidParameterError, match="cli_name='toy' is the model Toy"):
        models.register(type("Another", (Toy,), {}), "toy")
    assert set(models.all_models()) - set(models.MODELS) == {"Toy"}


def test_a_class_may_be_registered_again_as_a_notebook_does(toy):
    again = type("Toy", (Toy,), {})
    models.register(again, "toy")
    assert models.class_of("Toy") is again


# ---- installed as a package


def install(folder, name, entry_points, source=None):
    """What pip leaves of a package: its module, if there is one, and its metadata."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ancf.models]\n" + "".join(f"{line}\n" for line in entry_points))
    if source is not None:
        (folder / f"{name}.py").write_text(source)


def source_of_the_toy():
    """This module's imports and classes, as a module of its own."""
    imports = Path(__file__).read_text().split("import inspect", 1)[1].split("class Toy", 1)[0]
    kept = [line for line in f"import inspect{imports}".splitlines() if "pytest" not in line and "testing" not in line]
    return "\n".join([*kept, inspect.getsource(Toy), inspect.getsource(SameForEverybody)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of installed packages: the toy's, and some that are broken; and a table."""
    place = tmp_path_factory.mktemp("installed")
    install(place, "toy_package", ["toy = toy_package:Toy"], source_of_the_toy())
    install(place, "lost_package", ["lost = lost_package:Lost"])
    install(place, "broken_package", ["broken = broken_package:Broken"], "raise RuntimeError('out of cheese')\n")
    install(place, "odd_package", ["odd = odd_package:Odd", "renamed = odd_package:Missing"], "Odd = 3\n")
    (place / "table.csv").write_text(TABLE)
    return place


@pytest.fixture(scope="module")
def python(folder):
    """Runs Python where these packages are installed."""

    def call(*arguments):
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        child = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            child, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def command(python):
    """Runs a command line there; gives its output."""

    def call(*arguments):
        done = python("-m", "ancf", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture(scope="module")
def trained(command, folder):
    command("train", "table.csv", "-o", "toy.ancf", "--model", "toy", "--prior", "2")
    return folder / "toy.ancf"


def test_an_installed_model_answers_as_the_same_class_does_here(trained, command, folder):
    found = json.loads(command("recommend", "toy.ancf", "--user", "c3", "-n", 3, "--format", "json"))
    expected = Toy(prior=2.0).fit(ancf.read_interactions(folder / "table.csv")).recommend("c3", N=3)
    assert [row["item_id"] for row in found] == expected.ids.tolist()
    assert np.float32([row["score"] for row in found]).tolist() == expected.scores.tolist()


def test_an_installed_model_is_evaluated_and_compared(command, folder):
    found = json.loads(
        command("evaluate", "table.csv", "--model", "toy", "--prior", "2", "--metrics", "ndcg@5", "--format", "json")
    )
    train, test = ancf.random_split(ancf.read_interactions(folder / "table.csv"), (0.8, 0.2), random_state=42)
    assert found["metrics"]["ndcg@5"] == ancf.compare(Toy(prior=2.0), train, test, "ndcg@5")["Toy"]["ndcg@5"]
    found = json.loads(
        command("compare", "table.csv", "--models", "toy,popular", "--metrics", "ndcg@5", "-q", "--format", "json")
    )
    assert [each["model"] for each in found["models"]] == ["Toy", "Popular"]
    expected = ancf.compare(Toy(), train, test, "ndcg@5")["Toy"]["ndcg@5"]
    assert found["models"][0]["metrics"]["ndcg@5"]["value"] == expected


def test_the_page_of_an_installed_model_is_made_of_its_signature_and_docstring(command):
    page = command("train", "--model", "toy", "--help")
    options = page.partition("Options of toy:\n")[2].partition("\n\n")[0]
    assert options.splitlines() == [
        "  --prior NUMBER        How many events of the mean weight each item is given.",
        "                        [5.0]",
        "  --order [best|worst]  Which items come first. [best]",
    ]
    assert "--factors" not in page.partition("Examples")[0]


def test_an_installed_model_is_loaded_by_its_name_and_imported_for_nothing_else(trained, python):
    code = """
        import sys, ancf, ancf.models
        from ancf.cli import run
        ancf.models.class_of("ItemKNN"), ancf.models.all_models()
        assert run(["train", "table.csv", "-o", "plain.ancf", "--epochs", "1", "-q"]) == 0
        assert run(["train", "--help"]) == 0
        assert "toy_package" not in sys.modules
        model = ancf.load("toy.ancf")
        assert type(model) is sys.modules["toy_package"].Toy is ancf.models.class_of("Toy")
        assert model.get_params()["prior"] == 2.0
    """
    done = python("-c", inspect.cleandoc(code))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["typed", "file"])
def test_an_option_of_an_installed_model_is_not_taken_for_another(python, folder, where):
    arguments = ["--prior", "2"] if where == "typed" else ["--config", "ancf.toml"]
    (folder / "ancf.toml").write_text("[train]\nprior = 2\n")
    done = python("-m", "ancf", "train", "table.csv", "-o", "other.ancf", *arguments)
    assert done.returncode == 2
    expected = "ancf: --prior is an option of the model toy, not of ancf. Leave it out, or choose another --model.\n"
    assert done.stderr == expected
    assert not (folder / "other.ancf").exists()


def test_the_file_of_options_may_choose_an_installed_model(command, folder):
    (folder / "toy.toml").write_text('[train]\nmodel = "toy"\nprior = 3\norder = "worst"\n')
    command("train", "table.csv", "-o", "chosen.ancf", "--config", "toy.toml")
    described = json.loads(command("inspect", "chosen.ancf", "--format", "json"))
    assert (described["class"], described["options"]) == ("Toy", {"prior": 3.0, "order": "worst"})


# ---- what is broken or unknown


def test_a_broken_package_disturbs_nobody_else(trained, command, python):
    assert "train" in command("--help")
    page = command("train", "--help")
    assert "--factors" in page
    first, *_ = others = [entry.cli_name for entry in models.MODELS.values() if entry.cli_name not in (None, "ancf")]
    listed = f"Other models: {', '.join(others)}, broken, lost, odd, renamed, toy. 'ancf train --model {first} --help'"
    assert listed in " ".join(page.split())
    assert "c3" in command("recommend", "toy.ancf", "--user", "c3")
    done = python("-m", "ancf", "train", "table.csv", "-o", "other.ancf", "--factor", "2")
    assert "no such option '--factor'. Did you mean '--factors'?" in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "lost",
            'lost = "lost_package:Lost" of an installed package) cannot be imported: ModuleNotFoundError: No module',
        ),
        ("broken", "cannot be imported: RuntimeError: out of cheese. Install that package again, or remove it."),
        ("renamed", "cannot be imported: AttributeError: module 'odd_package' has no attribute 'Missing'"),
        ("odd", "is 3, not a subclass of ancf.Recommender of that name"),
    ],
)
def test_who_uses_a_broken_package_is_told_which_and_why(python, name, said):
    done = python("-m", "ancf", "train", "table.csv", "-o", "other.ancf", "--model", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_file_of_a_model_that_cannot_be_imported_names_the_package(trained, python, folder):
    arrays, meta = model_file.read(trained)
    model_file.save(folder / "lost.ancf", "Lost", arrays, {**meta, "class": "Lost"})
    done = python("-m", "ancf", "recommend", "lost.ancf", "--user", "c3")
    assert done.returncode == 5
    assert 'the model Lost (entry point lost = "lost_package:Lost" of an installed package)' in done.stderr


def test_an_entry_point_that_cannot_be_imported_is_an_error_of_ancf(monkeypatch):
    monkeypatch.setattr(models, "_installed", lambda: {"Lost": models.ModelEntry("lost_package", "lost")})
    with pytest.raises(MissingExtraError, match=r"the model Lost \(entry point lost"):
        models.class_of("Lost")


@pytest.mark.parametrize(
    "entry",
    [
        ("ancf", "thief_package:Thief"),
        ("thief", "thief_package:ANCF"),
        ("there", "thief_package:Thief"),
        ("zzz", "thief_package:There"),
    ],
)
def test_nobody_takes_the_place_of_another_model(monkeypatch, entry):
    there = importlib.metadata.EntryPoint("there", "honest_package:There", "ancf.models")
    thief = importlib.metadata.EntryPoint(*entry, "ancf.models")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [thief, there])
    models._installed.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"the entry point \w+ = thief_package:\w+ has the name of another model"):
            known = models.all_models()
        assert models.MODELS.items() <= known.items()
        assert "thief_package" not in {entry.module for entry in known.values()}
    finally:
        models._installed.cache_clear()


def test_a_file_of_an_unknown_class_is_refused_without_an_import(trained, tmp_path):
    """Its module could be imported, but no package says that it has a model."""
    (tmp_path / "toy_package.py").write_text(source_of_the_toy())
    code = f"""
        import sys
        from importlib.util import find_spec
        import ancf
        sys.path.append({str(tmp_path)!r})
        try:
            ancf.load({str(trained)!r})
        except ancf.ModelFileError as error:
            print(error)
        assert find_spec("toy_package")
        assert "toy_package" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", inspect.cleandoc(code)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "it holds a 'Toy', which this version of ancf does not know" in done.stdout


def test_a_file_of_an_unknown_class_is_an_error_of_the_command_line(trained, capsys):
    with pytest.raises(ModelFileError, match="it holds a 'Toy'"):
        ancf.load(trained)
    assert run(["recommend", str(trained), "--user", "c3"]) == 5
    assert "it holds a 'Toy', which this version of ancf does not know" in capsys.readouterr().err
