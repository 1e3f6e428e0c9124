"""How long Ctrl-C takes: SIGINT at random moments of every long call, from the signal to the exception.

    python benches/interrupt.py            all calls, three interruptions each, in about a minute; the promise is 100 ms
    python benches/interrupt.py all 12     the same with twelve
    python benches/interrupt.py fit 50     one of them, fifty

Each call runs in a process of its own; a forked child sends the signal and says when. After each interruption the
object must be what it was before. Times are of an unloaded machine; ``tests/reliability`` asks the same of smaller
tables with a wide gate.
"""

import json
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ancf

PROMISED_MS = 100


def table(n_users: int, n_items: int, n_events: int) -> Any:
    rng = np.random.default_rng(0)
    items = np.minimum((rng.pareto(0.8, n_events) * n_items / 40).astype(int), n_items - 1)
    return ancf.Interactions.from_ids(user=rng.integers(0, n_users, n_events), item=items)


def lists(model: Any) -> Any:
    return model.recommend(list(model.user_ids_.values[:50]), N=5).to_pandas()


def factors(n_users: int, n_items: int, d: int = 64) -> Any:
    rng = np.random.default_rng(0)
    return ancf.from_factors(
        rng.standard_normal((n_users, d), np.float32), rng.standard_normal((n_items, d), np.float32)
    )


# A scenario: the call, what tells the object's state, and what it must stay.
Scenario = tuple[Callable[[], Any], Callable[[], Any]]


def fit(_: Path, size: float) -> Scenario:
    data = table(8000, 6000, int(400_000 * size))
    model = ancf.ANCF(factors=32, epochs=1, neighbors=0).fit(table(200, 100, 2000))
    model.set_params(factors=64, epochs=40, neighbors=100)
    return (lambda: model.fit(data)), lambda: lists(model).to_csv()


def recommend_all(_: Path, size: float) -> Scenario:
    model = factors(int(60_000 * size), 20_000)
    return (lambda: model.recommend_all(N=10)), lambda: lists(model).to_csv()


def recommend_streamed(folder: Path, size: float) -> Scenario:
    model = factors(int(60_000 * size), 8000, 16)
    out = folder / "recs.csv"
    out.write_text("as it was")
    return (lambda: model.recommend_all(N=10, out=out)), lambda: (out.read_text(), len(list(folder.iterdir())))


def item_knn(_: Path, size: float) -> Scenario:
    data = table(6000, 5000, int(1_500_000 * size))
    model = ancf.ItemKNN().fit(table(200, 100, 2000))
    return (lambda: model.fit(data)), lambda: lists(model).to_csv()


def als(_: Path, size: float) -> Scenario:
    data = table(8000, 6000, int(400_000 * size))
    model = ancf.ALS(factors=8).fit(table(200, 100, 2000))
    model.set_params(factors=128, epochs=100)
    return (lambda: model.fit(data)), lambda: lists(model).to_csv()


def bpr(_: Path, size: float) -> Scenario:
    data = table(8000, 6000, int(400_000 * size))
    model = ancf.BPR(factors=8).fit(table(200, 100, 2000))
    model.set_params(factors=64, epochs=2000)
    return (lambda: model.fit(data)), lambda: lists(model).to_csv()


def evaluate(_: Path, size: float) -> Scenario:
    n = int(50_000 * size)
    model = factors(n, 10_000)
    test = table(n, 10_000, 12 * n)
    return (lambda: ancf.evaluate(model, test, ["ndcg@10", "recall@100", "mse"])), lambda: lists(model).to_csv()


def save(folder: Path, size: float) -> Scenario:
    model = factors(int(1_200_000 * size), 1000)
    path = folder / "shop.ancf"
    factors(100, 100).save(path)
    return (lambda: model.save(path)), lambda: (path.stat().st_size, len(list(folder.iterdir())))


def load(folder: Path, size: float) -> Scenario:
    path = folder / "shop.ancf"
    factors(int(1_200_000 * size), 1000).save(path)
    return (lambda: ancf.load(path)), lambda: path.stat().st_size


