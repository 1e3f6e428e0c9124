"""Text ids before they are ids: words that stand for a missing one, and texts that only look like another.

All of it works on distinct texts, never on rows.

An id is what it is: nothing is changed here but what the caller asks for. What people cannot see is told: a zero-width
character or a no-break space inside an id, or an accent as a character of its own (``e`` + U+0301, Unicode's form NFD,
as some systems write file names) in place of the composed letter (NFC). Two ids that differ in nothing else are two
customers for a program, and one for everybody who looks at them.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from ancf._text import format_value
from ancf.errors import InvalidParameterError

MISSING_WORDS = (
    *("-1", "-1.0", "nan", "none", "null", "<na>", "n/a", "#n/a", "na", "nat", "-nan", "#na", "#null!", "(null)"),
    *("\\n", "-", "--", "undefined"),
)
"""Words (in capitals or not) that stand for "no id" in one table or another: what spreadsheets, databases (``\\N``),
pandas, R and JavaScript write. An empty field is always a missing id."""

_MAX_FREE_LETTERS = 4


def _spellings(word: str) -> set[str]:
    """A word in capitals, small letters and, where it is short, every mixture of both."""
    if sum(letter.isalpha() for letter in word) > _MAX_FREE_LETTERS:
        return {word.lower(), word.upper(), word.capitalize()}
    return {"".join(spelling) for spelling in product(*({c.lower(), c.upper()} for c in word))}


_MISSING_SPELLINGS = frozenset().union({""}, *map(_spellings, MISSING_WORDS))

# Zero-width characters and marks of direction (Unicode's category Cf), and white space other than the plain space.
_UNSEEN = re.compile(r"[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]|[^\S ]")
_ZERO_WIDTH = re.compile(r"[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class IdRules:
    """What is no id, and whether ids that look alike are one.

    Attributes
    ----------
    words : frozenset of str, optional
        The words that stand for a missing id, as they are written; ``MISSING_WORDS`` in any case if None.
    normalize : bool
        Whether text ids are brought into the form in which those that look alike are the same.
    keep_minus_one : bool
        Whether the user id -1 is an id (a class of its own), not the sign of a missing one.
    """

    words: frozenset[str] | None = None
    normalize: bool = False
    keep_minus_one: bool = False

    @classmethod
    def of(cls, missing: Collection[str] | None, normalize_ids: bool) -> "IdRules":
        """The rules that the caller of ``read_interactions`` chose."""
        if missing is None:
            return cls(None, normalize_ids)
        if isinstance(missing, bytes) or not isinstance(missing, Collection) or getattr(missing, "ndim", 1) != 1:
            raise InvalidParameterError(
                f"missing is {format_value(missing)}; give words, such as missing=('NA', '-1'), or () for none."
            )
        listed: list[Any] = [missing] if isinstance(missing, str) else list(missing)
        wrong = [word for word in listed if not isinstance(word, str)]
        if wrong:
            raise InvalidParameterError(f"missing: {wrong[0]!r} is no text. Give words, such as missing=('NA', '-1').")
        return cls(frozenset(word.strip() for word in listed), normalize_ids)

    @cached_property
    def _numbers(self) -> frozenset[int]:
        words = MISSING_WORDS if self.words is None else self.words
        return frozenset(int(word) for word in words if re.fullmatch(r"-?[0-9]+", word))

    @cached_property
    def _spellings(self) -> frozenset[str]:
        if self.words is None:
            return _MISSING_SPELLINGS
        return self.words | {""} | {f"{number}.0" for number in self._numbers}

    def missing_numbers(self, role: str) -> list[int]:
        """The whole numbers that stand for a missing id of this role."""
        return sorted(self._numbers - ({-1} if role == "user" and self.keep_minus_one else set()))

    def missing_texts(self, texts: list[str], role: str, ascending: bool) -> set[str]:
        """Those of these distinct texts, without surrounding spaces, that stand for a missing id of this role."""
        if ascending:
            found = {spelling for spelling in self._spellings if _holds(texts, spelling)}
        else:
            found = set(self._spellings.intersection(texts))
        return found - {"-1", "-1.0"} if role == "user" and self.keep_minus_one else found


def _holds(ascending: list[str], text: str) -> bool:
    at = bisect_left(ascending, text)
    return at < len(ascending) and ascending[at] == text


def normalize_text(text: str) -> str:
    """An id as people see it: composed letters (NFC), no zero-width characters, white space as one space.

    Examples
    --------
    >>> normalize_text("Cafe\\u0301\\u00a0 12\\u200b") == "Café 12"
    True
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFC", _ZERO_WIDTH.sub("", text))).strip()


def has_unseen(text: str) -> bool:
    """Whether an id holds what people do not see: zero-width characters, odd spaces, letters that are not composed."""
    return _UNSEEN.search(text) is not None or not unicodedata.is_normalized("NFC", text)
