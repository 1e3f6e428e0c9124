"""Files that are whole or not there: written beside their place, and put there when they are complete.

What stands at the place stays what it is: a link stays a link, and its target gets the content; a file keeps its mode,
and its owner where the system lets us. A pipe, a terminal or a device cannot be whole or not there: it is written to as
it goes. ``rust/core/src/store/save.rs`` does the same for model files, which are never written to pipes.
"""

import contextlib
import errno
import glob
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# Bytes of the target's name in that of the temporary file; a name may have 255.
_LONGEST = 160
# The folders of a process's own open files: /dev/stdout, /dev/fd/63 of a process substitution.
_OPEN_FILES = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd|/dev/fd")
# A file that nobody has made before, and no child process inherits.
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# As many links in a row as Linux follows.
_MAX_LINKS = 40


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and vanishes when it does not.

    It is locked for as long as its writer lives, which tells it from what a killed one left behind; that is removed.
    Pipes, terminals, character devices and open files of this process (``/dev/stdout``) are written to directly.

    Raises
    ------
    OSError
        If ``path`` is a folder, a socket or a disk, or its folder is missing, full or not writable; names ``path``.
    """
    with _errors_name(path):
        target = replaced_file(path)
        with _open_stream(path) if target is None else _replace(target) as file:
            yield file


def replaced_file(path: Path) -> Path | None:
    """The file that ``atomic_write`` makes or replaces, or None where it writes to a stream.

    Raises
    ------
    OSError
        If it is a folder, a socket or a disk.
    """
    descriptor, place = _follow(path)
    if descriptor is not None:
        return None
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return place
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a socket or a disk, not a file", str(path))
    return place if stat.S_ISREG(mode) else None


def _follow(path: Path) -> tuple[int | None, Path]:
    """The open file of this process that a path names, or the place where its links lead to."""
    place = path
    for _ in range(_MAX_LINKS):
        folder = place.parent.resolve()
        process = _OPEN_FILES.fullmatch(str(folder))
        if process and place.name.isdecimal() and process[1] in (None, str(os.getpid())):
            return int(place.name), place
        if not place.is_symlink():
            return None, place
        place = folder / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


@contextlib.contextmanager
def _open_stream(path: Path) -> Iterator[IO[bytes]]:
    """Opening a pipe waits for its reader, as in the shell."""
    descriptor, place = _follow(path)
    with place.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb") as file:
        yield file


@contextlib.contextmanager
def _replace(path: Path) -> Iterator[IO[bytes]]:
    folder = path.absolute().parent
    prefix = f".{os.fsencode(path.name)[:_LONGEST].decode(errors='ignore')}."
    for stale in folder.glob(f"{glob.escape(prefix)}*.tmp"):
        with contextlib.suppress(OSError), stale.open("rb") as file:
            if _try_lock(file.fileno()):
                stale.unlink()
    # Named before it is made, so that an interrupt at any moment finds what is to be removed.
    temporary = folder / f"{prefix}{secrets.token_hex(8)}.tmp"
    try:
        while True:
            handle = os.open(temporary, _NEW_FILE, 0o600)
            # Between its creation and its lock, somebody else may have taken it for one left behind.
            locked = _try_lock(handle)
            if not locked or temporary.exists():
                break
            os.close(handle)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _take_over_rights(file.fileno(), temporary, path)
            if locked:
                temporary.replace(path)
        if not locked:
            temporary.replace(path)
        _sync_folder(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _take_over_rights(handle: int, temporary: Path, path: Path) -> None:
    """Mode and owner of the file that is replaced; the mode of any new file where there is none."""
    try:
        old = path.stat()
    except FileNotFoundError:
        # It was made with 0600.
        temporary.chmod(0o666 & ~_umask())
        return
    if hasattr(os, "fchown"):
        # An administrator who writes over somebody's file leaves it theirs; nobody else may give files away.
        with contextlib.suppress(OSError):
            os.fchown(handle, old.st_uid, old.st_gid)
    temporary.chmod(stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk afterwards, where the system lets folders be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """An error of the system names the file that was to be written, not the temporary one, or none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).endswith(".tmp")):
            raise OSError(error.errno, error.strerror, str(path)) from error
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
