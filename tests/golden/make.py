"""Writes the golden model files of the present format. They are made once and never again: see README.md.

python tests/golden/make.py tests/golden
"""

import json
import re
import sys
from pathlib import Path

import ancf
from ancf.models import MODELS, class_of

FORMAT = "ancf-1"


def shop():
    """Fifty purchases with names, text and number ids."""
    pairs = [(u, (u * step + 3 * step) % 11) for u in range(1, 9) for step in (1, 2, 3, 5, 7, 8)]
    return ancf.Interactions.from_ids(
        user=[f"{u:03d}é" for u, _ in pairs],
        item=[i for _, i in pairs],
        weight=[1 + (u + i) % 3 for u, i in pairs],
        item_names={i: f"thing {i}" for i in range(11) if i != 4},
    )


def models(data):
    """One of each class that may stand in a file: the small example that the registry has of it."""
    for name, entry in MODELS.items():
        if name == "Factors":  # is not fitted
            vectors = [[(row * 7 + column * 3) % 5 - 2.0 for column in range(3)] for row in range(11)]
            yield name, ancf.from_factors(vectors[: data.n_users], vectors[: data.n_items], data)
        else:
            yield name, class_of(name)(**entry.example).fit(data)


def file_name(model_name):
    """ItemKNN stands in ancf-1.item_knn.ancf."""
    return f"{FORMAT}.{re.sub('(?<=[a-z])(?=[A-Z])', '_', model_name).lower()}.ancf"


def answers(model):
    """What the model says: everyone's list, one bare history's, similar items where there are any."""
    ids, scores = model.recommend_all(N=4)
    bare = model.recommend_for_history([1, 2], N=3)
    return {
        "user_ids": model.user_ids_.values.tolist(),
        "ids": [list(map(int, row)) for row in ids],
        "scores": [[float(score).hex() for score in row] for row in scores],
        "history_ids": bare.ids.tolist(),
        "history_scores": [float(score).hex() for score in bare.scores],
        "names": None if model.item_names_ is None else model.item_names_.tolist(),
    }


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models(shop()):
        path = folder / file_name(name)
        if path.exists():  # a golden file is never made anew: a new class or a new format gets a new one
            continue
        model.save(path)
        path.with_suffix(".json").write_text(json.dumps(answers(model), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
