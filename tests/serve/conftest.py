"""A small shop, and servers that end with the tests, whatever becomes of these."""

import contextlib
import ctypes
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx
import pytest

import ancf
from ancf.demo_shop import demo_shop

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 60


def _die_with_the_tests():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@pytest.fixture(scope="session")
def purchases():
    return ancf.read_interactions(demo_shop(customers=200, products=80))


@pytest.fixture(scope="session")
def model_files(purchases, tmp_path_factory):
    """Two models of the shop: the one that is served first, and another."""
    folder = tmp_path_factory.mktemp("models")
    ancf.ANCF(factors=8, epochs=2, half_life=60, repeat_weight=0.3, random_state=1).fit(purchases).save(
        folder / "first.ancf"
    )
    ancf.ItemKNN().fit(purchases).save(folder / "second.ancf")
    return folder / "first.ancf", folder / "second.ancf"


@pytest.fixture
def model_file(model_files, tmp_path):
    return Path(shutil.copy(model_files[0], tmp_path / "shop.ancf"))


@pytest.fixture
def model(model_file):
    return ancf.load(model_file)


class Server:
    """A process of ``ancf serve``; ``log`` has its lines."""

    def __init__(self, model_file, *options, environment=()):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "ancf", "serve", str(model_file), "--port", "0", *map(str, options)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict(environment)},
            preexec_fn=_die_with_the_tests,
        )
        self.log = []
        self.url = None
        self._serving = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        workers = int(options[options.index("--workers") + 1]) if "--workers" in options else 1
        self._wanted = "workers" if workers > 1 else "model"
        if not self._serving.wait(_START_SECONDS) or self.url is None:
            self.kill()
            self._reader.join()
            self.process.stderr.close()
            raise AssertionError("\n".join(map(str, self.log)))
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def _read(self):
        for line in self.process.stderr:
            try:
                said = json.loads(line)
            except ValueError:
                said = {"event": "no JSON", "line": line}
            self.log.append(said)
            if said["event"] == "serving" and self._wanted in said:
                self.url = said["url"]
                self._serving.set()
        self._serving.set()

    def events(self, *events):
        answer = self.client.post("/v1/events", json={"events": list(events)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def list_of(self, user, **options):
        answer = self.client.get(f"/v1/recommend/{user}", params=options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self, user, **options):
        return [each["item_id"] for each in self.list_of(user, **options)["items"]]

    def end(self, seconds=20):
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def start_server():
    """For tests that keep a server of their own for longer."""
    return Server


@pytest.fixture
def serve(model_file):
    """Starts servers of ``model_file``: ``serve("--workers", 2)``."""
    servers = []

    def start(*options, **keywords):
        servers.append(Server(model_file, *options, **keywords))
        return servers[-1]

    yield start
    for each in servers:
        if each.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.end()
        if each.process.poll() is None:
            each.kill()
        each.process.stderr.close()
        each.client.close()


@pytest.fixture(scope="session")
def shared_server(model_files, tmp_path_factory):
    """One for tests that leave no trace but under ids of their own."""
    path = Path(shutil.copy(model_files[0], tmp_path_factory.mktemp("served") / "shop.ancf"))
    server = Server(path)
    yield server
    assert server.end() == 0
    server.process.stderr.close()
    server.client.close()


class Postgres:
    """A PostgreSQL of our own in a folder, reached by a socket there alone; it never runs as root."""

    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        self.url = f"postgresql:///postgres?host={folder}&user={self.user or getpass.getuser()}"
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-A", "trust", "--no-instructions"],
            check=True,
            capture_output=True,
            user=self.user,
        )
        self.start()

    def start(self):
        """Start, again while processes of one that was killed still hold its memory."""
        self.process = None
        for _ in range(600):
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(
                    [
                        self.programs / "postgres",
                        "-D",
                        self.folder / "data",
                        "-k",
                        self.folder,
                        "-c",
                        "listen_addresses=",
                    ],
                    stderr=subprocess.DEVNULL,
                    user=self.user,
                    preexec_fn=_die_with_the_tests,
                )
            if subprocess.run([self.programs / "pg_isready", "-q", "-h", self.folder]).returncode == 0:
                return
        raise AssertionError("PostgreSQL did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


@pytest.fixture(scope="session")
def postgres():
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="ancf-postgres-"))
    server = Postgres(folder, programs[-1].parent)
    yield server
    server.end()
    shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres):
    """An empty journal in PostgreSQL."""
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS ancf_events, ancf_forgotten, ancf_notes")
    return postgres.url


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request, tmp_path):
    """An empty journal of each kind."""
    return f"sqlite:///{tmp_path}/events.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
