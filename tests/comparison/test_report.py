"""The report of a comparison: one page that says everything, shows what comes from outside as text, and can be read."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf.comparison import Comparison
from ancf.comparison import report as report_package
from ancf.comparison.report.customers import customers_of
from ancf.comparison.report.definitions import DEFINITIONS
from ancf.comparison.report.popularity import BOUGHT, popularity_of_lists
from ancf.demo_shop import demo_shop
from ancf.evaluation.metrics import RANKING_METRICS, WHOLE_METRICS

METRICS = ["ndcg@5", "recall@5", "coverage@5"]
NAMES = (
    "</style></title><script>alert(1)</script>",
    "العطر الأحمر " * 9,
    'Family 👩‍👩‍👧 "quoted" & <b>bold</b>',
    "long" * 70,
    "$\\frac{1}{2}$ \x07 売れ筋",
)
COMMAND = "ancf compare 'my <shop>.csv' -o report.html"
VOID = {"meta", "link", "br", "img", "path", "use", "hr", "input"}


class Failing(ancf.Popular):
    """Learns, and then something goes wrong."""

    def fit(self, interactions, validation=None):
        raise RuntimeError("<img src=x onerror=alert(1)> half way")


class Silent(ancf.Popular):
    """Is measured, and then answers no more."""

    def recommend(self, *arguments, **options):
        raise RuntimeError("no <more>")


@pytest.fixture(scope="module")
def split():
    frame = demo_shop(customers=300, products=80)
    odd = [NAMES[sum(map(ord, str(each))) % len(NAMES)] for each in frame["product_id"]]
    return ancf.time_split(ancf.read_interactions(frame.assign(product_name=odd)), (0.8, 0.2))


@pytest.fixture(scope="module")
def result(split):
    models = {
        "Popular": ancf.Popular(),
        "ItemKNN": ancf.ItemKNN(),
        "ANCF": ancf.ANCF(epochs=2),
        "<i>ALS</i> $x^2$": ancf.ALS(epochs=2),
        "failing": Failing(),
    }
    return ancf.compare(models, *split, METRICS, baseline="Popular", num_threads=1)


@pytest.fixture(scope="module")
def page(result):
    return result.to_html(command=COMMAND)


@pytest.fixture(scope="module")
def few():
    """The least that can be compared: no names, no times, no categories."""
    train = ancf.Interactions.from_ids(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "b", "c", "c", "a"])
    return train, ancf.Interactions.from_ids(user=[1, 3], item=["c", "b"])


class Reader(HTMLParser):
    """Elements of a page, with what is wrong with them."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.elements, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [*self.open]))
        if len(dict(attributes)) != len(attributes):
            self.wrong.append(f"<{tag}> has an attribute twice")
        if tag not in VOID or self.is_svg():
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [*self.open]))
        if tag not in VOID and not self.is_svg():
            self.wrong.append(f"<{tag}/> closes itself")

    def handle_endtag(self, tag):
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]}")

    def handle_data(self, data):
        if data.strip():
            self.texts.append((" ".join(data.split()), [*self.open]))

    def is_svg(self):
        return "svg" in self.open

    def all(self, *tags):
        return [(tag, attributes) for tag, attributes, _ in self.elements if tag in tags]

    def text(self):
        """All that a person reads."""
        return " ".join(text for text, inside in self.texts if not {"style", "head"} & set(inside))


# ---- what it says


def test_the_sentence_is_the_first_thing_after_the_heading(page, result):
    shown = [text for text, inside in Reader(page).texts if "body" in inside]
    assert shown[:3] == ["Skip to the results", "Comparison of recommenders", result.sentence]
    assert "failing did not finish" in result.sentence


def test_every_section_is_there_and_the_links_lead_to_them(page):
    reader = Reader(page)
    sections = [attributes["id"] for _, attributes in reader.all("section")]
    assert sections == [
        *("results", "differences", "groups", "popular", "customers", "learning", "data", "repeat", "metrics")
    ]
    links = [attributes["href"] for _, attributes in reader.all("a")]
    assert set(links) == {f"#{each}" for each in sections}


def test_the_table_has_means_intervals_differences_p_balance_and_costs(page, result):
    text = Reader(page).text()
    for name in result:
        low, high = result.interval(name)
        gap = result.to_best_other(name)
        assert f"{result[name]['ndcg@5']:.4f} {low:.4f} to {high:.4f}" in text
        assert f"{gap.value:+.4f} ".replace("-", "−") in text
        assert f"{gap.won} : {gap.lost} {gap.tied} the same" in text
        if name != "Popular":
            assert f"{result.difference(name, 'Popular').value:+.4f}".replace("-", "−") in text
    for column in ("Against the best other", "Against Popular", "p against Popular", "Fit, s", "Lists, s", "File, MB"):
        assert column in text
    assert "Memory, MB" not in text  # nothing is known of it, as all shared this process
    assert "more than luck" in text
    assert "may be luck" in text


