"""``ancf tune``: settings for a table, as a file that ``ancf train`` takes; what goes wrong loses nothing."""

import re
import signal
import sqlite3
import subprocess
import sys
import tomllib
from xml.etree import ElementTree

import pytest

import ancf as package
from ancf.models import MODELS, class_of

ALS = ("tune", "purchases.csv", "--model", "als", "--epochs", 4)
# Warnings of one tiny part or another are not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_settings_go_into_a_file_and_the_report_to_stdout(ancf, tmp_path):
    code, out, err = ancf(*ALS, "--trials", 3, "-o", tmp_path / "best.toml")
    assert code == 0, err
    settings = tomllib.loads((tmp_path / "best.toml").read_text())
    assert settings["model"] == "als"
    assert re.search(r"^validation  ndcg@10 0\.\d{4} ± .*flatters", out, re.MULTILINE)
    assert re.search(r"^test        ndcg@10 0\.\d{4} ± .*looked at once", out, re.MULTILINE)
    assert [line[:10] for line in err.splitlines() if line.startswith("trial")] == [
        f"trial {number}/3:"[:10] for number in (1, 2, 3)
    ]


def test_without_a_file_the_settings_alone_are_on_stdout(ancf):
    code, out, err = ancf(*ALS, "--trials", 2, "--quiet")
    assert code == 0
    assert tomllib.loads(out)["model"] == "als"
    assert "trial 1/2" not in err
    assert "flatters" in err


@pytest.mark.parametrize(
    "model",
    [
        ("als", "--epochs", 3),
        ("item-knn",),
        ("popular",),
        ("ancf", "--epochs", 2, "--attention", "learned"),
        ("svd", "--epochs", 3, "--metric", "rmse"),
    ],
    ids=lambda each: each[0],
)
def test_a_model_trained_by_the_file_is_the_one_that_was_found(ancf, tmp_path, model):
    name, *options = model
    code, _, err = ancf(
        *("tune", "purchases.csv", "--model", name, *options, "--trials", 3, "--save-model", tmp_path / "best.ancf"),
        *("-o", tmp_path / "best.toml"),
    )
    assert code == 0, err
    code, _, err = ancf("train", "purchases.csv", "--config", tmp_path / "best.toml", "-o", tmp_path / "all.ancf", "-q")
    assert code == 0, err
    found, trained = package.load(tmp_path / "best.ancf"), package.load(tmp_path / "all.ancf")
    ignored = {"verbose": 0}
    assert trained.get_params() | ignored == found.get_params() | ignored
    assert len(trained.user_ids_) > len(found.user_ids_)  # the test part, too


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if entry.cli_name])
def test_every_option_of_a_model_is_written_as_the_command_line_reads_it(name, tmp_path, shop):
    import click

    from ancf.cli.app import main_group
    from ancf.cli.models import build_model
    from ancf.tuning.trial import Trial

    data = package.read_interactions(shop / "purchases.csv")
    result = package.tune("popular", data, trials=1)
    model = class_of(name)()
    others = {
        each: value + 1 if isinstance(value, (int, float)) else value
        for each, value in model.get_params().items()
        if not isinstance(value, (bool, str)) and value is not None and each != "verbose"
    }
    flags = {each: not value for each, value in model.get_params().items() if isinstance(value, bool)}
    result.best_model = model.set_params(**others, **flags)
    if name == "ANCF":
        result.best_model.set_params(output="sigmoid", half_life=None, temperature=0.25)
    result.best_trial = Trial(1, {}, "complete", value=0.5)
    (tmp_path / "best.toml").write_text(result.to_toml())
    with main_group.make_context("ancf", []) as root:
        command = main_group.get_command(root, "train")
        arguments = ["purchases.csv", "-o", "x.ancf", "--config", str(tmp_path / "best.toml")]
        with command.make_context("train", arguments, parent=root) as ctx, click.Context.scope(ctx, cleanup=False):
            built = build_model(ctx, verbose=0)
    unsaid = {"patience", "validation_metric", "show_progress", "num_threads"}
    wanted = result.best_model.get_params()
    assert {each: value for each, value in built.get_params().items() if each not in unsaid} == {
        each: value for each, value in wanted.items() if each not in unsaid
    }


