"""Every command does what its page says: on the demo shop, with ids as they stand in the table."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import ancf as package
from ancf import _native
from ancf.cli.app import COMMANDS, main_group


@pytest.fixture(scope="module")
def user(shop):
    return str(package.load(shop / "shop.ancf").user_ids_.values[0])


def test_the_overview_lists_every_command(ancf):
    code, out, _ = ancf()
    assert code == 0
    assert all(f"  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_page_of_help_fits_80_columns_and_has_an_example(ancf, name):
    code, out, _ = ancf(name, "--help")
    assert code == 0
    assert f"  ancf {name}" in out.split("Example")[-1]
    assert max(map(len, out.splitlines())) <= 80


def test_a_page_of_help_names_options_as_they_are_typed_and_on_one_line(ancf):
    _, out, _ = ancf("train", "--help")
    words = " ".join(out.split())
    for phrase in ("--min-weight 4 takes", "chosen like --serving-exponent.", "recommend --with-bought;", "TEXT|none"):
        assert phrase in words
    assert "``" not in out
    assert not re.search(r"--[a-z-]+-$", out, re.MULTILINE)


def test_every_option_of_reading_is_on_the_page(ancf):
    _, out, _ = ancf("train", "--help")
    assert all(f"--{role}-column" in out for role in ("user", "item", "weight", "time", "name", "category", "basket"))


def test_what_is_typed_reaches_the_model(ancf, shop, tmp_path):
    typed = "--epochs 1 --factors 8 --no-item-attention --temperature 0.3 --patience none --neighbors 5"
    typed += " --holdout 0.1"
    code, _, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "-q", *typed.split())
    assert code == 0, err
    options = package.load(tmp_path / "m.ancf").get_params()
    assert (options["epochs"], options["factors"], options["item_attention"]) == (1, 8, False)
    assert (options["temperature"], options["patience"], options["neighbors"]) == (0.3, None, 5)


def test_training_prints_the_losses_of_each_epoch_to_stderr_alone(ancf, tmp_path):
    code, out, err = ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--epochs", 2, "--holdout", "0.2")
    assert (code, out) == (0, "")
    lines = [line.rstrip("0123456789") for line in err.splitlines() if line.startswith("Epoch")]
    kinds = ("Training Loss", "Validation Loss", "Validation ndcg@10")
    expected = [f"Epoch {n}/2, {kind}: " for n in (1, 2) for kind in kinds]
    assert [line.rsplit(".", 1)[0].rstrip("0123456789") for line in lines] == expected
    assert "Split by time" in err


def test_what_is_printed_of_the_best_epoch_is_what_decided(ancf, rows, tmp_path):
    for extra, name in (((), "ndcg@10"), (("--validation-metric", "recall@5"), "recall@5")):
        arguments = ("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--epochs", 4, "--holdout", "0.2", *extra)
        code, _, err = ancf(*arguments)
        assert code == 0, err
        shown = [float(line.split()[-1]) for line in err.splitlines() if f"Validation {name}:" in line]
        best = rows("inspect", tmp_path / "m.ancf")["history"]["best_epoch"]
        assert max(shown) == shown[best - 1]
        assert f"The best epoch is {best}, with the highest {name}: {shown[best - 1]:.4f}." in err


@pytest.mark.parametrize("model", ["item-knn", "popular"])
def test_the_other_models_learn_and_answer(ancf, rows, tmp_path, user, model):
    assert ancf("train", "purchases.csv", "-o", tmp_path / "m.ancf", "--model", model)[0] == 0
    assert len(rows("recommend", tmp_path / "m.ancf", "--user", user, "-n", 3)) == 3


def test_a_model_goes_through_pipes(shop, user):
    ancf = [sys.executable, "-m", "ancf"]
    table = (shop / "purchases.csv").read_bytes()
    model = subprocess.run([*ancf, "train", "-", "-o", "-", "-q", "--epochs", "1"], input=table, capture_output=True)
    assert model.returncode == 0, model.stderr
    lists = subprocess.run([*ancf, "recommend", "-", "-u", user, "-f", "csv"], input=model.stdout, capture_output=True)
    assert lists.stdout.startswith(b"user_id,item_id,score,rank,source\n" + user.encode())


def test_recommendations_are_those_of_the_api(rows, shop, user):
    expected = package.load(shop / "shop.ancf").recommend([user], N=5)
    found = rows("recommend", "shop.ancf", "--user", user, "-n", 5)
    assert [row["item_id"] for row in found] == expected.ids[0].tolist()
    assert np.array_equal(np.float32([row["score"] for row in found]), expected.scores[0])
    assert list(found[0]) == ["user_id", "item_id", "score", "rank", "source"]


def test_every_format_says_the_same(ancf, rows, user, tmp_path):
    arguments = ("recommend", "shop.ancf", "--user", user, "-n", 4)
    expected = rows(*arguments)
    as_lines = [json.loads(line) for line in ancf(*arguments, "-f", "jsonl")[1].splitlines()]
    as_csv = list(csv.DictReader(io.StringIO(ancf(*arguments, "-f", "csv")[1])))
    assert ancf(*arguments, "-o", tmp_path / "lists.parquet")[0] == 0
    as_parquet = pd.read_parquet(tmp_path / "lists.parquet").to_dict("records")
    assert as_lines == as_parquet == expected
    assert [(row["item_id"], float(row["score"])) for row in as_csv] == [
        (row["item_id"], row["score"]) for row in expected
    ]
    table = ancf(*arguments)[1]
    assert all(row["item_id"] in table for row in expected)


ARGUMENTS = {
    "describe": "purchases.csv",
    "evaluate": "purchases.csv --model popular",
    "compare": "purchases.csv --models popular,item-knn -q",
    "recommend": "shop.ancf --user {user} --explain --names",
    "similar": "shop.ancf --item {item}",
    "explain": "shop.ancf --user {user} --item {item}",
    "inspect": "shop.ancf",
    "doctor": "shop.ancf",
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "json", "table"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_command_writes_every_format(ancf, shop, user, tmp_path, name, form):
    item = str(package.load(shop / "shop.ancf").item_ids_.values[0])
    path = tmp_path / f"result.{form}"
    arguments = ARGUMENTS[name].format(user=user, item=item).split()
    code, out, err = ancf(name, *arguments, "-f", form, "-o", path)
    assert (code, out) == (0, ""), err
    n_rows = {
        "csv": lambda: len(pd.read_csv(path)),
        "jsonl": lambda: len([json.loads(line) for line in path.read_text().splitlines()]),
        "parquet": lambda: len(pd.read_parquet(path)),
        "json": lambda: len(json.loads(path.read_text())),
        "table": lambda: len(path.read_text().splitlines()),
    }[form]()
    assert n_rows >= (1 if name == "evaluate" else 2)  # one model is one row


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "json", "table"])
def test_everybodys_lists_are_the_same_in_every_format(ancf, shop, tmp_path, form):
    model = package.load(shop / "shop.ancf")
    expected = model.recommend_all(N=3).to_pandas()
    assert ancf("recommend-all", "shop.ancf", "-n", 3, "-f", form, "-o", tmp_path / f"lists.{form}")[0] == 0
    path = tmp_path / f"lists.{form}"
    found = {
        "csv": lambda: pd.read_csv(path, dtype={"user_id": str, "item_id": str}),
        "jsonl": lambda: pd.read_json(path, lines=True, dtype={"user_id": str, "item_id": str}),
        "json": lambda: pd.DataFrame(json.loads(path.read_text())),
        "parquet": lambda: pd.read_parquet(path),
        "table": lambda: pd.read_fwf(path, dtype={"user_id": str, "item_id": str}),
    }[form]()
    assert found["user_id"].tolist() == expected["user_id"].tolist()
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    assert np.array_equal(found["score"].to_numpy(np.float32), expected["score"].to_numpy(np.float32))


def test_a_reader_that_closes_the_pipe_early_is_no_failure(shop):
    command = f"{sys.executable} -m ancf recommend-all shop.ancf -n 50 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=shop, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "user_id,item_id,score,rank,source\n"


def test_reasons_stand_under_each_item_with_names(ancf, rows, user):
    _, out, _ = ancf("recommend", "shop.ancf", "--user", user, "--explain")
    assert out.count("because of") == 10
    found = rows("recommend", "shop.ancf", "--user", user, "--explain", "--names")
    for row in found:
        assert sum(each["adds"] for each in row["reasons"]) == pytest.approx(row["score"], rel=1e-4)
        assert row["name"] in out


def test_explained_contributions_add_up(rows, user):
    item = rows("recommend", "shop.ancf", "--user", user, "-n", 1)[0]["item_id"]
    why = rows("explain", "shop.ancf", "--user", user, "--item", item)
    assert sum(each["contribution"] for each in why["reasons"]) == pytest.approx(why["score"], rel=1e-4)
    assert why["name"]


def test_a_bare_history_is_served_and_explained(rows, shop):
    first, second = package.load(shop / "shop.ancf").item_ids_.values[:2]
    arguments = ("--history", first, "--history", second)
    found = rows("recommend", "shop.ancf", *arguments, "-n", 3)
    assert len(found) == 3
    assert not {first, second} & {row["item_id"] for row in found}
    why = rows("explain", "shop.ancf", *arguments, "--item", found[0]["item_id"])
    assert why["score"] == pytest.approx(found[0]["score"])


def test_filters_are_obeyed(rows, shop, user, tmp_path):
    plain = [row["item_id"] for row in rows("recommend", "shop.ancf", "-u", user)]
    without = [row["item_id"] for row in rows("recommend", "shop.ancf", "-u", user, "--without", plain[0])]
    assert plain[0] not in without
    (tmp_path / "shelf.txt").write_text("\n".join(plain[3:6]) + "\n")
    only = rows("recommend", "shop.ancf", "-u", user, "--only-from", tmp_path / "shelf.txt")
    assert [row["item_id"] for row in only] == plain[3:6]


def test_customers_come_from_a_file_and_unknown_ones_can_be_served(rows, shop, user, tmp_path):
    (tmp_path / "who.txt").write_text(f"{user}\nnobody\n")
    arguments = ("recommend", "shop.ancf", "--users-from", tmp_path / "who.txt", "-n", 2)
    found = rows(*arguments, "--on-unknown", "popular")
    assert [(row["user_id"], row["source"]) for row in found] == [(user, "model")] * 2 + [("nobody", "popular")] * 2
    assert {row["user_id"] for row in rows(*arguments, "--on-unknown", "skip")} == {user}


def test_ids_are_found_as_they_are_typed(ancf, rows, tmp_path):
    """Letters, leading zeros, letters of any alphabet; and whole numbers where the column holds numbers."""
    (tmp_path / "text.csv").write_text(
        "customer,sku\n007,85123A\n007,tüte\n7,tüte\n7,0010\nÅsa,85123A\nÅsa,0010\n", "utf-8"
    )
    assert ancf("train", tmp_path / "text.csv", "-o", tmp_path / "t.ancf", "--model", "item-knn")[0] == 0
    assert [row["item_id"] for row in rows("recommend", tmp_path / "t.ancf", "-u", "007")] == ["0010"]
    assert [row["item_id"] for row in rows("recommend", tmp_path / "t.ancf", "-u", "7")] == ["85123A"]
    assert [row["item_id"] for row in rows("recommend", tmp_path / "t.ancf", "-u", "Åsa")] == ["tüte"]
    pd.DataFrame({"customer": [7, 7, 8, 8, 9], "sku": [1, 2, 2, 3, 1]}).to_parquet(tmp_path / "numbers.parquet")
    assert ancf("train", tmp_path / "numbers.parquet", "-o", tmp_path / "n.ancf", "--model", "item-knn")[0] == 0
    found = rows("recommend", tmp_path / "n.ancf", "--user", "7")
    assert [(row["user_id"], row["item_id"]) for row in found] == [(7, 3)]
    assert rows("similar", tmp_path / "n.ancf", "--item", "1", "-n", 1)[0]["query_item_id"] == 1


def test_similar_items_and_users_are_listed(rows, shop, user):
    item = package.load(shop / "shop.ancf").item_ids_.values[0]
    likes = rows("similar", "shop.ancf", "--item", item, "-n", 3)
    assert [row["rank"] for row in likes] == [1, 2, 3]
    assert all(row["query_item_id"] == item and row["name"] for row in likes)
    assert len(rows("similar", "shop.ancf", "--user", user, "-n", 2)) == 2


def test_the_description_accounts_for_every_row(ancf, rows):
    found = rows("describe", "purchases.csv")
    assert found["rows_read"] == found["rows_used"] + sum(each["rows"] for each in found["reasons"])
    _, out, _ = ancf("describe", "purchases.csv")
    assert f"{found['rows_read']:,} rows read" in out
    assert "time span" in out


def test_the_evaluation_measures_one_model(ancf, rows):
    found = rows("evaluate", "purchases.csv", "--epochs", 2, "-q", "--metrics", "ndcg@5,hit@10")
    assert (found["model"], list(found["metrics"])) == ("ANCF", ["ndcg@5", "hit@10"])
    assert all(0 <= each <= 1 for each in found["metrics"].values())
    _, out, err = ancf("evaluate", "purchases.csv", "--model", "popular")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["model", "Popular"]
    assert "Split by time" in err
    _, _, err = ancf("evaluate", "purchases.csv", "--model", "popular", "--time-column", "none")
    assert "Split at random, as the table has no times" in err


def test_a_model_file_is_evaluated_on_a_table_of_its_own(rows, shop, tmp_path):
    table = pd.read_csv(shop / "purchases.csv", dtype=str)
    old, new = table[table["order_date"] < "2025-01-01"], table[table["order_date"] >= "2025-01-01"]
    old.to_csv(tmp_path / "old.csv", index=False)
    new.to_csv(tmp_path / "new.csv", index=False)
    model = package.ItemKNN().fit(package.read_interactions(tmp_path / "old.csv"))
    model.save(tmp_path / "old.ancf")
    found = rows("evaluate", tmp_path / "new.csv", "-m", tmp_path / "old.ancf", "--metrics", "ndcg@10")
    expected = package.evaluate(model, package.read_interactions(tmp_path / "new.csv"), "ndcg@10")
    assert found["metrics"]["ndcg@10"] == expected["ndcg@10"]
    assert (found["model"], found["fit_s"]) == ("ItemKNN", None)


@pytest.fixture(scope="module")
def months(shop, tmp_path_factory):
    """The shop's table in two parts, and lists that item-kNN makes of the first."""
    folder = tmp_path_factory.mktemp("months")
    table = pd.read_csv(shop / "purchases.csv", dtype=str)
    old, new = table[table["order_date"] < "2025-01-01"], table[table["order_date"] >= "2025-01-01"]
    old.to_csv(folder / "old.csv", index=False)
    new.to_csv(folder / "new.csv", index=False)
    model = package.ItemKNN().fit(package.read_interactions(folder / "old.csv"))
    lists = model.recommend_all(20).to_pandas()[["user_id", "item_id", "score"]]
    lists.to_csv(folder / "lists.csv", index=False)
    return folder


