"""A prepared table comes back with the same bits and the same account, or not at all."""

import io
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ancf
from ancf.cli.app import run
from ancf.data import array_folder

TABLE = b"""customer,sku,product_name,category,qty,date
ann,007,Tea,Food,2,2020-01-02 10:00:00
bob,007,Tea,Food,1,2020-01-03
,008,Cup,Home,1,2020-01-03
ann,009,Caf\xc3\xa9,,3,2020-02-01
ann,007,Tea,Food,-1,2020-01-05
cleo,009,,Home,0,2020-01-05
ann,009,Caf\xc3\xa9,,3,2020-02-01
"""


def table() -> ancf.Interactions:
    features = {"item_id": ["007", "009", "new"], "price": [3.5, 2, 1], "tags": [["a", "b"], [], ["b"]]}
    return ancf.read_interactions(io.BytesIO(TABLE), item_features=features)


def assert_same(one: ancf.Interactions, other: ancf.Interactions) -> None:
    assert one.fingerprint() == other.fingerprint()
    assert one.report == other.report
    assert str(one.report) == str(other.report)
    for name in ("item_names", "item_categories"):
        assert (getattr(one, name) is None) == (getattr(other, name) is None)
        if getattr(one, name) is not None:
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
    for name in ("normalize", "leakage", "split_by", "mark", "event_weights"):
        assert getattr(one, name) == getattr(other, name), name


def test_what_was_prepared_comes_back_with_the_same_bits_and_the_same_report(tmp_path):
    data = table()
    data.save(tmp_path / "prepared")
    again = ancf.read_interactions(tmp_path / "prepared")
    assert_same(data, again)
    kept, given = (table.item_features.state("f") for table in (again, data))
    assert kept[1] == given[1]
    assert all(np.array_equal(kept[0][name], part) for name, part in given[0].items())
    assert ancf.Popular().fit(again).to_bytes() == ancf.Popular().fit(data).to_bytes()
    assert not again.users.flags.writeable
    assert not isinstance(again.users, np.memmap)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["int", "str", "uuid", "bytes"]),
    timed=st.booleans(),
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.floats(0.1, 9), st.integers(-9, 9)), max_size=30),
    mark=st.sampled_from([None, 7, "may"]),
)
def test_any_table_comes_back(tmp_path, kind, timed, rows, mark):
    make = {"int": int, "str": str, "uuid": uuid.UUID, "bytes": None}[kind]

    def ids(at):
        numbers = [row[at] for row in rows]
        if kind == "uuid":
            return [uuid.UUID(int=number) for number in numbers]
        return [b"\0\n" * number for number in numbers] if kind == "bytes" else list(map(make, numbers))

    data = ancf.Interactions.from_ids(
        user=ids(0), item=ids(1), weight=[r[2] for r in rows], time=[r[3] for r in rows] if timed and rows else None
    )
    data.mark = mark
    data.save(tmp_path / "prepared")
    assert_same(data, ancf.read_interactions(tmp_path / "prepared"))


def test_every_damaged_file_is_told(tmp_path):
    folder = tmp_path / "prepared"
    table().save(folder)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for at in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            with pytest.raises(ancf.InvalidDataError, match=r"damaged|version|missing") as told:
                ancf.read_interactions(folder)
            assert "repare it again" in str(told.value)
        path.write_bytes(whole[:-3])
        with pytest.raises(ancf.InvalidDataError, match="damaged"):
            ancf.read_interactions(folder)
        path.write_bytes(whole)
    assert len(ancf.read_interactions(folder))


def test_a_missing_part_and_another_version_are_told(tmp_path):
    folder = tmp_path / "prepared"
    table().save(folder)
    document = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps({**document, "format": "ancf-prepared-9"}))
    with pytest.raises(ancf.InvalidDataError, match="version 'ancf-prepared-9'"):
        ancf.read_interactions(folder)
    (folder / "prepared.json").write_text(json.dumps(document, indent=1) + "\n")
    next(folder.glob("items.*")).unlink()
    with pytest.raises(ancf.InvalidDataError, match=r"its part items\.\w+\.npy is missing"):
        ancf.read_interactions(folder)


@pytest.mark.parametrize("damage", ["positions", "order", "weights", "lengths", "outside", "texts"])
def test_parts_that_do_not_fit_each_other_are_refused_even_with_right_hashes(tmp_path, damage):
    folder = tmp_path / "prepared"
    table().save(folder)
    arrays, about = array_folder.read_arrays(folder)
    if damage == "positions":
        arrays["items"] = arrays["items"] + np.int32(9)
    elif damage == "order":
        arrays["users"] = arrays["users"][::-1].copy()
    elif damage == "weights":
        arrays["weights"] = arrays["weights"] * np.float32("nan")
    elif damage == "lengths":
        arrays["times"] = arrays["times"][:-1]
    elif damage == "texts":
        arrays["item_names.offsets"] = arrays["item_names.offsets"][:-1]
    array_folder.write_arrays(folder, arrays, about)
    if damage == "outside":
        document = json.loads((folder / "prepared.json").read_text())
        document["arrays"]["users"]["file"] = "../users.npy"
        document["sha256"] = ""
        document["sha256"] = array_folder.hashlib.sha256(array_folder._text_of(document)).hexdigest()
        (folder / "prepared.json").write_bytes(array_folder._text_of(document))
    with pytest.raises(ancf.InvalidDataError, match=r"do not fit each other|outside the folder"):
        ancf.read_interactions(folder)