def test_a_model_that_failed_has_a_row_that_says_why(page):
    text = Reader(page).text()
    assert "failing failed: RuntimeError: <img src=x onerror=alert(1)> half way" in text


def test_pictures_say_their_numbers_in_words(page, result):
    words = {
        attributes["aria-label"].split(":")[0].split(".")[0]: attributes["aria-label"]
        for _, attributes in Reader(page).all("svg")
    }
    gap = result.difference("ANCF", "Popular")
    low, high = gap.interval
    told = f"ANCF against Popular {gap.value:+.4f} ({low:+.4f} to {high:+.4f})".replace("-", "−")
    assert told in words["Differences in ndcg@5 with their 95 % intervals"]
    assert f"{result['ANCF'].per_user['recall@5'].mean():.4f}"[:3] in words["recall@5 by group of customers"]
    assert "the best-selling tenth" in words["Shares by popularity"]
    losses = result.outcomes["ANCF"].history["training_loss"]
    assert f"training loss from {losses[0]:.4g} to {losses[-1]:.4g}" in words["ANCF over 2 epochs"]


def test_recall_is_shown_by_length_of_history_with_the_number_of_customers(page, result):
    text = Reader(page).text()
    assert "By how many products a customer had bought" in text
    for group in result.to_dict()["slices"]["history_length"]:
        assert f"{group['label']} ({group['users']})" in text
        assert f"{group['means']['ItemKNN']['recall@5']:.4f}" in text


def test_the_account_of_the_data_and_the_split_are_there(page, split):
    text = Reader(page).text()
    report = split[0].report
    assert f"{report.rows_read:,} rows read, {report.rows_used:,} used, {report.rows_left_out:,} left out" in text
    for reason in report.reasons:
        assert f"{reason.rows:,} {reason.text}" in text
    for part in split:
        first, last = (str(np.datetime64(int(each), "s"))[:10] for each in (part.times.min(), part.times.max()))
        assert f"{len(part):,} {part.compact().n_users:,} {part.compact().n_items:,} {first} {last}" in text
    assert "The two parts: by time" in text


def test_leaks_of_the_split_are_told(few):
    train, test = few
    test = test.subset(np.arange(len(test)))
    test.leakage = ("a random split of timed events <trains> on the future",)
    text = Reader(ancf.compare(["popular"], train, test, METRICS).to_html()).text()
    assert "may flatter: a random split of timed events <trains> on the future" in text


def test_what_repeats_it_is_there(page, result, split):
    text = Reader(page).text()
    assert COMMAND in text
    assert f"version of ancf {ancf.__version__}" in text
    assert f"fingerprint of train {split[0].fingerprint()}" in text
    assert "ANCF(epochs=2, num_threads=1)" in text


def test_every_metric_has_its_line(page):
    assert set(DEFINITIONS) == {*RANKING_METRICS, *WHOLE_METRICS}
    text = Reader(page).text()
    for label in METRICS:
        name, _, cut = label.partition("@")
        assert f"{label} {DEFINITIONS[name].format(k=cut)}." in text


# ---- what comes from outside


def test_names_are_text_and_no_markup(page):
    reader = Reader(page)
    assert not reader.all("script", "b", "i", "img", "iframe", "object", "form", "input", "link")
    text = reader.text()
    for name in (NAMES[0], NAMES[2], "$\\frac{1}{2}$ � 売れ筋", "<i>ALS</i> $x^2$"):
        assert name in text
    assert re.search("[\x00-\x08\x0b-\x1f\x7f]", page) is None


def test_the_page_needs_nothing_else(page):
    reader = Reader(page)
    assert not re.search(r"https?:|//|url\((?!#)|@import|xmlns", re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL))
    for tag, attributes in reader.all(*{tag for tag, _, _ in reader.elements}):
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset")], tag
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")


# ---- whether it can be read