def test_lists_made_elsewhere_are_evaluated_as_the_model_that_made_them(ancf, rows, months):
    arguments = ("evaluate", months / "new.csv", "--lists", months / "lists.csv", "--metrics", "ndcg@10,novelty@10")
    found = rows(*arguments, "--train", months / "old.csv")
    own = rows("evaluate", months / "new.csv", "--train", months / "old.csv", "--model", "item-knn")
    assert (found["model"], own["model"]) == ("lists", "ItemKNN")
    assert found["metrics"]["ndcg@10"] == own["metrics"]["ndcg@10"]
    assert found["leakage"]["same_events"] == 0
    assert {each["by"] for each in found["groups"]} == {"history_length", "popularity"}
    assert {"group", "n", "mean", "low", "high", "metric"} <= found["groups"][0].keys()
    alone = rows("evaluate", months / "new.csv", "--lists", months / "lists.csv")
    assert alone["model"] == "lists"
    assert (alone["groups"], "leakage" in alone) == ([], False)
    assert "coverage@10" not in alone["metrics"]
    code, _, err = ancf(*arguments)
    assert (code, "needs the catalogue. Give --train" in err) == (2, True), err


def test_a_training_table_of_its_own_takes_the_place_of_a_split(ancf, rows, months):
    arguments = ("evaluate", months / "new.csv", "--train", months / "old.csv", "--model", "item-knn")
    found = rows(*arguments, "--metrics", "ndcg@10")
    train, test = (package.read_interactions(months / name) for name in ("old.csv", "new.csv"))
    assert found["metrics"]["ndcg@10"] == package.evaluate(package.ItemKNN().fit(train), test, "ndcg@10")["ndcg@10"]
    _, _, err = ancf("evaluate", months / "old.csv", "--train", months / "old.csv", "--model", "popular", "--repeats")
    assert "Leak: " in err
    assert "test events are in the training part as well" in err


