"""What serving costs: `python benches/serving.py [MODEL] [--seconds 5]`; needs wrk, taskset and two cores.

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="A model file; without one, one of the made-up shop is trained.")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--port", type=int, default=9317)
    parser.add_argument("--fill", type=int, default=0, metavar="N", help="Events of others in the journal before.")
    options = parser.parse_args()
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
            known = json.load(urllib.request.urlopen(f"{url}/v1/users?n=1000"))["users"]
            users = [each["user_id"] for each in known]
            items = [each["item_id"] for each in json.load(urllib.request.urlopen(f"{url}/v1/items?n=1000"))["items"]]
            if options.fill:
                others = [f"other-{at}" for at in range(options.fill // 10)]
                events(url, others, items, 10)
            loads.append(load("GET /health/live", pid, f"{url}/health/live", seconds))
            loads.append(load("a list, no events", pid, url, seconds, script=users_script(users)))
            loads.append(load("2,000 connections", pid, url, seconds, connections=2000, script=users_script(users)))
            events(url, users, items, 2)
            loads.append(load("a list, two fresh events", pid, url, seconds, script=users_script(users)))
            loads.append(load("the same, one connection", pid, url, seconds, connections=1, script=users_script(users)))
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            size = Path(model).stat().st_size
            memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    print(f"{'what':28} {'a second':>10} {'half ms':>9} {'p99 ms':>9} {'us processor':>13} {'refused':>8}")
    for each in loads:
        print(
            f"{each.what:28} {each.per_second:10,.0f} {each.half_ms:9.2f} {each.p99_ms:9.2f} "
            f"{each.processor_us:13.1f} {each.refused:8,}"
        )
    print(f"memory of the worker: {memory:.0f} MB; the model file: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
