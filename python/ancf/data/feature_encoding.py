"""Attributes as sets of properties, by which items are compared: words, parts of words, values, ranges of numbers.

The same properties on every machine and for every language; a column's properties are its own.

- A text has its words (runs of letters and digits, after Unicode's NFKC and case folding) and, within each word and its
  two ends, all runs of three and four characters; where a word has others than ASCII characters, also of one and two.
  So words of one stem are alike, and so are texts in languages that put no spaces between words.
- A category and each tag are a value, and a text of their own: they count like a word, and similar ones are alike.
- A number is in eight of forty overlapping ranges, each of which holds a fifth of the rows: the closer two numbers, the
  more they share.
- A property of a single row says nothing about others, and is left out.
"""

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ancf.data.arrays import offsets_from_lengths
from ancf.data.csr import Csr
from ancf.data.feature_columns import CategoryColumn, FeatureColumn, NumericColumn, TagsColumn, TextColumn
from ancf.data.features import Features

_WORD = re.compile(r"\w+")
_MAX_WORDS, _MAX_SPLIT_WORDS = 256, 48
"""Words of a text that count, and of those that are taken apart."""
_RANGES, _SHIFTS = 5, 8
_MAX_ROWS = 4000
"""A property of more rows tells hardly anything about them, and would cost their number squared."""

Property = tuple[str, str]
"""What kind, and what."""


def words_of(text: str) -> list[str]:
    """The words of a text in any language.

    Examples
    --------
    >>> words_of("RED Café-Mug, 2 pcs"), words_of("青い茶碗")
    (['red', 'café', 'mug', '2', 'pcs'], ['青い茶碗'])
    """
    return _WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))[:_MAX_WORDS]


def parts_of(word: str) -> Iterator[str]:
    """The runs of characters of a word, whose ends are marked.

    Examples
    --------
    >>> sorted(parts_of("mug"))
    ['<mu', '<mug', 'mug', 'mug>', 'ug>']
    """
    marked = f"<{word}>"
    for length in (3, 4):
        yield from (marked[at : at + length] for at in range(len(marked) - length + 1))
    if not word.isascii():
        for length in (1, 2):
            yield from (word[at : at + length] for at in range(len(word) - length + 1))


def text_properties(text: str | None) -> set[Property]:
    """What a text is compared by."""
    words = words_of(text or "")
    found: set[Property] = {("word", word) for word in words}
    found.update(("part", part) for word in words[:_MAX_SPLIT_WORDS] for part in parts_of(word))
    return found


def _value_properties(value: str) -> set[Property]:
    return text_properties(value) | {("value", value)}


def _column_properties(column: FeatureColumn) -> list[set[Property]]:
    """The properties of each row."""
    if isinstance(column, TextColumn):
        return [text_properties(text) for text in column.texts]
    if isinstance(column, NumericColumn):
        return _range_properties(column.numbers)
    of_value = [_value_properties(value) for value in column.values]
    if isinstance(column, CategoryColumn):
        return [of_value[code] if code >= 0 else set() for code in column.codes.tolist()]
    assert isinstance(column, TagsColumn)
    return [
        set().union(*(of_value[code] for code in codes.tolist()))
        for codes in np.split(column.codes, column.indptr[1:-1])
    ]


def _range_properties(numbers: NDArray[np.float64]) -> list[set[Property]]:
    present = np.sort(numbers[~np.isnan(numbers)])
    # Half of those that are equal are below.
    below = np.searchsorted(present, numbers, "left") + np.searchsorted(present, numbers, "right")
    found: list[set[Property]] = []
    for rank, number in zip(below.tolist(), numbers.tolist(), strict=True):
        if number != number:
            found.append(set())
            continue
        eighths = rank * _RANGES * _SHIFTS // (2 * len(present))
        found.append({("range", f"{shift}:{(eighths + shift) // _SHIFTS}") for shift in range(_SHIFTS)})
    return found


def encode(features: Features) -> Csr:
    """The properties of each row as a matrix of properties × rows: which rows have a property, with ones.

    Only properties of at least two rows and at most 4,000; in the order of columns, kinds and texts.
    """
    n = features.n_rows
    rows_of: list[list[int]] = []
    for column in features.values():
        of_property: dict[Property, list[int]] = {}
        for row, properties in enumerate(_column_properties(column)):
            for each in properties:
                of_property.setdefault(each, []).append(row)
        rows_of += [of_property[each] for each in sorted(of_property) if 2 <= len(of_property[each]) <= _MAX_ROWS]
    indices = np.fromiter((row for rows in rows_of for row in rows), np.int32)
    assert not len(indices) or indices.max() < n
    return Csr(offsets_from_lengths([len(rows) for rows in rows_of]), indices, np.ones(len(indices), np.float32))


def shared(features: Features, row: int, other: int, limit: int = 5) -> list[str]:
    """What two rows have in common, in words: values, words and tags of their columns.

    Examples
    --------
    >>> import ancf
    >>> features = ancf.read_features({"id": [1, 2], "name": ["Red mug", "Blue mug"], "kind": ["cup", "cup"]},
    ...     kinds={"name": "text"})
    >>> shared(features, 0, 1)
    ['name: mug', 'kind: cup']
    """
    found: list[str] = []
    for name, column in features.items():
        if column.missing[row] or column.missing[other]:
            continue
        one, two = (column.take(np.array([at])).cells()[0] for at in (row, other))
        if isinstance(column, TextColumn):
            words = set(words_of(two))
            common = [word for word in dict.fromkeys(words_of(one)) if word in words]
        elif isinstance(column, TagsColumn):
            common = [tag for tag in one if tag in two]
        elif isinstance(column, CategoryColumn):
            common = [one] if one == two else []
        else:
            common = [f"{one:g}"] if one == two else []
        found += [f"{name}: {' '.join(common[:limit])}"] if common else []
    return found
