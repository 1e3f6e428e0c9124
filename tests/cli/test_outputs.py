"""Where results go: links, pipes, devices and modes stay, a name says its format, stdout in any encoding."""

import gzip
import json
import os
import stat
import subprocess
import sys
import threading

import pandas as pd
import pytest

import ancf as package

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices are POSIX's")


@pytest.fixture(scope="module")
def ids(shop):
    model = package.load(shop / "shop.ancf")
    return {"user": str(model.user_ids_.values[0]), "item": str(model.item_ids_.values[0])}


WRITING = {
    "describe": "describe purchases.csv",
    "evaluate": "evaluate purchases.csv --model popular",
    "compare": "compare purchases.csv --models popular -q",
    "recommend": "recommend shop.ancf --user {user}",
    "recommend-all": "recommend-all shop.ancf -n 2",
    "similar": "similar shop.ancf --item {item}",
    "explain": "explain shop.ancf --user {user} --item {item}",
    "inspect": "inspect shop.ancf",
    "doctor": "doctor",
}


@pytest.mark.parametrize("name", WRITING)
def test_every_output_goes_through_links_and_pipes_and_keeps_modes(ancf, ids, tmp_path, name):
    arguments = WRITING[name].format(**ids).split()
    target = tmp_path / "target.csv"
    target.write_text("old")
    target.chmod(0o600)
    (tmp_path / "link.csv").symlink_to("target.csv")
    assert ancf(*arguments, "-o", tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    code, out, err = ancf(*arguments, "-f", "csv", "-o", tmp_path / "pipe")
    reader.join()
    assert (code, out) == (0, ""), err
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert got[0].split(b"\n")[0] == target.read_bytes().split(b"\n")[0]
    assert {each.name for each in tmp_path.iterdir()} == {"target.csv", "link.csv", "pipe"}


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize(
    ("output", "said"),
    [("{folder}", "is a folder"), ("nowhere/x.csv", "nowhere does not exist"), ("x.xlsx", ".xlsx names no format")],
)
def test_a_place_that_cannot_be_written_to_is_a_usage_error_before_any_work(ancf, tmp_path, name, output, said):
    arguments = [word.replace("shop.ancf", "missing.ancf") for word in WRITING[name].format(user=1, item=1).split()]
    arguments = [word.replace("purchases.csv", "missing.csv") for word in arguments]
    code, out, err = ancf(*arguments, "-o", output.format(folder=tmp_path))
    assert (code, out) == (2, "")
    assert said in err


def test_a_model_is_refused_where_it_cannot_be_whole_before_it_is_trained(ancf, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code, _, err = ancf("train", "missing.csv", "-o", tmp_path / "pipe")
    assert code == 2
    assert "device or a pipe" in err
    code, _, err = ancf("demo", "--save", "purchases.csv")
    assert code == 2
    assert "--save purchases.csv" in err


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "txt"])
def test_gz_compresses_every_text_with_the_same_bytes(ancf, ids, tmp_path, form):
    for name in ("recommend", "recommend-all"):
        arguments = WRITING[name].format(**ids).split()
        for output in (f"a.{form}", f"b.{form}.gz", f"c.{form}.gz"):
            assert ancf(*arguments, "-o", tmp_path / output)[0] == 0
        assert gzip.decompress((tmp_path / f"b.{form}.gz").read_bytes()) == (tmp_path / f"a.{form}").read_bytes()
        assert (tmp_path / f"b.{form}.gz").read_bytes() == (tmp_path / f"c.{form}.gz").read_bytes()


