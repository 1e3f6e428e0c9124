"""What serving costs: `python benches/serving.py [MODEL] [--postgresql URL]`; needs wrk, taskset and two cores.

All parts together take some six minutes: requests one by one, half the load with a million events in the journal, a
minute with 2,000 connections (`crowd.py`, which waits as `Retry-After` says, or not), start and reloads with a model of
300 MB, and the journals by themselves. `--quick` has a tenth of the seconds and events.

The server runs on one core and wrk on the other. Beside requests a second and latencies it prints the processor time
that the server spends on a request, which others on the machine change less, and the same for Starlette's constant JSON
in the same run: what stands between the two is what a list costs.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CONSTANT = """
import msgspec, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
encode = msgspec.json.Encoder().encode
async def constant(request): return Response(encode({"status": "ok"}), media_type="application/json")
app = Starlette(routes=[Route("/", constant)])
uvicorn.run(app, port=%d, loop="uvloop", http="httptools", access_log=False, log_level="warning")
"""


class Load(NamedTuple):
    """What wrk saw, and what the server spent."""

    what: str
    per_second: float
    half_ms: float
    p99_ms: float
    processor_us: float
    refused: int


@contextmanager
def process(arguments: list[str], url: str) -> Iterator[int]:
    """A server on the first core, from its first answer on."""
    started = subprocess.Popen(["taskset", "-c", "0", sys.executable, *arguments], stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(url, timeout=1).read()
                break
            except OSError:
                if started.poll() is not None:
                    raise SystemExit(f"the server ended: {' '.join(arguments[:3])} ...") from None
                time.sleep(0.05)
        yield started.pid
    finally:
        started.terminate()
        started.wait()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(what: str, pid: int, url: str, seconds: int, *, connections: int = 16, script: str | None = None) -> Load:
    """Ask without a pause."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            command[-1:-1] = ["-s", file.name]
        before = processor_seconds(pid)
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = processor_seconds(pid) - before
    [requests] = re.findall(r"(\d+) requests in", said)
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    refused = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    half, p99 = (_milliseconds(re.findall(rf"^ +{share}% +(\S+)", said, re.MULTILINE)[0]) for share in (50, 99))
    return Load(what, float(rate), half, p99, 1e6 * spent / int(requests), int(refused[0]) if refused else 0)


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def users_script(users: list[str]) -> str:
    """Users in turn, so that no answer is asked for twice in a row."""
    listed = ", ".join(json.dumps(f"/v1/recommend/{each}?n=10") for each in users)
    return (
        f"paths = {{{listed}}}\nat = 0\n"
        "request = function() at = at % #paths + 1 return wrk.format('GET', paths[at]) end\n"
    )


def events(url: str, users: list[str], items: list[str], each: int) -> None:
    """Events for every user, in requests of a thousand."""
    made = [
        {"event_id": f"bench-{user}-{n}", "user_id": user, "item_id": items[(at * each + n) % len(items)]}
        for at, user in enumerate(users)
        for n in range(each)
    ]
    for start in range(0, len(made), 1000):
        body = json.dumps({"events": made[start : start + 1000]}).encode()
        request = urllib.request.Request(f"{url}/v1/events", body, {"Content-Type": "application/json"})
        while True:
            try:
                urllib.request.urlopen(request, timeout=60).read()
                break
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                time.sleep(float(error.headers["Retry-After"]))  # More events a second than the server takes.


def made_up(path: Path) -> str:
    """A model of the made-up shop, in a file."""
    import ancf
    from ancf.demo_shop import demo_shop

    ancf.ANCF(epochs=3).fit(ancf.read_interactions(demo_shop())).save(path)
    return str(path)


def crowd(port: int, users: list[str], connections: int, seconds: float, *more: str) -> "subprocess.Popen[str]":
    """Connections that ask for lists, on the second core; it prints JSON in the end."""
    command = ["taskset", "-c", "1", sys.executable, str(Path(__file__).with_name("crowd.py"))]
    asking = subprocess.Popen(
        [*command, str(port), str(connections), str(seconds), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asking.stdin is not None
    asking.stdin.write("\n".join(users))
    asking.stdin.close()
    return asking


def said(what: str, asking: "subprocess.Popen[str]") -> dict[str, float]:
    """What a crowd saw."""
    assert asking.stdout is not None
    told: dict[str, float] = json.loads(asking.stdout.read())
    asking.wait()
    print(
        f"{what:36} answered {told['answered_per_second']:7,.0f} a second, half {told['answered_half_ms']:.2f} ms, "
        f"p99 {told['answered_p99_ms']:.2f} ms, longest {told['answered_longest_ms']:.1f} ms; "
        f"refused {told['refused_per_second']:,.0f} a second",
        flush=True,
    )
    return told


def known_users(url: str) -> list[str]:
    return [each["user_id"] for each in json.load(urllib.request.urlopen(f"{url}/v1/users?n=1000"))["users"]]


def large_model(path: Path) -> None:
    """A model file of 300 MB."""
    import numpy as np

    from ancf.models.factors import from_factors

    n_users, n_items, d = 1_000_000, 60_000, 64
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, d), dtype=np.float32) for n in (n_users, n_items))
    ids = ([f"u{at}" for at in range(n_users)], [f"i{at}" for at in range(n_items)])
    from_factors(users, items, user_ids=ids[0], item_ids=ids[1]).save(path)


