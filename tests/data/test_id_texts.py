"""Which texts are no ids, and ids that people cannot tell apart: shown with counts, and changed only on request."""

import io

import numpy as np
import pandas as pd
import pytest

import ancf
from ancf.data.id_texts import MISSING_WORDS
from ancf.errors import InvalidParameterError


def read(text, **options):
    return ancf.read_interactions(io.BytesIO(text.encode()), **options)


def sources(users, items):
    frame = pd.DataFrame({"user": users, "item": items})
    return [io.BytesIO(frame.to_csv(index=False).encode()), frame, frame.astype("category"), frame.to_dict("list")]


def notes(data, name):
    return [(note.rows, note.text) for note in data.report.notes if note.name == name]


def test_words_for_a_missing_id_are_counted_in_the_report():
    for source in sources(["ann", "NA", "NA", "\\N", "bob"], ["x", "y", "y", "x", "-"]):
        data = ancf.read_interactions(source)
        assert (data.report.count("anonymous"), data.report.count("no_item")) == (3, 1)
        text = 'have a word for a missing user id ("NA" 2 times, "\\N" once); missing=() takes it as an id'
        assert notes(data, "missing_words")[0] == (3, text)
        assert '1 row has a word for a missing item id ("-" once)' in str(data.report).replace("\n        ", " ")


@pytest.mark.parametrize("word", MISSING_WORDS)
def test_each_word_for_a_missing_id_is_one_in_capitals_too(word):
    for spelling in {word, word.upper(), word.capitalize()}:
        data = read(f"user,item\nann,x\n{spelling},y\n")
        assert data.user_ids.values.tolist() == ["ann"]
    assert word in ancf.read_interactions.__doc__.replace("\\\\N", "\\n").lower() or word == "-1.0"


def test_words_for_a_missing_id_can_be_kept_or_chosen():
    for source in sources(["NA", "na", "-1", "5", ""], ["x", "x", "x", "x", "x"]):
        again = io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source
        kept = ancf.read_interactions(source, missing=())
        assert kept.user_ids.values.tolist() == ["-1", "5", "NA", "na"]
        assert (kept.report.count("anonymous"), notes(kept, "missing_words")) == (1, [])
        chosen = ancf.read_interactions(again, missing=("NA",))
        assert chosen.user_ids.values.tolist() == ["-1", "5", "na"]
    numbers = {"user": [-1, 0, 5], "item": [1, 2, 3]}
    assert ancf.read_interactions(numbers).user_ids.values.tolist() == [0, 5]
    assert ancf.read_interactions(numbers, missing=()).user_ids.values.tolist() == [-1, 0, 5]
    assert ancf.read_interactions(numbers, missing="0").user_ids.values.tolist() == [-1, 5]
    assert read("user,item\n-1,x\n5,x\n", missing=()).user_ids.values.tolist() == ["-1", "5"]
    with pytest.raises(InvalidParameterError, match="missing: 3 is no text"):
        read("user,item\na,x\n", missing=(3,))


ALIKE = ["café", "cafe\u0301", "caf\u200bé", "\ufeffcafé", "ann b", "ann\u00a0b", "ann b "]


def test_ids_that_look_alike_are_told_with_counts_and_merged_on_request():
    for source in sources(ALIKE, [str(at) for at in range(7)]):
        data = ancf.read_interactions(io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source)
        assert data.n_users == 6
        (rows, text) = notes(data, "unseen_characters")[0]
        assert rows == 4
        assert "'cafe\\u0301'" in text
        assert "4 of these ids look like another" in text
        assert "normalize_ids=True" in text
        merged = ancf.read_interactions(source, normalize_ids=True)
        assert merged.user_ids.values.tolist() == ["ann b", "café"]
        assert notes(merged, "unseen_characters")[0][0] == 4


def test_an_id_with_invisible_characters_is_told_without_a_double():
    (rows, text) = notes(read("user,item\n17850\u200b,x\n17851,x\nä,x\n"), "unseen_characters")[0]
    assert rows == 1
    assert "look" not in text
    assert notes(read("user,item\nä,ü b\n"), "unseen_characters") == []
    with pytest.raises(InvalidParameterError, match="normalize_ids is 'yes'"):
        read("user,item\na,x\n", normalize_ids="yes")


def test_rows_of_notes_are_those_of_the_table_for_categories_too():
    frame = pd.DataFrame({"user": ["b", "b", " a"], "item": [1, 2, 3]})
    for source in (frame, frame.astype("category")):
        data = ancf.read_interactions(source)
        assert [note.first_rows for note in data.report.notes if note.name == "spaces"] == [(2,)]
    unused = pd.Categorical(["7.0", "8.0"], categories=["7.0", "8.0", "x"])
    assert ancf.read_interactions({"user": unused, "item": [1, 2]}).user_ids.values.tolist() == ["7", "8"]
    assert np.array_equal(data.weights, [1, 1, 1])
