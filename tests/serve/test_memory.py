"""What a worker takes in memory does not grow with what has happened to it."""

import platform
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf.serving import catalog
from ancf.serving.schema import CatalogOptions
from ancf.serving.served_model import ServedModel

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about the allocator of glibc")

_BLOCKS = textwrap.dedent(
    """
    import resource, sys
    from ancf.serving import memory

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

    def full(mib):
        return b"x" * (mib << 20)

    if "keep_little" in sys.argv:
        memory.keep_little()
    # The first block that is freed says what is large.
    full(24)
    before = resident()
    size, n = int(sys.argv[1]), int(sys.argv[2])
    blocks, between = [], []
    for _ in range(n):
        blocks.append(full(size))
        between.append(b"y" * 4000)
    del blocks
    if "give_back" in sys.argv:
        memory.give_back()
    print(resident() - before)
    """
)


def left_of_blocks(*arguments):
    """MiB that a process keeps of blocks that it has freed, between which others still stand."""
    run = subprocess.run(
        [sys.executable, "-c", _BLOCKS, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def test_large_blocks_go_back_to_the_system_whatever_was_freed_before():
    assert left_of_blocks(8, 8) > 12
    assert left_of_blocks(8, 8, "keep_little") < 8


def test_smaller_ones_go_back_when_that_is_asked_for():
    assert left_of_blocks(1, 64) > 12
    assert left_of_blocks(1, 64, "give_back") < 8


def test_a_worker_takes_no_more_with_every_further_model(serve, model_file):
    rng = np.random.default_rng(0)
    model = ancf.from_factors(
        rng.standard_normal((40_000, 64), np.float32), rng.standard_normal((9000, 64), np.float32)
    )
    model.save(model_file)
    server = serve()

    def resident():
        return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    other = ancf.from_factors(model.user_vectors_[::-1].copy(), model.item_vectors_)
    grown, served = [], None
    for each in 3 * (other, model):
        each.save(model_file)
        # Or the server has seen by itself that the file is another.
        before, served = served, server.client.post("/v1/reload", json={}).json()["model_version"]
        assert served != before
        grown.append(resident())
    # Until every thread that loads models has done so once.
    assert grown[-1] < grown[2] + (2 << 20), grown


def test_users_are_listed_and_searched_without_keeping_a_text_of_each_id(tmp_path):
    everybody = [f"customer {at}" for at in range(100, 400)]
    purchases = ancf.Interactions.from_ids(user=everybody * 2, item=["cup"] * 300 + ["tea"] * 300)
    ancf.ItemKNN().fit(purchases).save(tmp_path / "shop.ancf")
    served = ServedModel(ancf.load(tmp_path / "shop.ancf"), "1")
    listed = catalog.users(served, CatalogOptions(n=5, offset=2))
    assert [each.user_id for each in listed.users] == everybody[2:7]
    found = catalog.users(served, CatalogOptions(n=1000, search="CUSTOMER 390"))
    assert [each.user_id for each in found.users] == ["customer 390"]
    assert not served.scorer.user_ids._has_values
