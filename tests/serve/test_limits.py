"""Slow, half-open and greedy clients hurt nobody, and what is too much is refused at once and in words.

Workers are started with small limits; a lock on the journal, held by the test, keeps events from being written.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from ancf.serving.limits import Limits
from ancf.serving.service import Rate
from ancf.serving.settings import Settings

_WORK = "from ancf.serving.server import work; work()"


class Worker:
    """A worker with limits of its own; it ends when its stdin closes, as it does with the tests."""

    def __init__(self, model_file, **limits):
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as reserved:
            self.port = reserved.getsockname()[1]
        self.journal = model_file.parent / "events.db"
        settings = Settings(
            str(model_file), f"sqlite:///{self.journal}", port=self.port, limits=dataclasses.replace(Limits(), **limits)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _WORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.process.stdin.write(json.dumps(dataclasses.asdict(settings)).encode() + b"\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != b"ready\n":
            raise AssertionError(self.process.stderr.read().decode())
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 20)

    @contextlib.contextmanager
    def without_writing(self):
        """Nothing is written to the journal meanwhile."""
        with Path(f"{self.journal}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def in_flight(self):
        return self.metric("ancf_in_flight_requests") - 1

    def metric(self, name):
        # Over a connection of its own: one that was refused is not listened to for a while.
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=20).text
        [line] = [each for each in text.splitlines() if each.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    def wait_for(self, reached):
        pause = threading.Event()
        for _ in range(1000):
            if reached():
                return
            pause.wait(0.02)
        raise AssertionError("it never came to that")

    def end(self):
        self.http.close()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()
        self.process.wait(30)
        log = self.process.stderr.read().decode()
        self.process.stderr.close()
        assert '"defect"' not in log, log
        return log


@pytest.fixture
def worker(model_file):
    started = []

    def start(**limits):
        started.append(Worker(model_file, **limits))
        return started[-1]

    yield start
    for each in started:
        if not each.http.is_closed:
            each.end()


def read_all(connection):
    """Everything until the other side closes."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(1 << 16):
            content += block
    return content


