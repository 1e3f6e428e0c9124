"""The models: one file per family, all of them recommenders, and the one registry in which they stand.

The command line, loading a model file, comparisons, the tests every model must pass and the golden files all look here.
A model of this package is one line of ``MODELS``. A model of another package is one line of its pyproject.toml,

    [project.entry-points."ancf.models"]
    toy = "toy_package:Toy"

which gives the class its name on the command line; or, in a script, ``ancf.models.register(Toy, "toy")``.
"""

import importlib
import warnings
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from ancf.models.als import ALS
    from ancf.models.ancf import ANCF
    from ancf.models.base import Recommender
    from ancf.models.ease import EASE
    from ancf.models.factors import Factors, from_factors
    from ancf.models.item_knn import ItemKNN
    from ancf.models.last_bought import LastBought
    from ancf.models.lightgcn import LightGCN
    from ancf.models.mf import BPR, SVD
    from ancf.models.network import ANCFModel
    from ancf.models.neural import GMF, MLP, NeuMF
    from ancf.models.popular import Popular
    from ancf.models.rp3beta import RP3beta
    from ancf.models.slim import SLIM
    from ancf.models.user_knn import UserKNN


Group = Literal["all", "quick", "classical", "neural"]
"""Models by what they are, for comparisons: every one, those that take seconds, those without and with a network."""


class ModelEntry(NamedTuple):
    """Where a model is, and what it is called."""

    module: str
    cli_name: str | None = None
    """Its name on the command line; None for a model that is not trained there."""
    example: Mapping[str, Any] = {}
    """Options of a small one, for the tests every model must pass and for golden files."""
    group: Literal["classical", "neural"] = "classical"
    """Which group of a comparison it is in."""
    quick: bool = False
    """Whether it is in the group that takes seconds."""
    option_names: Mapping[str, str] = {}
    """Options that are called otherwise on the command line."""


_SMALL_NETWORK: dict[str, Any] = {"factors": 4, "epochs": 6, "batch_size": 64, "learning_rate": 0.05}

MODELS: dict[str, ModelEntry] = {
    "ALS": ModelEntry("ancf.models.als", "als", {"factors": 4, "epochs": 3, "unobserved_weight": 0.2}, quick=True),
    "ANCF": ModelEntry(
        "ancf.models.ancf",
        "ancf",
        {"factors": 4, "epochs": 2, "neighbors": 3, "random_state": 1},
        group="neural",
        quick=True,
        option_names={"output": "output_layer"},
    ),
    "BPR": ModelEntry("ancf.models.mf", "bpr", {"factors": 4, "epochs": 8, "learning_rate": 0.2}),
    "EASE": ModelEntry("ancf.models.ease", "ease", {"regularization": 2.0}, quick=True),
    "Factors": ModelEntry("ancf.models.factors"),
    "GMF": ModelEntry("ancf.models.neural", "gmf", _SMALL_NETWORK, group="neural"),
    "ItemKNN": ModelEntry("ancf.models.item_knn", "item-knn", {"neighbors": 4, "shrinkage": 1.0}, quick=True),
    "LastBought": ModelEntry("ancf.models.last_bought", "last-bought", quick=True),
    "LightGCN": ModelEntry(
        "ancf.models.lightgcn", "lightgcn", {"factors": 4, "n_layers": 2, "epochs": 5}, group="neural"
    ),
    "MLP": ModelEntry("ancf.models.neural", "mlp", {**_SMALL_NETWORK, "layers": "6,3"}, group="neural"),
    "NeuMF": ModelEntry(
        "ancf.models.neural", "neumf", {**_SMALL_NETWORK, "layers": "6,3", "dropout": 0.1}, group="neural"
    ),
    "Popular": ModelEntry("ancf.models.popular", "popular", quick=True),
    "RP3beta": ModelEntry("ancf.models.rp3beta", "rp3beta", {"neighbors": 5}, quick=True),
    "SLIM": ModelEntry("ancf.models.slim", "slim", {"l1": 0.2, "l2": 1.0}),
    "SVD": ModelEntry("ancf.models.mf", "svd", {"factors": 4, "epochs": 5, "learning_rate": 0.05}),
    "UserKNN": ModelEntry("ancf.models.user_knn", "user-knn", {"neighbors": 4, "shrinkage": 1.0}),
}
"""By the name of the class."""

_MODULE_OF = {name: entry.module for name, entry in MODELS.items()} | {
    "ANCFModel": "ancf.models.network",
    "Recommender": "ancf.models.base",
    "from_factors": "ancf.models.factors",
}

__all__ = [
    "ALS",
    "ANCF",
    "BPR",
    "EASE",
    "GMF",
    "MLP",
    "MODELS",
    "SLIM",
    "SVD",
    "ANCFModel",
    "Factors",
    "ItemKNN",
    "LastBought",
    "LightGCN",
    "ModelEntry",
    "NeuMF",
    "Popular",
    "RP3beta",
    "Recommender",
    "UserKNN",
    "all_models",
    "class_names",
    "class_of",
    "from_factors",
    "names_in",
    "register",
]

# Models that ``register`` was called with.
_REGISTERED: dict[str, tuple[type["Recommender"], ModelEntry]] = {}


