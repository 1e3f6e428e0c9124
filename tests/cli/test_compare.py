"""``ancf compare``: the sentence and the tables, lists made elsewhere, a model that fails, Ctrl-C, a full disk."""

import html
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import ancf as package

FEW = ("--models", "item-knn,popular", "--metrics", "ndcg@10,hit@10")


def test_the_sentence_comes_last_and_the_tables_fit_eighty_columns(ancf):
    code, out, err = ancf("compare", "purchases.csv", *FEW, "--baseline", "popular")
    assert code == 0, err
    sentence = " ".join(out[out.rindex("\n\n") :].split())
    assert re.match(r"(ItemKNN|Popular) won with ndcg@10 0\.\d{4}, .* may be luck|.* more than luck", sentence)
    assert max(map(len, out.splitlines())) <= 80
    assert "ndcg@10 against the baseline" in out
    assert "memory MB" in out
    assert "Split by time" in err
    assert [line.split(":")[0] for line in err.splitlines()[-2:]] == ["ItemKNN", "Popular"]
    assert "(--repeats counts them)" in out


def test_the_figures_are_those_of_the_call_behind_it(rows, shop):
    found = rows("compare", "purchases.csv", *FEW, "-q")
    train, test = package.time_split(package.read_interactions(shop / "purchases.csv"), (0.8, 0.2))
    expected = package.compare(["item-knn", "popular"], train, test, ["ndcg@10", "hit@10"], random_state=42)
    assert found["differences"] == expected.to_dict()["differences"]
    assert found["sentence"] == expected.sentence
    assert {"models", "slices", "about", "users", "notes"} <= set(found)
    assert all(each["peak_bytes"] > 0 for each in found["models"])
    assert (
        found["command"]
        == "ancf compare purchases.csv --models item-knn,popular --metrics ndcg@10,hit@10 -q --format json"
    )


def test_a_training_table_of_its_own_is_compared_on_the_whole_table(rows, ancf, shop, tmp_path):
    train, test = package.time_split(package.read_interactions(shop / "purchases.csv"), (0.8, 0.2))
    for name, part in (("train", train), ("test", test)):
        part.to_pandas().to_csv(tmp_path / f"{name}.csv", index=False)
    given = (tmp_path / "test.csv", "--train", tmp_path / "train.csv", "--models", "item-knn", "-q")
    found = rows("compare", *given, "--candidates", "sampled", "--n-negatives", "9")
    tables = [package.read_interactions(tmp_path / f"{name}.csv") for name in ("train", "test")]
    expected = package.compare(
        "item-knn",
        *tables,
        ["ndcg@10", "recall@20", "hit@10", "coverage@10"],
        candidates="sampled",
        n_negatives=9,
        random_state=42,
    ).to_dict()
    assert [each["metrics"] for each in found["models"]] == [each["metrics"] for each in expected["models"]]
    for options, said in ((("--split", "random"), "--split has no effect"), (("--n-negatives", "5"), "--candidates")):
        code, _, err = ancf("compare", *given, *options)
        assert (code, said in err) == (2, True), err


def test_csv_has_a_row_for_each_model(ancf, tmp_path):
    code, _, err = ancf("compare", "purchases.csv", "--models", "popular", "-q", "-o", tmp_path / "all.csv")
    assert code == 0, err
    found = pd.read_csv(tmp_path / "all.csv")
    assert found["model"].tolist() == ["Popular"]
    assert {"ndcg@10", "low", "high", "difference", "p", "fit_s", "memory_mb", "status"} <= set(found.columns)


