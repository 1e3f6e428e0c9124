"""What a model takes in memory that comes from a file: each of its parts once."""

import gc
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ancf
from ancf import model_file

_GROWTH = textwrap.dedent(
    """
    import os, resource, sys
    import ancf

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

    # What loading needs of modules and pools is there before.
    ancf.load(sys.argv[1]).recommend_all(N=1)
    before = resident()
    model = ancf.load(sys.argv[2])
    print(resident() - before, os.path.getsize(sys.argv[2]))
    """
)


def by_vectors(rng):
    return ancf.from_factors(
        rng.standard_normal((150_000, 64), np.float32), rng.standard_normal((3000, 64), np.float32)
    )


def by_dense_weights(rng):
    return ancf.EASE().fit(purchases(rng, 2000, 30_000))


def by_sparse_weights(rng):
    return ancf.ItemKNN(neighbors=500).fit(purchases(rng, 6000, 300_000))


def purchases(rng, n_items, n):
    users, items = rng.integers(0, 1000, n), rng.integers(0, n_items, n)
    return ancf.Interactions.from_ids(user=users, item=np.concatenate([items[n_items:], np.arange(n_items)]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process has resident is read from /proc")
@pytest.mark.parametrize("make", [by_vectors, by_dense_weights, by_sparse_weights])
def test_a_model_of_a_file_stands_in_memory_once(tmp_path, make):
    small, large = tmp_path / "small.ancf", tmp_path / "large.ancf"
    ancf.Popular().fit(ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])).save(small)
    make(np.random.default_rng(0)).save(large)
    run = subprocess.run(
        [sys.executable, "-c", _GROWTH, str(small), str(large)], capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, run.stderr
    grown, size = map(int, run.stdout.split())
    assert size > 10 << 20
    # A fifth more is asked of a server; a second copy of the numbers would be nearly all of the file.
    assert grown <= 1.2 * size + (6 << 20), (grown, size)


def test_nobody_can_write_to_what_a_file_held(tmp_path):
    path = tmp_path / "shop.ancf"
    ancf.from_factors(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)).save(path)
    arrays, _ = model_file.read(path)
    assert not any(array.flags.writeable for array in arrays.values())
    with pytest.raises(ValueError, match="WRITEABLE"):
        arrays["user_vectors"].flags.writeable = True


def test_what_a_file_held_outlives_its_model_and_the_file(tmp_path):
    path = tmp_path / "shop.ancf"
    vectors = np.random.default_rng(0).standard_normal((50, 8), np.float32)
    ancf.from_factors(vectors, vectors[:9]).save(path)
    model = ancf.load(path)
    lists = model.recommend_all(N=3)
    path.write_bytes(bytes(path.stat().st_size))
    of_users = model.user_vectors_
    assert np.array_equal(model.recommend_all(N=3).ids, lists.ids)
    del model
    gc.collect()
    assert np.array_equal(of_users, vectors)


def test_a_file_and_its_bytes_give_the_same_bits(tmp_path):
    path = tmp_path / "shop.ancf"
    rng = np.random.default_rng(0)
    for model in (ancf.ItemKNN(), ancf.EASE(), ancf.ALS(factors=4, epochs=2, random_state=0)):
        model.fit(purchases(rng, 40, 900)).save(path)
        one, other = ancf.load(path).recommend_all(N=5), ancf.load(path.read_bytes()).recommend_all(N=5)
        assert np.array_equal(one.ids, other.ids)
        assert one.scores.tobytes() == other.scores.tobytes()