def test_sampled_candidates_are_labelled_wherever_they_are_shown(ancf, rows, months):
    arguments = ("evaluate", months / "new.csv", "--train", months / "old.csv", "--model", "popular")
    sampled = (*arguments, "--metrics", "ndcg@10", "--candidates", "sampled", "--n-negatives", 20)
    found = rows(*sampled)
    assert found["candidates"] == "20 sampled"
    assert found["metrics"]["ndcg@10"] > rows(*arguments, "--metrics", "ndcg@10")["metrics"]["ndcg@10"]
    _, out, _ = ancf(*sampled)
    assert "lists of what was bought and 20 sampled items" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--n-negatives", 9), "--n-negatives has no effect without --candidates sampled"),
        (("--lists", "x.csv", "--model", "popular"), "--model has no effect with --lists"),
        (("--lists", "x.csv", "--split", "time"), "--split has no effect with --lists"),
        (("--train", "x.csv", "--test-share", 0.3), "--test-share has no effect with --train"),
        (("--train", "x.csv", "--model-file", "shop.ancf"), "--model-file has no effect with --train"),
        (("--metrics", "ndgc@10"), "Did you mean 'ndcg@10'"),
    ],
)
def test_options_of_the_evaluation_that_do_not_go_together_are_refused(ancf, options, message):
    code, _, err = ancf("evaluate", "purchases.csv", *options)
    assert code in (1, 2)
    assert message in err


