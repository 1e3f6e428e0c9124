"""The table [rules] of the file, and why an item is not in a list."""

import pytest

import ancf as package


@pytest.fixture
def model(shop):
    return package.load(shop / "shop.ancf")


@pytest.fixture
def ask(rows, tmp_path):
    def call(command, *arguments, rules):
        (tmp_path / "ancf.toml").write_text(rules)
        return rows(command, "shop.ancf", *arguments, "--config", tmp_path / "ancf.toml")

    return call


def test_the_rules_of_the_file_hold_for_every_command_that_makes_lists(ask, model):
    category = model.item_categories_[0]
    other = str(model.item_ids_.values[-1])
    text = f"""
number = 5
[rules]
where = "category == '{category}'"
deny = ['{other}']
at_least = {{ "buyers < 20" = 1 }}
[rules.boosts]
"buyers > 40" = 0.5
[rules.pins]
2 = "{model.item_ids_.values[0]}"
"""
    rules = package.Rules(
        where=f"category == '{category}'",
        deny=[other],
        at_least={"buyers < 20": 1},
        boosts={"buyers > 40": 0.5},
        pins={2: model.item_ids_.values[0]},
    )
    user = str(model.user_ids_.values[3])
    found = [row["item_id"] for row in ask("recommend", "--user", user, rules=text)]
    assert found == model.recommend(user, N=5, rules=rules).ids.tolist() != model.recommend(user, N=5).ids.tolist()
    history = [str(each) for each in model.item_ids_.values[5:7]]
    found = ask("recommend", *(f"--history={each}" for each in history), rules=text)
    assert [row["item_id"] for row in found] == model.recommend_for_history(history, N=5, rules=rules).ids.tolist()
    everybody = [row["item_id"] for row in ask("recommend-all", rules=text)]
    assert everybody == model.recommend_all(N=5, rules=rules).to_pandas()["item_id"].tolist()
    similar = [row["item_id"] for row in ask("similar", "--item", history[0], rules=text)]
    assert similar == model.similar_items(history[0], N=5, rules=rules).ids.tolist()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("[rules]\nwhere = 'price <'", "where: 'price <': it cannot be read"),
        ("[rules]\nwhere = 'prize < 3'", "there is no attribute 'prize'"),
        ("[rules]\nquota = 3", "no option 'quota'"),
        ("[rules]\npins = { 0 = 'a' }", "no place"),
        ("[rules]\nboosts = { category = 2 }", "'category' is no condition"),
        ('[rules]\nboosts = { "buyers > 2" = -1 }', "boosts['buyers > 2'] is -1"),
    ],
)
def test_rules_that_make_no_sense_are_told_with_the_file(ancf, model, tmp_path, rules, said):
    (tmp_path / "ancf.toml").write_text(rules)
    user = model.user_ids_.values[0]
    code, out, err = ancf("recommend", "shop.ancf", "--user", user, "--config", tmp_path / "ancf.toml")
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_why_not_says_why_an_item_is_not_in_a_list(ancf, rows, model):
    user = str(model.user_ids_.values[0])
    had = str(model.history(user).item_ids[0])
    code, out, _ = ancf("recommend", "shop.ancf", "--user", user, "--why-not", had)
    assert code == 0
    assert out == f"'{had}' is not listed: the user has it already (--with-bought lists it all the same).\n"
    last = str(model.recommend(user, N=1000).ids[-1])
    (row,) = rows("recommend", "shop.ancf", "--user", user, "--why-not", last, "-n", 3)
    assert row["reason"] == "ranked"
    assert row["place"] == row["n"] == len(model.recommend(user, N=1000).ids)
    denied = rows("recommend", "shop.ancf", "--user", user, "--why-not", last, "--without", last)
    assert [each["reason"] for each in denied] == ["filter_items"]
    two = rows("recommend", "shop.ancf", "--user", user, "--why-not", had, "--why-not", "no such item")
    assert [each["reason"] for each in two] == ["seen", "unknown"]


def test_why_not_of_a_history_is_refused(ancf):
    code, _, err = ancf("recommend", "shop.ancf", "--history", "P001", "--why-not", "P002")
    assert code == 2
    assert "--history has no effect with --why-not" in err


def test_denied_ids_of_the_file_that_the_model_does_not_know_stop_no_job(ancf, model, tmp_path):
    (tmp_path / "ancf.toml").write_text("[rules]\ndeny = ['old one', 'older one']\n")
    asked = ["recommend", "shop.ancf", "--history", str(model.item_ids_.values[0]), "--format", "json"]
    code, without, _ = ancf(*asked)
    assert code == 0
    code, found, said = ancf(*asked, "--config", tmp_path / "ancf.toml")
    assert (code, found) == (0, without)
    assert "deny: the model knows none of its 2 ids" in said
