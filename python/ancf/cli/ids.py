"""Customers and items on the command line: the options that name them, and what was typed as ids of the model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ancf.cli.command import Failure, Function, option

if TYPE_CHECKING:
    import pandas as pd

    from ancf.data.ids import IdMap
    from ancf.models.base import Recommender


def users_option(section: str) -> Callable[[Function], Function]:
    """``--user``, several of them, under a heading of the help page."""
    return option(
        *("--user", "-u"),
        multiple=True,
        metavar="ID",
        section=section,
        from_environment=False,
        help="A customer; again for more.",
    )


def users_from_option(section: str) -> Callable[[Function], Function]:
    """``--users-from``, more of them by a file."""
    return option(
        "--users-from",
        metavar="FILE",
        section=section,
        from_environment=False,
        help="A file of customers, one to a line; - is stdin.",
    )


def named_users(options: Mapping[str, Any]) -> list[str]:
    """The texts of ``--user`` and ``--users-from``."""
    source = options["users_from"]
    return [*options["user"], *(read_ids(source) if source else ())]


def history_option(section: str) -> Callable[[Function], Function]:
    """``--history``, the purchases of somebody the model does not know."""
    return option(
        "--history",
        multiple=True,
        metavar="ITEM",
        section=section,
        from_environment=False,
        help="A purchase of an unknown customer; again for more.",
    )


def parse_id(typed: str, ids: "IdMap") -> Any:
    """What was typed as an id of the model's kind; as it stands where it cannot be one."""
    return ids.parse(typed)


def parse_ids(typed: list[str], ids: "IdMap") -> list[Any]:
    """Ids that were typed, each as ``parse_id`` takes it."""
    return [parse_id(each, ids) for each in typed]


def read_ids(path: str) -> list[str]:
    """Ids from a file or stdin, one to a line."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return [line for line in (raw.rstrip("\r\n") for raw in file) if line]
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise Failure(f"{path}: {what}. Give a UTF-8 text file with one id to a line.", 3) from None


def read_shown(model: "Recommender", path: str) -> "pd.DataFrame":
    """Lists of a file that were shown before, as the ids of the model: a table with the columns user_id and item_id.

    Raises
    ------
    Failure
        If a row has no customer or no item; exit code 3.
    """
    import numpy as np
    import pandas as pd

    from ancf.data.reading import read_table

    unread = dict.fromkeys(("weight", "time", "name", "category", "basket", "event"), False)
    table = read_table(path, unread)
    found = {}
    for side, ids in (("user", model.user_ids_), ("item", model.item_ids_)):
        column = table.ids[side]
        missing = np.flatnonzero(column.codes < 0)
        if len(missing):
            raise Failure(
                f"{path}: row {missing[0] + table.row_base} names no {side}. Leave such rows out of what was shown.", 3
            )
        values = [parse_id(str(each), ids) for each in column.values]
        found[f"{side}_id"] = [values[code] for code in column.codes.tolist()]
    return pd.DataFrame(found)


def item_name(model: "Recommender", item: Any) -> str | None:
    """An item's name where the training table had one."""
    if model.item_names_ is None:
        return None
    at = model.item_ids_.position(item)
    name = model.item_names_[at] if at >= 0 else None
    return None if name is None else str(name)
