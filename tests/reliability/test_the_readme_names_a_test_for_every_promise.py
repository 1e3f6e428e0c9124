"""The README promises what is tested, and what is tested here is promised there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def promises():
    text = (ROOT / "README.md").read_text()
    section = text.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [(row.split("|")[1].strip(), re.findall(r"`((?:tests|benches)/[\w/.]+)`", row)) for row in rows]


def test_every_promise_of_the_readme_names_files_that_exist_and_hold_tests():
    assert len(promises()) >= 13
    for promise, files in promises():
        assert files, promise
        for name in files:
            text = (ROOT / name).read_text()
            assert name.startswith("benches/") or "\ndef test_" in text or "\n    def test_" in text, name


def test_every_file_of_promises_is_named_in_the_readme():
    here = {f"tests/reliability/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    named = {name for _, files in promises() for name in files}
    assert here - named == {f"tests/reliability/{Path(__file__).name}"}
