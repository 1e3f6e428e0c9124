"""A person's mistake is one line that says what to do, an exit code, and never a traceback."""

import gzip
import json
import signal
import subprocess
import sys
import time

import pytest

PURCHASES = "customer,sku,qty\nann,1,1\nann,2,1\nbob,2,3\n"
BROKEN_TABLES = {
    "empty": (b"", "the file is empty"),
    "header only": (b"customer,sku,qty\n", "there is a header line and no row below it"),
    "no columns": (b"a,b\n1,2\n", "no column is recognized as the user or the item. Found: 'a', 'b'"),
    "text in quantity": (PURCHASES.replace("3", "many").encode(), 'not a finite number (row 4: "many")'),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG image, not a text table"),
    "cut gzip": (gzip.compress(PURCHASES.encode() * 50)[:-20], "the gzip data is damaged"),
    "nobody known": (b"customer,sku\n,1\n,2\n", "none of 2 rows can be used"),
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(PURCHASES)
    return path


@pytest.mark.parametrize("kind", BROKEN_TABLES)
def test_a_broken_table_is_bad_data(ancf, tmp_path, kind):
    content, said = BROKEN_TABLES[kind]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    code, out, err = ancf("train", path, "-o", tmp_path / "m.ancf")
    assert (code, out) == (3, "")
    assert said in err
    assert not (tmp_path / "m.ancf").exists()


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("train missing.csv -o m.ancf", 3, "missing.csv: there is no such file"),
        ("train /proc/sys -o m.ancf", 3, "/proc/sys is a folder without a table"),
        ("train {table} -o nowhere/m.ancf", 2, "nowhere does not exist"),
        ("train {table} -o {table}/m.ancf", 2, "does not exist"),
        ("train {table} -o /proc/m.ancf", 2, "/proc cannot be written to"),
        ("train {table} -o .", 2, ". is a folder"),
        ("train {table} -o m.ancf --user-column Kunde", 2, "--user-column Kunde: {table} has no such column. It has"),
        ("train {table} -o m.ancf --epoch 3", 2, "Did you mean '--epochs'?"),
        ("train {table} -o m.ancf --epochs many", 2, "'many' is not 'auto' or a whole number"),
        ("train {table} -o m.ancf --epochs 0", 2, "epochs is 0"),
        ("train {table} -o m.ancf --attention hard", 2, "'hard' is not one of 'degree', 'mean'"),
        ("train {table} -o m.ancf --holdout 1.5", 2, "must be between 0 and 1"),
        (
            "train {table} -o m.ancf --model popular --factors 3",
            2,
            "--factors is an option of the model als, ancf, bpr, gmf, lightgcn, mlp, neumf, svd",
        ),
        ("train {table} -o m.ancf --learning-rate 1e30 -q", 1, "try a smaller learning_rate"),
        ("train {table} -o m.ancf --encoding klingon", 2, "--encoding klingon is unknown"),
        ("train {table}", 2, "missing option '--output'"),
        ("trian {table}", 2, "Did you mean 'train'?"),
        ("describe {table} -o {table}.xlsx", 2, ".xlsx names no format"),
        ("describe {table} --format exel", 2, "'exel' is not one of"),
        ("evaluate {table} --metrics ndgc@10", 2, "metric 'ndgc@10' is unknown"),
        ("recommend shop.ancf", 2, "Give --user ID"),
        ("recommend shop.ancf --user 99", 4, "user '99' was not in training"),
        ("recommend shop.ancf --user 99 --history 1", 2, "both customers and a history were given"),
        ("recommend shop.ancf --history nothing", 4, "item 'nothing' was not in training"),
        ("recommend shop.ancf --user {user} -n 0", 2, "N is 0"),
        ("recommend shop.ancf --user {user} -n -3", 2, "N is -3"),
        ("recommend shop.ancf --user {user} --without nothing", 4, "item 'nothing' was not in training"),
        ("recommend shop.ancf --users-from missing.txt", 3, "missing.txt: No such file"),
        ("recommend missing.ancf --user 1", 5, "there is no such model file. 'ancf train TABLE -o missing.ancf'"),
        ("recommend . --user 1", 5, ". is a folder"),
        ("recommend {table} --user 1", 5, "like a text, such as a table. 'ancf train' makes a model"),
        ("train shop.ancf -o m.ancf", 3, "this is a model file, not a table"),
        ("recommend-all shop.ancf -n 0", 2, "N is 0"),
        ("recommend-all shop.ancf --resume", 2, "--resume needs --output"),
        ("explain shop.ancf --user {user} --item nothing", 4, "item 'nothing' was not in training"),
        ("explain shop.ancf --item 1", 2, "give --user ID"),
        ("similar shop.ancf --item nothing", 4, "item 'nothing' was not in training"),
        ("inspect {table}", 5, "it does not begin like a model file"),
        ("doctor missing.ancf", 5, "there is no such model file"),
        ("demo --customers 3", 2, "'--customers'"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(ancf, shop, table, asked, code, said):
    import ancf as package

    user = str(package.load(shop / "shop.ancf").user_ids_.values[0])
    known = {"table": str(table), "user": user}
    found, out, err = ancf(*[part.format(**known) for part in asked.split()])
    assert (found, out) == (code, "")
    assert said.format(**known) in err
    assert not (shop / "m.ancf").exists()


def test_the_encoding_is_believed_or_found_out(ancf, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(PURCHASES.replace("ann", "åsa").encode("cp1252"))
    code, _, err = ancf("train", path, "-o", tmp_path / "m.ancf", "--encoding", "utf-8")
    assert code == 3
    assert "a byte is not utf-8" in err
    assert "--encoding cp1252" in err
    code, _, err = ancf("train", path, "-o", tmp_path / "m.ancf", "-q")
    assert code == 0
    assert "read as Windows-1252" in err
    assert ancf("recommend", tmp_path / "m.ancf", "--user", "åsa")[0] == 0


@pytest.mark.parametrize(("rows", "what"), [("ann,1\nann,2\n", "1 user and 2 items"), ("ann,1\nbob,1\n", "1 item")])
def test_a_single_user_or_item_is_noted(ancf, tmp_path, rows, what):
    path = tmp_path / "table.csv"
    path.write_text(f"customer,sku\n{rows}")
    code, _, err = ancf("train", path, "-o", tmp_path / "m.ancf", "-q")
    assert code == 0
    assert "nothing new to recommend" in err
    assert what in err
    code, out, _ = ancf("recommend", tmp_path / "m.ancf", "-u", "ann")
    assert code == 0
    assert "nothing is left to recommend" in out


@pytest.mark.parametrize("kind", ["picture", "later", "flipped bit", "cut"])
def test_a_model_file_that_is_none_is_refused(ancf, shop, tmp_path, kind):
    whole = (shop / "shop.ancf").read_bytes()
    content, said = {
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "it does not begin like a model file"),
        "later": (whole.replace(b'"format":"ancf-1"', b'"format":"ancf-9"', 1), "Install a later ancf"),
        "flipped bit": (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], "another copy"),
        "cut": (whole[:-100], "another copy"),
    }[kind]
    path = tmp_path / "m.ancf"
    path.write_bytes(content)
    for command in (("recommend", path, "--user", "1"), ("inspect", path), ("doctor", path)):
        code, out, err = ancf(*command)
        assert (code, out) == (5, "")
        assert said in err


@pytest.mark.parametrize(
    ("options", "line"),
    [("", "Choosing"), ("--neighbor-weight 1 --serving-exponent 0.5 --half-life none --trend 0", "Epoch 3/")],
)
def test_ctrl_c_in_training_leaves_the_old_model(shop, tmp_path, options, line):
    target = tmp_path / "shop.ancf"
    target.write_bytes(b"the old one")
    command = [sys.executable, "-m", "ancf", "train", "purchases.csv", "-o", str(target), "--epochs", "100000"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *options.split()], cwd=shop, **pipes) as training:
        try:
            assert any(each.startswith(line) for each in training.stderr)
            training.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = training.communicate(timeout=30)
        finally:
            training.kill()
    assert time.monotonic() - began < 5
    assert (training.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.endswith(f"ancf: interrupted. {target} is as it was.\n")
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["shop.ancf"]


def test_a_defect_says_how_to_see_where(ancf, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("ancf.cli.doctor.machine", broken)
    code, _, err = ancf("doctor")
    assert code == 1
    assert "RuntimeError: out of cheese" in err
    assert "ANCF_TRACEBACK=1" in err


def test_reading_options_that_are_lists_are_given_again_and_again(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,stars\nann,POST,5\nann,x,5\nNA,M,4\nNA,x,4\nbob,x,1\n", encoding="utf-8")
    options = "--exclude-items POST* --exclude-items M --missing bob --min-weight 4 --min-user-events 1 --format json"
    command = [sys.executable, "-m", "ancf", "describe", str(path), *options.split()]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    report = json.loads(run.stdout)
    counts = {each["name"]: each["rows"] for each in report["reasons"]}
    assert counts == {"excluded_item": 2, "anonymous": 1}
    assert report["rows_used"] == 2
