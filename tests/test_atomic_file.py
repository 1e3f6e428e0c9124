"""What is written takes the place of what it should, and of nothing else: links, modes, owners, pipes, devices."""

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf.atomic_file import atomic_write

posix = pytest.mark.skipif(os.name != "posix", reason="rights, links, pipes and devices are POSIX's")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this")


def write(path, content=b"new"):
    with atomic_write(path) as file:
        file.write(content)


def device(path, minor):
    """A device of our own, as nobody should try to replace the system's: 3 is null, 7 is full."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    return path


@posix
def test_a_link_stays_a_link_and_its_target_gets_the_content(tmp_path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "latest.csv").symlink_to("current.csv")
    (tmp_path / "current.csv").symlink_to("versions/one.csv")
    for content in (b"made", b"replaced"):
        write(tmp_path / "latest.csv", content)
        assert (tmp_path / "versions/one.csv").read_bytes() == content
    assert (tmp_path / "latest.csv").is_symlink()
    assert (tmp_path / "current.csv").is_symlink()
    assert len(list(tmp_path.rglob("*"))) == 4


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "lists.csv"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


@posix
@root
def test_a_file_written_by_an_administrator_stays_its_owners(tmp_path):
    path = tmp_path / "lists.csv"
    path.write_bytes(b"old")
    os.chown(path, 12_345, 23_456)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 23_456)


@posix
def test_a_pipe_stays_a_pipe_and_its_reader_gets_the_content(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@posix
@root
def test_a_device_is_written_to_and_stays_a_device(tmp_path):
    null = device(tmp_path / "null", 3)
    (tmp_path / "link").symlink_to(null)
    for path in (null, tmp_path / "link"):
        write(path)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert {each.name for each in tmp_path.iterdir()} == {"null", "link"}


@posix
@root
def test_a_full_disk_names_the_file(tmp_path):
    full = device(tmp_path / "full", 7)
    with pytest.raises(OSError, match="full") as failed:
        write(full)
    assert (failed.value.errno, failed.value.filename) == (errno.ENOSPC, str(full))


@posix
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux's names of open files")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_an_open_file_is_written_to_where_it_stands(tmp_path, name):
    """A shell's `>> log` is not replaced, though /dev/stdout leads to a file."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    log = tmp_path / "log"
    log.write_bytes(b"old ")
    code = """
import sys
from pathlib import Path
from ancf.atomic_file import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"new")
"""
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", code, name], cwd=tmp_path, stdout=file, check=True)
    assert log.read_bytes() == b"old new"


@posix
def test_what_is_no_file_and_no_stream_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name, number in {".": errno.EISDIR, "socket": errno.EINVAL, "loop": errno.ELOOP}.items():
            with pytest.raises(OSError, match=r".") as failed:
                write(Path(name))
            assert (failed.value.errno, failed.value.filename) == (number, name)
    assert {each.name for each in tmp_path.iterdir()} == {"loop", "socket"}


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "nowhere" / "lists.csv"
    with pytest.raises(FileNotFoundError) as failed:
        write(path)
    assert failed.value.filename == str(path)


@posix
def test_the_longest_name_a_file_may_have_is_enough(tmp_path):
    for name in ("m" * 251 + ".csv", "ä" * 125 + ".csv"):
        write(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "lists.csv"
    path.write_bytes(b"old")

    def half():
        with atomic_write(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


# ---- what stands on it


@posix
def test_everybodys_lists_go_through_links_and_pipes(tmp_path):
    model = ancf.from_factors(np.eye(3), np.eye(3))
    plain = model.recommend_all(N=2, out=tmp_path / "plain.csv").path.read_bytes()
    (tmp_path / "link.csv").symlink_to("target.csv")
    model.recommend_all(N=2, out=tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_bytes() == plain
    os.mkfifo(tmp_path / "pipe.csv")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe.csv").read_bytes()))
    reader.start()
    assert model.recommend_all(N=2, out=tmp_path / "pipe.csv").n_rows == 6
    reader.join()
    assert got == [plain]


@pytest.mark.parametrize("form", ["npy", "arrow"])
def test_exported_vectors_replace_the_old_ones_when_all_are_complete(tmp_path, monkeypatch, form):
    first, second = (ancf.from_factors(np.eye(2) * scale, np.eye(2)) for scale in (1, 2))
    written = first.export(tmp_path, form)
    old = [path.read_bytes() for path in written]

    def broken(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", broken)
        patch.setattr("pyarrow.ipc.RecordBatchFileWriter.write_table", broken, raising=False)
        patch.setattr("pyarrow.ipc.new_file", broken)
        with pytest.raises(OSError, match="No space"):
            second.export(tmp_path, form)
    assert [path.read_bytes() for path in written] == old
    assert set(tmp_path.iterdir()) == set(written)
    second.export(tmp_path, form)
    assert [path.read_bytes() for path in written] != old


def test_vectors_are_not_exported_to_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ancf.InvalidParameterError, match="Give a folder"):
        ancf.from_factors(np.eye(2), np.eye(2)).export(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_history_that_is_not_finite_is_saved_as_null(tmp_path):
    """JSON has no NaN; what was measured is kept where it is a number."""
    from ancf import model_file

    history = {"training_loss": [1.0, float("inf")], "ndcg@10": [float("nan")], "best_epoch": 1}
    model_file.save(tmp_path / "m.ancf", "ANCF", {"x": np.ones(1)}, {"history": history})
    _, meta = model_file.read(tmp_path / "m.ancf")
    assert meta["history"] == {"training_loss": [1.0, None], "ndcg@10": [None], "best_epoch": 1}
    with pytest.raises(ancf.InvalidParameterError, match="not finite"):
        model_file.save(tmp_path / "m.ancf", "ANCF", {}, {"options": {"half_life": float("inf")}})
