"""Which model a command trains, which options it then has, and which seed splits its table."""

import os
import subprocess
import sys

import numpy as np
import pytest

import ancf as package
from ancf.models import MODELS, class_of

TRAINED = {entry.cli_name: class_of(name) for name, entry in MODELS.items() if entry.cli_name}
NAMES = ", ".join(sorted(TRAINED))


def owners_of(option):
    """The models that have an option."""
    return ", ".join(name for name, each in TRAINED.items() if option.replace("-", "_") in each().get_params())


def others_on(page, chosen):
    """Whether a page names every model but the chosen one."""
    first, *_ = others = [name for name in TRAINED if name != chosen]
    return f"Other models: {', '.join(others)}. 'ancf train --model {first} --help' shows" in " ".join(page.split())


def options_of(model):
    names = {{"output": "output-layer"}.get(name, name) for name in model().get_params()}
    return {f"--{name.replace('_', '-')}" for name in names - {"verbose", "show_progress", "normalize"}}


def options_on(page):
    """What is described above the examples."""
    return {word.rstrip(",") for word in page.split("\nExample")[0].split() if word.startswith("--")}


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("name", TRAINED)
def test_the_page_has_the_options_of_the_chosen_model_and_no_other(ancf, command, name):
    code, out, err = ancf(command, "--model", name, "--help")
    assert code == 0, err
    others = set.union(*(options_of(model) for model in TRAINED.values())) - options_of(TRAINED[name])
    if command == "evaluate":  # which has one of this name itself; that of a model is --model-n-negatives
        others -= {"--n-negatives"}
    assert options_of(TRAINED[name]) <= options_on(out)
    assert not others & options_on(out)
    assert ("--classic" in options_on(out)) == (name == "ancf")
    assert max(map(len, out.splitlines())) <= 80


def test_the_page_names_the_other_models_and_how_to_see_their_options(ancf):
    _, out, _ = ancf("train", "--help")
    assert others_on(out, "ancf")
    _, out, _ = ancf("train", "--model", "item-knn", "--help")
    assert others_on(out, "item-knn")


@pytest.mark.parametrize("arguments", ["--model popular --help", "--help --model=popular", "--model popular x.csv -h"])
def test_the_model_may_stand_anywhere_on_the_command_line(ancf, arguments):
    _, out, _ = ancf("train", *arguments.split())
    assert "--count" in options_on(out)


@pytest.mark.parametrize("variable", ["ANCF_MODEL", "ANCF_TRAIN_MODEL"])
def test_the_model_may_come_from_the_environment(ancf, monkeypatch, variable):
    monkeypatch.setenv(variable, "popular")
    assert "--count" in options_on(ancf("train", "--help")[1])
    assert "--shrinkage" in options_on(ancf("train", "--help", "--model", "item-knn")[1])


def test_the_model_and_its_options_may_come_from_the_file(ancf, tmp_path):
    config, model = tmp_path / "ancf.toml", tmp_path / "m.ancf"
    config.write_text('[train]\nmodel = "item-knn"\nshrinkage = 4.0\n')
    assert "--shrinkage" in options_on(ancf("--config", config, "train", "--help")[1])
    code, _, err = ancf("train", "purchases.csv", "-o", model, "--config", config)
    assert code == 0, err
    assert package.load(model).get_params()["shrinkage"] == 4.0


def test_the_page_is_there_even_if_the_file_is_wrong(ancf, tmp_path, monkeypatch):
    (tmp_path / "ancf.toml").write_text("[train]\nmodl = 'item-knn'\n")
    monkeypatch.setenv("ANCF_CONFIG", str(tmp_path / "ancf.toml"))
    code, out, _ = ancf("train", "--help")
    assert code == 0
    assert "Options of ancf:" in out


@pytest.mark.parametrize(
    ("arguments", "option", "owner", "model"),
    [
        ("--shrinkage 3", "shrinkage", owners_of("shrinkage"), "ancf"),
        ("--shrinkage many", "shrinkage", owners_of("shrinkage"), "ancf"),
        ("--factors=3 --model popular", "factors", owners_of("factors"), "popular"),
        ("--no-item-attention --model popular", "item-attention", "ancf", "popular"),
        ("--use-weights --model popular", "use-weights", owners_of("use-weights"), "popular"),
        ("--model item-knn --classic", "classic", "ancf", "item-knn"),
    ],
)
def test_an_option_of_another_model_is_refused(ancf, tmp_path, arguments, option, owner, model):
    code, out, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", *arguments.split())
    assert (code, out) == (2, "")
    whose = f"--{option} is an option of the model {owner}, not of {model}."
    assert err == f"ancf: {whose} Leave it out, or choose another --model.\n"