def test_an_option_that_is_typed_is_not_searched_even_if_it_is_the_default(ancf):
    code, _, err = ancf(*ALS, "--factors", 64, "--trials", 4)
    assert code == 0
    assert "regularization=" in err
    assert "factors=" not in err


def test_a_search_goes_on_from_its_storage(ancf, tmp_path):
    first = ancf(*ALS, "--trials", 2, "--storage", tmp_path / "t.db")
    again = ancf(*ALS, "--trials", 4, "--storage", tmp_path / "t.db")
    fresh = ancf(*ALS, "--trials", 4)
    assert first[0] == again[0] == 0
    assert again[1] == fresh[1]


def test_what_mattered_is_drawn_and_written(ancf, tmp_path):
    code, out, err = ancf(
        *("tune", "purchases.csv", "--model", "item-knn", "--trials", 14, "--plot", tmp_path / "what.svg"),
        *("-o", tmp_path / "best.toml"),
    )
    assert code == 0, err
    assert "What mattered" in out
    assert ElementTree.parse(tmp_path / "what.svg").getroot().tag.endswith("svg")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_ctrl_c_keeps_the_finished_trials_and_says_how_to_go_on(ancf, shop, tmp_path):
    arguments = ["tune", "purchases.csv", "--model", "als", "--trials", "500", "--storage", str(tmp_path / "t.db")]
    with subprocess.Popen(
        [sys.executable, "-m", "ancf", *arguments, "-o", str(tmp_path / "best.toml")],
        cwd=shop,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not (line := running.stderr.readline()).startswith("trial 2/"):
            assert line, "it ended before"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    last = err.splitlines()[-1]
    assert re.search(r"interrupted\. \d+ trials are finished; the best so far is ndcg@10 0\.\d+ with", last)
    assert f"The same call with --storage {tmp_path / 't.db'} goes on from there." in last
    assert not (tmp_path / "best.toml").exists()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        (kept,) = connection.execute("SELECT count(*) FROM trials").fetchone()
    connection.close()
    assert kept >= 2
    arguments[5] = "2"
    assert ancf(*arguments, "-o", tmp_path / "best.toml")[0] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full")
def test_where_the_disk_is_full_the_report_has_been_shown(ancf):
    code, out, err = ancf(*ALS, "--trials", 1, "-o", "/dev/full")
    assert code == 1
    assert "No space left on device" in err
    assert "looked at once" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--metric", "ndgc@10"), 2, "metric 'ndgc@10' is unknown. Did you mean 'ndcg@10'?"),
        (("--trials", 0), 2, "is 0; it must be None or a whole number from 1"),
        (("--timeout", -5), 2, "is -5.0; it must be None or a finite number above 0"),
        (("--method", "bayes"), 2, "'bayes' is not one of 'auto', 'optuna', 'random', 'grid'"),
        (("--test-share", 2), 2, "the part held out is 2.0"),
        (("--validation-share", 0), 2, "--validation-share is 0.0; it must be between 0 and 1"),
        (("--split", "leave-last-out", "--validation-share", 0.1), 2, "--validation-share has no effect with --split"),
        (("--plot", "what.png"), 2, "Let the name end in .svg"),
        (("-o", "nowhere/best.toml"), 2, "does not exist"),
        (("--storage", "nowhere/t.db"), 2, "does not exist"),
        (("--storage", "purchases.csv"), 3, "this is no storage of trials"),
        (("--seed", -1), 2, "random_state is -1"),
        (("--method", "grid", "--trials", 3), 2, "is 3, and the grid has"),
        (("--factors", "many"), 2, "'many' is not a whole number"),
    ],
)
def test_a_mistake_is_told_before_anything_is_tried(ancf, arguments, code, message):
    found, out, err = ancf(*ALS, *arguments)
    assert found == code, err
    assert message in err
    assert not re.search(r"^trial \d", err, re.MULTILINE)
    assert out == ""