def read_interactions(folder: Path, size: float) -> Scenario:
    path = folder / "purchases.csv"
    rng = np.random.default_rng(0)
    n = int(3_000_000 * size) // 100_000 * 100_000
    with path.open("w") as file:
        file.write("customer_id,sku,qty,date\n")
        for start in range(0, n, 100_000):
            users, items = rng.integers(0, 200_000, 100_000).tolist(), rng.integers(0, 30_000, 100_000).tolist()
            file.write(
                "".join(
                    f"C{u:06d},{i},{1 + i % 3},2024-{1 + u % 12:02d}-{1 + (start // 100_000) % 28:02d} 10:00:00\n"
                    for u, i in zip(users, items, strict=True)
                )
            )
    return (lambda: ancf.read_interactions(path)), lambda: path.stat().st_size


SCENARIOS: dict[str, Callable[[Path, float], Scenario]] = {
    each.__name__: each  # type: ignore[attr-defined]
    for each in (fit, als, bpr, recommend_all, recommend_streamed, item_knn, evaluate, save, load, read_interactions)
}


def interrupted(call: Callable[[], Any], delay_s: float) -> float | None:
    """Milliseconds from SIGINT to the exception; None where the call was faster than the signal."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        time.sleep(delay_s)
        os.write(sink, struct.pack("d", time.monotonic()))
        os.kill(os.getppid(), signal.SIGINT)
        os._exit(0)
    at = None
    try:
        call()
        while True:  # the signal is on its way
            time.sleep(0.001)
            if os.waitpid(pid, os.WNOHANG)[0]:
                pid = 0
                time.sleep(0.05)
    except KeyboardInterrupt as error:
        # Only an exception that came out of the call counts.
        trace = error.__traceback__
        inside = trace is not None and trace.tb_next is not None
        at = time.monotonic() if inside else None
    finally:
        if pid:
            os.waitpid(pid, 0)
    sent = struct.unpack("d", os.read(source, 8))[0]
    os.close(source)
    os.close(sink)
    return None if at is None else 1000 * (at - sent)


def child(name: str, rounds: int, seed: int, size: float) -> None:
    # A shell starts what it sends into the background with SIGINT switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        call, state = SCENARIOS[name](Path(folder), size)
        before = state()
        began = time.monotonic()
        kept = {}
        if name in ("recommend_all", "evaluate", "load", "read_interactions"):
            call()  # nothing that stays: the whole length is known
            kept["whole_s"] = time.monotonic() - began
        whole = kept.get("whole_s", 2.0)
        draws = random.Random(seed)
        times = []
        for _ in range(rounds):
            delay = draws.uniform(0.02, max(0.05, 0.9 * min(whole, 4.0)))
            while (took := interrupted(call, delay)) is None:
                before = state()  # it was done before the signal came
                delay *= 0.7
                if delay < 0.002:
                    sys.exit(f"{name} is too fast to be interrupted")
            times.append(took)
            if state() != before:
                sys.exit(f"{name}: the object changed")
        print(json.dumps(times))


def measure(name: str, rounds: int, seed: int = 0, size: float = 1.0, timeout_s: float = 600) -> list[float]:
    """Milliseconds of so many interruptions of one call, in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--child", name, str(rounds), str(seed), str(size)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"{name}: {run.stderr.strip()[-2000:]}")
    return list(json.loads(run.stdout.splitlines()[-1]))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
        return
    asked = sys.argv[1] if len(sys.argv) > 1 else "all"
    if asked not in ("all", *SCENARIOS):
        sys.exit(f"there is no call {asked!r}; there are all, {', '.join(SCENARIOS)}.")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    worst = 0.0
    print(f"{'call':20} {'median ms':>10} {'largest ms':>11} {'seconds':>8}   (load {os.getloadavg()[0]:.1f})")
    for name in SCENARIOS if asked == "all" else [asked]:
        began = time.monotonic()
        times = measure(name, rounds)
        worst = max(worst, *times)
        took = time.monotonic() - began
        print(f"{name:20} {statistics.median(times):10.1f} {max(times):11.1f} {took:8.0f}", flush=True)
    print(f"promised {PROMISED_MS}, largest {worst:.1f} (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
