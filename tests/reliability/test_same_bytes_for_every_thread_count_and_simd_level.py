"""P4: the same seed and data give the same bytes, whatever the number of threads and the instruction set.

One child process for each instruction set of this machine (``ANCF_SIMD`` is read when the process starts), each with
1, 2, 3 and 8 threads. A child hashes everything that arithmetic makes: tables read, models trained, saved, asked and
measured. ``rust/core`` compares every kernel with its naive twin besides.
"""

import os
import subprocess
import sys
import textwrap

import pytest

from ancf._native import simd_levels

_, AVAILABLE = simd_levels()
LEVELS = ["", *AVAILABLE]

_CHILD = """
    import hashlib, io, sys, tempfile
    from pathlib import Path
    import numpy as np
    import ancf

    rng = np.random.default_rng(7)
    users, items = rng.integers(0, 300, 6000), (rng.pareto(1.2, 6000) * 25).astype(int) % 400
    rows = "".join(f"{u},{i},{1 + (u + i) % 5},2024-01-{1 + (u * i) % 28:02d}\\n" for u, i in zip(users, items))
    text = ("customer,sku,qty,date\\n" + rows * 3).encode()

    def digest(*parts):
        found = hashlib.sha256()
        for part in parts:
            found.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
        return found.hexdigest()[:16]

    def said(lists):
        ids, scores = lists
        listed = repr([np.ravel(row).tolist() for row in ids]).encode()
        return [listed, np.concatenate([np.ravel(row) for row in scores])]

    ALL = {
        "ancf": lambda n: ancf.ANCF(factors=24, epochs=2, random_state=3, num_threads=n),
        "ancf mean": lambda n: ancf.ANCF(
            factors=7, epochs=2, attention="mean", item_attention=False, init="random", num_threads=n
        ),
        "ancf without neighbors": lambda n: ancf.ANCF(
            factors=16, epochs=2, neighbors=0, negatives=50, batch_size=32, num_threads=n
        ),
        "knn": lambda n: ancf.ItemKNN(neighbors=20, shrinkage=2.0, use_weights=True, num_threads=n),
        "als": lambda n: ancf.ALS(factors=21, epochs=2, use_weights=True, num_threads=n),
        "bpr": lambda n: ancf.BPR(factors=21, epochs=3, negative_exponent=0.5, num_threads=n),
        "svd": lambda n: ancf.SVD(factors=21, epochs=3, num_threads=n),
        "user knn": lambda n: ancf.UserKNN(neighbors=20, num_threads=n),
        "rp3beta": lambda n: ancf.RP3beta(neighbors=20, num_threads=n),
        "ease": lambda n: ancf.EASE(num_threads=n),
        "slim": lambda n: ancf.SLIM(positive=False, num_threads=n),
        "last bought": lambda n: ancf.LastBought(num_threads=n),
        "gmf": lambda n: ancf.GMF(factors=21, epochs=2, num_threads=n),
        "neumf": lambda n: ancf.NeuMF(factors=9, layers="17,8,3", dropout=0.2, epochs=2, batch_size=99, num_threads=n),
        "lightgcn": lambda n: ancf.LightGCN(factors=21, epochs=2, batch_size=500, num_threads=n),
        "popular": lambda n: ancf.Popular(count="weight", num_threads=n),
    }

    # Losses, attentions and optimizers beyond the default path.
    GENERAL = {
        "learned": {"attention": "learned", "user_factors": True, "loss": "bce", "output": "sigmoid"},
        "target": {"attention": "target"},
        "factor attention, mse": {"factor_attention": True, "loss": "mse"},
        "bpr, adagrad": {"loss": "bpr", "optimizer": "adagrad"},
        "classic": getattr(ancf.ANCF, "CLASSIC", {}),
    }
    if "loss" in ancf.ANCF().get_params():
        for name, options in GENERAL.items():
            ALL[f"ancf {name}"] = lambda n, options=options: ancf.ANCF(
                **{**options, "factors": 9, "epochs": 2}, num_threads=n
            )

    def steps(n):
        # A few steps of the low-level model, every parameter after them.
        for attention in ("none", "learned", "target", "batch"):
            history = None if attention in ("none", "batch") else ancf.Interactions.from_ids(user=users, item=items)
            shape = (300, 400) if history is None else (history.n_users, history.n_items)
            model = ancf.ANCFModel(*shape, 13, history=history, attention=attention, num_threads=n)
            for at in range(0, 600, 200):
                part = slice(at, at + 200)
                model.step(users[part] % shape[0], items[part] % shape[1], 1.0 + users[part] % 3)
            yield attention, model.parameters

    def everything(n, folder):
        yield "reading", digest(ancf.read_interactions(io.BytesIO(text), num_threads=n).fingerprint().encode())
        data = ancf.read_interactions(io.BytesIO(text))
        train, test = ancf.time_split(data, (0.8, 0.2))
        for name, make in ALL.items():
            model = make(n).fit(train, validation=test) if name.startswith("ancf") else make(n).fit(train)
            model.num_threads = None  # an option like any other, it stands in the file
            model.save(folder / "m.ancf")
            yield f"{name}: file", digest((folder / "m.ancf").read_bytes())
            model.num_threads = n
            yield f"{name}: lists", digest(*said(model.recommend_all(N=15)))
            histories = [model.item_ids_.values[at : at + 4].tolist() for at in range(0, 60, 4)]
            yield f"{name}: histories", digest(*said(model.recommend_for_history(histories, N=15)))
            measured = ancf.evaluate(model, test, ["ndcg@10", "map@20", "coverage@5", "rmse"])
            yield f"{name}: metrics", digest(repr(dict(measured)).encode())
        for name, parameters in steps(n):
            yield f"steps: {name}", digest(*[parameters[each] for each in sorted(parameters)])
        vectors = rng.standard_normal((40, 24)).astype(np.float32)
        model = ancf.from_factors(rng.standard_normal((9000, 24)), np.repeat(vectors, 90, axis=0), num_threads=n)
        lists = said(model.recommend_all(N=11))
        yield "ties of given factors", digest(*lists)

    with tempfile.TemporaryDirectory() as folder:
        for n in map(int, sys.argv[1:]):
            rng = np.random.default_rng(11)
            for name, value in everything(n, Path(folder)):
                print(f"{name} = {value}")
            print("--")
"""


