"""The page at ``/`` in a real browser: clicked through, measured, and looked at by axe-core."""

import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

import ancf
from ancf.cli import run
from ancf.demo_shop import write_csv
from ancf.serving.playground import page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (ancf[test-serve])")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PHONE, DESK = (390, 844), (1280, 900)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def shop(purchases, start_server, tmp_path_factory):
    """Three models side by side, as ``ancf playground`` serves them."""
    folder = tmp_path_factory.mktemp("playground")
    models = {
        "main": ancf.ANCF(factors=8, epochs=2, random_state=1),
        "item-kNN": ancf.ItemKNN(),
        "popular": ancf.Popular(),
    }
    for name, model in models.items():
        model.fit(purchases).save(folder / f"{name}.ancf")
    server = start_server(
        folder / "main.ancf",
        *("--also", f"item-kNN={folder / 'item-kNN.ancf'}", "--also", f"popular={folder / 'popular.ancf'}"),
    )
    yield server
    assert server.end() == 0
    server.process.stderr.close()
    server.client.close()


class Browser:
    """Chromium with the page open."""

    def __init__(self, driver, url):
        self.driver, self.url = driver, url

    def show(self, size=DESK, dark=False):
        """The page anew, as wide as a screen, in light or dark."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # Nothing is caught in the middle of a fade.
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        self.driver.get(self.url)
        self.wait(lambda: self.run("document.body.dataset.ready") == "yes")

    def run(self, script):
        return self.driver.execute_script(f"return {script}")

    def wait(self, condition):
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: condition())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def answered(self, act):
        """Do something, and wait until the list after it is there."""
        before = int(self.run("document.body.dataset.answers || 0"))
        act()
        self.wait(lambda: int(self.run("document.body.dataset.answers || 0")) > before)

    def names(self, selector="#list .text"):
        return [each.get_attribute("textContent") for each in self.all(selector)]

    def sold_out(self):
        """The products of the shop that cannot be put into the basket."""
        return [each.get_attribute("data-name") for each in self.all("#products .add:disabled")]

    def click(self, selector):
        """A click where the element is, wherever the page is scrolled to."""
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def widths(self):
        return self.run("document.documentElement.scrollWidth")


@pytest.fixture(scope="module")
def driver():
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium is not installed here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for each in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, shop):
    yield Browser(driver, f"{shop.url}/")
    # Whatever a test did: nothing failed in the page.
    assert driver.get_log("browser") == []


def test_a_click_puts_a_product_into_the_basket_and_changes_the_list(browser):
    browser.show()
    before, product = browser.names(), browser.find("#products .text").text
    assert browser.find("#recommended-title").text == "Popular in this shop"
    browser.answered(lambda: browser.click("#products .add"))
    assert browser.names() != before
    assert browser.names("#lines .text") == [product]
    assert product not in browser.names()
    assert browser.find("#recommended-title").text == "Recommended for you"
    assert f"Goes with {product} in your basket" in browser.find("#list").text
    browser.answered(lambda: browser.click("#lines .remove"))
    assert browser.names() == before


def test_the_lists_of_the_page_are_those_of_the_routes(browser, shop):
    browser.show()
    browser.answered(lambda: browser.click("#products .add"))
    item = browser.find("#lines .remove").get_attribute("data-item")
    answer = shop.client.post("/v1/recommend", json={"history": [item], "n": 8, "model": "main"}).json()
    assert browser.names() == [each["name"] for each in answer["lists"][0]["items"]]


def test_the_models_give_different_lists_and_only_attention_has_bars(browser):
    browser.show()
    browser.answered(lambda: browser.click("#products .add"))
    lists, bars = {}, {}
    for name in ("item-kNN", "popular", "main"):
        browser.answered(lambda name=name: browser.click(f"#models input[value='{name}']"))
        lists[name], bars[name] = browser.names(), len(browser.all("#weights .bar"))
    assert len({tuple(each) for each in lists.values()}) == 3
    assert bars == {"item-kNN": 0, "popular": 0, "main": 1}


def test_another_customer_has_a_list_with_reasons_and_a_history_with_attention(browser):
    browser.show()
    browser.answered(lambda: browser.click("#another"))
    customer = browser.find("#customer").get_attribute("value")
    assert browser.find("#recommended-title").text == f"Recommended for {customer}"
    assert "Because you bought" in browser.find("#list").text
    numbers = [float(each.text.removesuffix(" %")) for each in browser.all("#weights .number")]
    assert numbers == sorted(numbers, reverse=True)
    assert 0 < sum(numbers) < 100.5
    browser.answered(lambda: browser.click("#visitor"))
    assert browser.find("#recommended-title").text == "Popular in this shop"


def test_what_is_bought_counts_at_once_and_is_forgotten_on_request(browser):
    browser.show()
    browser.answered(lambda: browser.click("#products .add"))
    product = browser.names("#lines .text")[0]
    browser.answered(lambda: browser.click("#buy"))
    assert browser.find("#bought").text.startswith("Bought: 1 product by visitor-")
    assert f"Because you bought {product}" in browser.find("#list").text
    assert browser.names("#weights .name") == [product]
    browser.answered(lambda: browser.click("#forget"))
    assert browser.find("#bought").text.startswith("Forgotten: 1 event of visitor-")
    assert browser.find("#recommended-title").text == "Popular in this shop"


def test_every_rule_changes_the_list(browser):
    browser.show()
    browser.answered(lambda: browser.click("#another"))
    assert len(browser.names()) == 8
    browser.answered(lambda: browser.find("#length").send_keys(Keys.ARROW_RIGHT))
    assert len(browser.names()) == 12
    before = browser.names()
    browser.answered(lambda: browser.click("#seen"))
    assert browser.names() != before
    before, categories = browser.names(), [each.text for each in browser.all("#list .foot span")]
    browser.answered(lambda: browser.find("#diversity").send_keys(Keys.END))
    assert browser.names() != before
    assert len({each.text for each in browser.all("#list .foot span")}) > len(set(categories))
    browser.answered(lambda: browser.find("#diversity").send_keys(Keys.HOME))
    assert browser.names() == before
    browser.answered(lambda: browser.find("#most").send_keys(Keys.HOME))
    capped = [each.text for each in browser.all("#list .foot span")]
    assert len(set(capped)) == len(capped)
    browser.answered(lambda: browser.find("#most").send_keys(Keys.END))
    assert browser.names() == before
    category = browser.all("#only option")[1].get_attribute("value")
    browser.answered(lambda: browser.click("#only option:nth-child(2)"))
    assert {each.text for each in browser.all("#list .foot span")} == {category}


def test_what_is_sold_out_is_not_listed_until_it_is_back(browser):
    browser.show()
    before = browser.names()
    browser.click("#list .text")
    browser.wait(lambda: browser.all("#detail .strip li"))
    browser.answered(lambda: browser.click("#detail .sold-out"))
    assert browser.find("#detail .sold-out").text == "Back in stock"
    assert browser.find("#detail .add").text == "Sold out"
    assert not browser.find("#detail .add").is_enabled()
    browser.find("#detail").send_keys(Keys.ESCAPE)
    assert before[0] not in browser.names()
    assert browser.names("#sold .text") == [before[0]]
    browser.answered(lambda: browser.click("#sold .remove"))
    assert browser.names() == before


def test_the_stock_slider_takes_products_out_of_the_list_and_gives_them_back(browser):
    browser.show()
    browser.answered(lambda: browser.find("#length").send_keys(Keys.END))
    before = browser.names()
    kept = {}
    for share, key in (("95", Keys.ARROW_LEFT), ("5", Keys.HOME)):
        browser.answered(lambda key=key: browser.find("#stock").send_keys(key))
        assert browser.find("#stock").get_attribute("value") == share
        shown = browser.find("#stock-shown").text
        kept[share] = int(shown.removesuffix(" of 80"))
        listed, out = browser.names(), browser.sold_out()
        assert out
        assert not {*listed} & {*out}
        # What is left keeps its order: nothing but the stock has changed.
        assert [each for each in before if each in listed] == [each for each in listed if each in before]
    assert 0 < kept["5"] < kept["95"] < 80
    assert len(browser.names()) == min(24, kept["5"])
    assert browser.names() != before
    browser.click("#list .text")
    browser.wait(lambda: browser.all("#detail .two section"))
    assert not {*browser.names("#detail .strip .text")} & {*browser.sold_out()}
    browser.find("#detail").send_keys(Keys.ESCAPE)
    browser.answered(lambda: browser.find("#stock").send_keys(Keys.END))
    assert browser.find("#stock-shown").text == "everything"
    assert browser.names() == before
    assert browser.sold_out() == []


def test_a_product_has_its_reasons_and_similar_ones_and_escape_closes_it(browser, shop):
    browser.show()
    browser.answered(lambda: browser.click("#another"))
    name = browser.find("#list .text").text
    browser.click("#list .text")
    browser.wait(lambda: browser.all("#detail .strip li"))
    assert browser.find("#detail-title").text == name
    assert browser.all("#detail .bars .bar")
    similar, together = (
        [each.get_attribute("textContent") for each in part.find_elements(By.CSS_SELECTOR, ".text")]
        for part in browser.all("#detail .two section")
    )
    assert len(similar) == 4
    assert 1 <= len(together) <= 4
    [item] = {each["item_id"] for each in shop.client.get("/v1/popular?n=1000").json()["items"] if each["name"] == name}
    for shown, path in ((similar, f"/v1/similar/{item}?n=4"), (together, f"/v1/bought-together?item_id={item}&n=4")):
        assert shown == [each["name"] for each in shop.client.get(path).json()["items"]]
    assert name not in [*similar, *together]
    browser.find("#detail").send_keys(Keys.ESCAPE)
    assert browser.run("document.getElementById('detail').open") is False
    assert browser.driver.switch_to.active_element.text == name


def test_the_shop_is_searched_and_walked_by_category(browser):
    browser.show()
    everything = browser.find("#found").text
    browser.find("#search").send_keys("mug red")
    browser.wait(lambda: browser.find("#found").text != everything)
    assert all("Mug" in name and "Red" in name for name in browser.names("#products .text"))
    browser.show()
    browser.click("#categories label:nth-child(2) input")
    browser.wait(lambda: browser.find("#found").text != everything)
    browser.show()
    before = len(browser.names("#products .text"))
    browser.click("#more")
    browser.wait(lambda: len(browser.names("#products .text")) > before)


def test_the_keyboard_alone_is_enough(browser):
    browser.show()
    body = browser.find("body")
    body.send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to the recommendations"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.TAB)
    focused = browser.driver.switch_to.active_element
    assert focused.get_attribute("class") == "add"
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.answered(lambda: focused.send_keys(Keys.SPACE))
    assert len(browser.names("#lines .text")) == 1
    # The button went with its product; the focus stays in the list.
    assert browser.run("document.activeElement.closest('#list, #recommended') !== null")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_overflows_and_axe_finds_nothing_wrong(browser, size, dark):
    axe = find_spec("axe_selenium_python")
    if axe is None:
        pytest.skip("axe-selenium-python is not installed (ancf[test-serve])")
    rules = Path(axe.origin).parent / "node_modules/axe-core/axe.min.js"
    browser.show(size, dark)
    browser.answered(lambda: browser.click("#another"))
    browser.answered(lambda: browser.click("#list .add"))
    assert browser.widths() <= size[0]
    for state in ("the page", "a product"):
        if state == "a product":
            browser.driver.execute_script("document.querySelector('#list .text').click()")
            browser.wait(lambda: browser.all("#detail .strip li"))
            assert browser.widths() <= size[0]
        browser.driver.execute_script(rules.read_text())
        found = browser.driver.execute_async_script("axe.run(document).then(arguments[0])")
        wrong = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["violations"]]
        assert not wrong, (state, wrong)
        assert len(found["passes"]) > 20


def test_what_can_be_touched_on_a_phone_is_large_enough(browser):
    browser.show(PHONE)
    browser.answered(lambda: browser.click("#list .add"))
    small = browser.run(
        "[...document.querySelectorAll('button:not(.text), .field, .pills label, .chips label')]"
        ".filter((each) => each.offsetParent && each.getBoundingClientRect().height < 40).map((each) => each.outerHTML)"
    )
    assert small == []


def test_a_server_that_has_gone_is_told_of_in_words(browser):
    browser.show()
    browser.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        browser.click("#products .add")
        browser.wait(lambda: browser.find("#trouble").is_displayed())
        assert "does not answer" in browser.find("#trouble").text
    finally:
        back = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", back)
    browser.answered(lambda: browser.click("#lines .remove"))
    assert not browser.find("#trouble").is_displayed()
    # The browser itself notes requests that did not get through.
    assert all("ERR_INTERNET_DISCONNECTED" in each["message"] for each in browser.driver.get_log("browser"))


def test_the_page_is_one_file_that_fetches_nothing_from_elsewhere(shop):
    content, policy = page()
    answer = shop.client.get("/")
    assert answer.content == content
    assert answer.headers["content-security-policy"] == policy
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = content.decode()
    # One name that is no address: the kind of a drawing.
    assert text.count("://") == text.count("http://www.w3.org/") == 1
    assert " src=" not in text
    assert len(content) < 60_000


# ---- the command


def test_the_command_serves_a_shop_of_a_table_and_leaves_nothing_behind(tmp_path):
    table = tmp_path / "purchases.csv"
    write_csv(table, customers=100, products=48)
    command = [*(sys.executable, "-W", "error", "-m", "ancf", "playground", str(table)), "--epochs", "1"]
    process = subprocess.Popen(
        [*command, "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    try:
        [url] = re.findall(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert httpx.get(url).text.startswith("<!doctype html>")
        about = httpx.get(f"{url}v1/model").json()
        assert [(each["name"], each["model"]) for each in about["variants"]] == [
            ("attention", "ANCF"),
            ("item-kNN", "ItemKNN"),
            ("popular", "Popular"),
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [each.name for each in tmp_path.iterdir()] == ["purchases.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t.csv", "--customers", "200"], "--customers is for the made-up shop"),
        (["--model", "m.ancf", "--epochs", "3"], "--epochs is for a model that is trained here"),
        (["--user-column", "kunde"], "--user-column is for a table"),
        (["--model", "missing.ancf"], "there is no such model file"),
    ],
)
def test_options_of_the_command_without_effect_are_refused(arguments, said, capsys):
    assert run(["playground", *arguments]) in (2, 5)
    assert said in " ".join(capsys.readouterr().err.split())
