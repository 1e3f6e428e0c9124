"""What may and may not be recommended: every form means the same, and none is passed over."""

import collections
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ancf
from ancf.data.csr import ItemSets
from ancf.data.ids import IdMap
from ancf.scoring import filters

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def model():
    rows = [(u, f"{100 + (u * 7 + k * k) % 12}") for u in range(40) for k in range(5)]
    return ancf.ItemKNN().fit(ancf.Interactions.from_ids([str(u) for u, _ in rows], [i for _, i in rows]))


def everybody_forms(model, some):
    """The same items for everybody, in every form."""
    import polars as pl
    import pyarrow as pa

    mask = np.isin(model.item_ids_.values, some)
    flags = pd.Series(mask, index=model.item_ids_.values)
    return {
        "list": list(some),
        "tuple": tuple(some),
        "set": set(some),
        "frozenset": frozenset(some),
        "iterator": iter(some),
        "generator": (each for each in some),
        "keys of a dictionary": dict.fromkeys(some).keys(),
        "object array": np.array(some, object),
        "text array": np.array(some),
        "Series": pd.Series(some),
        "Index": pd.Index(some),
        "Categorical": pd.Categorical(some),
        "Series of categories": pd.Series(some, dtype="category"),
        "Series of Arrow text": pd.Series(some, dtype="string[pyarrow]"),
        "IdMap": ancf.IdMap(list(some)),
        "Arrow array": pa.array(list(some)),
        "Arrow chunks": pa.chunked_array([list(some)[:1], list(some)[1:]]),
        "Arrow dictionary": pa.array(list(some)).dictionary_encode(),
        "Polars Series": pl.Series(list(some)),
        "frame of one column": pd.DataFrame({"sku": list(some)}),
        "Polars frame of one column": pl.DataFrame({"sku": list(some)}),
        "Arrow table of one column": pa.table({"sku": list(some)}),
        "mask, array": mask,
        "mask, list": mask.tolist(),
        "mask, tuple": tuple(mask.tolist()),
        "mask, object array": mask.astype(object),
        "mask, Arrow": pa.array(mask),
        "mask, Polars": pl.Series(mask),
        "flags by id": flags,
        "flags by id in another order": flags[::-1],
        "nullable flags": flags.astype("boolean"),
        "object flags": flags.astype(object),
        "frame of flags": flags.to_frame("sold_out"),
        "flags of some": flags[flags],
        "with unknown ones": [*some, "a new product"],
    }


def each_forms(users, lists):
    """A list for each user, in every form."""
    import polars as pl
    import pyarrow as pa

    pairs = pd.DataFrame(
        [(u, i) for u, row in zip(users, lists, strict=True) for i in row], columns=["user_id", "item_id"]
    )
    by_user = dict(zip(users, lists, strict=True))
    ragged = np.empty(len(lists), object)
    ragged[:] = lists
    return {
        "mapping": by_user,
        "read-only mapping": types.MappingProxyType(by_user),
        "mapping of sets": {user: set(row) for user, row in by_user.items()},
        "mapping of arrays": {user: np.array(row, object) for user, row in by_user.items()},
        "mapping of generators": {user: iter(row) for user, row in by_user.items()},
        "defaultdict": collections.defaultdict(list, by_user),
        "lists": list(lists),
        "tuple of tuples": tuple(map(tuple, lists)),
        "generator of lists": (row for row in lists),
        "object array of lists": ragged,
        "Arrow lists": pa.array(lists),
        "Polars lists": pl.Series(lists),
        "Series by user": pd.Series(lists, index=users),
        "table": pairs,
        "table in another order": pairs[::-1],
        "Polars table": pl.from_pandas(pairs),
        "Arrow table": pa.Table.from_pandas(pairs),
        "table with more columns": pairs.assign(score=1.0),
    }