def test_a_writer_that_fails_anywhere_leaves_the_table_that_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "prepared"
    old, new = table(), ancf.Interactions.from_ids(user=[1, 2], item=[7, 8])
    old.save(folder)
    whole = {path.name for path in folder.iterdir()}
    true_replace = Path.replace
    for failing in range(1, 20):
        calls = iter(range(1, 100))

        def replace(path, target, calls=calls, failing=failing):
            if next(calls) == failing:
                raise OSError(28, "No space left on device", str(target))
            return true_replace(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            new.save(folder)
        except OSError:
            assert_same(old, ancf.read_interactions(folder))
            assert {path.name for path in folder.iterdir()} == whole
        else:
            break
    assert failing > 5
    assert_same(new, ancf.read_interactions(folder))
    assert not whole & {path.name for path in folder.iterdir()} - {"prepared.json"}


def test_a_new_folder_is_gone_when_its_writer_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(array_folder, "atomic_write", lambda path: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        table().save(tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_what_a_killed_writer_left_is_no_table_and_is_cleared_by_the_next(tmp_path):
    folder = tmp_path / "prepared"
    table().save(folder)
    (folder / "prepared.json").unlink()
    (folder / ".users.tmp").write_bytes(b"half")
    with pytest.raises(ancf.InvalidDataError, match="holds no whole table: what prepared it was interrupted"):
        ancf.read_interactions(folder)
    data = ancf.Interactions.from_ids(user=[1, 2], item=[7, 8])
    data.save(folder)
    assert_same(data, ancf.read_interactions(folder))
    assert sorted(path.name.partition(".")[0] for path in folder.iterdir() if path.name[0] != ".") == sorted(
        ["item_ids", "items", "prepared", "user_ids", "users", "weights"]
    )
    assert not list(folder.glob(".*"))


def test_a_place_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ancf.InvalidParameterError, match=r"holds other files \(notes.txt\)"):
        table().save(tmp_path / "mine")
    with pytest.raises(ancf.InvalidParameterError, match="is a file"):
        table().save(tmp_path / "mine" / "notes.txt")
    with pytest.raises(ancf.InvalidParameterError, match="does not exist"):
        table().save(tmp_path / "no" / "prepared")


def test_options_of_reading_say_nothing_about_a_prepared_table(tmp_path):
    table().save(tmp_path / "prepared")
    for option in ({"anonymous": "group"}, {"strict": True}, {"user": "customer"}, {"min_weight": 2}):
        with pytest.raises(
            ancf.InvalidParameterError, match="is a prepared table, cleaned when it was written"
        ) as told:
            ancf.read_interactions(tmp_path / "prepared", **option)
        assert str(told.value).startswith(f"{next(iter(option))}=")
    features = {"item_id": ["007"], "color": ["red"]}
    assert (
        ancf.read_interactions(tmp_path / "prepared", item_features=features, num_threads=1).item_features.n_rows == 1
    )


def test_a_prepared_table_is_not_read_together_with_others(tmp_path):
    table().save(tmp_path / "prepared")
    (tmp_path / "more.csv").write_bytes(TABLE)
    with pytest.raises(ancf.InvalidDataError, match=r"join them: ancf\.concat"):
        ancf.read_interactions([tmp_path / "prepared", tmp_path / "more.csv"])


def test_the_command_line_prepares_and_describes(tmp_path, capsys):
    (tmp_path / "shop.csv").write_bytes(TABLE)
    prepared, shop = str(tmp_path / "prepared"), str(tmp_path / "shop.csv")
    assert run(["prepare", shop, "-o", prepared]) == 0
    assert "events" in capsys.readouterr().err
    assert run(["describe", prepared]) == run(["describe", shop]) == 0
    described = capsys.readouterr().out
    half = len(described) // 2
    assert described[:half] == described[half:]
    assert run(["train", prepared, "-o", str(tmp_path / "m"), "--model", "popular", "--returns", "drop"]) == 2
    assert "--returns drop has no effect" in capsys.readouterr().err.replace("\n", " ")
    for model, source in (("a.ancf", prepared), ("b.ancf", shop)):
        assert run(["train", source, "-o", str(tmp_path / model), "--model", "popular"]) == 0
    assert (tmp_path / "a.ancf").read_bytes() == (tmp_path / "b.ancf").read_bytes()