@pytest.mark.parametrize("content", ["shrinkage = 3", "[train]\nshrinkage = 3"])
def test_an_option_of_another_model_is_refused_from_the_file(ancf, tmp_path, content):
    config = tmp_path / "ancf.toml"
    config.write_text(content)
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--config", config)
    assert code == 2
    assert f"--shrinkage is an option of the model {owners_of('shrinkage')}, not of ancf." in err


def test_an_option_of_another_model_is_refused_from_the_environment(ancf, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCF_SHRINKAGE", "3")
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf")
    assert code == 2
    assert f"--shrinkage is an option of the model {owners_of('shrinkage')}, not of ancf." in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("--neighbours 3", "no such option '--neighbours'. Did you mean '--neighbors'?"),
        ("--neighbour-weight 1", "no such option '--neighbour-weight'. Did you mean '--neighbor-weight'?"),
        ("--shrinkag 3", "no such option '--shrinkag'. Did you mean '--shrinkage'?"),
        (
            "--model itemknn",
            f"--model itemknn: there is no such model. Did you mean 'item-knn'? There are {NAMES}.",
        ),
        ("--model ItemKNN", "--model ItemKNN: there is no such model. Did you mean 'item-knn'?"),
        ("--model 7", f"--model 7: there is no such model. There are {NAMES}."),
    ],
)
def test_a_misspelt_name_gets_the_nearest_as_a_hint(ancf, tmp_path, arguments, hint):
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", *arguments.split())
    assert code == 2
    assert hint in err


def test_the_way_to_the_page_of_the_chosen_model_is_named(ancf):
    _, _, err = ancf("train", "purchases.csv", "-o", "m.ancf", "--model", "item-knn", "--shrink", "3")
    assert "'ancf train --model item-knn --help' shows what there is." in err


# ---- the seed of a random split


@pytest.mark.parametrize(("arguments", "seed"), [((), 42), (("--random-state", "0"), 0), (("--random-state", "7"), 7)])
def test_the_evaluation_splits_with_the_given_seed_and_else_with_42(rows, shop, arguments, seed):
    found = rows(
        *("evaluate", "purchases.csv", "--split", "random", "--metrics", "ndcg@10", "--model", "svd", "--epochs", 1),
        *arguments,
    )
    data = package.read_interactions(shop / "purchases.csv")
    train, test = package.random_split(data, (0.8, 0.2), random_state=seed, on_leak="ignore")
    model = package.SVD(epochs=1, random_state=seed if arguments else package.SVD().random_state).fit(train)
    assert found["metrics"]["ndcg@10"] == package.evaluate(model, test, "ndcg@10")["ndcg@10"]


@pytest.mark.parametrize(("arguments", "seed"), [((), 42), (("--random-state", "0"), 0), (("--random-state", "7"), 7)])
def test_training_holds_out_with_the_given_seed_and_else_with_42(ancf, shop, tmp_path, arguments, seed):
    typed = ("--holdout", "0.2", "--split", "random", "--epochs", 1, "-q", *arguments)
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", *typed)
    assert code == 0, err
    data = package.read_interactions(shop / "purchases.csv")
    train, _ = package.random_split(data, (0.8, 0.2), random_state=seed, on_leak="ignore")
    expected = train.compact().to_csr()
    seen = package.load(tmp_path / "m.ancf")._fitted().seen
    assert np.array_equal(seen.indptr, expected.indptr)
    assert np.array_equal(seen.items, expected.indices)


def test_a_seed_that_cannot_split_is_a_usage_error(ancf, tmp_path):
    typed = ("--holdout", "0.2", "--split", "random", "--random-state", "-1")
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", *typed)
    assert code == 2
    assert "--random-state -1: a random split takes a whole number from 0 to 4294967295." in err


# ---- completion and start


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("ancf train --model ", sorted(TRAINED)),
        ("ancf train --model item-knn --sh", ["--shrinkage"]),
        ("ancf train --shr", []),
        ("ancf train --fact", ["--factors", "--factor-attention"]),
        ("ancf train --model nothing --epo", ["--epochs"]),
        ("ancf tr", ["train"]),
    ],
)
def test_the_tab_key_completes_names_of_models_and_options(typed, completions):
    words = typed.split(" ")
    variables = {"_ANCF_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from ancf.cli import main; main()"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert [line.partition(",")[2] for line in done.stdout.split()] == completions, done.stderr


def test_the_overview_imports_no_model():
    code = "import sys; from ancf.cli import run; run(['--help']); sys.exit('ancf.models.base' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