def test_both_filters_take_every_form_with_the_same_meaning(model):
    users = ["0", "1", "5"]
    some = ["101", "104", "108", "110"]
    rest = [each for each in model.item_ids_.values if each not in some]
    expected = model.recommend(users, N=12, items=some).to_pandas()
    assert 0 < len(expected) < 12
    assert set(expected["item_id"]) <= set(some)
    for name, form in everybody_forms(model, some).items():
        assert model.recommend(users, N=12, items=form).to_pandas().equals(expected), name
    for name, form in everybody_forms(model, rest).items():
        assert model.recommend(users, N=12, filter_items=form).to_pandas().equals(expected), name


def test_both_filters_take_a_list_for_each_user_in_every_form(model):
    users = ["0", "1", "5"]
    lists = [["101", "104", "108"], ["110", "111", "106", "107"], ["104", "103"]]
    rest = [[each for each in model.item_ids_.values if each not in row] for row in lists]
    alone = [model.recommend(user, N=12, items=row).ids.tolist() for user, row in zip(users, lists, strict=True)]
    assert sum(map(len, alone)) > 3
    for name, form in each_forms(users, lists).items():
        found = model.recommend(users, N=12, items=form)
        assert [row.tolist() for row in found.ids] == alone, name
    for name, form in each_forms(users, rest).items():
        found = model.recommend(users, N=12, filter_items=form)
        assert [row.tolist() for row in found.ids] == alone, name


FORMS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "array": lambda row: np.array(row, None if row and isinstance(row[0], int) else object),
    "objects": lambda row: np.array(row, object),
    "Series": lambda row: pd.Series(row, dtype=object),
}


@given(
    rows=st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5),
    forms=st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=3),
    text=st.booleans(),
)
@QUICK
def test_lists_that_are_read_at_once_are_those_that_are_read_one_by_one(rows, forms, text):
    ids = IdMap([str(each) if text else each for each in (7, 3, 0, 8, 2)])
    requested = filters.Requested(np.arange(len(rows)))
    known = [[str(each) if text else each for each in row] for row in rows]
    known[0].append(ids[0])
    given = [FORMS[forms[at % len(forms)]](row) for at, row in enumerate(known)]
    found = [filters.count_each("shown", given, ids, requested)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "_joined", lambda rows: None)
        found.append(filters.count_each("shown", given, ids, requested))
    expected = []
    for row in given:
        positions = [ids.position(each) for each in row]
        expected.append({at: positions.count(at) for at in sorted(set(positions) - {-1})})
    for sets, counts in found:
        parts = np.split(counts, sets.indptr[1:-1])
        assert [
            dict(zip(sets.row(row).tolist(), part.tolist(), strict=True)) for row, part in enumerate(parts)
        ] == expected
        assert [sets.items.dtype, sets.indptr.dtype] == [np.int32, np.int64]


@pytest.mark.parametrize("row", [[True, 7], [7.0], ["7"], [None, 7], [7, "7"], [2**70]])
def test_what_is_no_plain_number_is_read_as_it_is_one_by_one(row, monkeypatch):
    ids, requested = IdMap([7, 3]), filters.Requested(np.arange(2))

    def outcome():
        try:
            sets, counts = filters.count_each("shown", [[3], row], ids, requested)
            return sets.items.tolist(), counts.tolist()
        except ancf.AncfError as error:
            return type(error), str(error)

    at_once = outcome()
    monkeypatch.setattr(filters, "_joined", lambda rows: None)
    assert outcome() == at_once


ROWS_OF_SETS = st.lists(st.tuples(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12))), max_size=5)


@given(rows=ROWS_OF_SETS)
@QUICK
def test_a_union_of_sets_is_that_of_each_row(rows):
    both = [ItemSets.from_rows([np.array(sorted(row[at]), np.int32) for row in rows]) for at in (0, 1)]
    union = both[0].union(both[1])
    assert [union.row(at).tolist() for at in range(len(rows))] == [sorted(one | other) for one, other in rows]