@pytest.mark.parametrize("where", ["environment", "file"])
@pytest.mark.parametrize("name", ["recommend", "recommend-all"])
def test_the_name_of_a_file_goes_before_a_format_that_was_not_typed(ancf, ids, tmp_path, monkeypatch, where, name):
    arguments = WRITING[name].format(**ids).split()
    if where == "environment":
        monkeypatch.setenv("ANCF_FORMAT", "csv")
    else:
        (tmp_path / "ancf.toml").write_text('format = "csv"')
        monkeypatch.setenv("ANCF_CONFIG", str(tmp_path / "ancf.toml"))
    assert ancf(*arguments, "-o", tmp_path / "x.parquet")[0] == 0
    assert len(pd.read_parquet(tmp_path / "x.parquet")) > 1
    assert ancf(*arguments, "-o", tmp_path / "no_ending")[0] == 0
    assert (tmp_path / "no_ending").read_text().startswith("user_id,item_id,score")


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("-f csv -o x.parquet", 2),
        ("-f json -o x.csv.gz", 2),
        ("-f parquet -o x.txt", 2),
        ("-o x.parquet.gz", 2),
        ("-f csv -o x.txt", 0),
        ("-f csv -o x.dat", 0),
        ("-f csv -o x.CSV", 0),
        ("-f jsonl -o x.jsonl.gz", 0),
    ],
)
def test_a_typed_format_does_not_contradict_the_name(ancf, ids, shop, tmp_path, monkeypatch, typed, code):
    arguments = WRITING["recommend"].format(**ids).split()
    found, _, err = ancf(*arguments, *typed.replace("x.", f"{tmp_path}/x.").split())
    assert found == code, err
    assert len(list(tmp_path.iterdir())) == (code == 0)


# ---- items from files


@pytest.mark.parametrize("name", ["recommend", "recommend-all"])
def test_items_of_a_file_are_left_out(ancf, ids, tmp_path, name):
    arguments = [*WRITING[name].format(**ids).split(), "-f", "jsonl"]
    best = [json.loads(line)["item_id"] for line in ancf(*arguments)[1].splitlines()][:2]
    (tmp_path / "sold_out.txt").write_text(f"{best[0]}\n{best[1]}\nnew-1\nnew-2\n")
    code, out, err = ancf(*arguments, "--without-from", tmp_path / "sold_out.txt")
    assert code == 0
    assert not set(best) & {json.loads(line)["item_id"] for line in out.splitlines()}
    assert "2 of 4 items are unknown to the model and are ignored ('new-1', 'new-2')" in err.replace("\n  ", " ")


@pytest.mark.parametrize("option", ["--without-from", "--only-from"])
@pytest.mark.parametrize(
    ("content", "said"), [("x1\nx2\n", "none of the 2 items is known"), ("\n", "there is no item")]
)
def test_a_file_of_nothing_known_is_bad_data(ancf, tmp_path, option, content, said):
    (tmp_path / "items.txt").write_text(content)
    code, out, err = ancf("recommend-all", "shop.ancf", option, tmp_path / "items.txt")
    assert (code, out) == (3, "")
    assert said in err
    assert f"{option} {tmp_path}" in err


def test_stdin_is_read_once(ancf):
    for typed in ("recommend - --users-from -", "recommend-all shop.ancf --without-from - --only-from -"):
        code, _, err = ancf(*typed.split())
        assert code == 2
        assert "stdin" in err


