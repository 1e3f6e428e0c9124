"""Checks that every request goes through before anything is computed: the length of lists, and memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ancf.errors import InvalidParameterError

# Of the memory that the machine can still give, the part that one call may plan to use.
_SHARE_OF_MEMORY = 0.8


def check_n(N: Any) -> int:
    """N as a whole number of at least 1."""
    if isinstance(N, (int, np.integer)) and not isinstance(N, bool) and 1 <= N < 2**31:
        return int(N)
    raise InvalidParameterError(f"N is {N!r}; it must be a whole number of at least 1.")


def available_bytes() -> int | None:
    """The memory this process can still get (machine and control group), or None where nobody tells."""
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError):
        try:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    try:
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(found)) if found else None


def check_memory(n_users: int, n: int) -> None:
    """Refuse lists that would not fit into memory before anything is allocated for them.

    A row takes 8 bytes as position and score, and some 16 more once its raw ids are looked up.
    """
    needed = n_users * n * 24
    if needed < 1 << 28:
        return
    available = available_bytes()
    if available is not None and needed > _SHARE_OF_MEMORY * available:
        raise InvalidParameterError(
            f"{n_users:,} lists of {n:,} items need about {needed / 2**30:.1f} GiB; "
            f"{available / 2**30:.1f} GiB are free. "
            'Use recommend_all(N, out="recs.parquet") to stream them into a file, a smaller N, or fewer users.'
        )


def check_training_memory(needed: int, what: str, remedy: str) -> None:
    """Refuse to train what would not fit into memory before anything is allocated for it.

    Parameters
    ----------
    needed : int, bytes
    what : str
        What takes them, as the subject of a sentence.
    remedy : str
        A sentence that says the way out.
    """
    if needed < 1 << 28:
        return
    available = available_bytes()
    if available is not None and needed > _SHARE_OF_MEMORY * available:
        raise InvalidParameterError(
            f"{what} need about {needed / 2**30:.1f} GiB; {available / 2**30:.1f} GiB are free. {remedy}"
        )
