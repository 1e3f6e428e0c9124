"""A server's processes: one that works itself, or one that starts several workers and begins those anew that die.

Workers have a socket each at the same address (``SO_REUSEPORT``), so the kernel shares out the connections. A worker
ends when the process that started it has gone: it reads a pipe that only that process holds open.
"""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import IO, Any

from ancf.errors import InvalidParameterError, MissingExtraError
from ancf.serving import log, memory
from ancf.serving.limits import Limits
from ancf.serving.settings import Settings

_BACKLOG = 2048
_STARTUP_SECONDS = 120.0
_RESTART_PAUSE = 1.0
_READY = b"ready\n"
_NEEDED = ("httptools", "msgspec", "prometheus_client", "starlette", "uvicorn", "uvloop")


def check_extra() -> None:
    """Look whether the extra is there.

    Raises
    ------
    MissingExtraError
        If it is not; names what is missing.
    """
    import importlib.util

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"serving needs {', '.join(missing)}. Install what is missing with: pip install 'ancf[serve]'"
        )


def run(settings: Settings, on_serving: Callable[[str], None] = lambda _: None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. ``on_serving`` is told the address once one worker answers there.

    Raises
    ------
    MissingExtraError
        If the extra ``serve`` is not installed.
    InvalidParameterError
        If the address cannot be taken, or an option makes no sense.
    ModelFileError, JournalError, OSError
        If the model or the journal cannot be opened.
    """
    check_extra()
    listener = _bind(settings, shared=settings.workers > 1)
    with listener:
        settings = dataclasses.replace(settings, port=listener.getsockname()[1])
        if settings.workers > 1:
            return _Parent(settings).run()
        _work(settings, listener, on_serving=on_serving)
        return 0


def url_of(settings: Settings) -> str:
    """Where the server answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _bind(settings: Settings, *, shared: bool) -> socket.socket:
    """A socket at the address, which does not listen yet."""
    try:
        [family, kind, protocol, _, address] = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise InvalidParameterError(
            f"host={settings.host!r}, port={settings.port}: {getattr(error, 'strerror', None) or error}. "
            "Choose another address, or end what has it."
        ) from None
    bound.setblocking(False)
    return bound


def _work(
    settings: Settings,
    listener: socket.socket,
    started: IO[bytes] | None = None,
    on_serving: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve in this process."""
    _do_without_pyarrow()
    memory.keep_little()
    from ancf.serving.model_reading import read_model

    paths = (settings.model, *settings.more_models.values())
    # Reading and checking 300 MB takes the core as long as loading the modules takes Python.
    with ThreadPoolExecutor(1, thread_name_prefix="model file") as reader:
        begun = {Path(path): reader.submit(read_model, path) for path in paths}
        import uvicorn

        from ancf.serving.app import endpoints_of, make_app
        from ancf.serving.protocol import connections_of
        from ancf.serving.service import Service
        from ancf.serving.short_way import ShortWay

        service = Service(settings, lambda path: begun[Path(path)].result())
        begun.clear()
    endpoints = endpoints_of(service)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            log.write("serving", url=url_of(settings), pid=os.getpid(), **service.about())
            on_serving(url_of(settings))
            if started is not None:
                started.write(_READY)
                started.flush()
                _end_with_parent()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.draining = True
            await super().shutdown(sockets)
            log.write("ended", pid=os.getpid())

    # Only warnings: that it starts and ends is in the log already.
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [log.Handler(logging.WARNING)], False
    config = uvicorn.Config(
        make_app(service, endpoints),
        http=connections_of(service, ShortWay(service, endpoints)),
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.limits.keep_alive,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.limits.drain,  # type: ignore[arg-type]
    )
    # uvicorn raises the signal again when it has drained; that is no failure.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    Server(config).run(sockets=[listener])


def _do_without_pyarrow() -> None:
    """Where something asks for pandas, pandas loads pyarrow if it is installed: 40 MB that a worker has no use for."""
    # What Python's import system takes for a package that is not installed.
    sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]


def _end_with_parent() -> None:
    """End in order when stdin closes, as it does when the process that started this one has gone."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class _Parent:
    """The process that starts the workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ending = threading.Event()
        self._folder = tempfile.mkdtemp(prefix="ancf-metrics-")
        self._workers: list[subprocess.Popen[bytes]] = []

    def run(self) -> int:
        """Start all, watch over them, and end them."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._end)
        try:
            for _ in range(self._settings.workers):
                self._workers.append(self._start())
            for worker in self._workers:
                if not self._is_ready(worker):
                    return 1
            log.write("serving", url=url_of(self._settings), pid=os.getpid(), workers=[w.pid for w in self._workers])
            while not self._ending.wait(_RESTART_PAUSE / 4):
                self._restart_dead()
            return 0
        finally:
            self._end_workers()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, _: int, __: FrameType | None) -> None:
        self._ending.set()

    def _start(self) -> "subprocess.Popen[bytes]":
        from ancf.serving.metrics import FOLDER

        worker = subprocess.Popen(
            [sys.executable, "-c", "from ancf.serving.server import work; work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, FOLDER: self._folder},
            # Ctrl-C goes to this process, which ends the workers in order.
            start_new_session=True,
        )
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(dataclasses.asdict(self._settings), default=dict).encode() + b"\n")
        worker.stdin.flush()
        return worker

    def _is_ready(self, worker: "subprocess.Popen[bytes]") -> bool:
        """Wait until a worker serves; it has said why in the log if it does not."""
        assert worker.stdout is not None
        return worker.stdout.readline() == _READY

    def _restart_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            if worker.poll() is None:
                continue
            log.write("worker died", pid=worker.pid, code=worker.returncode)
            self._forget(worker)
            self._ending.wait(_RESTART_PAUSE)
            if not self._ending.is_set():
                self._workers[at] = self._start()

    def _forget(self, worker: "subprocess.Popen[bytes]") -> None:
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(Exception):
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(worker.pid, self._folder)  # type: ignore[no-untyped-call]

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        deadline = time.monotonic() + self._settings.limits.drain + 5.0
        for worker in self._workers:
            try:
                worker.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            self._forget(worker)


def work() -> None:
    """A worker's whole life: its settings come over stdin, and "ready" goes over stdout."""
    given: dict[str, Any] = json.loads(_read_line())
    settings = Settings(**{**given, "limits": Limits(**given["limits"])})
    from ancf.errors import AncfError

    try:
        _work(settings, _bind(settings, shared=True), sys.stdout.buffer)
    except (AncfError, OSError) as error:
        log.write("not started", error=str(error))
        sys.exit(1)


def _read_line() -> bytes:
    """The first line of stdin, and nothing behind it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line