def read_answer(connection):
    """The next answer: its head and its body."""
    content = b""
    while b"\r\n\r\n" not in content:
        block = connection.recv(1 << 16)
        assert block, "closed without an answer"
        content += block
    head, _, body = content.partition(b"\r\n\r\n")
    [length] = [int(line.split()[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < length:
        body += connection.recv(1 << 16)
    return head, body


def request(path="/health/live", *headers, method="GET", body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def events(n, start=0):
    return {"events": [{"event_id": f"e{start + i}", "user_id": "u", "item_id": "i"} for i in range(n)]}


# ---- slow clients


@pytest.mark.parametrize("beginning", [b"", b"GET /health/li", request()[:-4] + b"\r\nX-Slow: 1\r\n"])
def test_headers_that_do_not_come_are_not_waited_for(worker, beginning):
    server = worker(header_deadline=0.3)
    with server.connect() as connection:
        connection.sendall(beginning)
        assert read_all(connection).startswith(
            b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json"
        )


def test_headers_that_trickle_are_cut_off_at_the_same_moment(worker):
    server = worker(header_deadline=0.5)
    with server.connect() as connection:
        began, sent, pause = time.monotonic(), 0, threading.Event()
        with contextlib.suppress(ConnectionError):
            for byte in request("/health/live", f"X-Slow: {'x' * 500}"):
                connection.sendall(bytes([byte]))
                sent += 1
                pause.wait(0.02)
        assert sent < 500
        assert time.monotonic() - began < 20


def test_a_second_request_of_a_connection_has_the_same_deadline(worker):
    server = worker(header_deadline=0.4)
    with server.connect() as connection:
        connection.sendall(request())
        assert read_answer(connection)[1] == b'{"status":"ok"}'
        connection.sendall(b"GET /health/live HT")
        assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_body_that_does_not_come_is_not_waited_for(worker):
    server = worker(body_deadline=0.3)
    with server.connect() as connection:
        headers = ("Content-Type: application/json", "Content-Length: 100")
        connection.sendall(request("/v1/events", *headers, method="POST", body=b"{"))
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"The body was not there after 0.3 seconds." in answer


@pytest.mark.parametrize("path", ["/v1/recommend/u?n=1", "/health/live"])
def test_a_connection_is_closed_when_nothing_was_asked_for_long_since_the_last_answer(worker, path):
    server = worker(keep_alive=0.6)
    with server.connect() as connection:
        for _ in range(4):
            connection.sendall(request(path))
            assert read_answer(connection)[0].startswith(b"HTTP/1.1 200")
            last = time.monotonic()
            threading.Event().wait(0.25)
        assert read_all(connection) == b""
        assert time.monotonic() - last > 0.55


def test_hundreds_of_half_open_connections_hurt_nobody(worker):
    server = worker(in_flight=4)
    with contextlib.ExitStack() as opened:
        for number in range(300):
            connection = opened.enter_context(server.connect())
            connection.sendall(b"GET /v1/popular HTTP/1.1\r\nHost: x\r\nX: " if number % 2 else b"")
        assert {server.http.get("/v1/popular").status_code for _ in range(20)} == {200}


def test_a_client_that_does_not_read_is_let_go_and_others_are_answered(worker):
    server = worker(write_deadline=0.5, keep_alive=60)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(0.2)
        sent = 0
        with contextlib.suppress(OSError):
            for sent in range(5000):  # noqa: B007
                connection.sendall(request("/openapi.json"))
        assert {server.http.get("/v1/popular").status_code for _ in range(5)} == {200}
        server.wait_for(lambda: server.in_flight() == 0)
        connection.settimeout(20)
        received = len(read_all(connection))
        assert received < sent * 10_000


# ---- sizes


def test_headers_may_be_as_long_as_the_limit_and_no_longer(worker):
    limit = 2000
    server = worker(headers=limit)

    def status(length):
        # The path, "host", its value, and the name and value of the header itself.
        used = len("/health/live") + len("host") + 1 + len("x-pad")
        with server.connect() as connection:
            connection.sendall(request("/health/live", f"X-Pad: {'x' * (length - used)}", "")[:-2])
            return int(connection.recv(4096).split()[1])

    assert status(limit) == 200
    assert status(limit + 1) == 431


def test_a_header_without_an_end_is_cut_off(worker):
    server = worker(headers=2000)
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            for _ in range(100):
                connection.sendall(b"x" * 1000)
        assert read_all(connection)[:12] in (b"HTTP/1.1 431", b"")
    assert server.http.get("/health/live").status_code == 200


def test_what_is_no_http_is_refused_in_json(worker):
    server = worker()
    with server.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["status"] == 400


# ---- too much at once


class InBackground(threading.Thread):
    """Events on a connection of their own, sent again when refused, as another request may just have the last place."""

    def __init__(self, server, body):
        super().__init__(daemon=True)
        self.server, self.body, self.answer = server, body, None
        self.start()

    def run(self):
        with httpx.Client(base_url=self.server.http.base_url, timeout=30) as http:
            answer = None
            while answer is None or answer.status_code == 503:
                answer = http.post("/v1/events", json=self.body)
        self.answer = answer


def assert_refused(head, body):
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in head
    assert json.loads(body)["detail"] == "Too many requests are in flight."


def test_beyond_so_many_in_flight_requests_are_refused_at_once_and_the_connection_stays(worker):
    server = worker(in_flight=3, handling_deadline=15.0)
    with server.without_writing():
        waiting = [InBackground(server, events(1, start=n)) for n in range(2)]
        server.wait_for(lambda: server.in_flight() == 2)
        assert server.http.get("/v1/popular").status_code == 200
        waiting.append(InBackground(server, events(1, start=2)))
        server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
        score = request("/v1/score", "Content-Length: 2", method="POST", body=b"{}")
        for question in (request("/v1/popular"), score):
            with server.connect() as connection:
                connection.sendall(question)
                assert_refused(*read_answer(connection))
        with server.connect() as connection:
            connection.sendall(request("/v1/popular") + score + request("/health/live", "Connection: close"))
            answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
            assert [each[:3] for each in answers] == [b"503"] * 3
        assert server.http.get("/health/live").json() == {"status": "ok"}
        assert [each.answer for each in waiting] == [None] * 3
    for each in waiting:
        each.join(30)
        assert each.answer.json()["accepted"] == 1
    assert server.http.get("/v1/popular").status_code == 200
    assert server.metric("ancf_shed_requests_total") >= 3


def test_who_was_refused_is_not_listened_to_for_a_while_and_is_answered_then(worker):
    server = worker(in_flight=4, handling_deadline=15.0)
    with server.connect() as connection:
        with server.without_writing():
            waiting = [InBackground(server, events(1, start=n)) for n in range(4)]
            server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
            connection.sendall(request("/v1/popular"))
            assert read_answer(connection)[0].startswith(b"HTTP/1.1 503")
            began = time.monotonic()
        for each in waiting:
            each.join(30)
        # It asks again at once, when there would be room, but was told to wait.
        connection.sendall(request("/v1/popular"))
        assert read_answer(connection)[0].startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began >= 0.7


def test_who_is_refused_before_the_body_came_sends_it_and_may_ask_again(worker):
    server = worker(in_flight=4, handling_deadline=15.0)
    with server.connect() as connection:
        with server.without_writing():
            waiting = [InBackground(server, events(1, start=n)) for n in range(4)]
            server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
            connection.sendall(request("/v1/score", "Content-Length: 2", method="POST", body=b"{"))
            assert_refused(*read_answer(connection))
        for each in waiting:
            each.join(30)
        server.wait_for(lambda: server.metric("ancf_put_off_connections") == 0)
        # There would be room now for what comes together with the rest of the body, but it was told to wait.
        connection.sendall(b"}" + request("/v1/popular"))
        assert_refused(*read_answer(connection))
        assert server.metric("ancf_put_off_connections") == 1
        connection.sendall(request("/v1/popular"))
        assert read_answer(connection)[0].startswith(b"HTTP/1.1 200")
        assert server.metric("ancf_put_off_connections") == 0


def test_a_refused_body_that_does_not_come_is_not_waited_for(worker):
    server = worker(in_flight=1, handling_deadline=15.0, body_deadline=0.3)
    with server.without_writing():
        waiting = InBackground(server, events(1))
        server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
        with server.connect() as connection:
            connection.sendall(request("/v1/score", "Content-Length: 2", method="POST", body=b"{"))
            assert read_all(connection).startswith(b"HTTP/1.1 503")
    waiting.join(30)


@pytest.mark.parametrize("question", [request("/", "Connection: close"), request("/").replace(b"1.1", b"1.0")])
def test_who_wants_a_connection_for_one_request_gets_it_closed_when_refused(worker, question):
    server = worker(in_flight=1, handling_deadline=15.0)
    with server.without_writing():
        waiting = InBackground(server, events(1))
        server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
        with server.connect() as connection:
            connection.sendall(question)
            assert b"\r\nconnection: close\r\n" in read_all(connection)
    waiting.join(30)


def test_events_that_cannot_be_written_in_time_may_be_sent_again(worker):
    server = worker(handling_deadline=0.3)
    with server.without_writing():
        answer = server.http.post("/v1/events", json=events(2))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert server.http.get("/v1/popular").status_code == 200
    again = server.http.post("/v1/events", json=events(2)).json()
    assert again["accepted"] + again["duplicates"] == 2


def test_events_that_wait_to_be_written_are_limited(worker):
    server = worker(waiting_events=10, handling_deadline=15.0)
    with server.without_writing():
        waiting = InBackground(server, events(7))
        server.wait_for(lambda: server.metric("ancf_waiting_events") == 7)
        assert server.http.post("/v1/events", json=events(4, start=7)).status_code == 503
        last = InBackground(server, events(3, start=7))
        server.wait_for(lambda: server.metric("ancf_waiting_events") == 10)
    for each in (waiting, last):
        each.join(30)
    assert (waiting.answer.json()["accepted"], last.answer.json()["accepted"]) == (7, 3)
    assert server.metric("ancf_waiting_events") == 0


def test_events_a_second_are_limited(worker):
    # A burst of one whole request, and then so few that the test does not see another.
    server = worker(events_per_second=1, events=10)
    assert server.http.post("/v1/events", json=events(10)).status_code == 200
    refused = server.http.post("/v1/events", json=events(10, start=10))
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"


def test_a_rate_fills_up_again_and_never_holds_more_than_a_burst(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("ancf.serving.service.time.monotonic", lambda: now[0])
    rate = Rate(10, 4)
    assert [rate.takes(6), rate.takes(4), rate.takes(1)] == [True, True, False]
    now[0] += 0.5
    assert [rate.takes(6), rate.takes(5), rate.takes(1)] == [False, True, False]
    now[0] += 1000
    assert [rate.takes(11), rate.takes(10), rate.takes(1)] == [False, True, False]
    # A request that is longer than a second's worth gets through.
    assert Rate(1, 1000).takes(1000)


def test_short_and_long_ways_are_answered_in_the_order_of_the_requests(worker):
    server = worker()
    paths = ["/v1/recommend/a?n=1", "/v1/popular?n=2", "/v1/recommend/b?n=3", "/v1/recommend/b%20c?n=4"]
    with server.connect() as connection:
        connection.sendall(
            b"".join(request(each) for each in paths) + request("/v1/recommend/a?n=5", "Connection: close")
        )
        bodies = [part.partition(b"\r\n\r\n")[2] for part in read_all(connection).split(b"HTTP/1.1 200 OK")[1:]]
    assert [len(json.loads(body)["items"]) for body in bodies] == [1, 2, 3, 4, 5]
    server.wait_for(lambda: server.in_flight() == 0)


def test_under_overload_every_request_gets_an_answer_and_some_get_a_list(worker):
    server = worker(in_flight=2)
    n_connections, n_requests = 60, 20
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(server.connect()) for _ in range(n_connections)]
        answers = []
        for _ in range(n_requests):
            for each in connections:
                each.sendall(request("/v1/recommend/nobody"))
            for each in connections:
                head, body = read_answer(each)
                json.loads(body)
                answers.append(int(head.split()[1]))
    assert len(answers) == n_connections * n_requests
    assert set(answers) <= {200, 503}
    assert answers.count(200) >= n_requests
    server.wait_for(lambda: server.in_flight() == 0)


def test_pipelined_requests_are_answered_in_their_order(worker):
    server = worker()
    with server.connect() as connection:
        connection.sendall(
            b"".join(request(f"/v1/popular?n={n}") for n in (1, 2, 3)) + request("/health/live", "Connection: close")
        )
        bodies = [part.partition(b"\r\n\r\n")[2] for part in read_all(connection).split(b"HTTP/1.1 200 OK")[1:]]
    assert [len(json.loads(body)["items"]) for body in bodies[:3]] == [1, 2, 3]
    assert json.loads(bodies[3]) == {"status": "ok"}


# ---- the end


def test_a_server_that_is_told_to_end_answers_what_it_has_begun(worker):
    server = worker(handling_deadline=15.0, drain=15.0)
    with server.without_writing():
        waiting = InBackground(server, events(1))
        server.wait_for(lambda: server.in_flight() == 1)
        server.http.close()
        os.kill(server.process.pid, signal.SIGTERM)

        def refused():
            with contextlib.suppress(ConnectionRefusedError), server.connect():
                return False
            return True

        server.wait_for(refused)
        assert waiting.answer is None
    waiting.join(30)
    assert waiting.answer.json()["accepted"] == 1
    assert server.process.wait(30) == 0
    assert '"ended"' in server.end()


def test_every_limit_is_above_nothing():
    for each in dataclasses.fields(Limits):
        with pytest.raises(ValueError, match=each.name):
            Limits(**{each.name: 0})


def test_the_page_on_serving_has_every_limit(request):
    page = (request.config.rootpath / "docs/serving.md").read_text()
    limits = Limits()
    for value in ("1,000", "100", "10,000", "512", "16 KiB", "1 MiB", "128", "50,000", "75"):
        assert f"| {value} |" in page
    assert (limits.headers, limits.body, limits.in_flight, limits.waiting_events) == (16 << 10, 1 << 20, 128, 50_000)
    assert (limits.header_deadline, limits.body_deadline, limits.handling_deadline, limits.keep_alive) == (5, 10, 2, 75)


def test_of_many_refusals_at_one_moment_each_is_told_once(worker):
    server = worker(in_flight=1, handling_deadline=15.0)
    with contextlib.ExitStack() as stack, server.without_writing():
        waiting = InBackground(server, events(1))
        server.wait_for(lambda: server.http.get("/v1/popular").status_code == 503)
        connections = [stack.enter_context(server.connect()) for _ in range(30)]
        for each in connections:
            each.sendall(request("/v1/popular", "Connection: close"))
        answers = [read_all(each) for each in connections]
    assert all(each.startswith(b"HTTP/1.1 503") for each in answers)
    assert all(each.count(b"HTTP/1.1") == 1 for each in answers)
    waiting.join(30)