# To a type checker that saw it, every misspelt name would be a known one.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(_MODULE_OF[name]), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'ancf.models' has no attribute {name!r}")


def register(
    model: type["Recommender"], cli_name: str | None = None, *, example: Mapping[str, Any] | None = None
) -> type["Recommender"]:
    """Make a model from outside known to ``ancf.load``, the command line and comparisons of this process.

    Parameters
    ----------
    model : a subclass of ``ancf.Recommender``
    cli_name : str, optional
        Its name on the command line.
    example : mapping, optional
        Options of a small one, for tests.

    Returns
    -------
    ``model`` itself

    Raises
    ------
    InvalidParameterError
        If it is no model, or its name is taken by another. A class that was registered under the same name before is
        replaced, as a notebook does that runs a cell again.
    """
    from ancf.errors import InvalidParameterError
    from ancf.models.base import Recommender

    if not (isinstance(model, type) and issubclass(model, Recommender)):
        raise InvalidParameterError(f"register takes a subclass of ancf.Recommender, not {model!r}.")
    name, known = model.__name__, all_models()
    taken = {entry.cli_name: other for other, entry in known.items() if other != name and entry.cli_name}
    if name in known and name not in _REGISTERED:
        raise InvalidParameterError(f"a model named {name} is known already. Give the class another name.")
    if cli_name in get_args(Group):
        raise InvalidParameterError(f"cli_name={cli_name!r} is the name of a group of models. Choose another.")
    if cli_name in taken:
        raise InvalidParameterError(f"cli_name={cli_name!r} is the model {taken[cli_name]}. Choose another.")
    _REGISTERED[name] = (model, ModelEntry(model.__module__, cli_name, example or {}))
    return model


def all_models() -> dict[str, ModelEntry]:
    """Every model there is, by the name of its class: those of ancf, of installed packages, and registered ones."""
    return {**MODELS, **_installed(), **{name: entry for name, (_, entry) in _REGISTERED.items()}}


@cache
def _installed() -> dict[str, ModelEntry]:
    from importlib.metadata import entry_points

    taken = {entry.cli_name for entry in MODELS.values()}
    known: dict[str, ModelEntry] = {}
    for each in sorted(entry_points(group="ancf.models"), key=lambda each: (each.name, each.value)):
        # Nobody takes the place of another model, neither by its class nor by its name on the command line.
        if each.attr in MODELS or each.attr in known or each.name in taken:
            warnings.warn(
                f"the entry point {each.name} = {each.value} has the name of another model and is ignored. "
                "Give its class and the entry point other names.",
                stacklevel=2,
            )
            continue
        known[each.attr] = ModelEntry(each.module, each.name)
        taken.add(each.name)
    return known


def class_names() -> dict[str, str]:
    """The models that can be trained: name on the command line → name of the class."""
    found: dict[str, str] = {}
    for class_name, entry in all_models().items():
        if entry.cli_name is not None:
            found.setdefault(entry.cli_name, class_name)
    return found


def find_class_name(caller: str, name: str, others: tuple[str, ...] = ()) -> str:
    """The class with this name, as it is or as the command line has it; ``others`` are names the caller takes, too.

    Raises
    ------
    InvalidParameterError
        If there is none; names the nearest.
    """
    from difflib import get_close_matches

    from ancf.errors import InvalidParameterError

    by_cli_name = class_names()
    by_name = {each: each for each in by_cli_name.values()} | by_cli_name
    if name not in by_name:
        known = [*by_name, *others]
        near = get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise InvalidParameterError(f"{caller}: there is no model {name!r}; {hint}")
    return by_name[name]


def names_in(group: Group) -> list[str]:
    """The classes of a group that can be trained, in the order of the registry."""
    return [
        name
        for name, entry in all_models().items()
        if entry.cli_name is not None and (group == "all" or entry.group == group or (group == "quick" and entry.quick))
    ]


def class_of(name: str) -> type["Recommender"]:
    """The class of a model by its name, as a model file keeps it. Only what stands in the registry is imported.

    Raises
    ------
    KeyError
        If there is no such model.
    MissingExtraError
        If the package that has it cannot be imported, or what it has is no model of that name.
    """
    if name in _REGISTERED:
        return _REGISTERED[name][0]
    found: type[Recommender]
    if name in MODELS:
        found = getattr(importlib.import_module(MODELS[name].module), name)
        return found
    # What others have installed is looked at where nothing else has the name.
    return _import_installed(name, _installed()[name])


def _import_installed(name: str, entry: ModelEntry) -> type["Recommender"]:
    from ancf.errors import MissingExtraError
    from ancf.models.base import Recommender

    where = f'the model {name} (entry point {entry.cli_name} = "{entry.module}:{name}" of an installed package)'
    try:
        found = getattr(importlib.import_module(entry.module), name)
    except Exception as error:  # whatever somebody else's module raises
        raise MissingExtraError(
            f"{where} cannot be imported: {type(error).__name__}: {str(error).rstrip('.')}. Install that package "
            "again, or remove it."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Recommender) and found.__name__ == name):
        raise MissingExtraError(
            f"{where} is {found!r}, not a subclass of ancf.Recommender of that name. Ask whoever maintains the package."
        )
    return found
