"""Files that are whole or not there: written beside their place, and put there when they are complete."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    It is locked for as long as its writer lives, which tells it from what a killed one left behind; that is removed.
    """
    folder = path.absolute().parent
    for stale in folder.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError), stale.open("rb") as file:
            if _try_lock(file.fileno()):
                stale.unlink()
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        # Between its creation and its lock, somebody else may have taken it for one left behind.
        locked = _try_lock(handle)
        if not locked or temporary.exists():
            break
        os.close(handle)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            # mkstemp gives 0600; a result has the rights of any new file.
            temporary.chmod(0o666 & ~_umask())
            if locked:
                temporary.replace(path)
        if not locked:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _try_lock(handle: int) -> bool:
    """Whether nobody else held the file's lock, which is ours from now on; False where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