def test_a_model_file_is_shown_without_trusting_it(ancf, rows, shop, tmp_path):
    found = rows("inspect", "shop.ancf")
    assert (found["class"], found["options"]["epochs"]) == ("ANCF", 2)
    data = package.Interactions.from_ids(user=[1, 2], item=["\x1b]0;title\x07red", "b"])
    package.Popular().fit(data).save(tmp_path / "m.ancf")
    for arguments in (("inspect", tmp_path / "m.ancf"), ("recommend", tmp_path / "m.ancf", "-u", "2")):
        _, out, _ = ancf(*arguments)
        assert not {"\x1b", "\x07"} & set(out)


def test_the_doctor_knows_the_machine_and_how_a_model_would_rank(rows):
    found = rows("doctor", "shop.ancf")
    assert found["ancf"] == package.__version__
    assert "used:" in found["instruction sets"]
    assert found["ranking"]


def test_the_demo_shows_the_whole_path(ancf):
    code, out, err = ancf("demo", "--customers", 600, "--epochs", 2)
    assert code == 0, err
    for part in ("rows used", "Epoch 2/2, Validation Loss", "popularity", "item-kNN", "because of", "Done in"):
        assert part in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_overview_is_fast_because_no_command_is_loaded():
    code = "import sys; from ancf.cli import run; run(['--help']); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_all_commands_are_there():
    import click

    assert all(main_group.get_command(click.Context(main_group), name) is not None for name in COMMANDS)


