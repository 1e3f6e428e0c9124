#!/usr/bin/env python3
"""A training step and the scores of pairs: the Rust core against the same model in float32 NumPy, in turn, in one run.

    python benches/network.py

Prints milliseconds (median) and ratios with two threads; more than 1 means that ancf is faster. Writes nothing.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import ancf

N_USERS, N_ITEMS, D, LENGTH, THREADS = 20_000, 10_000, 64, 24, 2
SECONDS = 2.0
BETA1, BETA2 = np.float32(0.9), np.float32(0.999)


def summed(rows: Any, values: Any) -> tuple[Any, Any]:
    """Distinct rows, and the sum of the values of each: sorted once, added up over runs of equal rows."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[starts], np.add.reduceat(values[order], starts, axis=0)


class Adam:
    """Rows that a batch touches, and no others."""

    def __init__(self, rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.moments: dict[str, tuple[Any, Any]] = {}

    def update(self, name: str, table: Any, rows: Any, gradient: Any) -> None:
        if name not in self.moments:
            self.moments[name] = np.zeros_like(table), np.zeros_like(table)
        first, second = self.moments[name]
        m = BETA1 * first[rows] + (1 - BETA1) * gradient
        s = BETA2 * second[rows] + (1 - BETA2) * gradient * gradient
        first[rows], second[rows] = m, s
        rate = np.float32(self.rate / (1 - 0.9**self.steps))
        table[rows] -= rate * m / (np.sqrt(s * np.float32(1 / (1 - 0.999**self.steps))) + np.float32(1e-8))


class FactorAttention:
    """Tables of users and items, attention over factors, squared error: the founding model."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.P, self.adam = parameters, Adam(0.001)

    def forward(self, users: Any, items: Any) -> Any:
        self.p, self.q = self.P["user_factors"][users], self.P["item_factors"][items]
        self.x = self.p * self.q
        logits = self.x * self.P["sharpness"]
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=logits)
        np.exp(logits, out=logits)
        self.alpha = logits
        self.alpha /= self.alpha.sum(axis=1, keepdims=True)
        return np.einsum("bk,bk->b", self.alpha, self.x)

    def step(self, users: Any, items: Any, targets: Any) -> float:
        scores = self.forward(users, items)
        error = scores - targets
        slope = (error * np.float32(2 / len(users)))[:, None]
        d_logits = slope * self.alpha * (self.x - scores[:, None])
        dx = slope * self.alpha + d_logits * self.P["sharpness"]
        self.adam.steps += 1
        d_sharpness = np.einsum("bk,bk->k", d_logits, self.x)
        self.adam.update("user_factors", self.P["user_factors"], *summed(users, dx * self.q))
        self.adam.update("item_factors", self.P["item_factors"], *summed(items, dx * self.p))
        self.adam.update("sharpness", self.P["sharpness"], slice(None), d_sharpness)
        return float(np.mean(error * error))


class HistoryAttention:
    """A user is the weighted sum of the items had; a positive above its negative. Histories have one length, so that
    they stand in one array."""

    def __init__(self, parameters: dict[str, Any], items: Any) -> None:
        self.P, self.items, self.adam = parameters, items.reshape(N_USERS, LENGTH), Adam(0.001)
        prior = 1 / np.sqrt(np.maximum(np.bincount(items, minlength=N_ITEMS), 1))
        weights = prior[self.items]
        self.weights = (weights / np.sqrt(weights.sum(axis=1, keepdims=True))).astype(np.float32)

    def users(self, users: Any) -> Any:
        return np.matmul(self.weights[users][:, None, :], self.P["item_factors"][self.items[users]])[:, 0]

    def forward(self, users: Any, items: Any) -> Any:
        return np.einsum("bk,bk->b", self.users(users), self.P["item_factors"][items])

    def step(self, users: Any, items: Any, negatives: Any) -> float:
        p = self.users(users)
        i, j = self.P["item_factors"][items], self.P["item_factors"][negatives]
        difference = np.einsum("bk,bk->b", p, i - j)
        slope = (-1 / (1 + np.exp(difference)) / len(users))[:, None].astype(np.float32)
        dp = slope * (i - j)
        by_history = self.weights[users][:, :, None] * dp[:, None, :]
        rows = np.concatenate([items, negatives, self.items[users].ravel()])
        values = np.concatenate([slope * p, -slope * p, by_history.reshape(-1, D)])
        self.adam.steps += 1
        self.adam.update("item_factors", self.P["item_factors"], *summed(rows, values))
        return float(np.log1p(np.exp(-difference)).mean())


def race(title: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Both in turn, round after round, at least 15 rounds and for seconds; the first round warms up."""
    times: dict[str, list[float]] = {"ancf": [], "numpy": []}
    start = time.perf_counter()
    while len(times["numpy"]) < 16 or time.perf_counter() - start < SECONDS:
        for name, run in (("ancf", ours), ("numpy", theirs)):
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    mine, other = (statistics.median(times[name][1:]) for name in ("ancf", "numpy"))
    print(f"{title:58} {1e3 * mine:9.3f} ms  numpy {1e3 * other:9.3f} ms  {other / mine:6.1f} ×", flush=True)


def factor_attention(batch: int, users: Any, items: Any, targets: Any) -> None:
    model = ancf.ANCFModel(N_USERS, N_ITEMS, D, factor_attention=True, num_threads=THREADS)
    plain = FactorAttention(model.parameters)
    assert np.allclose(model.forward(users, items), plain.forward(users, items), atol=1e-6)
    for _ in range(3):
        assert abs(model.step(users, items, targets) - plain.step(users, items, targets)) < 1e-4
    name = f"factor attention, mse, batch {batch:,}: "
    race(name + "forward", lambda: model.forward(users, items), lambda: plain.forward(users, items))
    race(name + "step", lambda: model.step(users, items, targets), lambda: plain.step(users, items, targets))


def history_attention(batch: int, users: Any, items: Any, negatives: Any, history: Any) -> None:
    csr = (np.arange(N_USERS + 1) * LENGTH, history, np.ones(len(history), np.float32))
    options: dict[str, Any] = {"attention": "degree", "user_factors": False, "loss": "bpr"}
    model = ancf.ANCFModel(N_USERS, N_ITEMS, D, history=csr, num_threads=THREADS, **options)
    plain = HistoryAttention(model.parameters, history)
    assert np.allclose(model.forward(users, items), plain.forward(users, items), atol=1e-5)

    def step() -> float:
        return model.step(users, items, negatives=negatives)

    for _ in range(3):
        assert abs(step() - plain.step(users, items, negatives)) < 1e-3
    name = f"history attention, bpr, batch {batch:,}: "
    race(name + "forward", lambda: model.forward(users, items), lambda: plain.forward(users, items))
    race(name + "step", step, lambda: plain.step(users, items, negatives))


def main() -> None:
    draws = np.random.default_rng(0)
    history = np.concatenate([np.sort(draws.permutation(N_ITEMS)[:LENGTH]) for _ in range(N_USERS)]).astype(np.int32)
    print(f"{N_USERS:,} users × {N_ITEMS:,} items, d = {D}, histories of {LENGTH}, {THREADS} threads")
    for batch in (64, 4096):
        users, items = draws.integers(0, N_USERS, batch), draws.integers(0, N_ITEMS, batch)
        negatives, targets = draws.integers(0, N_ITEMS, batch), draws.random(batch).astype(np.float32)
        factor_attention(batch, users, items, targets)
        history_attention(batch, users, items, negatives, history)


if __name__ == "__main__":
    main()