@pytest.fixture(scope="module")
def outcomes():
    code = textwrap.dedent(_CHILD)
    children = {}
    for level in LEVELS:
        environment = {name: value for name, value in os.environ.items() if name != "ANCF_SIMD"}
        if level:
            environment["ANCF_SIMD"] = level
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, "1", "2", "3", "8"],
            capture_output=True,
            text=True,
            timeout=110,
            env=environment,
        )
        assert run.returncode == 0, f"{level}: {run.stderr}"
        for threads, block in zip((1, 2, 3, 8), run.stdout.split("--\n"), strict=False):
            children[level or "auto", threads] = dict(line.split(" = ") for line in block.splitlines())
    return children


def test_every_thread_count_and_instruction_set_gives_the_same_bytes(outcomes):
    assert len(outcomes) == 4 * len(LEVELS)
    first, expected = next(iter(outcomes.items()))
    assert len(expected) > 20
    for where, found in outcomes.items():
        different = [name for name in expected if found.get(name) != expected[name]]
        assert not different, f"{where} differs from {first} in {different}"


def test_the_hashes_are_of_something(outcomes):
    values = list(next(iter(outcomes.values())).values())
    assert len(set(values)) == len(values)


def test_another_seed_gives_another_model():
    import ancf

    data = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3, 4], item=[1, 2, 2, 3, 3, 4, 1])
    first, second = (ancf.ANCF(factors=4, epochs=1, init="random", random_state=seed).fit(data) for seed in (0, 1))
    assert first._fitted().item_vectors.tobytes() != second._fitted().item_vectors.tobytes()