# ---- a training that goes on


@pytest.fixture
def stopping(monkeypatch):
    """Ctrl-C in the given epoch of an ALS."""
    native = _native.AlsTrainer

    def stop_in(number):
        class Stopping:
            def __init__(self, *arguments, **options):
                self.native, self.epochs = native(*arguments, **options), 0

            def epoch(self, *arguments):
                self.epochs += 1
                if self.epochs == number:
                    raise KeyboardInterrupt
                return self.native.epoch(*arguments)

            def __getattr__(self, name):
                return getattr(self.native, name)

        monkeypatch.setattr(_native, "AlsTrainer", Stopping)

    yield stop_in
    monkeypatch.setattr(_native, "AlsTrainer", native)


def test_an_interrupted_training_names_the_command_that_goes_on_and_it_ends_in_the_same_bytes(
    ancf, shop, stopping, tmp_path
):
    whole, model, going = (tmp_path / name for name in ("whole.ancf", "als.ancf", "als going.ancf"))
    common = ("--model", "als", "--factors", "4", "--epochs", "4")
    assert ancf("train", "purchases.csv", "-o", whole, *common)[0] == 0
    stopping(3)
    typed = ("train", "purchases.csv", "-o", model, *common, "--checkpoint", going)
    code, out, err = ancf(*typed)
    again = f"ancf train purchases.csv -o {model} {' '.join(common)} --checkpoint '{going}' --resume"
    assert (code, out) == (130, "")
    assert f"{going} holds 2 epochs of training; the same call with --resume goes on from there." in err
    assert f"{model} was not written. Go on with: {again}" in err
    code, _, err = ancf(*typed)
    assert code == 2
    assert f"'{going}', which is there already. Go on with it by --resume" in err
    stopping(99)
    code, _, err = ancf(*shlex.split(again)[1:])
    assert code == 0, err
    assert "Going on after epoch 2/4\nEpoch 3/4" in err
    assert model.read_bytes() == whole.read_bytes()
    assert not going.exists()


