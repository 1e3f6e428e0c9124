"""What a list costs without a network: ``python benches/short_way.py [MODEL] [--profile]``.

Requests go through connections whose transport throws the answers away, in one process: microseconds of the processor
for each, without the system's calls for sockets, which take some 10 more. `serving.py` has the whole.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from pathlib import Path

import uvloop
from serving import made_up
from uvicorn import Config
from uvicorn.server import ServerState

from ancf.serving.app import endpoints_of, make_app
from ancf.serving.journal import Event
from ancf.serving.protocol import Connection, connections_of
from ancf.serving.service import Service
from ancf.serving.settings import Settings
from ancf.serving.short_way import ShortWay

_AT_ONCE = 16


class Nowhere(asyncio.Transport):
    """A connection of which nobody reads the other end."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def connect(service: Service) -> list[Connection]:
    endpoints = endpoints_of(service)
    protocol = connections_of(service, ShortWay(service, endpoints))
    config = Config(make_app(service, endpoints), loop="uvloop", http=protocol, log_config=None)
    config.load()
    state = ServerState()
    state.default_headers = [(b"server", b"uvicorn"), (b"date", b"Sat, 28 Nov 2026 12:00:00 GMT")]
    connections = [protocol(config=config, server_state=state, app_state={}) for _ in range(_AT_ONCE)]
    for each in connections:
        each.connection_made(Nowhere())
    return connections


async def ask(connections: list[Connection], requests: list[bytes]) -> None:
    for start in range(0, len(requests), _AT_ONCE):
        for connection, request in zip(connections, requests[start : start + _AT_ONCE], strict=False):
            connection.data_received(request)
        await asyncio.sleep(0)


async def measure(what: str, connections: list[Connection], requests: list[bytes], rounds: int) -> None:
    await ask(connections, requests)
    found = []
    for _ in range(rounds):
        began = time.process_time()
        await ask(connections, requests)
        found.append((time.process_time() - began) / len(requests) * 1e6)
    print(f"{what:28} {min(found):6.1f} us at best, half within {statistics.median(found):.1f}")


async def main(options: argparse.Namespace) -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or made_up(Path(folder) / "shop.ancf")
        service = Service(Settings(model=model, journal=f"sqlite:///{folder}/events.db", keep_previous=False))
        scorer = service.model().scorer
        users = [str(each) for each in scorer.user_ids.values[:1000]]
        items = [service.model().texts.ids[at] for at in range(len(scorer.item_ids))]
        connections = connect(service)
        requests = [f"GET /v1/recommend/{user}?n=10 HTTP/1.1\r\nHost: here\r\n\r\n".encode() for user in users]
        await measure("a list, no events", connections, requests, options.rounds)
        now = int(time.time())
        for at, user in enumerate(users):
            bought = [items[(2 * at + n) % len(items)] for n in range(2)]
            service._journal.append([[Event(f"{user}-{each}", user, each, "purchase", 1.0, now) for each in bought]])
        await measure("a list, two fresh events", connections, requests, options.rounds)
        if options.profile:
            with cProfile.Profile() as profile:
                await ask(connections, requests)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="A model file; without one, one of the made-up shop is trained.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", action="store_true", help="Say which functions take how long.")
    uvloop.run(main(parser.parse_args()))
