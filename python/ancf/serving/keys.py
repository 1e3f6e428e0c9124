"""API keys: who may ask what."""

import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ancf.errors import InvalidParameterError

Scope = Literal["read", "events", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "events", "admin")
_LEAST_CHARACTERS = 16


class Keys:
    """The keys of a file. Only their hashes are kept, and all of them are compared, each in constant time."""

    def __init__(self, scopes_by_key: Mapping[str, frozenset[str]]) -> None:
        self._scopes = [(_digest(key), scopes) for key, scopes in scopes_by_key.items()]

    def scopes(self, key: str) -> frozenset[str] | None:
        """What a key allows; None for a key that is not known."""
        digest, found = _digest(key), None
        for known, scopes in self._scopes:
            if hmac.compare_digest(digest, known):
                found = scopes
        return found


def read_keys(path: str) -> Keys:
    """The keys of a TOML file, one table ``[NAME]`` for each with ``key`` and ``scopes``.

    Raises
    ------
    InvalidParameterError
        If the file cannot be read, or says something else.
    """
    where = f"api_key_file={path!r}"
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise InvalidParameterError(f"{where}: {said}. Give a TOML file with a table for each key.") from None
    found: dict[str, frozenset[str]] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or set(table) != {"key", "scopes"}:
            raise InvalidParameterError(f"{where}: [{name}] must have key and scopes, and nothing else.")
        key, scopes = table["key"], table["scopes"]
        if not isinstance(key, str) or len(key) < _LEAST_CHARACTERS or key.strip() != key or not key.isascii():
            raise InvalidParameterError(
                f"{where}: the key of [{name}] must be ASCII text of at least {_LEAST_CHARACTERS} characters. "
                "'openssl rand -hex 32' makes one."
            )
        if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(SCOPES):
            raise InvalidParameterError(f"{where}: [{name}] scopes is {scopes!r}; choose from {', '.join(SCOPES)}.")
        if key in found:
            raise InvalidParameterError(f"{where}: [{name}] has the key of another. Give each its own.")
        found[key] = frozenset(scopes)
    if not found:
        raise InvalidParameterError(f"{where}: there is no key in it. Give a table [NAME] with key and scopes.")
    return Keys(found)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
