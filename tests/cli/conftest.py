"""One small shop and one model file for all tests of the command line."""

import json

import pytest

from ancf.cli import run
from ancf.demo_shop import write_csv


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """The folder with purchases.csv and shop.ancf."""
    folder = tmp_path_factory.mktemp("shop")
    write_csv(folder / "purchases.csv", customers=300, products=120)
    assert run(["train", str(folder / "purchases.csv"), "-o", str(folder / "shop.ancf"), "--epochs", "2", "-q"]) == 0
    return folder


@pytest.fixture
def ancf(shop, capfd, monkeypatch):
    """Runs a command line in the shop's folder: ``code, out, err = ancf("recommend", "shop.ancf", ...)``."""
    monkeypatch.chdir(shop)

    def call(*arguments):
        capfd.readouterr()
        code = run([str(each) for each in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


@pytest.fixture
def rows(ancf):
    """Runs a command line with ``--format json`` and gives what it says."""

    def call(*arguments):
        code, out, err = ancf(*arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out)

    return call
