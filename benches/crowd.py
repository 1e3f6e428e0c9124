"""A crowd: so many connections that ask for lists without a pause, and how long answers and refusals take.

`python benches/crowd.py PORT CONNECTIONS SECONDS < USERS` prints JSON; `--help` says what else. wrk does not tell the
times of answers from those of refusals, and asks again at once whatever it is told; `--patient` waits as long as
`Retry-After` says. `benches/serving.py` calls it.
"""

import argparse
import asyncio
import json
import re
import sys
import time

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)", re.IGNORECASE)


class Crowd:
    """What all connections share."""

    def __init__(self, port: int, users: list[str], *, patient: bool, close: bool, pause: float) -> None:
        self.port, self.patient, self.close, self.pause = port, patient, close, pause
        more = "Connection: close\r\n" if close else ""
        self._requests = [f"GET /v1/recommend/{each}?n=10 HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode() for each in users]
        self._at = 0
        self.answered: list[float] = []
        self.refused: list[float] = []
        self.cut = 0
        self.over = False

    def next(self) -> bytes:
        self._at = (self._at + 1) % len(self._requests)
        return self._requests[self._at]


class Asker(asyncio.Protocol):
    """One connection, and the ones that follow it when it is closed."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd, self._loop = crowd, asyncio.get_running_loop()
        self._content = b""
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        if not self._crowd.over and not self._transport.is_closing():
            self._waits, self._content = True, b""
            self._sent = time.perf_counter()
            self._transport.write(self._crowd.next())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._content += data
        head, end, body = self._content.partition(b"\r\n\r\n")
        if not end or len(body) < int(_LENGTH.search(head)[1]):  # type: ignore[index]
            return
        crowd, took = self._crowd, time.perf_counter() - self._sent
        self._waits, pause = False, crowd.pause
        if head.startswith(b"HTTP/1.1 200"):
            crowd.answered.append(took)
        else:
            crowd.refused.append(took)
            pause = float(_RETRY_AFTER.search(head)[1]) if crowd.patient else pause  # type: ignore[index]
        if crowd.close:
            self._transport.close()
        self._loop.call_later(pause, self._again if crowd.close else self._ask) if pause or crowd.close else self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waits and not self._crowd.over:
            self._crowd.cut += 1
        if not self._crowd.over and not self._crowd.close:
            self._again()

    def _again(self) -> None:
        if not self._crowd.over:
            self._loop.create_task(_connect(self._crowd))


async def _connect(crowd: Crowd) -> None:
    while not crowd.over:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Asker(crowd), "127.0.0.1", crowd.port)
            return
        except OSError:
            await asyncio.sleep(0.01)


async def _ask_for(crowd: Crowd, connections: int, seconds: float) -> None:
    for _ in range(connections):
        asyncio.get_running_loop().create_task(_connect(crowd))
    await asyncio.sleep(seconds)
    crowd.over = True


def _share(values: list[float], share: float) -> float:
    """Milliseconds within which so many of a hundred were."""
    return round(1000 * sorted(values)[min(int(len(values) * share / 100), len(values) - 1)], 2) if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--patient", action="store_true", help="Wait as long as Retry-After says.")
    parser.add_argument("--close", action="store_true", help="A connection for each request.")
    parser.add_argument("--pause", type=float, default=0.0, help="Seconds between an answer and the next request.")
    options = parser.parse_args()
    users = sys.stdin.read().split()
    crowd = Crowd(options.port, users, patient=options.patient, close=options.close, pause=options.pause)
    uvloop.run(_ask_for(crowd, options.connections, options.seconds))
    said = {
        "answered_per_second": round(len(crowd.answered) / options.seconds, 1),
        "answered_half_ms": _share(crowd.answered, 50),
        "answered_p99_ms": _share(crowd.answered, 99),
        "answered_longest_ms": _share(crowd.answered, 100),
        "refused_per_second": round(len(crowd.refused) / options.seconds, 1),
        "refused_half_ms": _share(crowd.refused, 50),
        "cut": crowd.cut,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
