"""Where a fast way stands beside a general one, both give the same bytes."""

import socket

import httptools
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ancf
from ancf import _native
from ancf.serving.counting import Counting
from ancf.serving.journal import FORGET, Entry
from ancf.serving.schema import ItemList, ListOptions
from ancf.serving.served_model import ServedModel

DAY = 86_400
END = 400 * DAY
TYPES = ("purchase", "order", "view", "cart", "return", "dislike", FORGET, "nonsense")


def table(*, timed=True, typed=False, weighted=False, numbers=False):
    """A small shop whose people bought some things twice; the last items nobody bought."""
    rng = np.random.default_rng(5)
    n = 300
    users, items = rng.integers(0, 25, n), rng.integers(0, 20, n)
    kinds = rng.choice(["view", "order"], n) if typed else None
    made = ancf.Interactions.from_ids(
        user=users if numbers else [f"u{each}" for each in users],
        item=items if numbers else [f"i{each}" for each in items],
        weight=np.where(kinds == "order", 10.0, 1.0) if typed else rng.integers(1, 5, n) if weighted else np.ones(n),
        time=rng.integers(0, END, n) if timed else None,
    )
    if typed:
        made.event_weights, made.had = {"order": 10.0, "view": 1.0}, made.weights == 10
    names = np.array([None if at % 5 == 0 else f'"{at}" \\ é\n' for at in range(len(made.item_ids))], object)
    made.item_names = names
    return made


@pytest.fixture(scope="module")
def served():
    attention = {"factors": 4, "epochs": 2, "random_state": 1}
    models = {
        "sets": ancf.ANCF(**attention, half_life=None, repeat_weight=0.0).fit(table()),
        "repeats": ancf.ANCF(**attention, half_life=None, repeat_weight=0.3).fit(table(weighted=True)),
        "fading": ancf.ANCF(**attention, half_life=60, repeat_weight=0.3).fit(table(weighted=True, numbers=True)),
        "no times": ancf.ANCF(**attention, half_life=None).fit(table(timed=False)),
        "types": ancf.ItemKNN(use_weights=True).fit(table(typed=True)),
        "weights": ancf.ItemKNN(use_weights=True).fit(table(weighted=True, timed=False, numbers=True)),
        "others": ancf.ALS(factors=4, epochs=2).fit(table()),
    }
    return {name: ServedModel(model, "1", "main") for name, model in models.items()}


def in_general(model, user_id, entries, options):
    items = model.recommend(user_id, entries, options)
    body = msgspec.json.encode(ItemList(user_id, items, model.variant, model.version, 0.0))
    return body.removesuffix(b"0.0}")


@st.composite
def histories(draw):
    kinds = st.sampled_from(draw(st.sampled_from((TYPES[:1], TYPES[:4], TYPES))))
    event = st.tuples(
        st.integers(0, 22),
        kinds,
        st.sampled_from((1.0, 2.5, 0.1)),
        st.integers(-9 * DAY, 2 * DAY).map(lambda at: END + at),
    )
    found = draw(st.lists(event, max_size=6))
    return [(*each, seq) for seq, each in enumerate(found, 1)]


@settings(deadline=None, max_examples=400)
@given(
    name=st.sampled_from(("sets", "repeats", "fading", "no times", "types", "weights", "others")),
    user=st.integers(0, 27),
    events=histories(),
    n=st.integers(1, 30),
    exclude_seen=st.booleans(),
    seq=st.sampled_from((None, 0, 2)),
)
def test_a_list_of_one_call_has_the_bytes_of_the_general_way(served, name, user, events, n, exclude_seen, seq):
    model = served[name]
    numbers = model.scorer.user_ids.kind == "int"
    user_id = str(user) if numbers else f"u{user}"
    entries = [Entry(str(item) if numbers else f"i{item}", *rest) for item, *rest in events]
    if seq is not None:
        whole = model.counting
        model = ServedModel(model.model, "1", "main", lambda _: Counting(whole.weights, seq, None))
    general = in_general(model, user_id, entries, ListOptions(n=n, exclude_seen=exclude_seen))
    made = model.list_maker.make(user_id, [tuple(each) for each in reversed(entries)], n, exclude_seen)
    if made is not None:
        assert made[1] == general
        assert made[0] == (b'"history"' in general)
    elif b'"popular"' not in general and b'"items":[]' not in general and name != "others":
        assert {each.event for each in entries} & set(TYPES[4:])


def test_scores_and_texts_are_written_as_in_the_general_way():
    texts = ["plain", 'quote " and \\', "\n\t\x00\x1f\x7f", "ü €", "🙂", "</script>", *map(str, range(994))]
    powers = np.float32(10) ** np.arange(-38, 39, dtype=np.float32)
    drawn = np.random.default_rng(3).integers(0, 2**32, 5000, np.uint32).view(np.float32)
    scores = np.concatenate([[0.0], powers, -powers, 3 * powers[:-1], drawn[np.isfinite(drawn)]])[:1000]
    users, items = np.ones((1, 1), np.float32), scores.astype(np.float32)[:, None]
    model = ServedModel(ancf.from_factors(users, items, user_ids=["u"], item_ids=texts), 'v"1', "ü")
    made = model.list_maker.make("u", [], 1000, False)
    assert made[1] == in_general(model, "u", [], ListOptions(n=1000, exclude_seen=False))
    listed = msgspec.json.decode(made[1] + b"0.0}", type=ItemList).items
    assert [each.score for each in listed] == sorted(items[:, 0].tolist(), reverse=True)


