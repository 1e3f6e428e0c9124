"""P12: what recommending for everybody takes does not depend on how many there are."""

import subprocess
import sys
import textwrap

import pytest

_CHILD = textwrap.dedent(
    """
    import resource, sys
    import numpy as np
    import ancf

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    n_users, out = int(sys.argv[1]), sys.argv[2]
    rng = np.random.default_rng(0)
    model = ancf.from_factors(
        rng.standard_normal((n_users, 4), dtype=np.float32), rng.standard_normal((500, 4), dtype=np.float32)
    )
    # One chunk beforehand: what is loaded and allocated once does not count.
    small = ancf.from_factors(model._fitted().user_vectors[:9000], model._fitted().item_vectors)
    small.recommend_all(N=10, out=out)
    before = peak()
    model.recommend_all(N=10, out=out)
    print(peak() - before)
    """
)


def grown_mib(n_users, out):
    run = subprocess.run(
        [sys.executable, "-c", _CHILD, str(n_users), str(out)], capture_output=True, text=True, check=True, timeout=110
    )
    return float(run.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="resource")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ten_times_the_users_take_the_same_memory(tmp_path, suffix):
    few = grown_mib(12_000, tmp_path / f"few{suffix}")
    many = grown_mib(120_000, tmp_path / f"many{suffix}")
    # The lists alone of 120,000 users would take 120,000 × 10 × 8 bytes = 9 MiB; pages and the notes of Parquet's parts
    # differ by 1 to 4 MiB.
    assert many < few + 7, f"12,000 users: {few:.1f} MiB more, 120,000 users: {many:.1f} MiB more"
