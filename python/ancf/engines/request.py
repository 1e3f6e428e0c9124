"""What the driver does before any worker begins: the model as a file, the options checked, the filters looked up.

What a worker gets is plain (numbers, text, arrays of ids), so that one without ancf can say that it has none.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ancf import model_file
from ancf.checks import check_choice, check_flag, check_path
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.models.base import Recommender
from ancf.models.loading import load
from ancf.scoring.arranging import compile_rules
from ancf.scoring.filters import Filters, Requested, count_each, is_nested, positions_of
from ancf.scoring.limits import check_n
from ancf.scoring.lists import OnUnknown
from ancf.scoring.requests import as_sequence, is_one, materialize, table_columns
from ancf.scoring.rules import check_rules


def fitted_model(model: Any, function: str) -> Recommender:
    """A model that is fitted, or that of a file."""
    if isinstance(model, (str, os.PathLike)):
        return load(check_path("model", model))
    if not isinstance(model, Recommender):
        raise InvalidParameterError(
            f"{function}: model is a {type(model).__name__}. Give a fitted model, or the path of a model file."
        )
    model._fitted()
    return model


def write_file(model: Recommender, given: Any, folder: Path) -> Path:
    """The model's file in a folder, under a name that says what is in it: engines tell files apart by their names.

    Nobody may write to a file that workers have mapped, so a path is copied.
    """
    path = folder / "model.ancf"
    if isinstance(given, (str, os.PathLike)):
        shutil.copyfile(given, path)
    else:
        model.with_stock(None).save(path)
    named = folder / f"ancf-{_key_of_file(path)}.ancf"
    path.rename(named)
    return named


def _key_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return key_of_bytes(file.read(8 + model_file.LONGEST_HEADER))


def key_of_bytes(data: bytes) -> str:
    """A hash of what a model file holds: that of its header, in which the hashes of all its tensors are."""
    length = int.from_bytes(data[:8], "little")
    return hashlib.blake2b(data[: 8 + length], digest_size=12).hexdigest()


def list_request(
    model: Recommender,
    N: Any,
    *,
    filter_already_liked_items: Any,
    items: Any,
    filter_items: Any,
    on_unknown: Any,
    rules: Any,
    shown: Any,
) -> dict[str, Any]:
    """The keywords of ``model.recommend`` for every batch, checked as that does, with filters of known ids alone.

    Whether any id of a filter is known is asked of the whole filter here, and not of what a batch needs of it. Rules
    are their ``to_dict``, and ``stock`` is that of a view: flags in the order of the items, or None.
    """
    check_flag("filter_already_liked_items", filter_already_liked_items)
    check_choice("on_unknown", on_unknown, get_args(OnUnknown))
    check_rules(rules)
    scorer = model._fitted()
    if rules is not None:
        compile_rules(rules, scorer)
    return {
        "N": check_n(N),
        "filter_already_liked_items": bool(filter_already_liked_items),
        "items": _known_filter("items", items, model),
        "filter_items": _known_filter("filter_items", filter_items, model),
        "on_unknown": on_unknown,
        "rules": None if rules is None else rules.to_dict(),
        "shown": _known_shown(shown, model),
        "stock": None if scorer.stock is None else scorer.stock.astype(bool),
    }


def _known_filter(name: str, given: Any, model: Recommender) -> Any:
    """None, an array of ids for everybody, or a mapping user → array of ids."""
    if given is None:
        return None
    given, users = _whose(name, given)
    requested = Requested(np.array([], object) if users is None else users, model.user_ids_)
    allowed, denied = (given, None) if name == "items" else (None, given)
    filters = Filters.resolve(allowed, denied, model.item_ids_, requested)
    each = filters.allow_each if name == "items" else filters.deny_each
    values = model.item_ids_.values
    if each is not None and users is not None:
        return {user: values[each.row(at)] for at, user in enumerate(users.tolist())}
    everybody = np.flatnonzero(filters.allow) if name == "items" and filters.allow is not None else filters.deny
    return values[everybody]


def _known_shown(given: Any, model: Recommender) -> Any:
    """None, an array of ids for everybody, or a mapping user → array of ids, each as often as it was shown."""
    if given is None:
        return None
    given, users = _whose("shown", given)
    values = model.item_ids_.values
    if users is None:
        return values[positions_of("shown", given, model.item_ids_)]
    sets, counts = count_each("shown", given, model.item_ids_, Requested(users, model.user_ids_))
    return {
        user: values[np.repeat(sets.items[start:end], counts[start:end])]
        for user, (start, end) in zip(users.tolist(), pairwise(sets.indptr.tolist()), strict=True)
    }


def _whose(name: str, given: Any) -> tuple[Any, Any]:
    """What is given, to be read more than once, and those who have a list of their own in it, or None.

    Raises
    ------
    InvalidDataError
        If it is one list for each user in order.
    """
    given = given if is_one(given) else materialize(given)
    users = _users_of(name, given)
    if users is None and not is_one(given) and is_nested(as_sequence(given, name)):
        raise InvalidDataError(
            f"{name}: one list for each user, but the rows of a cluster have no order that says whose list is whose. "
            "Give a mapping user → items, or a table with the columns user_id and item_id."
        )
    return given, users


def _users_of(name: str, given: Any) -> Any:
    """Those who have a list of their own, where a filter names them; else None."""
    import pandas as pd

    columns = table_columns(given)
    if columns is not None and {"user_id", "item_id"} <= set(columns):
        listed = columns["user_id"]
        keys = list(dict.fromkeys(listed.to_pylist() if hasattr(listed, "to_pylist") else listed.tolist()))
    elif isinstance(given, Mapping):
        keys = list(given)
    elif isinstance(given, pd.Series) and given.dtype == object and not is_one(next(iter(given), "")):
        keys = given.index.tolist()
    else:
        return None
    found = np.empty(len(keys), object)
    found[:] = keys
    return found