def test_the_page_is_well_formed(page, few):
    for each in (page, ancf.compare(["popular"], *few).to_html()):
        reader = Reader(each)
        assert reader.wrong == []
        ids = [attributes["id"] for _, attributes, _ in reader.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        links = [attributes["href"] for _, attributes, _ in reader.elements if "href" in attributes]
        links += [f"#{each}" for each in re.findall(r"url\(#([^)]*)\)", each)]
        assert {link[1:] for link in links} <= set(ids)
        assert each.startswith("<!doctype html>")
        assert reader.all("html") == [("html", {"lang": "en"})]
        assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in reader.all("meta")


def test_headings_are_in_order_and_tables_and_pictures_have_words(page):
    reader = Reader(page)
    levels = [int(tag[1]) for tag, _ in reader.all("h1", "h2", "h3", "h4", "h5")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(
        attributes.get("role") == "img" and len(attributes["aria-label"]) > 20 for _, attributes in reader.all("svg")
    )
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert all(attributes.get("scope") in ("col", "row") for _, attributes in reader.all("th"))
    scrolled = [attributes for _, attributes in reader.all("div") if attributes.get("class") == "scroll"]
    assert all(each["tabindex"] == "0" and each["role"] == "region" and each["aria-label"] for each in scrolled)


def luminance(color):
    """Of WCAG 2.2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_texts_and_lines_have_contrast_in_light_in_dark_and_on_paper():
    style = (Path(report_package.__file__).parent / "page.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", each)) for each in re.findall(r":root \{.*?\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3
    assert len({tuple(sorted(each)) for each in schemes}) == 1
    for scheme in schemes:
        pairs = [(name, "paper") for name in scheme if name not in ("paper", "rule", "soft")]
        assert len(pairs) == 8
        for text, ground in [*pairs, ("ink", "soft")]:
            light, dark = sorted((luminance(scheme[text]), luminance(scheme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, scheme)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="looks at the page in a browser")
def test_nothing_is_wider_than_a_phone(page, tmp_path):
    script = """<script>
    const w = document.documentElement.clientWidth, wide = [];
    for (const e of document.querySelectorAll('body *')) {
      const box = e.closest('.scroll, pre, svg'), r = e.getBoundingClientRect();
      if (!e.closest('.skip') && (!box || box === e) && (r.right > w + 0.5 || r.left < -0.5)) wide.push(e.tagName);
    }
    parent.postMessage(`${w} ${document.documentElement.scrollWidth} [${wide}]`, '*')</script>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", script + "</body>"))
    # A window of its own has no less than 500 pixels.
    (tmp_path / "phone.html").write_text(
        '<p id="found"></p><script>onmessage = e => found.textContent = e.data</script>'
        '<iframe src="page.html" width="390" height="800" style="border: 0"></iframe>'
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *options, f"file://{tmp_path / 'phone.html'}"], capture_output=True, text=True, timeout=110
    )
    assert '<p id="found">390 390 []</p>' in done.stdout


# ---- the same bytes


def test_the_same_comparison_gives_the_same_bytes_apart_from_the_time(result, page):
    again = result.to_html(command=COMMAND)
    assert re.sub("<time>.*</time>", "", again) == re.sub("<time>.*</time>", "", page)


# ---- what is missing


def test_one_model_without_names_times_or_others_has_a_page(few):
    text = Reader(ancf.compare(["popular"], *few, METRICS).to_html()).text()
    assert "there is nothing else to hold it against" in text
    assert "Against the best other" not in text
    assert "– –" in text  # no days


def test_without_models_the_page_has_figures_and_no_customers(result, split):
    gone = {name: each.__class__(**{**vars(each), "model": None}) for name, each in result.outcomes.items()}
    page = Comparison(gone, METRICS, about=result.to_dict()["about"], tables=split).to_html()
    reader = Reader(page)
    assert reader.wrong == []
    sections = {attributes["id"] for _, attributes in reader.all("section")}
    assert "popular" in sections
    assert "customers" not in sections


def test_lists_made_elsewhere_stand_in_the_popularity_curve_like_those_of_a_model(split):
    train, test = split
    theirs = ancf.ItemKNN().fit(train).recommend_all(N=5).to_pandas()[["user_id", "item_id", "rank"]]
    found = ancf.compare({"theirs": theirs, "ours": ancf.ItemKNN()}, train, test, METRICS)
    labels = [attributes["aria-label"] for _, attributes in Reader(found.to_html()).all("svg")]
    [words] = [each for each in labels if each.startswith("Shares by popularity")]
    said = dict(re.findall(r"(theirs|ours): ([^;]*)[;.]", words))
    assert said["theirs"].rstrip(".") == said["ours"].rstrip(".")


def test_the_popularity_of_lists_among_candidates_says_so(split):
    found = ancf.compare(["popular", "item-knn"], *split, METRICS, candidates="sampled", n_negatives=20)
    assert "The lists choose among 20 sampled candidates of each customer." in Reader(found.to_html()).text()


def test_a_model_that_answers_no_more_does_not_cost_the_page(split):
    page = ancf.compare({"silent": Silent(), "knn": ancf.ItemKNN()}, *split, METRICS).to_html()
    reader = Reader(page)
    assert reader.wrong == []
    assert {"popular", "customers"} <= {attributes["id"] for _, attributes in reader.all("section")}


def test_errors_have_a_page_with_their_intervals(split):
    page = ancf.compare([ancf.SVD(epochs=2), ancf.SVD(epochs=3)], *split, ["rmse", "mae"]).to_html()
    reader = Reader(page)
    assert reader.wrong == []
    assert "below it its 95 % interval" in reader.text()
    assert "lower is better" in reader.text()
    assert "← better worse →" in reader.text()


def test_nobody_is_called_the_best_by_a_metric_that_describes(split):
    text = Reader(ancf.compare([ancf.Popular(), ancf.ItemKNN()], *split, ["novelty@5", "coverage@5"]).to_html()).text()
    assert "← less more →" in text
    assert "above : below" in text
    assert not re.search(r"(Popular|ItemKNN) best", text)


def test_pieces_are_held_against_the_one_they_are_added_to(result):
    over = {"Popular": None, "ItemKNN": "Popular", "ANCF": "ItemKNN"}
    outcomes = {name: result.outcomes[name] for name in over}
    text = Reader(Comparison(outcomes, METRICS, over=over, about=result.to_dict()["about"]).to_html()).text()
    assert "What each piece adds" in text
    assert "Against the piece before" in text


def test_a_missing_extra_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ancf.MissingExtraError, match=r"needs jinja2. Run: pip install 'ancf\[report\]'"):
        result.to_html()


