"""An epoch of NeuMF beside the same arithmetic in NumPy, and in torch where it is installed: seconds and ratios, turn
about in one run.

    python benches/neural.py [TABLE] [THREADS]

32 factors, layers 32, 16, 8, four negatives, 1,024 purchases a step, Adam that leaves unused embeddings alone. The
table is read from the folder that ANCF_DATASETS names, ``../shared/datasets`` if it names none: Last.fm unless another
is named.
"""

import os
import sys
import time
from pathlib import Path

THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = str(THREADS)

import numpy as np  # noqa: E402  (BLAS reads its threads when it is loaded)

from ancf import _native  # noqa: E402

FOLDER = Path(os.environ.get("ANCF_DATASETS", Path(__file__).resolve().parents[2] / "shared" / "datasets"))
FACTORS, WIDTHS, NEGATIVES, BATCH, RATE = 32, (32, 16, 8), 4, 1024, 0.005
ROUNDS = 5


def pairs_of(path):
    """The training pairs as rows of positions, and the number of items."""
    with np.load(path) as z:
        user, item = z["train_user"].astype(np.int64), z["train_item"].astype(np.int64)
        n_users, n_items = int(z["n_users"]), int(z["n_items"])
    keys = np.unique(user * n_items + item)
    indptr = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(keys // n_items, minlength=n_users), out=indptr[1:])
    return (indptr, (keys % n_items).astype(np.int32), np.ones(len(keys), np.float32)), n_items


class InNumPy:
    """The same steps in float32, with matrix products of NumPy's BLAS and sums over sorted rows."""

    def __init__(self, pairs, n_items):
        indptr, items, _ = pairs
        self.users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        self.items, self.n_items = items.astype(np.int64), n_items
        self.keys = self.users * n_items + self.items
        self.draws = np.random.default_rng(0)
        normal = self.draws.standard_normal
        layers = list(zip((2 * FACTORS, *WIDTHS[:-1]), WIDTHS, strict=True))
        tables = [(0.05 * normal((n, 2 * FACTORS))) for n in (len(indptr) - 1, n_items)]
        weights = [normal(shape) * (2 / shape[0]) ** 0.5 for shape in layers]
        biases = [np.zeros(width) for width in WIDTHS]
        last = [normal(WIDTHS[-1]) * (2 / WIDTHS[-1]) ** 0.5, np.zeros(1), np.ones(FACTORS)]
        self.numbers = [each.astype(np.float32) for each in (*tables, *weights, *biases, *last)]
        self.moments = [(np.zeros_like(each), np.zeros_like(each)) for each in self.numbers]
        self.steps = 0

    def epoch(self):
        order = self.draws.permutation(len(self.users))
        return sum(self.step(order[at : at + BATCH]) for at in range(0, len(order), BATCH)) / len(order)

    def step(self, at):
        n_layers = len(WIDTHS)
        user_table, item_table, *rest = self.numbers
        weights, biases = rest[:n_layers], rest[n_layers : 2 * n_layers]
        out, bias, factors = rest[2 * n_layers :]
        user = np.repeat(self.users[at], 1 + NEGATIVES)
        item = np.empty((len(at), 1 + NEGATIVES), np.int64)
        item[:, 0], item[:, 1:] = self.items[at], self.draws.integers(0, self.n_items, (len(at), NEGATIVES))
        label = np.zeros(item.shape, np.float32)
        label[:, 0] = 1.0
        item, label = item.ravel(), label.ravel()
        while True:  # items that the user has are drawn again
            wanted = user * self.n_items + item
            found = np.searchsorted(self.keys, wanted)
            had = (self.keys[np.minimum(found, len(self.keys) - 1)] == wanted) & (label == 0)
            if not had.any():
                break
            item[had] = self.draws.integers(0, self.n_items, had.sum())
        p, q = user_table[user], item_table[item]
        product = p[:, :FACTORS] * q[:, :FACTORS]
        hidden = [np.hstack([p[:, FACTORS:], q[:, FACTORS:]])]
        for weight, shift in zip(weights, biases, strict=True):
            hidden.append(np.maximum(hidden[-1] @ weight + shift, 0))
        score = product @ factors + hidden[-1] @ out + bias
        loss = np.logaddexp(np.float32(0), score) - label * score
        slope = (1 / (1 + np.exp(-score)) - label) / np.float32(len(label))
        by_p, by_q = np.empty_like(p), np.empty_like(q)
        weighted = slope[:, None] * factors
        by_p[:, :FACTORS], by_q[:, :FACTORS] = weighted * q[:, :FACTORS], weighted * p[:, :FACTORS]
        by_out = [slope @ hidden[-1], slope.sum(keepdims=True), slope @ product]
        back = slope[:, None] * out
        by_weights, by_biases = [], []
        for layer in range(n_layers, 0, -1):
            back = back * (hidden[layer] > 0)
            by_weights.insert(0, hidden[layer - 1].T @ back)
            by_biases.insert(0, back.sum(axis=0))
            back = back @ weights[layer - 1].T
        by_p[:, FACTORS:], by_q[:, FACTORS:] = back[:, :FACTORS], back[:, FACTORS:]
        self.steps += 1
        self.adam_rows(0, user, by_p)
        self.adam_rows(1, item, by_q)
        for place, gradient in enumerate([*by_weights, *by_biases, *by_out], 2):
            self.adam(self.numbers[place], *self.moments[place], gradient, slice(None))
        return float(loss.sum())

    def adam_rows(self, place, rows, gradients):
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        sums = np.add.reduceat(gradients[order], starts, axis=0)
        self.adam(self.numbers[place], *self.moments[place], sums, rows[starts])

    def adam(self, x, first, second, gradient, rows):
        first[rows] = 0.9 * first[rows] + 0.1 * gradient
        second[rows] = 0.999 * second[rows] + 0.001 * gradient * gradient
        corrected = first[rows] / (1 - 0.9**self.steps)
        x[rows] -= RATE * corrected / (np.sqrt(second[rows] / (1 - 0.999**self.steps)) + 1e-8)


class InCore:
    def __init__(self, pairs, n_items):
        self.at = 0
        self.native = _native.NeuralTrainer(
            pairs,
            n_items,
            product=FACTORS,
            embedding=FACTORS,
            widths=list(WIDTHS),
            epochs=100,
            batch_size=BATCH,
            negatives=NEGATIVES,
            learning_rate=RATE,
            regularization=0.0,
            dropout=0.0,
            seed=0,
            num_threads=THREADS,
        )

    def epoch(self):
        loss = self.native.epoch(self.at, THREADS)
        self.at += 1
        return loss


def in_torch(pairs, n_items):
    """The same network with torch's sparse Adam; None where torch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(THREADS)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            sizes = (len(pairs[0]) - 1, n_items)
            self.users, self.items = (torch.nn.Embedding(n, 2 * FACTORS, sparse=True) for n in sizes)
            for table in (self.users, self.items):
                torch.nn.init.normal_(table.weight, std=0.05)
            blocks = []
            for inputs, outputs in zip((2 * FACTORS, *WIDTHS[:-1]), WIDTHS, strict=True):
                blocks += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
            self.layers = torch.nn.Sequential(*blocks)
            self.last = torch.nn.Linear(FACTORS + WIDTHS[-1], 1)

        def forward(self, user, item):
            p, q = self.users(user), self.items(item)
            hidden = self.layers(torch.cat([p[:, FACTORS:], q[:, FACTORS:]], 1))
            return self.last(torch.cat([p[:, :FACTORS] * q[:, :FACTORS], hidden], 1))[:, 0]

    class InTorch(InNumPy):
        def __init__(self):
            super().__init__(pairs, n_items)
            self.network = Network()
            embeddings = [*self.network.users.parameters(), *self.network.items.parameters()]
            others = [*self.network.layers.parameters(), *self.network.last.parameters()]
            self.optimizers = torch.optim.SparseAdam(embeddings, lr=RATE), torch.optim.Adam(others, lr=RATE)

        def step(self, at):
            user = np.repeat(self.users[at], 1 + NEGATIVES)
            item = np.empty((len(at), 1 + NEGATIVES), np.int64)
            item[:, 0], item[:, 1:] = self.items[at], self.draws.integers(0, self.n_items, (len(at), NEGATIVES))
            label = np.zeros(item.shape, np.float32)
            label[:, 0] = 1.0
            score = self.network(torch.from_numpy(user), torch.from_numpy(item.ravel()))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(score, torch.from_numpy(label.ravel()))
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            return float(loss) * len(label)

    return InTorch()


def main():
    path = FOLDER / f"{sys.argv[1] if len(sys.argv) > 1 else 'lastfm_lightgcn'}.npz"
    if not path.exists():
        print(f"{path} is not there; nothing to measure (ANCF_DATASETS names the folder)")
        return
    pairs, n_items = pairs_of(path)
    rivals = {"ancf": InCore(pairs, n_items), "NumPy": InNumPy(pairs, n_items), "torch": in_torch(pairs, n_items)}
    rivals = {name: rival for name, rival in rivals.items() if rival is not None}
    seconds = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, rival in rivals.items():
            wall, processor = time.perf_counter(), time.process_time()
            rival.epoch()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    print(f"{path.stem}: {len(pairs[1]):,} purchases, an epoch of NeuMF, {THREADS} threads, medians of {ROUNDS}")
    mine = np.median(seconds["ancf"], axis=0)
    for name, each in seconds.items():
        wall, processor = np.median(each, axis=0)
        ratios = f"{wall / mine[0]:5.2f} x {processor / mine[1]:5.2f} x"
        print(f"  {name:8} {wall:7.3f} s   processor {processor:7.3f} s   {ratios}")


if __name__ == "__main__":
    main()
