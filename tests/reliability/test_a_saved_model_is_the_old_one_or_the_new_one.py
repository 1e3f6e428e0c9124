"""P2: a saved model is the old one or the new one, never torn, also after ``kill -9`` or with a full disk.

That any single operation may fail, in any way, is proved in Rust (``rust/core/src/store/save.rs``); here the processes
and the file system are real.
"""

import os
import re
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ancf

# 1,000 on request: ANCF_KILL_ROUNDS=1000.
ROUNDS = int(os.environ.get("ANCF_KILL_ROUNDS", "50"))

posix = pytest.mark.skipif(os.name != "posix", reason="rights, links and kill -9 are POSIX's")


def model(seed, n_users=60):
    rng = np.random.default_rng(seed)
    return ancf.from_factors(rng.standard_normal((n_users, 8)), rng.standard_normal((30, 8)))


def child(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110 if ROUNDS <= 200 else None,
        **options,
    )


_STORM = """
    import os, random, signal, sys, time
    from pathlib import Path
    import numpy as np
    import ancf

    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    path = folder / "shop.ancf"
    rng = np.random.default_rng(0)
    models = [
        ancf.from_factors(rng.standard_normal((20_000, 8)), rng.standard_normal((500, 8))) for _ in range(2)
    ]
    whole = []
    for each in models:
        each.save(path)
        whole.append(path.read_bytes())
    began = time.perf_counter()
    models[0].save(path)
    one_save = time.perf_counter() - began
    draws = random.Random(1)
    torn = caught = swapped = 0
    last = whole[0]
    for round in range(rounds):
        pid = os.fork()
        if pid == 0:
            while True:
                for each in models:
                    each.save(path)
        time.sleep(draws.uniform(0.2, 4.2) * one_save)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        now = path.read_bytes()
        torn += now not in whole
        swapped += now != last
        last = now
        caught += len(list(folder.iterdir())) > 1
    models[1].save(path)
    print(torn, caught, swapped, [each.name for each in folder.iterdir()] == ["shop.ancf"])
"""


@posix
def test_kill_9_at_any_moment_leaves_a_whole_file_and_the_next_save_sweeps_up(tmp_path):
    run = child(_STORM, tmp_path, ROUNDS)
    assert run.returncode == 0, run.stderr
    torn, caught, swapped, swept = run.stdout.split()
    print(f"{ROUNDS} kills: {caught} in the middle of a save, {swapped} with the other model in place, {torn} torn")
    assert torn == "0"
    assert swept == "True"
    # The storm must have been one: many kills in the middle of writing.
    assert int(caught) > ROUNDS // 10


_FULL = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    import ancf

    path = Path(sys.argv[1])
    rng = np.random.default_rng(3)
    large = ancf.from_factors(rng.standard_normal((5000, 8)), rng.standard_normal((30, 8)))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old = path.read_bytes()
    refused = 0
    for limit in [0, 1, 7, 8, 9, 100, 1000, 4096, 65_536, 150_000]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            large.save(path)
        except OSError as error:
            refused += error.errno is not None and str(path) in str(error)
    print(refused, path.read_bytes() == old, [each.name for each in path.parent.iterdir()] == [path.name])
"""


@posix
def test_a_full_disk_is_an_os_error_that_names_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "shop.ancf"
    model(1).save(path)
    run = child(_FULL, path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["10", "True", "True"]


def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        model(1).save(tmp_path / "nowhere" / "shop.ancf")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        model(1).save(tmp_path)
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


@posix
def test_a_device_or_a_pipe_is_neither_replaced_nor_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", "/dev/zero"):
        with pytest.raises(OSError, match="device or a pipe"):
            model(1).save(path)
        with pytest.raises(OSError, match="device or a pipe"):
            ancf.load(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_rights_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        model(1).save(tmp_path / "shop.ancf")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shop.ancf").stat().st_mode) == 0o666 & ~mask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_saved_again_keeps_its_rights(tmp_path, mode):
    path = tmp_path / "shop.ancf"
    model(1).save(path)
    path.chmod(mode)
    model(2).save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert ancf.load(path).recommend_all(N=3).to_pandas().equals(model(2).recommend_all(N=3).to_pandas())


@posix
def test_a_link_stays_a_link_and_its_target_gets_the_model(tmp_path):
    (tmp_path / "versions").mkdir()
    link = tmp_path / "current.ancf"
    link.symlink_to("versions/one.ancf")
    model(1).save(link)  # the target is not there yet
    first = (tmp_path / "versions" / "one.ancf").read_bytes()
    model(2).save(link)
    assert link.is_symlink()
    assert (tmp_path / "versions" / "one.ancf").read_bytes() != first
    assert [path.name for path in (tmp_path / "versions").iterdir()] == ["one.ancf"]


@posix
def test_the_longest_name_a_file_may_have_is_enough(tmp_path):
    for name in ("m" * 250 + ".ancf", "ä" * 125 + ".ancf"):
        model(1).save(tmp_path / name)
        ancf.load(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_living_writer_holds_is_not_swept_and_what_a_dead_one_left_is(tmp_path):
    # A writer that lives holds a lock on its file; this one is dead and holds none.
    (tmp_path / ".shop.ancf.999999-0.ancf-tmp").write_bytes(b"half a model")
    (tmp_path / ".other.ancf.999999-0.ancf-tmp").write_bytes(b"half of another")
    model(1).save(tmp_path / "shop.ancf")
    assert {path.name for path in tmp_path.iterdir()} == {"shop.ancf", ".other.ancf.999999-0.ancf-tmp"}


_MANY = """
    import sys
    from pathlib import Path
    import numpy as np
    import ancf
    rng = np.random.default_rng(int(sys.argv[2]))
    model = ancf.from_factors(rng.standard_normal((60, 8)), rng.standard_normal((30, 8)))
    for _ in range(150):
        model.save(sys.argv[1])
        ancf.load(sys.argv[1])
"""


def test_many_processes_that_save_to_one_name_do_not_hurt_each_other(tmp_path):
    path = tmp_path / "shop.ancf"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_MANY), str(path), str(seed)], stderr=subprocess.PIPE, text=True
        )
        for seed in range(3)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=100)
        assert run.returncode == 0, errors
    assert [each.name for each in tmp_path.iterdir()] == ["shop.ancf"]


def test_a_model_with_a_very_long_history_is_saved_and_loaded(tmp_path):
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3], item=["a", "b", "b", "c", "c"])
    trained = ancf.ANCF(factors=2, epochs=1).fit(data)
    long = {**trained.history_, "training_loss": [1 / (1 + epoch) for epoch in range(100_000)]}
    trained._scorer = replace(trained._scorer, training=long)
    trained.save(tmp_path / "long.ancf")
    assert ancf.load(tmp_path / "long.ancf").history_ == trained.history_