def test_a_model_of_a_moment_or_of_a_stock_goes_the_general_way(served):
    from ancf.serving.shop_rules import Shop

    model = served["sets"]
    assert model.list_maker is not None
    assert model.as_of("1970-06-01").list_maker is None
    stocked = model.for_shop(Shop(None, ("i1", "i2")))
    assert stocked.list_maker is None
    assert stocked.for_shop(Shop(ancf.Rules(deny=["i1"]), None)).list_maker is None
    assert stocked.for_shop(Shop()).list_maker is not None


# ---- requests

PARTS = st.sampled_from(
    (
        *("GET ", "POST ", "/v1/recommend/", "u1", "?n=5", "&exclude=i1", "%20", "#", "\x7f", "é", "\x00", " ", "\t"),
        *(
            " HTTP/1.1",
            " HTTP/1.0",
            "\r\n",
            "\n",
            "\r",
            ":",
            ": ",
            "Host",
            "host",
            "a",
            "X-Request-ID",
            "b c",
            "@(",
            '"',
        ),
        *("Connection: keep-alive\r\n", "Connection: close\r\n", "Content-Length: 0\r\n", "Expect: 100-continue\r\n"),
        *("Upgrade: h2c\r\n", "Transfer-Encoding: chunked\r\n", "Cookie: a=1; b=2\r\n", "x_y: 1\r\n", "\r\n\r\n"),
    )
)
LINES = st.lists(st.one_of(st.just("Host: a:80\r\n"), st.lists(PARTS, max_size=4).map("".join)), max_size=4)


class Seen:
    """What a general parser says of some bytes."""

    def __init__(self, data):
        self.url, self.headers, self.n_whole, self.good = b"", [], 0, True
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.good = False

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name.lower(), value))

    def on_message_complete(self):
        self.n_whole += 1
        self.good = self.good and self.parser.should_keep_alive() and not self.parser.should_upgrade()
        self.good = self.good and self.parser.get_method() == b"GET" and self.parser.get_http_version() == "1.1"


@settings(deadline=None, max_examples=2000)
@given(lines=LINES, target=st.lists(PARTS, max_size=3).map("".join), ending=st.lists(PARTS, max_size=1).map("".join))
def test_what_is_read_without_a_parser_is_what_a_parser_reads(lines, target, ending):
    data = f"GET /v1/recommend/u{target} HTTP/1.1\r\n{''.join(lines)}\r\n{ending}".encode()
    found = _native.read_get(data, "/v1/recommend/")
    if found is None:
        return
    user_id, query, headers = found
    seen = Seen(data)
    assert seen.good
    assert seen.n_whole == 1
    path, _, expected = seen.url.partition(b"?")
    assert (f"/v1/recommend/{user_id}".encode(), query) == (path, expected)
    assert headers == dict(seen.headers)


def ask(server, *parts):
    """What comes back for bytes that are sent in these parts, without what differs from answer to answer."""
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        for at, part in enumerate(parts):
            connection.sendall(part)
            if at + 1 < len(parts):
                # Until the server has read it.
                server.client.get("/health/live")
        while b"\r\n\r\n" not in said or len(said.partition(b"\r\n\r\n")[2]) < _length(said):
            said += connection.recv(1 << 16)
    head, _, body = said.partition(b"\r\n\r\n")
    varying = (b"date:", b"content-length:")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(varying)]
    return lines, body.partition(b'"took_ms"')[0]


def _length(said):
    head = said.partition(b"\r\n\r\n")[0].lower()
    return int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])


@pytest.mark.parametrize("query", ["", "?n=3", "?n=0", "?nonsense=1", "?explain=2&n=2", "?on_unknown=raise"])
@pytest.mark.parametrize("known", [True, False])
def test_a_request_in_one_piece_is_answered_as_one_in_two(shared_server, model, query, known):
    user = str(model.user_ids_[3]) if known else "nobody-at-all"
    request = f"GET /v1/recommend/{user}{query} HTTP/1.1\r\nHost: here\r\nX-Request-ID: same\r\n\r\n".encode()
    whole, parted = ask(shared_server, request), ask(shared_server, request[:20], request[20:])
    assert whole == parted
    assert b"x-request-id: same" in whole[0]
    # An escape goes by the routes.
    escaped = ask(shared_server, request.replace(user.encode(), b"%%%x" % ord(user[0]) + user[1:].encode()))
    assert escaped[0][0][:12] == whole[0][0][:12]
    assert (escaped[0][1:], escaped[1]) == (whole[0][1:], whole[1])


def test_requests_in_one_piece_and_in_two_follow_each_other_on_a_connection(shared_server, model):
    user = str(model.user_ids_[3])
    request = f"GET /v1/recommend/{user}?n=2 HTTP/1.1\r\nHost: here\r\nX-Request-ID: same\r\n\r\n".encode()
    both = request + request
    expected = ask(shared_server, request)[0][0]
    with socket.create_connection((shared_server.client.base_url.host, shared_server.client.base_url.port), 10) as each:
        answered = b""
        for part in (request, request[:9], request[9:], both, request):
            each.sendall(part)
            shared_server.client.get("/health/live")
        while answered.count(expected) < 5:
            answered += each.recv(1 << 16)
    assert answered.count(b'"took_ms"') == 5