# ---- options that would have no effect


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("train purchases.csv -o m.ancf --split time", "--split says how --holdout splits"),
        ("train purchases.csv -o m.ancf --validation purchases.csv --split time", "--split says how --holdout splits"),
        ("train purchases.csv -o m.ancf --validation purchases.csv --holdout 0.1", "exclude each other"),
        ("train purchases.csv -o m.ancf --patience 3", "--patience needs something to validate on"),
        ("train purchases.csv -o m.ancf --validation-metric loss", "--validation-metric needs something"),
        ("train purchases.csv -o m.ancf --model item-knn --holdout 0.1", "--holdout has no effect for item-knn"),
        ("train purchases.csv -o m.ancf --model popular --validation purchases.csv", "--validation has no effect"),
        ("evaluate purchases.csv -m shop.ancf --split time", "--split has no effect with --model-file"),
        ("evaluate purchases.csv -m shop.ancf --test-share 0.1", "--test-share has no effect with --model-file"),
        ("evaluate purchases.csv -m shop.ancf --random-state 1", "--random-state has no effect with --model-file"),
        ("evaluate purchases.csv -m shop.ancf --model popular", "--model has no effect with --model-file"),
        ("evaluate purchases.csv -m shop.ancf --epochs 3", "--epochs has no effect with --model-file"),
        ("evaluate purchases.csv --split leave-last-out --test-share 0.1", "--test-share has no effect with --split"),
        ("recommend shop.ancf --user 1 --history 1", "both customers and a history"),
        ("recommend-all shop.ancf --resume", "--resume needs --output"),
        ("recommend-all shop.ancf --resume -o x.json", "--resume needs --output"),
        ("similar shop.ancf --item 1 --user 1", "one or more of one kind"),
        ("explain shop.ancf --item 1 --user 1 --history 1", "give --user ID, or --history"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(ancf, shop, typed, said):
    code, out, err = ancf(*typed.split())
    assert (code, out) == (2, "")
    assert said in err
    assert not (shop / "m.ancf").exists()


def test_names_of_a_model_without_names_are_a_usage_error(ancf, tmp_path):
    package.Popular().fit(package.Interactions.from_ids(user=[1, 2], item=["a", "b"])).save(tmp_path / "m.ancf")
    code, _, err = ancf("recommend", tmp_path / "m.ancf", "--user", 1, "--names")
    assert code == 2
    assert "--name-column" in err


def test_what_a_file_says_of_validation_waits_for_a_model_that_validates(ancf, rows, tmp_path, monkeypatch):
    (tmp_path / "ancf.toml").write_text('[train]\nholdout = 0.5\nsplit = "random"\n')
    config = ("--config", tmp_path / "ancf.toml")
    for name, extra in (("a", config), ("b", ())):
        arguments = ("train", "purchases.csv", "-o", tmp_path / f"{name}.ancf", "--model", "popular")
        assert ancf(*arguments, *extra)[0] == 0
    assert (tmp_path / "a.ancf").read_bytes() == (tmp_path / "b.ancf").read_bytes()


# ---- other terminals


@pytest.mark.parametrize(("encoding", "written_as"), [("latin-1", "latin-1"), ("ascii", "utf-8")])
def test_a_stdout_without_the_letters_is_no_failure(shop, ids, encoding, written_as):
    """An ASCII terminal is taken for a wrong setting of one in UTF-8 (by click)."""
    typed = f"recommend shop.ancf --user {ids['user']} --explain"
    for arguments in (typed.split(), ["demo", "--customers", "200", "--epochs", "1"]):
        done = subprocess.run(
            [sys.executable, "-m", "ancf", *arguments],
            cwd=shop,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(written_as)


def test_lists_of_everybody_have_names_and_reasons_where_they_are_asked_for(ancf, tmp_path):
    out = tmp_path / "lists.jsonl"
    code, _, err = ancf("recommend-all", "shop.ancf", "-n", 2, "--names", "--explain", 2, "-o", out)
    assert code == 0, err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    one = rows[0]["user_id"]
    listed = [row for row in rows if row["user_id"] == one]
    code, single, err = ancf("recommend", "shop.ancf", "--user", one, "-n", 2, "--names", "--explain", "-f", "json")
    assert code == 0, err
    asked = json.loads(single)
    assert [row["item_id"] for row in listed] == [row["item_id"] for row in asked]
    assert [row["name"] for row in listed] == [row["name"] for row in asked]
    assert all(row["name"] and len(row["reasons"]) == 2 for row in listed)
    named = [reason for reason in asked[0]["reasons"] if reason["item_id"] is not None]
    assert [reason["item_id"] for reason in listed[0]["reasons"]] == [reason["item_id"] for reason in named[:2]]


def test_lists_of_the_customers_of_a_file_are_those_of_everybody(ancf, tmp_path):
    assert ancf("recommend-all", "shop.ancf", "-n", 2, "-o", tmp_path / "all.csv")[0] == 0
    everybody = (tmp_path / "all.csv").read_text().splitlines()
    some = list(dict.fromkeys(line.split(",")[0] for line in everybody[1:]))[3:6]
    (tmp_path / "some.txt").write_text("\n".join(some) + "\n")
    code, out, err = ancf("recommend-all", "shop.ancf", "-n", 2, "--users-from", tmp_path / "some.txt", "-f", "csv")
    assert code == 0, err
    assert out.splitlines() == [everybody[0], *(line for line in everybody if line.split(",")[0] in some)]
    (tmp_path / "some.txt").write_text("nobody\n")
    assert ancf("recommend-all", "shop.ancf", "--users-from", tmp_path / "some.txt", "-f", "csv")[0] == 4
