"""No acknowledged event is lost and none counts twice, whatever is killed; the next list of any worker counts it."""

import os
import signal
import threading

import httpx
import pytest

from ancf.serving.writer import open_journal

_STORM_EVENTS = 60
_CLIENTS = 4
_PAUSE = threading.Event()
pytestmark = pytest.mark.timeout(300)


def event(name, user, item):
    return {"event_id": name, "user_id": user, "item_id": item}


class Client(threading.Thread):
    """Sends events one after the other, again and again until each is acknowledged, and reads after every write."""

    def __init__(self, name, url, item_ids):
        super().__init__(daemon=True)
        self.name, self.url, self.item_ids = name, url, item_ids
        self.acknowledged, self.stale, self.error = [], [], None

    def run(self):
        try:
            with httpx.Client(timeout=20) as http:
                for number in range(_STORM_EVENTS):
                    self.send(http, number)
        except Exception as error:
            self.error = error

    def send(self, http, number):
        name, item = f"{self.name}-{number}", self.item_ids[number % len(self.item_ids)]
        for _ in range(1500):
            try:
                answer = http.post(f"{self.url()}/v1/events", json={"events": [event(name, self.name, item)]})
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                self.acknowledged.append(name)
                break
            assert answer is None or answer.status_code == 503, answer.text
            # As clients do that find nobody.
            _PAUSE.wait(0.1)
        else:
            raise AssertionError(f"{name} was never acknowledged")
        if number < len(self.item_ids):
            self.look(http, item, name)

    def look(self, http, item, name):
        """What was bought is left out at once; of a server that is gone there is no answer."""
        try:
            answer = http.get(f"{self.url()}/v1/recommend/{self.name}?n=1000")
        except httpx.HTTPError:
            return
        if answer.status_code == 200 and item in [each["item_id"] for each in answer.json()["items"]]:
            self.stale.append(name)


def storm(url, item_ids, kill, kills):
    """Traffic of several clients, and something that is killed whenever the first has come so far."""
    at = [round((n + 1) * _STORM_EVENTS / (kills + 1)) for n in range(kills)]
    clients = [Client(f"c{n}", url, item_ids) for n in range(_CLIENTS)]
    for each in clients:
        each.start()
    for number in at:
        # In this thread: a process whose parent thread ends is ended with it.
        while len(clients[0].acknowledged) < number and clients[0].is_alive():
            _PAUSE.wait(0.01)
        kill()
    for each in clients:
        each.join(200)
        assert not each.is_alive()
        assert each.error is None, each.error
    return clients


def check(clients, journal_url, item_ids):
    journal = open_journal(journal_url)
    for each in clients:
        assert not each.stale
        entries = journal.of_user(each.name, 10_000)
        assert len(each.acknowledged) == len(entries) == _STORM_EVENTS
        # Each once: every item as often as it was bought.
        for at, item in enumerate(item_ids):
            bought = len(range(at, _STORM_EVENTS, len(item_ids)))
            assert [entry.item_id for entry in entries].count(item) == bought
    journal.close()


@pytest.fixture
def item_ids(model):
    return [str(each) for each in model.item_ids_[:40]]


def workers_of(server):
    """The process ids of the workers that serve."""
    died = [line["pid"] for line in server.log if line["event"] == "worker died"]
    serving = [line["pid"] for line in server.log if line["event"] == "serving" and "workers" not in line]
    return [pid for pid in serving if pid not in died]


def test_a_server_that_is_killed_under_traffic_loses_nothing(serve, item_ids, journal_url):
    running = [serve("--journal", journal_url)]

    def kill():
        running[-1].kill()
        running.append(serve("--journal", journal_url))

    check(storm(lambda: running[-1].url, item_ids, kill, kills=2), journal_url, item_ids)


def test_a_worker_that_is_killed_under_traffic_loses_nothing_and_another_takes_its_place(serve, item_ids, tmp_path):
    journal_url = f"sqlite:///{tmp_path}/events.db"
    server = serve("--journal", journal_url, "--workers", 2)

    def kill():
        os.kill(workers_of(server)[0], signal.SIGKILL)

    check(storm(lambda: server.url, item_ids, kill, kills=2), journal_url, item_ids)
    for _ in range(600):
        if len(workers_of(server)) == 2:
            break
        _PAUSE.wait(0.1)
    assert len(workers_of(server)) == 2


def test_a_database_that_is_killed_under_traffic_loses_nothing(serve, item_ids, postgres, postgres_url):
    server = serve("--journal", postgres_url)

    def kill():
        postgres.kill()
        postgres.start()

    check(storm(lambda: server.url, item_ids, kill, kills=2), postgres_url, item_ids)


def test_workers_end_when_the_process_that_started_them_is_killed(serve):
    server = serve("--workers", 2)
    assert len(workers_of(server)) == 2
    server.kill()
    # The workers hold stderr open until they end.
    server._reader.join(30)
    assert not server._reader.is_alive()
    assert [line["event"] for line in server.log].count("ended") == 2


def test_every_worker_counts_an_event_at_once(serve, model):
    server = serve("--workers", 2)
    for number, item in enumerate(model.item_ids_.values[:20].tolist()):
        server.events(event(f"e{number}", "someone", item))
        # A new connection each time, which the kernel gives to either worker.
        for _ in range(4):
            answer = server.client.get("/v1/recommend/someone?n=1000", headers={"Connection": "close"})
            assert item not in [each["item_id"] for each in answer.json()["items"]]
