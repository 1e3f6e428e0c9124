"""What the documents show runs, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(name):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_the_example_of_a_new_model_runs():
    (example,) = blocks("adding-a-model.md")
    done = run(example)
    assert done.returncode == 0, done.stderr


def test_the_code_of_tuning_runs(tmp_path):
    from ancf.demo_shop import write_csv

    write_csv(tmp_path / "purchases.csv", customers=150, products=60)
    done = run("import os, sys\nos.chdir(sys.argv[1])\n" + "\n".join(blocks("tuning.md")), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "looked at once" in done.stdout


def test_the_code_of_what_a_score_means_runs():
    done = run("\n".join(blocks("scores.md")))
    assert done.returncode == 0, done.stderr


def test_the_code_of_rules_runs():
    done = run("\n".join(blocks("rules.md")))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "'pot' is not listed: it does not fulfill the rule where: price < 25.\n"


def test_the_code_of_comparing_models_runs():
    done = run("\n".join(blocks("comparing.md")))
    assert done.returncode == 0, done.stderr
    assert " won with ndcg@10 " in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden").glob("*.ancf")), ids=lambda path: path.stem)
def test_the_reader_in_the_file_format_reads_every_golden_file(path):
    (reader,) = blocks("file-format.md")
    done = run(reader, str(path))
    assert done.returncode == 0, done.stderr
