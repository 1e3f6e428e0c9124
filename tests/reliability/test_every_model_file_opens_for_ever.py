"""P15: every released model file opens for ever, and answers as it did on the day it was written."""

import importlib.util
import json
from pathlib import Path

import pytest

import ancf
from ancf import model_file
from ancf.models import MODELS

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("*.ancf"))

_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_gives_the_lists_of_its_day(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    assert make.answers(ancf.load(path)) == expected


def test_the_present_format_has_a_golden_file_of_every_class_that_may_stand_in_a_file():
    kept = {model_file.inspect(path)["class"] for path in FILES if path.name.startswith(make.FORMAT)}
    assert kept == set(MODELS)


def test_what_is_written_today_is_the_present_format(tmp_path):
    model = ancf.load(FILES[0])
    model.save(tmp_path / "again.ancf")
    assert f'"format":"{make.FORMAT}"'.encode() in (tmp_path / "again.ancf").read_bytes()


def test_a_later_format_is_refused_by_its_name(tmp_path):
    raw = FILES[0].read_bytes()
    later = make.FORMAT.replace("1", "7")
    (tmp_path / "later.ancf").write_bytes(raw.replace(make.FORMAT.encode(), later.encode(), 1))
    with pytest.raises(ancf.ModelFileError, match=f"{later}.*Install a later ancf"):
        ancf.load(tmp_path / "later.ancf")


def test_a_file_of_a_later_version_that_cannot_be_taken_names_the_version_to_install(tmp_path):
    path = next(path for path in FILES if path.name.startswith(make.FORMAT) and path.name.endswith(".popular.ancf"))
    arrays, meta = model_file.read(path)
    strange = {**meta, "options": {**meta["options"], "mood": "sunny"}}
    for version, refused in (("99.1.0", "written by ancf 99.1.0.*Install ancf 99.1.0"), ("0.0.1", "mood.*copy")):
        model_file.save(tmp_path / "later.ancf", meta["class"], arrays, {**strange, "version": version})
        with pytest.raises(ancf.ModelFileError, match=refused) as error:
            ancf.load(tmp_path / "later.ancf")
        assert ("Install" in str(error.value)) == (version == "99.1.0")
    model_file.save(tmp_path / "later.ancf", meta["class"], arrays, {**meta, "version": "99.1.0"})
    assert make.answers(ancf.load(tmp_path / "later.ancf")) == make.answers(ancf.load(path))


def test_a_file_with_the_old_names_of_options_has_the_present_ones_once_loaded(tmp_path):
    path = next(path for path in FILES if path.name.endswith(".ancf.ancf"))
    _, old = model_file.read(path)
    assert "neighbours" in old["options"]
    model = ancf.load(path)
    assert model.get_params()["neighbors"] == old["options"]["neighbours"] == 3
    assert model.get_params()["neighbor_l1"] == 0.0  # its weights were ridge regressions, and an update's are so too
    assert model.history_["settings"]["neighbor_weight"] == old["history"]["settings"]["neighbour_weight"]
    model.save(tmp_path / "again.ancf")
    _, new = model_file.read(tmp_path / "again.ancf")
    assert not [name for name in {**new["options"], **new["history"]["settings"]} if "neighbour" in name]
    assert make.answers(ancf.load(tmp_path / "again.ancf")) == make.answers(model)
