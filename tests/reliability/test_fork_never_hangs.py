"""P10: ``fork`` after use works, and never hangs, whatever the other threads of the parent are doing."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

_FORKS = """
    import os, sys, threading, time
    import numpy as np
    import ancf

    forks = int(sys.argv[1])
    rng = np.random.default_rng(0)
    model = ancf.from_factors(rng.standard_normal((500, 16)), rng.standard_normal((600, 16)))
    expected = model.recommend_all(N=5).to_pandas()
    running = True

    def traffic(seed):
        # Every kind of call, with pools of every size being built and used while the process forks.
        at = seed
        while running:
            at += 1
            model.num_threads = 1 + at % 4
            model.recommend_all(N=2)
            model.recommend(at % 500, N=3)

    threads = [threading.Thread(target=traffic, args=(seed,), daemon=True) for seed in range(2)]
    for thread in threads:
        thread.start()
    wrong = 0
    for at in range(forks):
        pid = os.fork()
        if pid == 0:
            fine = False
            try:
                model.num_threads = 1 + at % 3
                fine = model.recommend_all(N=5).to_pandas().equals(expected)
                fine = fine and model.recommend(at, N=3).ids.shape == (3,)
            finally:
                os._exit(0 if fine else 1)
        wrong += os.waitpid(pid, 0)[1] != 0
    running = False
    print(wrong)
"""


def test_two_hundred_forks_with_traffic_all_answer_the_same():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FORKS), "200"], capture_output=True, text=True, timeout=90
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "0\n"


_GRANDCHILDREN = """
    import os, sys
    import numpy as np
    import ancf

    rng = np.random.default_rng(0)
    data = ancf.Interactions.from_ids(user=rng.integers(0, 50, 900), item=rng.integers(0, 40, 900))
    expected = ancf.ANCF(factors=4, epochs=2).fit(data).recommend_all(N=3).to_pandas()

    def descend(depth):
        if not ancf.ANCF(factors=4, epochs=2).fit(data).recommend_all(N=3).to_pandas().equals(expected):
            os._exit(1)
        if depth == 0:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            descend(depth - 1)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    descend(5)
"""


def test_children_of_children_train_and_recommend():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(_GRANDCHILDREN)], timeout=90, capture_output=True)
    assert run.returncode == 0, run.stderr


_POOL = """
    import multiprocessing
    import numpy as np
    import ancf

    rng = np.random.default_rng(0)
    model = ancf.from_factors(rng.standard_normal((500, 8)), rng.standard_normal((300, 8)))
    model.recommend_all(N=3)

    def lists(part):
        return model.recommend(list(part), N=3).ids.tolist()

    with multiprocessing.get_context("fork").Pool(3) as pool:
        parts = pool.map(lists, np.array_split(np.arange(500), 11))
    assert sum(parts, []) == model.recommend_all(N=3).ids.tolist()
"""


def test_a_pool_of_forked_workers_serves_the_lists_of_its_parent():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(_POOL)], timeout=90, capture_output=True)
    assert run.returncode == 0, run.stderr
