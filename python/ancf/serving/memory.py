"""What the C library keeps of memory that nobody uses any more.

glibc hands large blocks back to the system when they are freed, but what it takes for large grows up to 32 MB with the
blocks that are freed; from then on much of what loading a model takes for a moment stays with the process.
"""

import ctypes
from typing import Any

# Parameters of mallopt, as malloc.h numbers them.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 4 << 20


def keep_little() -> None:
    """Blocks from 4 MiB go back to the system when they are freed, whatever was freed before."""
    if (set_option := _of_libc("mallopt")) is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Hand unused memory back to the system; the GIL is free meanwhile. Takes milliseconds."""
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def _of_libc(name: str) -> Any:
    """A function of the C library; None where it has none of that name (musl, macOS)."""
    return getattr(ctypes.CDLL(None), name, None)
