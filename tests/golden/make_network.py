#!/usr/bin/env python3
"""Writes ``network.json``: what the network must compute, by ``ancf.reference``.

    python tests/golden/make_network.py

Each case holds options, parameters, a batch, and what follows from them: predictions, the gradient of every parameter,
and the losses of ten steps. The histories are the same for all. Same numbers on every run.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ancf import reference

N_USERS, N_ITEMS, D, STEPS = 6, 7, 4, 10
FILE = Path(__file__).with_name("network.json")

# User 4 has nothing, user 1 one item, user 5 everything.
HISTORY = {
    "users": [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5],
    "items": [0, 2, 5, 3, 0, 6, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6],
}


def cases() -> dict[str, dict[str, Any]]:
    """Options by name: every attention kind with every loss, and every other option with several of both."""
    some: dict[str, dict[str, Any]] = {}
    losses = ("mse", "bce", "bpr", "softmax")
    optimizers = ("sgd", "adagrad", "adam")
    for at, attention in enumerate(("none", "mean", "degree", "learned", "target")):
        for loss in losses:
            more = {"use_weights": True, "half_life": 20.0} if attention in ("learned", "target") else {}
            some[f"{attention}, {loss}"] = {"attention": attention, "loss": loss, **more}
            tables = {"item_attention": True, "user_factors": attention == "none", "optimizer": optimizers[at % 3]}
            some[f"{attention}, {loss}, items attend"] = {"attention": attention, "loss": loss, **tables}
    for loss in losses:
        for head in ({"factor_attention": True}, {"output": "sigmoid"}, {"output": "sigmoid", "layer": "concat"}):
            if "layer" in head and loss in ("bpr", "softmax"):
                continue  # what the user adds would cancel
            word = ", ".join(map(str, head.values()))
            for attention in ("none", "degree", "target"):
                some[f"{word}, {attention}, {loss}"] = {
                    **head,
                    "attention": attention,
                    "loss": loss,
                    "biases": True,
                    "similarity": "cosine" if attention == "degree" else "product",
                }
        some[f"factor attention, squashed, learned, {loss}"] = {
            "factor_attention": True,
            "output": "sigmoid",
            "attention": "learned",
            "attention_exponent": 1.0,
            "item_attention": True,
            "loss": loss,
            "biases": True,
            "similarity": "cosine",
        }
    for loss in ("mse", "bce"):
        some[f"batch attention, {loss}"] = {"attention": "batch", "loss": loss}
        some[f"batch attention, squashed, {loss}"] = {
            "attention": "batch",
            "item_attention": True,
            "loss": loss,
            "output": "sigmoid",
            "biases": True,
        }
    for optimizer in optimizers:
        some[f"regularized, {optimizer}"] = {"optimizer": optimizer, "regularization": 0.02, "attention": "learned"}
    return some


def make() -> dict[str, Any]:
    """The whole file."""
    draws = np.random.default_rng(2026)
    n = len(HISTORY["users"])
    weights, ages = draws.uniform(0.5, 4, n).round(3), draws.integers(0, 90, n).astype(float)
    # Days to the newest purchase of the same user.
    for user in set(HISTORY["users"]):
        own = np.array(HISTORY["users"]) == user
        ages[own] -= ages[own].min()
    shape = (N_USERS, N_ITEMS)
    history = reference.History.of(shape, HISTORY["users"], HISTORY["items"], weights, ages)
    out: dict[str, Any] = {
        "history": {**HISTORY, "weights": weights.tolist(), "ages": ages.tolist()},
        "cases": {},
    }
    for name, chosen in cases().items():
        given = {"embedding_dim": D, "learning_rate": 0.05, "temperature": 0.5, **chosen}
        options = reference.Options(N_USERS, N_ITEMS, **given)
        parameters = reference.start(options, seed=len(out["cases"]), scale=0.5)
        for value in parameters.values():
            value += 0.2 * draws.standard_normal(value.shape)
            value[...] = value.astype(np.float32)
        batches = [_batch(draws, options.loss) for _ in range(STEPS)]
        first = batches[0]
        predictions = reference.forward(options, parameters, history, first.users, first.items)["prediction"]
        loss, gradient = reference.backward(options, parameters, history, first)
        _, losses = reference.train(options, parameters, history, batches)
        assert losses[0] == loss
        out["cases"][name] = {
            "options": given,
            "parameters": {name: _short(value) for name, value in parameters.items()},
            "batches": [
                {field: np.asarray(part).tolist() for field, part in batch._asdict().items() if part is not None}
                for batch in batches
            ],
            "predictions": _short(predictions),
            "gradient": {name: _short(value) for name, value in gradient.items()},
            "losses": _short(np.array(losses)),
        }
    return out


def _batch(draws: np.random.Generator, loss: str) -> reference.Batch:
    n = 6
    users, items = draws.integers(0, N_USERS, n), draws.integers(0, N_ITEMS, n)
    if loss in ("mse", "bce"):
        return reference.Batch(users, items, targets=draws.random(n).round(3))
    if loss == "bpr":
        # Never the positive itself: its gradient would be rounding alone, which Adam makes large.
        return reference.Batch(users, items, negatives=(items[:, None] + draws.integers(1, N_ITEMS, (n, 2))) % N_ITEMS)
    log_weights = draws.standard_normal(5).round(3)
    return reference.Batch(users, items, negatives=draws.integers(0, N_ITEMS, 5), log_weights=log_weights)


def _short(value: Any) -> Any:
    """Nine digits hold a float32 exactly."""
    return json.loads(json.dumps(np.asarray(value).tolist()), parse_float=lambda text: float(f"{float(text):.9g}"))


def main() -> None:
    made = make()
    lines = [f'"history": {json.dumps(made["history"])}', '"cases": {']
    each = [f" {json.dumps(name)}: {json.dumps(case)}" for name, case in made["cases"].items()]
    FILE.write_text("{\n" + ",\n".join(lines[:1]) + ",\n" + lines[1] + "\n" + ",\n".join(each) + "\n}\n}\n")


if __name__ == "__main__":
    main()