def test_lists_of_a_file_stand_beside_the_models(rows, shop, tmp_path):
    train, _ = package.time_split(package.read_interactions(shop / "purchases.csv"), (0.8, 0.2))
    model = package.ItemKNN().fit(train)
    model.recommend_all(N=10).to_pandas().to_csv(tmp_path / "theirs.csv", index=False)
    arguments = ("compare", "purchases.csv", "--models", "item-knn", "--metrics", "ndcg@10,hit@10", "-q")
    found = rows(*arguments, "--lists", f"{tmp_path}/theirs.csv=them", "--lists", tmp_path / "theirs.csv")
    figures = {each["model"]: each["metrics"] for each in found["models"]}
    assert list(figures) == ["ItemKNN", "them", "theirs"]
    assert figures["them"] == figures["theirs"] == figures["ItemKNN"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--models itemknn", 2, "there is no model 'itemknn'; did you mean 'item-knn'"),
        ("--models ,", 2, "--models names no model."),
        ("--metrics ndgc@10", 2, "metric 'ndgc@10'"),
        ("--metrics mse --models popular", 2, "none of these models predicts the quantity"),
        ("--models popular --baseline EASE", 2, "baseline is 'EASE'; it must be one of the rows: Popular."),
        ("--lists nowhere.csv", 2, "--lists nowhere.csv: there is no such file."),
        ("--lists purchases.csv=popular --models popular", 2, "another row is called 'popular'. Name it: --lists"),
        ("--ablation attention --models popular", 2, "--models has no effect with --ablation"),
        ("--ablation attention --tune 3", 2, "--tune has no effect with --ablation"),
        ("--ablation depth", 2, "'depth' is not"),
        ("--timeout-per-model 0", 2, "timeout_per_model is 0.0; it must be a finite number above 0"),
        ("--tune 0", 2, "tune is 0; it must be"),
        ("--split leave-last-out --test-share 0.1", 2, "--test-share has no effect with --split leave-last-out"),
        ("-o report.pdf", 2, "report.pdf: the ending .pdf names no format."),
        ("-o nowhere/all.json", 2, "the folder"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(ancf, arguments, code, said):
    found, out, err = ancf("compare", "purchases.csv", *arguments.split())
    assert (found, out) == (code, ""), err
    assert said in err.replace("\n", " ")
    assert "ndcg@10 0." not in err


def test_an_error_of_every_model_is_an_error(ancf, tmp_path):
    (tmp_path / "one.csv").write_text("user,item,date\n1,a,2024-01-01\n2,b,2024-02-01\n")
    code, out, err = ancf("compare", tmp_path / "one.csv", "--models", "popular,item-knn")
    assert (code, out) == (3, "")
    assert "none of the users" in err or "no test pair is left" in err


@pytest.fixture
def slow(tmp_path):
    """A registered model that never ends, in a program that runs the command line."""
    (tmp_path / "never.py").write_text(
        "import pathlib, sys, time\n"
        "import ancf\n"
        "class Never(ancf.Popular):\n"
        "    def fit(self, interactions, validation=None):\n"
        f"        pathlib.Path({str(tmp_path / 'started')!r}).touch()\n"
        "        while True:\n"
        "            time.sleep(0.01)\n"
    )
    (tmp_path / "run.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import ancf.models, never\n"
        "ancf.models.register(never.Never, 'never')\n"
        "from ancf.cli import main\n"
        "main()\n"
    )

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "run.py"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_ctrl_c_prints_what_is_finished_and_exits_with_130(slow, shop, tmp_path):
    job = slow("compare", shop / "purchases.csv", "--models", "popular,never,item-knn", "--metrics", "ndcg@10")
    end = time.monotonic() + 90
    while not (tmp_path / "started").exists():
        assert time.monotonic() < end
        assert job.poll() is None, job.communicate()
        time.sleep(0.02)
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert "Popular reaches ndcg@10 0." in out
    assert "Never and ItemKNN did not finish" in " ".join(out.split())
    assert "interrupted: Never, ItemKNN not run to the end" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="limits of processes are POSIX's")
def test_a_full_disk_while_the_result_is_written_leaves_the_old_file(ancf, tmp_path, monkeypatch):
    from ancf import atomic_file

    (tmp_path / "all.json").write_text("old")
    arguments = ("compare", "purchases.csv", "--models", "popular", "-q")
    code, out, err = ancf(*arguments, "-o", "/dev/full", "-f", "json")
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    real = atomic_file.os.fsync

    def full(handle):
        if os.path.isfile(f"/proc/self/fd/{handle}"):  # noqa: PTH113
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(atomic_file.os, "fsync", full)
    code, out, err = ancf(*arguments, "-o", tmp_path / "all.json")
    assert (code, out) == (1, "")
    assert f"{tmp_path / 'all.json'}: No space left on device" in err
    assert (tmp_path / "all.json").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["all.json"]


# ---- the report


def test_a_name_that_ends_in_html_gives_the_report_and_the_sentence_in_the_terminal(ancf, tmp_path):
    code, out, err = ancf("compare", "purchases.csv", *FEW, "-q", "-o", tmp_path / "report.html")
    assert code == 0, err
    page = (tmp_path / "report.html").read_text()
    assert out.count("\n") == 1
    assert html.escape(out.strip()) in page
    assert f"ancf compare purchases.csv {' '.join(FEW)} -q -o {tmp_path / 'report.html'}" in page
    assert 'id="customers"' in page
    assert "Memory, MB" in page
    assert err.endswith(f"The report is in {tmp_path / 'report.html'}\n")


def test_the_report_may_go_to_a_pipe(ancf):
    code, out, err = ancf("compare", "purchases.csv", "--models", "popular", "-q", "--format", "html")
    assert code == 0, err
    assert out.startswith("<!doctype html>")
    assert out.endswith("</html>\n")


def test_no_other_command_writes_a_page(ancf, tmp_path):
    code, _, err = ancf("evaluate", "purchases.csv", "-o", tmp_path / "report.html")
    assert code == 2
    assert "the ending .html names no format" in err


def test_a_missing_extra_is_told_before_anything_is_trained(ancf, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = ancf("compare", "purchases.csv", *FEW, "-o", tmp_path / "report.html")
    assert code != 0
    assert "pip install 'ancf[report]'" in err
    assert "Split by time" not in err
    assert out == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_report_that_cannot_be_written_leaves_the_figures_in_the_terminal(ancf):
    code, out, err = ancf("compare", "purchases.csv", *FEW, "-q", "-f", "html", "-o", "/dev/full")
    assert code == 1
    assert "No space left on device" in err
    assert "ItemKNN" in out
    assert "memory MB" in out