def start_and_reload(folder: Path, port: int, seconds: int) -> None:
    """A server's start with a large model, and lists while it is loaded again and again."""
    url, model, other = f"http://127.0.0.1:{port}", folder / "large.ancf", folder / "other.ancf"
    large_model(model)
    model.read_bytes()
    command = ["-m", "ancf", "serve", str(model), "--port", str(port), "--journal", f"sqlite:///{folder}/large.db"]
    began = time.perf_counter()
    with process(command, f"{url}/health/ready") as pid:
        print(f"{'start with 300 MB':36} {time.perf_counter() - began:.2f} s, processor {processor_seconds(pid):.2f} s")
        users = known_users(url)
        asking = crowd(port, users, 4, seconds, "--pause", "0.004")
        until, reloads = time.monotonic() + seconds - 1, 0
        while time.monotonic() < until:
            shutil.copy(model, other)
            other.rename(model)
            request = urllib.request.Request(f"{url}/v1/reload", b"{}", {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=60).read()
            reloads += 1
        said(f"{reloads} reloads of 300 MB", asking)


def floor(url: str) -> float:
    """Seconds of a prepared statement that asks for nothing, by the driver that the journal has."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as opened:
        opened.pgconn.prepare(b"nothing", b"SELECT 1")
        began = time.perf_counter()
        for _ in range(2000):
            opened.pgconn.exec_prepared(b"nothing", [])
        return (time.perf_counter() - began) / 2000


def journals(url: str, n: int) -> None:
    """Durable events a second in commits of a thousand, from ten requests of a hundred, and reading those of a user."""
    from ancf.serving.journal import Event
    from ancf.serving.writer import open_journal

    opened, mark, kind = open_journal(url), time.time_ns(), url.partition(":")[0]
    began = time.perf_counter()
    for start in range(0, n, 1000):
        made = [
            Event(f"{mark}-{at}", f"u{at % (n // 5)}", f"i{at % 1000}", "purchase", 1.0, at)
            for at in range(start, start + 1000)
        ]
        opened.append([made[at : at + 100] for at in range(0, 1000, 100)])
    written = time.perf_counter() - began
    began = time.perf_counter()
    for at in range(2000):
        opened.of_user(f"u{at * 7 % (n // 5)}", 1000)
    read = (time.perf_counter() - began) / 2000
    opened.close()
    if kind != "sqlite":
        print(f"{kind}, a statement that asks for nothing {floor(url) * 1e6:.1f} us")
    what = f"{kind}, the journal alone"
    print(f"{what:36} {n / written:,.0f} durable events a second; a user's five in {read * 1e6:.1f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="A model file; without one, one of the made-up shop is trained.")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--port", type=int, default=9317)
    parser.add_argument("--fill", type=int, default=1_000_000, metavar="N", help="Events of others in the journal.")
    parser.add_argument("--crowd-seconds", type=int, default=60)
    parser.add_argument("--postgresql", metavar="URL", help="A database for the journal; it is written to.")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.fill, options.crowd_seconds = 1, options.fill // 10, options.crowd_seconds // 10
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    if missing := [each for each in ("wrk", "taskset") if shutil.which(each) is None]:
        print(f"not measured: {', '.join(missing)} is missing here (Debian: apt-get install wrk util-linux)")
        return
    url, seconds, loads = f"http://127.0.0.1:{options.port}", options.seconds, []
    with process(["-c", CONSTANT % options.port], url) as pid:
        loads.append(load("constant JSON of Starlette", pid, url, seconds))
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or made_up(Path(folder) / "shop.ancf")
        journal = f"sqlite:///{folder}/events.db"
        command = ["-m", "ancf", "serve", model, "--port", str(options.port), "--journal", journal]
        with process(command, f"{url}/health/live") as pid:
            users = known_users(url)
            items = [each["item_id"] for each in json.load(urllib.request.urlopen(f"{url}/v1/items?n=1000"))["items"]]
            loads.append(load("GET /health/live", pid, f"{url}/health/live", seconds))
            loads.append(load("a list, no events", pid, url, seconds, script=users_script(users)))
            if options.fill:
                others = [f"other-{at}" for at in range(options.fill // 10)]
                events(url, others, items, 10)
            events(url, users, items, 2)
            loads.append(load("a list, two fresh events", pid, url, seconds, script=users_script(users)))
            loads.append(load("the same, one connection", pid, url, seconds, connections=1, script=users_script(users)))
            full = said("16 connections", crowd(options.port, users, 16, seconds))
            pause = 2 * 16 / full["answered_per_second"]
            said("half of that", crowd(options.port, users, 16, seconds, "--pause", f"{pause:.5f}"))
            for what, more in (("asking at once", ()), ("waiting as they are told", ("--patient",))):
                said(f"2,000, {what}", crowd(options.port, users, 2000, options.crowd_seconds, *more))
            said("16 connections again", crowd(options.port, users, 16, seconds))
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            size = Path(model).stat().st_size
            memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        start_and_reload(Path(folder), options.port, 4 * seconds)
        for url in filter(None, (f"sqlite:///{folder}/alone.db", options.postgresql)):
            journals(url, options.fill // 10)
    print(f"{'what':28} {'a second':>10} {'half ms':>9} {'p99 ms':>9} {'us processor':>13} {'refused':>8}")
    for each in loads:
        print(
            f"{each.what:28} {each.per_second:10,.0f} {each.half_ms:9.2f} {each.p99_ms:9.2f} "
            f"{each.processor_us:13.1f} {each.refused:8,}"
        )
    asked = 1.2 * size / 1e6 + 120 * 1.048576
    print(f"memory of the worker: {memory:.0f} MB; the model file: {size / 1e6:.0f} MB; asked: {asked:.0f} MB")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