def test_a_checkpoint_stays_until_the_model_is_written(ancf, shop, monkeypatch, tmp_path):
    model, going = tmp_path / "als.ancf", tmp_path / "going.ancf"
    save = package.model_file.save

    def full(path, *arguments):
        if path == model:
            raise OSError(28, "No space left on device", str(path))
        save(path, *arguments)

    monkeypatch.setattr(package.model_file, "save", full)
    typed = ("train", "purchases.csv", "-o", model, "--model", "als", "--epochs", "2", "--checkpoint", going)
    code, _, err = ancf(*typed)
    assert code == 1
    assert "No space left on device" in err
    assert f"--checkpoint {going} --resume" in err
    assert going.exists()
    monkeypatch.setattr(package.model_file, "save", save)
    code, _, err = ancf(*typed, "--resume")
    assert code == 0, err
    assert "Epoch" not in err
    assert model.exists()
    assert not going.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume needs a file to go on from. Add --checkpoint FILE"),
        (["--every", "2"], "--every needs a file to go on from"),
        (["--model", "popular", "--checkpoint", "going.ancf"], "--checkpoint has no effect for popular"),
        (["--checkpoint", "-"], "--checkpoint -: give a file of its own"),
        (["--checkpoint", "new.ancf"], "--checkpoint new.ancf: give a file of its own"),
        (["--checkpoint", "nowhere/going.ancf"], "nowhere"),
    ],
)
def test_options_of_checkpoints_that_cannot_be_meant_are_refused(ancf, options, message):
    code, _, err = ancf("train", "purchases.csv", "-o", "new.ancf", *options)
    assert code == 2
    assert message in err
