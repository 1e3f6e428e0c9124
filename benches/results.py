"""Every model on the benchmark tables, tuned on a validation part, measured once on the test part.

    python benches/results.py run FILE TABLE [MODEL ...] [--trials N] [--timeout S]
    python benches/results.py show FILE

``run`` tunes each model in turn (``ancf.tune``, Optuna, seed 0), measures the best setting, refitted on training and
validation part, and adds a line of JSON for it to FILE; what FILE has already is not run again. ``show`` prints FILE as
tables in Markdown. MODEL is a name of the command line, or ``pieces``: the pieces of attention, without tuning, with
the paired difference of each to the mean and to no history.

The validation part is a tenth of the training pairs at random, for a table with times its last tenth. The tables are
read from the folder that ANCF_DATASETS names, ``../shared/datasets`` if it names none. Hours on two cores.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from quality import METRICS, load

import ancf
from ancf.models.ablation import attention_pieces

TRADITIONAL = ("popular", "last-bought", "item-knn", "user-knn", "rp3beta", "slim", "ease", "als", "bpr", "svd")
MODELS = (*TRADITIONAL, "gmf", "mlp", "neumf", "lightgcn", "ancf", "pieces")
TIMED = ("online_retail", "online_retail_2009")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "show"])
    parser.add_argument("file", type=Path)
    parser.add_argument("table", nargs="?")
    parser.add_argument("models", nargs="*", default=[])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of each model; the first trial ends")
    asked = parser.parse_args()
    if asked.what == "show":
        show(asked.file)
    else:
        run(asked)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(asked: argparse.Namespace) -> None:
    timed = asked.table in TIMED
    train, test = load(asked.table, timed=timed)
    done = {row["model"] for row in read(asked.file) if row["table"] == asked.table}
    for name in asked.models or MODELS:
        if name in done or (name == "last-bought" and not timed):
            continue
        start = time.perf_counter()
        try:
            rows = pieces(train, test) if name == "pieces" else [tuned(name, train, test, timed, asked)]
        except ancf.AncfError as error:
            rows = [{"model": name, "error": str(error).splitlines()[0]}]
        about = {
            "table": asked.table,
            "date": datetime.date.today().isoformat(),
            "seconds": round(time.perf_counter() - start),
            "validation": "last tenth" if timed else "random tenth",
        }
        with asked.file.open("a") as file:
            for row in rows:
                file.write(json.dumps(about | row) + "\n")
        print(asked.table, rows, flush=True)


def tuned(name: str, train: Any, test: Any, timed: bool, asked: argparse.Namespace) -> dict[str, Any]:
    if timed:
        part, validation = ancf.time_split(train, (0.9, 0.1))
    else:
        part, validation = ancf.random_split(train, (0.9, 0.1), random_state=7)
    found = ancf.tune(
        name,
        part,
        validation=validation,
        trials=asked.trials,
        timeout=asked.timeout,
        metric="ndcg@20",
        random_state=0,
    )
    measured = ancf.evaluate(found.best_model, test, METRICS)
    return {
        "model": name,
        "trials": len(found.trials),
        "tuned_ndcg": found.best_trial.value,
        "params": found.best_params,
        "recall": measured["recall@20"],
        "ndcg": measured["ndcg@20"],
    }


def pieces(train: Any, test: Any) -> list[dict[str, Any]]:
    """Each piece of attention, and how far it is above the mean and above no history, with 95 % intervals."""
    draws = np.random.default_rng(0)
    found = {
        label: ancf.evaluate(model.fit(train), test, METRICS)
        for label, model in attention_pieces(random_state=0).items()
    }
    rows = []
    for label, measured in found.items():
        row = {"model": f"attention: {label}", "recall": measured["recall@20"], "ndcg": measured["ndcg@20"]}
        for other in ("no history", "mean"):
            gain = measured.per_user["ndcg@20"] - found[other].per_user["ndcg@20"]
            means = np.array([draws.choice(gain, len(gain)).mean() for _ in range(2000)])
            row[f"over {other}"] = [float(gain.mean()), *np.quantile(means, (0.025, 0.975)).tolist()]
        rows.append(row)
    return rows


def show(file: Path) -> None:
    rows = read(file)
    for table in dict.fromkeys(row["table"] for row in rows):
        print(f"\n## {table}\n\n| model | validation NDCG@20 | Recall@20 | NDCG@20 | settings | trials | s | date |")
        print("|---|---|---|---|---|---|---|---|")
        mine = [row for row in rows if row["table"] == table]
        for row in sorted(mine, key=lambda row: -row.get("ndcg", 0)):
            if "error" in row:
                print(f"| `{row['model']}` | {row['error']} | | | | | | {row['date']} |")
            elif "params" in row:
                settings = ", ".join(f"{key} {_short(value)}" for key, value in row["params"].items()) or "defaults"
                figures = " | ".join(f"{row[name]:.4f}" for name in ("tuned_ndcg", "recall", "ndcg"))
                effort = f"{row['trials']} | {row['seconds']} | {row['date']}"
                print(f"| `{row['model']}` | {figures} | {settings} | {effort} |")
        for row in mine:
            if "over mean" in row:
                gains = ", ".join(
                    f"{name} {row[name][0]:+.4f} ({row[name][1]:+.4f} to {row[name][2]:+.4f})"
                    for name in ("over no history", "over mean")
                )
                print(f"- {row['model']}: {row['recall']:.4f} / {row['ndcg']:.4f}; NDCG@20 {gains}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