def test_a_mask_for_each_user_is_a_row_of_a_table_of_flags(model):
    users = ["0", "1"]
    best = model.recommend(users, N=2)
    masks = np.array([np.isin(model.item_ids_.values, row) for row in best.ids])
    assert model.recommend(users, N=2, items=masks).to_pandas().equals(best.to_pandas())
    left = model.recommend(users, N=12, filter_items=masks).to_pandas()
    assert not set(zip(left["user_id"], left["item_id"], strict=True)) & {
        (user, item) for user, row in zip(users, best.ids, strict=True) for item in row
    }


def test_who_has_no_entry_in_a_mapping_of_what_to_leave_out_has_nothing_left_out(model):
    best = model.recommend(["0", "1"], N=3)
    found = model.recommend(["0", "1"], N=3, filter_items={"0": list(best.ids[0])})
    assert found.ids[1].tolist() == best.ids[1].tolist()
    assert not set(found.ids[0]) & set(best.ids[0])
    with pytest.raises(ancf.InvalidDataError, match="1 of 2 users have no list"):
        model.recommend(["0", "1"], N=3, items={"0": list(best.ids[0])})
    assert model.recommend("1", N=3, filter_items={"0": ["101"]}).ids.tolist() == best.ids[1].tolist()


def test_the_table_of_yesterday_keeps_its_recommendations_out_of_today(model):
    yesterday = model.recommend_all(N=2)
    today = model.recommend_all(N=2, filter_items=yesterday.to_pandas()).to_pandas()
    before = set(zip(yesterday.to_pandas()["user_id"], yesterday.to_pandas()["item_id"], strict=True))
    assert not before & set(zip(today["user_id"], today["item_id"], strict=True))
    assert len(today) > 20


WRONG = {
    "numbers where ids are text": ([101, 104], "the ids given are numbers, the model's are text; 101 is known as"),
    "one number among text": (["101", 104], '104 is known as "104"'),
    "floats": ([101.0, 104.0], 'is known as "101"'),
    "text with .0": (["101.0", "104.0"], "'101.0' is known as '101'"),
    "one text with .0": (["101", "104.0"], "'104.0' is known as '104'"),
    "spaces": ([" 101", "104 "], "' 101' is known as '101'"),
    "bytes": ([b"101"], "is known as"),
    "nothing known": (["lamp", "cup"], "the model's are like '100', '101', '102'"),
    "None": (["101", None], "an id is missing (None or NaN) at position 1"),
    "NaN": ([float("nan"), "101"], "an id is missing (None or NaN) at position 0"),
    "NA": (pd.Series([100, None], dtype="Int64"), "an id is missing (None or NaN) at position 1"),
    "a mask of another length": (np.array([True, False]), "the mask has the shape (2,); the model knows 12 items"),
    "a mask with a gap": ([True, None] * 6, "the flag at position 1 is missing"),
    "a flag among ids": (["101", True], "True is no id"),
    "a list among ids": (["101", ["104"]], "['104'] is no id"),
    "flags by another index": (pd.Series([True, False], ["x", "y"]), "2 of the 2 labels of its index are no items"),
    "flags by row number": (pd.Series([True] * 12), "Set the ids as its index"),
    "one item with two flags": (pd.Series([True, False], ["101", "101"]), "'101' is flagged True and False"),
    "two lists for one user": ([["101"], ["104"]], "2 lists of"),
    "a mapping by other users": ({"x": ["101"]}, None),
    "a mapping by the other kind": ({0: ["101"]}, "stands under 0, an id of another kind"),
    "a mapping of other kinds": ({"0": [101]}, '101 is known as "101"'),
    "a list that is None": ([["101"], None], None),
    "a table of other columns": (pd.DataFrame({"a": ["101"], "b": ["1"]}), "a table with the columns 'a', 'b'"),
    "a table without a user": (
        pd.DataFrame({"user_id": ["0", None], "item_id": ["101", "104"]}),
        "user_id is missing in row 1",
    ),
    "a set of lists": ({("101",), ("104",)}, "a set has no order"),
    "a date": (pd.Timestamp("2024-01-01"), "none of the 1 ids is known"),
    "True": (True, "the mask has the shape (1,)"),
}