def test_the_file_is_the_page(result, page, tmp_path):
    assert result.to_html(tmp_path / "report.html", command=COMMAND) is None
    written = (tmp_path / "report.html").read_bytes().decode()
    assert re.sub("<time>.*</time>", "", written) == re.sub("<time>.*</time>", "", page)


# ---- what the lists are like


def test_shares_by_popularity_are_those_counted_by_hand():
    # a has three buyers, b two, c and d one; new is in no training.
    train = ancf.Interactions.from_ids(user=[1, 2, 3, 1, 2, 3, 4], item=["a", "a", "a", "b", "b", "c", "d"])
    # 3 buys a again, and nobody knows 9.
    test = ancf.Interactions.from_ids(user=[1, 3, 3, 3, 4, 9], item=["c", "a", "b", "new", "a", "a"])
    users = np.array([1, 3, 4])
    listed = ancf.evaluate(ancf.Popular().fit(train), test, "hit@1").listed_items(1)
    lists = {"popular": listed, "theirs": np.array(["a", "nobody's"], object)}
    found = popularity_of_lists(lists, train, test, users, new_only=True)
    # Bought: c, b, new, a. The first places: c for 1, b for 3, a for 4.
    assert found.cumulative[BOUGHT].tolist() == [0.25, 0.5, 0.75, 0.75]
    assert found.new_share == 0.25
    assert np.allclose(found.cumulative["popular"], [1 / 3, 2 / 3, 1, 1])
    assert found.cumulative["theirs"].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert (found.n_items, found.n_different) == (4, {BOUGHT: 3, "popular": 3, "theirs": 1})


def test_customers_are_chosen_by_the_length_of_their_history_and_shares_add_up(result, split):
    users = result["ANCF"].user_ids
    found = customers_of(result.models["ANCF"], split[1], users, new_only=True)
    lengths = dict(
        zip(users.tolist(), np.diff(split[0].to_csr().indptr)[split[0].user_ids.positions(users)], strict=True)
    )
    assert [each.kind for each in found] == ["short", "middle", "long"]
    assert [each.n_items for each in found] == sorted(lengths[each.user_id] for each in found)
    for each in found:
        assert sum(one.share for one in each.counted) + each.share_more + each.share_base == pytest.approx(1)
        assert len(each.listed) == 5
    assert sum(one.attention for one in found[0].counted) <= 1 + 1e-6


def test_attention_is_the_same_for_every_purchase_or_less_for_what_many_buy(split):
    train, test = split
    users = train.compact().user_ids.values
    for each in customers_of(
        ancf.ANCF(epochs=1, attention="mean", half_life=None).fit(train), test, users, new_only=True
    ):
        assert {round(one.attention, 6) for one in each.counted} == {round(1 / each.n_items, 6)}
    data = ancf.Interactions.from_ids(user=[1, 1, 2, 3, 4, 4], item=["a", "b", "a", "a", "a", "c"])
    scorer = ancf.ANCF(epochs=1, factors=4).fit(data)._fitted()
    # Four users have a, one has b: 4^-½ to 1^-½.
    assert scorer.encoder.attention_weights(scorer, scorer.history_of(0), 0).tolist() == [0.5, 1.0]


def test_a_model_without_reasons_has_no_customers(result, split):
    assert customers_of(result.models["Popular"], split[1], result["Popular"].user_ids, new_only=True) == []
