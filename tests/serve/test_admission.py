"""Who is served in a crowd: a worker on a clock of the test's, with clients that ask again at once or when they may."""

import heapq
import itertools
import random

import pytest

from ancf.serving.admission import Admission, Client
from ancf.serving.limits import Limits

LIMITS = Limits()
LIST, REFUSAL = 250e-6, 50e-6
"""Seconds that a worker is at it."""


class Worker:
    """The event loop of a worker: it hears what has come, and answers in that order, each request in its time."""

    def __init__(self):
        self.admission, self.now = Admission(LIMITS), 0.0
        self.random = random.Random(1)
        self.sent = []
        """What is on its way or unheard, by the moment it is heard at: moment, number, client, moment of sending."""
        self.listens, self.number = [], 0
        """The moments at which connections that were put off are listened to again."""
        self.busy = {"answers": 0.0, "refusals": 0.0}
        self.answers, self.refusals = [], []

    def send(self, client, at):
        self.number += 1
        heapq.heappush(self.sent, (max(at, client.listened_from), self.number, client, at))

    def run(self, seconds, after):
        """Until so many seconds have passed; ``after`` says when a client asks again that was told to wait so long."""
        while self.now < seconds and self.sent:
            self.now = max(self.now, self.sent[0][0])
            while self.listens and self.listens[0] <= self.now:
                heapq.heappop(self.listens)
                self.admission.put_off -= 1
            heard = []
            while self.sent and self.sent[0][0] <= self.now:
                heard.append(heapq.heappop(self.sent))
            for _, _, client, sent in heard:
                client.early = sent < client.listened_from
                told = self.admission.ask(client, self.now)
                if told:
                    self.now += REFUSAL
                    self.busy["refusals"] += REFUSAL
                    self.refusals.append(client)
                    self.admission.put_off += 1
                    client.listened_from = self.now + client.pause + told * self.random.uniform(0.75, 1)
                    heapq.heappush(self.listens, client.listened_from)
                    self.send(client, self.now + client.pause + after(client, told))
                else:
                    self.admission.in_flight += 1
                    self.admission.waiting += 1
                    self.now += LIST
                    self.busy["answers"] += LIST
                    self.answers.append((self.now - sent, client))
                    self.send(client, self.now + after(client, told))
            self.admission.in_flight = self.admission.waiting = 0


class Someone(Client):
    __slots__ = ("listened_from",)

    def __init__(self):
        super().__init__()
        self.listened_from = 0.0


def serve(n, seconds, after=lambda client, told: 0.0):
    worker = Worker()
    for _ in range(n):
        worker.send(Someone(), 0.0)
    worker.run(seconds, after)
    return worker


def p99(answers):
    return sorted(took for took, _ in answers)[int(len(answers) * 0.99)]


@pytest.mark.parametrize("n", [1, 16, 128])
def test_as_many_clients_as_requests_may_be_in_flight_are_never_refused(n):
    worker = serve(n, 2.0)
    assert not worker.refusals
    assert len({client for _, client in worker.answers}) == n


@pytest.mark.parametrize("n", [200, 2000])
def test_of_a_crowd_that_asks_without_a_pause_nine_tenths_of_the_time_go_into_answers_that_come_soon(n):
    worker = serve(n, 8.0)
    assert worker.busy["answers"] >= 0.9 * worker.now
    assert p99(worker.answers) <= 2 * p99(serve(16, 2.0).answers)


@pytest.mark.parametrize("n", [200, 2000])
def test_of_a_crowd_that_waits_as_long_as_it_is_told_all_are_served_soon(n):
    worker = serve(n, 20.0, lambda client, told: float(told))
    assert worker.busy["answers"] >= 0.95 * worker.now
    assert p99(worker.answers) <= 2 * p99(serve(16, 2.0).answers)
    assert len({client for _, client in worker.answers}) == n


def test_who_asks_seldom_is_not_refused_in_a_crowd_that_asks_without_a_pause():
    worker, seldom = Worker(), [Someone() for _ in range(8)]
    for each in seldom:
        worker.send(each, 0.0)
    for _ in range(2000):
        worker.send(Someone(), 0.0)
    worker.run(8.0, lambda client, told: told or (1.5 if client in seldom else 0.0))
    answers = [took for took, client in worker.answers if client in seldom]
    assert len(answers) >= 8 * 5
    assert [client.told for client in seldom] == [0] * 8


def test_when_the_crowd_has_gone_those_who_stay_are_all_served():
    worker = Worker()
    staying = [Someone() for _ in range(64)]
    for each in staying:
        worker.send(each, 0.0)
    for _ in range(2000):
        worker.send(Someone(), 0.0)
    worker.run(20.0, lambda client, told: 0.0 if client in staying or worker.now < 5 else 1e9)
    served = {client for took, client in worker.answers[-200:]}
    assert served == set(staying)


def full():
    admission = Admission(LIMITS)
    admission.in_flight = LIMITS.in_flight
    return admission


def test_who_asks_too_early_again_and_again_is_told_to_wait_twice_as_long_each_time_up_to_a_limit():
    admission, client, told = full(), Client(), []
    for _ in range(5):
        told.append(admission.ask(client, 0.0))
        client.early = True
    assert told == [1, 2, 4, 4, 4]
    admission.in_flight = 0
    assert (admission.ask(client, 4.0), admission.ask(client, 4.0)) == (0, 0)
    admission.in_flight = LIMITS.in_flight
    assert admission.ask(client, 4.0) == 1


def test_of_many_refusals_at_once_all_but_a_few_are_told_one_after_the_other_within_a_second():
    admission, pauses = full(), []
    for _ in range(1000):
        client = Client()
        told = admission.ask(client, 5.0)
        pauses.append(client.pause)
        assert client.until == 5.0 + client.pause + told
    assert pauses[:9] == [0.0] * 9
    in_turn = sorted(pauses[10:])
    assert in_turn[-1] < 1
    assert max(later - sooner for sooner, later in itertools.pairwise(in_turn)) < 0.003


def test_refusals_that_come_one_after_the_other_are_told_at_once():
    admission = full()
    for at in range(1000):
        client = Client()
        admission.ask(client, at / 1000)
        assert client.pause == 0


def test_the_more_were_put_off_the_later_the_next_shall_come_again():
    admission = full()
    told = []
    for admission.put_off in (0, 511, 512, 1024, 100_000):
        told.append(admission.ask(Client(), 0.0))
    assert told == [1, 1, 2, 3, 4]