@pytest.mark.parametrize("name", ["items", "filter_items"])
@pytest.mark.parametrize("case", WRONG)
def test_a_filter_that_means_nothing_is_refused_in_words(model, name, case):
    form, said = WRONG[case]
    with pytest.raises(ancf.InvalidDataError) as raised:
        model.recommend("0", **{name: form})
    assert name in str(raised.value)
    assert said is None or said in str(raised.value), raised.value


def test_numbers_are_hinted_at_where_text_is_given():
    model = ancf.Popular().fit(ancf.Interactions.from_ids([1, 2, 2], [5, 6, 7]))
    for form in (["5"], ["5.0"], {1: ["5"]}):
        with pytest.raises(ancf.InvalidDataError, match="is known as 5"):
            model.recommend(1, filter_items=form)
    assert model.recommend(1, filter_items=[6.0]).ids.tolist() == [7]
    assert model.recommend(1, filter_items=pd.Series([True, False], [6, 7])).ids.tolist() == [7]


def test_an_empty_filter_allows_nothing_or_leaves_nothing_out(model):
    everything = model.recommend("0").ids.tolist()
    for empty in ([], set(), np.array([], object), {"0": []}, [[]], pd.DataFrame({"user_id": [], "item_id": []})):
        assert model.recommend("0", filter_items=empty).ids.tolist() == everything
    for empty in ([], set(), np.array([], object), {"0": []}, [[]], np.zeros(12, bool)):
        assert model.recommend("0", items=empty).ids.tolist() == []


def test_a_list_for_each_history_goes_by_its_number(model):
    carts = [["100", "104"], ["101"], ["105"]]
    best = model.recommend_for_history(carts, N=2)
    lists = [row.tolist() for row in best.ids]
    for form in (lists, dict(enumerate(lists)), pd.Series(lists)):
        found = model.recommend_for_history(carts, N=2, filter_items=form)
        for row, out in zip(found.ids, lists, strict=True):
            assert not set(row) & set(out)
        assert model.recommend_for_history(carts, N=2, items=form).ids.tolist() == best.ids.tolist()
    with pytest.raises(ancf.InvalidDataError, match="none of its keys is a history"):
        model.recommend_for_history(carts, filter_items={"x": ["101"]})


@pytest.mark.parametrize("metric", ["cosine", "inner"])
def test_similar_items_leave_out_what_a_filter_says(model, metric):
    vectors = ancf.from_factors(np.eye(3), np.random.default_rng(1).standard_normal((12, 3)), item_ids=range(100, 112))
    for each, ids in ((model, [str(i) for i in range(100, 112)]), (vectors, list(range(100, 112)))):
        every = each.similar_items(ids[0], N=12, metric=metric).ids.tolist()
        out = every[:3]
        assert each.similar_items(ids[0], N=12, metric=metric, filter_items=out).ids.tolist() == every[3:]
        assert each.similar_items(ids[0], N=12, metric=metric, items=out).ids.tolist() == out
        both = each.similar_items(ids[:2], N=12, metric=metric, filter_items={ids[0]: out})
        assert both.ids[0].tolist() == every[3:]
        assert both.ids[1].tolist() == each.similar_items(ids[1], N=12, metric=metric).ids.tolist()


@st.composite
def requests(draw):
    n_items = draw(st.integers(1, 30))
    users = draw(st.lists(st.integers(0, 7), min_size=1, max_size=6))
    picked = st.lists(st.integers(0, n_items - 1), max_size=n_items)
    deny = [draw(picked) for _ in users]
    allow = draw(st.none() | st.just([draw(picked) for _ in users]))
    everybody = draw(st.none() | picked)
    return (
        n_items,
        users,
        deny,
        allow,
        everybody,
        draw(st.booleans()),
        draw(st.integers(1, 8)),
        draw(st.integers(0, 99)),
    )


