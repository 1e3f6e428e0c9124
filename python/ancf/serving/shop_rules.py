"""What a shop wants of every list, in files beside the model: rules (TOML) and what is in stock (ids).

Both are read again when they change; a file that makes no sense changes nothing, and the log says why.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ancf._text import format_list
from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.scoring.rules import Rules
from ancf.serving.schema import RulesBody

_TABLE = "rules"


@dataclass(frozen=True)
class Shop:
    """What stands in the files."""

    rules: Rules | None = None
    stock: tuple[str, ...] | None = None


NO_SHOP = Shop()
"""Neither rules nor a table of stock."""


class ShopFiles:
    """The files, and when they were looked at last."""

    def __init__(self, rules: str | None, stock: str | None) -> None:
        self._rules, self._stock = (None if each is None else Path(each) for each in (rules, stock))
        self._seen = self._marks()

    def changed(self) -> bool:
        """Whether a file is another one than when this was asked last."""
        marks = self._marks()
        changed, self._seen = marks != self._seen, marks
        return changed

    def read(self) -> Shop:
        """What the files say now.

        Raises
        ------
        InvalidDataError, InvalidParameterError, OSError
            If they make no sense, or are not there.
        """
        rules = None if self._rules is None else read_rules(self._rules)
        return Shop(rules, None if self._stock is None else read_stock(self._stock))

    def _marks(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for path in (self._rules, self._stock):
            try:
                stat = None if path is None else path.stat()
            except OSError:
                stat = None
            found.append(None if stat is None else (stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return found


def read_rules(path: Path) -> Rules:
    """The table ``[rules]`` of a TOML file.

    Raises
    ------
    InvalidDataError
        If it is no TOML, or has no such table.
    InvalidParameterError
        If a rule has no meaning.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(f"{path}: this is no TOML: {error}. Correct it.") from None
    table = content.get(_TABLE)
    if not isinstance(table, dict):
        raise InvalidDataError(f"{path}: there is no table [{_TABLE}]. Put the rules under one.")
    return make_rules(table, str(path))


def read_stock(path: Path) -> tuple[str, ...]:
    """The ids of a file, one a line; empty lines and what stands behind # at a line's beginning do not count.

    Raises
    ------
    InvalidDataError
        If there is no id in it.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path}: this is no UTF-8: {error}. Write it as UTF-8.") from None
    ids = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not ids:
        raise InvalidDataError(
            f"{path}: there is no id in it. Put one on each line, or serve without a table of stock."
        )
    return ids


def make_rules(table: Mapping[str, Any], where: str) -> Rules:
    """Rules of plain values.

    Raises
    ------
    InvalidParameterError
        If there is no such rule, or one has no meaning.
    """
    known = RulesBody.__struct_fields__
    unknown = [name for name in table if name not in known]
    if unknown:
        raise InvalidParameterError(f"{where}: there is no rule {format_list(unknown)}. There are {', '.join(known)}.")
    return Rules(**table)


def joined(shop: Rules | None, asked: Mapping[str, Any]) -> Rules | None:
    """The rules of a request on top of the shop's: what the shop denies stays denied, the rest is the request's."""
    if not asked:
        return shop
    if shop is None:
        return make_rules(asked, "rules")
    own, both = shop.to_dict(), {**shop.to_dict(), **asked}
    if "deny" in own and "deny" in asked:
        both["deny"] = [*own["deny"], *asked["deny"]]
    if "where" in own and "where" in asked:
        both["where"] = f"({own['where']}) and ({asked['where']})"
    if "diversity" in asked and not asked["diversity"] and "diversity_by" not in asked:
        both.pop("diversity_by", None)
    return make_rules(both, "rules")
