"""Lists by rules are what docs/rules.md defines: compared with a plain twin that looks at every item."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ancf
from ancf.scoring import arranging, list_request

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
N_USERS, N_ITEMS = 25, 60
CATEGORIES = ["toys", "books", "tea", None]


def make_data():
    rng = np.random.default_rng(5)
    n = 700
    items = rng.geometric(0.06, n) % N_ITEMS
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(0, N_USERS, n),
            "item_id": items,
            "quantity": rng.integers(1, 6, n),
            "category": np.array(CATEGORIES, object)[items % 4],
            "name": [f"thing {item % 9}" for item in items],
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
        }
    )
    return ancf.read_interactions(frame)


DATA = make_data()
MODELS = {
    "Popular": ancf.Popular().fit(DATA),
    "ItemKNN": ancf.ItemKNN(neighbors=8).fit(DATA),
    "ALS": ancf.ALS(factors=6, epochs=3).fit(DATA),
    "ANCF": ancf.ANCF(factors=8, epochs=1).fit(DATA),
    "SVD": ancf.SVD(factors=4, epochs=2).fit(DATA),
    "GMF": ancf.GMF(factors=4, epochs=1).fit(DATA),
    "target attention": ancf.ANCF(factors=4, epochs=1, attention="target", loss="bce").fit(DATA),
}
SPECIAL = {
    "category == 'toys'",
    "category != 'toys'",
    "category is None",
    "buyers < 6",
    "buyers >= 12",
    "not category == 'tea' and 3 <= buyers <= 14",
    "item_id in [3, 17, 40]",
    "item_id == 59 or item_id == 2",
    "age_days < 200",
    "'7' in name",
}
CONDITIONS = st.sampled_from(sorted(SPECIAL))


def holds(condition, model):
    """Each condition once more, in pandas and by hand."""
    frame = pd.DataFrame({"item_id": model.item_ids_.values})
    frame["category"], frame["name"] = model.item_categories_, model.item_names_
    events = DATA.to_pandas()
    frame["buyers"] = frame["item_id"].map(events.groupby("item_id")["user_id"].nunique()).to_numpy()
    first = frame["item_id"].map(events.groupby("item_id")["time"].min())
    age = (
        pd.Timestamp(model._fitted().purchases.until, unit="s", tz="UTC") - pd.to_datetime(first)
    ).dt.total_seconds() / 86400
    category, buyers, item = frame["category"], frame["buyers"], frame["item_id"]
    found = {
        "category == 'toys'": category == "toys",
        "category != 'toys'": category.notna() & (category != "toys"),
        "category is None": category.isna(),
        "buyers < 6": buyers < 6,
        "buyers >= 12": buyers >= 12,
        "not category == 'tea' and 3 <= buyers <= 14": ~(category == "tea") & (buyers >= 3) & (buyers <= 14),
        "item_id in [3, 17, 40]": item.isin([3, 17, 40]),
        "item_id == 59 or item_id == 2": item.isin([59, 2]),
        "age_days < 200": age.clip(lower=0) < 200,
        "'7' in name": frame["name"].str.contains("7"),
    }
    return found[condition].to_numpy(bool).copy()


def boosted(score, factor):
    if factor == 1:
        return np.float32(score)
    wide = np.float64(score)
    return np.float32(wide * factor) if score >= 0 else np.float32(wide / factor)


def twin(ranking, rules, N, model, shown=None, vectors=None):
    """The list that docs/rules.md defines, as positions; ``ranking`` has all items that may be listed, with scores."""
    n = len(model.item_ids_)
    values = model.item_ids_.values.tolist()
    factor = np.ones(n)
    for condition, by in rules.boosts.items():
        factor[holds(condition, model)] *= by
    for item in dict.fromkeys(shown or []):
        factor[values.index(item)] *= float(np.float32(rules.fade ** shown.count(item)))
    allowed = np.ones(n, bool) if rules.where is None else holds(rules.where, model)
    allowed[np.array([values.index(item) for item in rules.deny], int)] = False
    score = {at: boosted(score, factor[at]) for at, score in ranking if allowed[at]}
    order = sorted(score, key=lambda at: (-score[at], at))
    at_most = [
        (pd.factorize(np.array(model.item_categories_, object))[0] if name == "category" else None, name, limit)
        for name, limit in rules.at_most.items()
    ]
    groups = [
        (codes if codes is not None else np.where(holds(name, model), 0, -1), limit) for codes, name, limit in at_most
    ]
    owed = dict(rules.at_least)
    wanted = {condition: holds(condition, model) for condition in owed}
    chosen, sequence = [], []

    def take(at):
        chosen.append(at)
        for condition in owed:
            owed[condition] = max(0, owed[condition] - int(wanted[condition][at]))

    pins = {place: values.index(item) for place, item in rules.pins.items() if place <= N}
    pins = {place: at for place, at in pins.items() if at in score}
    for at in pins.values():
        take(at)
    order = [at for at in order if at not in pins.values()]
    pool = order[: 3 * min(N, n)] if rules.diversity else []
    while len(chosen) < min(N, n):
        reserved = 0 < sum(owed.values()) >= min(N, n) - len(chosen)
        may = [
            at
            for at in order
            if at not in chosen
            and all(codes[at] < 0 or sum(codes[c] == codes[at] for c in chosen) < limit for codes, limit in groups)
            and (not reserved or any(owed[c] > 0 and wanted[c][at] for c in owed))
        ]
        if not may:
            if not reserved:
                break
            owed = dict.fromkeys(owed, 0)
            continue
        best = may[0]
        near = [at for at in may if at in pool]
        if near:
            e = {at: float(score[at]) for at in pool}
            least, most = e[pool[-1]], e[pool[0]]

            def value(at, e=e, least=least, most=most):
                relevance = (e[at] - least) / (most - least) if most > least else 0.0
                alike = max((likeness(at, c, rules, model, vectors) for c in chosen), default=0.0)
                return (1 - rules.diversity) * relevance - rules.diversity * alike

            best = max(near, key=lambda at: (value(at), -pool.index(at)))
        take(best)
        sequence.append(best)
    found, rest = [], sequence[::-1]
    for place in range(1, len(chosen) + 1):
        if place in pins:
            found.append(pins.pop(place))
        else:
            found.append(rest.pop() if rest else pins.pop(min(pins)))
    return found


def likeness(one, other, rules, model, vectors):
    if rules.diversity_by is not None:
        categories = model.item_categories_
        return float(categories[one] is not None and categories[one] == categories[other])
    total = np.float32(0)
    for a, b in zip(vectors[one], vectors[other], strict=True):
        # A fused multiply-add: exact product, one rounding.
        total = np.float32(np.float64(a) * np.float64(b) + np.float64(total))
    return float(total)


@st.composite
def any_rules(draw, diversity=False):
    factors = st.sampled_from([0.1, 0.5, 0.9, 1.1, 2.0, 7.0, 300.0])
    places = draw(st.lists(st.integers(1, 9), max_size=3, unique=True))
    pinned = draw(st.lists(st.sampled_from(sorted(DATA.item_ids.values.tolist())), min_size=3, max_size=3, unique=True))
    options = {}
    if diversity:
        options["diversity"] = draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
    return ancf.Rules(
        where=draw(st.none() | CONDITIONS),
        deny=draw(st.lists(st.sampled_from(sorted(DATA.item_ids.values.tolist())), max_size=4)),
        boosts=draw(st.dictionaries(CONDITIONS, factors, max_size=3)),
        at_most=draw(st.dictionaries(CONDITIONS | st.just("category"), st.integers(0, 4), max_size=2)),
        at_least=draw(st.dictionaries(CONDITIONS, st.integers(0, 3), max_size=2)),
        pins=dict(zip(places, pinned, strict=False)),
        fade=draw(st.sampled_from([0.2, 0.7, 1.0])),
        **options,
    )


def full_ranking(model, user):
    """All that may be listed to a user, with scores before their last step."""
    scorer = model._fitted()
    items, scores, counts = scorer.ranker.top_n(np.array([user]), N_ITEMS, finish=False)
    return list(zip(items[0, : counts[0]].tolist(), scores[0, : counts[0]], strict=True))


def positions(model, ids):
    return model.item_ids_.positions(ids).tolist()


@pytest.mark.parametrize("name", MODELS)
@given(
    rules=any_rules(),
    user=st.integers(0, N_USERS - 1),
    N=st.integers(1, 12),
    shown=st.lists(st.integers(0, 59), max_size=6),
)
@QUICK
def test_a_list_by_rules_is_the_one_that_is_defined(name, rules, user, N, shown):
    model = MODELS[name]
    shown = [item for item in shown if item in model.item_ids_]
    one = model.user_ids_.values[user].item()
    found = model.recommend(one, N=N, rules=rules, shown={one: shown} if shown else None)
    assert positions(model, found.ids) == twin(full_ranking(model, user), rules, N, model, shown)
    plain = dict(zip(model.item_ids_.values.tolist(), model.predict(one, model.item_ids_.values), strict=True))
    assert found.scores.tolist() == [plain[item] for item in found.ids.tolist()]


@pytest.mark.parametrize(("name", "by"), [("ALS", None), ("ANCF", None), ("ItemKNN", "category"), ("SVD", "category")])
@given(rules=any_rules(diversity=True), user=st.integers(0, N_USERS - 1), N=st.integers(1, 9))
@QUICK
def test_a_diverse_list_is_the_one_that_is_defined(name, by, rules, user, N):
    model = MODELS[name]
    rules = ancf.Rules(**rules.to_dict() | {"diversity_by": by})
    from ancf.data.arrays import unit_rows

    vectors = None if by else unit_rows(model._fitted().item_vectors)
    found = model.recommend([model.user_ids_.values[user]], N=N, rules=rules)
    wanted = twin(full_ranking(model, user), rules, N, model, vectors=vectors)
    assert positions(model, np.concatenate(found.ids)) == wanted


@pytest.mark.parametrize("name", MODELS)
@given(rules=any_rules(), N=st.integers(1, 8))
@settings(QUICK, max_examples=25)
def test_everybodys_lists_are_those_of_each(name, rules, N, tmp_path_factory):
    model = MODELS[name]
    users = model.user_ids_.values.tolist()
    together = model.recommend_all(N, rules=rules).to_pandas()
    for user in users[::6]:
        own = model.recommend(user, N, rules=rules)
        assert together.loc[together["user_id"] == user, "item_id"].tolist() == own.ids.tolist()
    out = tmp_path_factory.mktemp("lists") / "all.csv"
    model.recommend_all(N, rules=rules, out=out)
    assert pd.read_csv(out)["item_id"].tolist() == together["item_id"].tolist()


@pytest.mark.parametrize("name", ["ItemKNN", "ALS", "SVD"])
@given(
    rules=any_rules(diversity=True) | any_rules(),
    user=st.integers(0, N_USERS - 1),
    N=st.integers(1, 6),
    longest=st.booleans(),
)
@QUICK
def test_rankings_that_are_asked_for_one_by_one_make_the_lists_of_the_core(name, rules, user, N, longest):
    model = MODELS[name]
    if rules.diversity and name != "ALS":
        rules = ancf.Rules(**rules.to_dict() | {"diversity_by": "category"})
    users = [user, *model.user_ids_.values[:3].tolist()]
    shown = {user: [3, 3, 17]} if longest else None
    by_core = model.recommend(users, N, rules=rules, shown=shown).to_pandas()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_request, "top_n_by_rules", lambda *_, **__: None)
        if not longest:
            for width in ("_QUOTA_WIDTH", "_POOL"):
                patch.setattr(arranging, width, 1)
            patch.setattr(arranging, "_MORE", 0)
            patch.setattr(arranging, "_GROWTH", 2)
            patch.setattr(arranging, "_MAX_ENTRIES", 20)
        one_by_one = model.recommend(users, N, rules=rules, shown=shown).to_pandas()
    pd.testing.assert_frame_equal(by_core, one_by_one)


@pytest.mark.parametrize("name", ["ALS", "ANCF", "ItemKNN"])
@given(
    rules=any_rules(),
    N=st.integers(1, 8),
    n_shown=st.integers(0, 5),
    denied=st.sampled_from(["everybody", "each", "stock", None]),
)
@settings(QUICK, max_examples=25)
def test_lists_of_many_and_of_histories_are_those_of_each(name, rules, N, n_shown, denied):
    model = MODELS[name]
    ids, users = model.item_ids_.values.tolist(), model.user_ids_.values.tolist()
    view = model.with_stock(ids[::2]) if denied == "stock" else model
    shown = {user: ids[user % 9 : user % 9 + n_shown] for user in users} if n_shown else None
    left_out = {user: ids[user % 7 :: 9] for user in users} if denied == "each" else ids[::7] if denied else None
    together = view.recommend_all(N, rules=rules, shown=shown, filter_items=left_out)
    for row, user in enumerate(users):
        own = {
            name: given[user] if isinstance(given, dict) else given
            for name, given in {"filter_items": left_out}.items()
        }
        alone = view.recommend(user, N, rules=rules, shown=shown and {user: shown[user]}, **own)
        assert together.ids[row].tolist() == alone.ids.tolist()
    histories = [ids[at : at + 3] for at in range(0, 40, 3)]
    many = view.recommend_for_history(histories, N, rules=rules)
    for row, history in enumerate(histories):
        assert many.ids[row].tolist() == view.recommend_for_history(history, N, rules=rules).ids.tolist()