@given(requests())
@QUICK
def test_what_is_denied_to_each_is_what_is_left_of_the_full_list(request):
    n_items, users, deny, allow, everybody, filter_seen, N, seed = request
    rng = np.random.default_rng(seed)
    table = ancf.Interactions.from_ids(
        np.append(rng.integers(0, 8, 40), np.arange(8)), np.append(rng.integers(0, n_items, 40), np.arange(8) % n_items)
    )
    vectors = ancf.from_factors(
        rng.standard_normal((8, 4)),
        rng.standard_normal((n_items, 4)),
        table,
        user_ids=range(8),
        item_ids=range(n_items),
    )
    for model in (vectors, ancf.ItemKNN().fit(table)):
        known = set(model.item_ids_.values.tolist())
        out = [[each for each in row if each in known] for row in deny]
        allowed = None if allow is None else [[each for each in row if each in known] for row in allow]
        options = {"filter_already_liked_items": filter_seen}
        filters = {"filter_items": out, "items": allowed}
        whole = model.recommend(users, N=99, **options)
        found = model.recommend(users, N=N, **options, **filters)
        for at in range(len(users)):
            kept = [
                place
                for place, item in enumerate(whole.ids[at].tolist())
                if item not in out[at] and (allowed is None or item in allowed[at])
            ][:N]
            assert found.ids[at].tolist() == whole.ids[at][kept].tolist()
            assert found.scores[at].tobytes() == np.ascontiguousarray(whole.scores[at][kept]).tobytes()
        alike = everybody is not None and set(everybody) & known
        if alike:
            flat = model.recommend(users, N=N, **options, filter_items=everybody).to_pandas()
            each = model.recommend(users, N=N, **options, filter_items=[sorted(alike)] * len(users)).to_pandas()
            assert each.equals(flat)


@pytest.mark.parametrize(
    "options", [{}, {"attention": "target", "epochs": 1}, {"loss": "mse", "biases": True, "user_factors": True}]
)
def test_every_head_leaves_out_what_is_denied_to_each(options):
    rng = np.random.default_rng(3)
    data = ancf.Interactions.from_ids(
        rng.integers(0, 30, 400), rng.integers(0, 25, 400), time=rng.integers(0, 10**7, 400)
    )
    model = ancf.ANCF(**{"factors": 4, "epochs": 2, **options}).fit(data)
    whole = model.recommend_all(N=25)
    out = {user: row[:2].tolist() for user, row in zip(model.user_ids_.values.tolist(), whole.ids, strict=True)}
    found = model.recommend_all(N=25, filter_items=out)
    for row, left, scores, other in zip(whole.ids, found.ids, whole.scores, found.scores, strict=True):
        assert left.tolist() == row[2:].tolist()
        assert np.ascontiguousarray(other).tobytes() == np.ascontiguousarray(scores[2:]).tobytes()


def test_filters_for_each_user_go_into_a_file_as_into_memory(model, tmp_path, monkeypatch):
    from ancf.scoring import bulk

    monkeypatch.setattr(bulk, "_CHUNK_USERS", 7)
    out = {
        user: row[:2].tolist() for user, row in zip(model.user_ids_.values, model.recommend_all(N=5).ids, strict=True)
    }
    result = model.recommend_all(N=3, out=tmp_path / "recs.parquet", filter_items=out)
    assert pd.read_parquet(result.path)["item_id"].tolist() == (
        model.recommend_all(N=3, filter_items=out).to_pandas()["item_id"].tolist()
    )


def test_unknown_users_get_popular_items_without_what_is_denied_to_them(model):
    best = model.recommend("nobody", N=3, on_unknown="popular").ids.tolist()
    found = model.recommend(["nobody", "0"], N=3, on_unknown="popular", filter_items={"nobody": best[:1]})
    assert found.ids[0].tolist()[:2] == best[1:]
