"""What the README, the page on the command line and the examples say is run, word by word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ancf.demo_shop import demo_shop

ROOT = Path(__file__).parents[2]
README, PAGE = (ROOT / "README.md").read_text(), (ROOT / "docs" / "cli.md").read_text()
COMMANDS = re.findall(r"^    ((?:ancf|zcat) .*?)(?: {2,}.*)?$", README + PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the purchases that the README speaks of: a customer 17850, and products of a few codes."""
    place = tmp_path_factory.mktemp("readme")
    table = demo_shop(customers=300, products=120)
    busiest = table["customer_id"].value_counts().drop(["", "-1"]).index[0]
    products = table.loc[table["customer_id"] != busiest, "product_id"].value_counts().drop("", errors="ignore").index
    table = table.replace({"customer_id": {busiest: "17850"}, "product_id": {products[0]: "85123A"}})
    table.to_csv(place / "purchases.csv", index=False)
    table.to_csv(place / "purchases.csv.gz", index=False)
    return place


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(shell, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)


def test_the_python_example_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.count("17850") == 10
    assert "recall@20" in out


def test_the_commands_run_in_the_order_in_which_they_stand(folder):
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or "train" in command, command


def test_the_targets_of_make_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)`?", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_file_of_options_is_accepted(folder, tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "ancf.toml").write_text(example)
    table = pd.read_csv(folder / "purchases.csv", dtype=str).rename(columns={"customer_id": "Kunde"})
    table.to_csv(tmp_path / "purchases.csv", index=False)
    command = example.splitlines()[0].removeprefix("# ")
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Epoch 1/30, Validation Loss: " in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("attention_or_classical", ["300"], "ndcg@10 against the baseline"),
        ("unknown_visitors", ["300"], "attention   finds the next new thing of"),
        ("nightly_job", ["purchases.csv", "lists.csv", "new.ancf"], "recommendations for"),
    ],
)
def test_the_examples_run(folder, name, arguments, said):
    script = str(ROOT / "examples" / f"{name}.py")
    done = subprocess.run([sys.executable, script, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {
        "attention_or_classical",
        "lists_to_database",  # tests/cli/test_operations.py
        "monitor",  # tests/cli/test_operations.py
        "nightly_job",
        "ray_training",  # tests/distributed/test_ray.py
        "spark_job",  # tests/engines
        "unknown_visitors",
    }


def test_the_documents_named_are_there():
    for path in re.findall(r"`((?:docs|examples|tests)/[\w/.]+|[A-Z]+\.md)`", README):
        assert (ROOT / path).exists(), path
