"""What goes over the wire: problems in words, keys, request ids, the OpenAPI document, metrics, log, the command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ancf
from ancf.cli import run
from ancf.errors import InvalidParameterError
from ancf.serving import openapi
from ancf.serving.keys import read_keys
from ancf.serving.problems import TITLES
from ancf.serving.routes import OPERATIONS
from ancf.serving.settings import Settings

EVENT = {"event_id": "e", "user_id": "u", "item_id": "i"}

MISTAKES = [
    ("GET", "/v1/recommend/u?n=0", None, 422, "query n"),
    ("GET", "/v1/recommend/u?n=1001", None, 422, "query n"),
    ("GET", "/v1/recommend/u?n=ten", None, 422, "query n"),
    ("GET", "/v1/recommend/u?n=1&n=2", None, 422, "query n"),
    ("GET", "/v1/recommend/u?nn=1", None, 422, "query"),
    ("GET", "/v1/recommend/u?exclude_seen=perhaps", None, 422, "query exclude_seen"),
    ("GET", "/v1/recommend/u?category=%FF", None, 400, "query"),
    ("GET", f"/v1/recommend/{'x' * 513}", None, 422, "path user_id"),
    ("GET", "/v1/recommend/a%00b", None, 422, "path user_id"),
    ("GET", "/v1/recommend/u?items=nothing", None, 422, None),
    ("GET", "/v1/similar/nothing", None, 404, None),
    ("GET", "/v1/explain?user_id=u", None, 422, "query"),
    ("GET", "/v1/explain?user_id=u&item_id=nothing", None, 404, None),
    ("POST", "/v1/score", {"user_id": "u", "items": []}, 422, "body items"),
    ("POST", "/v1/score", {"user_id": "u", "items": ["nothing"]}, 404, None),
    ("POST", "/v1/recommend", {"n": 3}, 422, "body"),
    ("POST", "/v1/recommend", {"users": ["u", "v"], "history": ["i"]}, 422, "body users"),
    ("POST", "/v1/recommend", {"users": ["u"], "model": "other"}, 422, None),
    ("GET", "/v1/recommend/u?model=other", None, 422, None),
    ("POST", "/v1/history", {}, 422, "body"),
    ("POST", "/v1/history", {"history": ["nothing"]}, 404, None),
    ("GET", "/v1/items?n=0", None, 422, "query n"),
    ("GET", "/v1/items?category=nothing", None, 422, None),
    ("GET", "/v1/users?offset=-1", None, 422, "query offset"),
    ("POST", "/v1/reload", {"model": "other"}, 422, None),
    ("POST", "/v1/recommend", {"users": ["u"] * 101}, 422, "body users"),
    ("POST", "/v1/recommend", {"history": ["i"], "weights": [1, 2]}, 422, "body weights"),
    ("POST", "/v1/events", {"events": []}, 422, "body events"),
    ("POST", "/v1/events", {"events": [EVENT] * 1001}, 422, "body events"),
    ("POST", "/v1/events", {"events": [{**EVENT, "event": "dance"}]}, 422, "body events[0].event"),
    ("POST", "/v1/events", {"events": [EVENT, {**EVENT, "time": "2999-01-01T00:00:00Z"}]}, 422, "body events[1].time"),
    ("POST", "/v1/events", {"events": [{**EVENT, "time": "yesterday"}]}, 422, "body events[0].time"),
    ("POST", "/v1/events", {"events": [{**EVENT, "quantity": 0}]}, 422, "body events[0].quantity"),
    ("POST", "/v1/events", {"events": [{**EVENT, "user": "u"}]}, 422, "body events[0]"),
    ("POST", "/v1/events", {"events": [{"user_id": "u", "item_id": "i"}]}, 422, "body events[0]"),
    ("POST", "/v1/reload", {"to": "tomorrow"}, 422, "body to"),
    ("POST", "/v1/update", {"model": "other"}, 422, None),
    ("POST", "/v1/reload", {"to": "previous"}, 409, "body to"),
    ("PUT", "/v1/events", None, 405, None),
    ("GET", "/v2/recommend/u", None, 404, None),
    ("GET", "/v1/recommend/", None, 422, "path user_id"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "place"), MISTAKES)
def test_a_mistake_is_a_problem_with_place_and_remedy(shared_server, method, path, body, status, place):
    answer = shared_server.client.request(method, path, json=body)
    said = answer.json()
    assert answer.status_code == said["status"] == status, said
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["title"] == TITLES[status]
    assert said["place"] == place, said
    assert said["detail"]
    assert said["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"events": [{"event_id": "\xff"}]}', "application/json", 400),
        (b"[" * 100_000, "application/json", 422),
        (b"", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b" " * (1 << 20), "application/json; charset=utf-8", 400),
        (b" " * ((1 << 20) + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_no_json_or_too_long_is_refused(shared_server, content, kind, status):
    answer = shared_server.client.post("/v1/events", content=content, headers={"Content-Type": kind})
    assert answer.status_code == answer.json()["status"] == status


def test_nothing_of_a_request_that_is_refused_is_kept(shared_server, model):
    item = str(model.item_ids_[0])
    events = [{"event_id": "half-1", "user_id": "half", "item_id": item}, {**EVENT, "event": "dance"}]
    assert shared_server.client.post("/v1/events", json={"events": events}).status_code == 422
    assert shared_server.list_of("half")["items"][0]["source"] == "popular"


def test_the_limits_themselves_are_within_the_limits(shared_server):
    assert len(shared_server.ids("x" * 512, n=1000)) == 80
    answer = shared_server.client.post("/v1/recommend", json={"users": ["u"] * 100, "n": 1})
    assert len(answer.json()["lists"]) == 100
    events = [{**EVENT, "event_id": f"many-{n}", "user_id": "many"} for n in range(1000)]
    assert shared_server.events(*events)["accepted"] == 1000


def test_a_request_id_is_the_clients_or_one_of_our_own(shared_server):
    given = shared_server.client.get("/v1/popular", headers={"X-Request-ID": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    strange = shared_server.client.get("/v1/popular", headers={"X-Request-ID": "<script>"})
    other = shared_server.client.get("/v1/popular")
    assert len({strange.headers["x-request-id"], other.headers["x-request-id"], "<script>"}) == 3


def test_ids_may_hold_what_a_url_may_not(shared_server, model):
    item = str(model.item_ids_[0])
    for at, user in enumerate(("a/b", "ü?&=#", "a b", "%41", "recommend")):
        from urllib.parse import quote

        shared_server.events({"event_id": f"strange-{at}", "user_id": user, "item_id": item})
        assert shared_server.list_of(quote(user, safe=""))["items"][0]["source"] == "history", user


# ---- keys


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(
        '[shop]\nkey = "0123456789abcdef-shop"\nscopes = ["read", "events"]\n'
        '[admin]\nkey = "0123456789abcdef-admin"\nscopes = ["admin"]\n'
    )
    return path


def test_a_key_opens_what_its_scopes_name(serve, keys):
    server = serve("--api-key-file", keys)
    shop, admin = ({"Authorization": f"Bearer 0123456789abcdef-{name}"} for name in ("shop", "admin"))
    others = ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic 0123456789abcdef-shop"})
    for each in OPERATIONS:
        path = each.path.replace("{user_id}", "u").replace("{item_id}", "i")

        def status(headers, method=each.method, path=path):
            answer = server.client.request(method, path, headers=headers, json={} if method == "POST" else None)
            return answer.status_code

        if each.scope is None:
            assert status({}) == 200
            continue
        assert {status(headers) for headers in others} == {401}, path
        assert (status(shop) == 403) is (each.scope == "admin"), path
        assert (status(admin) == 403) is (each.scope != "admin"), path
    assert server.client.get("/docs").status_code == server.client.get("/openapi.json").status_code == 200
    refused = server.client.get("/v1/popular")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert not [line for line in server.log if "0123456789abcdef" in json.dumps(line)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no key"),
        ("key = 1", r"\[key\] must have key and scopes"),
        ('[a]\nkey = "short"\nscopes = ["read"]', "at least 16"),
        ('[a]\nkey = "0123456789abcdef"\nscopes = ["write"]', "read, events, admin"),
        ('[a]\nkey = "0123456789abcdef"\nscopes = []', "scopes"),
        (
            '[a]\nkey = "0123456789abcdef"\nscopes = ["read"]\n[b]\nkey = "0123456789abcdef"\nscopes = ["read"]',
            "key of another",
        ),
        ("[", "TOML"),
    ],
)
def test_a_file_of_keys_that_says_something_else_is_refused(tmp_path, text, complaint):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(InvalidParameterError, match=complaint):
        read_keys(str(path))
    with pytest.raises(InvalidParameterError, match="missing"):
        read_keys(str(tmp_path / "missing.toml"))


# ---- the document


def test_every_route_is_documented_and_every_reference_leads_somewhere(shared_server):
    document = shared_server.client.get("/openapi.json").json()
    assert document == json.loads(json.dumps(openapi.document()))
    routes = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert routes == {(each.path, each.method) for each in OPERATIONS}
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    parameters = {each["name"] for each in document["paths"]["/v1/recommend/{user_id}"]["get"]["parameters"]}
    options = {"n", "exclude_seen", "category", "items", "exclude", "explain", "on_unknown", "model"}
    options |= {"diversity", "diversity_by", "now"}
    assert parameters == {"user_id"} | options


def test_the_page_needs_nothing_from_elsewhere(shared_server):
    page = shared_server.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/recommend/{user_id}" in page.text
    assert not re.findall(r"https?://|src=|<script|@import|url\(", page.text)


@pytest.mark.timeout(300)
def test_schemathesis_finds_no_failure_of_the_server(serve):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed (make test-serve installs it)")
    server = serve()
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", checks),
            *("--max-examples", "15", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color"),
        ],
        capture_output=True,
        text=True,
    )
    defects = [line for line in server.log if line["event"] == "defect"]
    assert done.returncode == 0, f"{defects}\n{done.stdout[:3000]}{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert not defects
    assert server.client.get("/health/ready").status_code == 200


# ---- numbers, log, command


def test_metrics_count_requests_lists_and_events_of_all_workers(serve, model):
    server = serve("--workers", 2)
    for _ in range(12):
        server.client.get("/v1/recommend/nobody", headers={"Connection": "close"})
        server.client.get("/v1/recommend/nobody?n=0", headers={"Connection": "close"})
    server.events({"event_id": "1", "user_id": "u", "item_id": str(model.item_ids_[0])})
    text = server.client.get("/metrics").text

    def value(name):
        [found] = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found)

    route = 'route="GET /v1/recommend/{user_id}"'
    assert value(f'ancf_requests_total{{{route},status="200"}}') == 12
    assert value(f'ancf_requests_total{{{route},status="422"}}') == 12
    assert value(f"ancf_request_seconds_count{{{route}}}") == 24
    assert value('ancf_lists_total{source="popular",variant="main"}') == 12
    assert value('ancf_events_total{outcome="accepted"}') == 1
    assert value('ancf_model_learned_until_timestamp_seconds{variant="main"}') > 1.7e9
    assert text.count("ancf_resident_bytes{pid=") == 2


def test_the_dashboard_asks_for_numbers_that_there_are(shared_server, request):
    dashboard = json.loads((request.config.rootpath / "docs/grafana.json").read_text())
    asked = {name for each in dashboard["panels"] for name in re.findall(r"\bancf_\w+", json.dumps(each["targets"]))}
    shared_server.events({"event_id": "dashboard", "user_id": "u", "item_id": "i"})
    known = set(re.findall(r"^# TYPE (ancf_\w+) ", shared_server.client.get("/metrics").text, re.MULTILINE))
    known |= {f"{name}_bucket" for name in known}
    assert len(asked) >= 10
    assert asked <= known | {"ancf_reloads_total"}


def test_the_log_is_json_without_ids_of_people(serve, model):
    server = serve("--access-log")
    server.client.get("/v1/recommend/Somebody")
    server.client.get("/v1/recommend/Somebody?n=x", headers={"X-Request-ID": "r-7"})
    server.events({"event_id": "1", "user_id": "Somebody", "item_id": str(model.item_ids_[0])})
    server.client.delete("/v1/users/Somebody")
    assert server.end() == 0
    lines = [line for line in server.log if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("GET /v1/recommend/{user_id}", 200),
        ("GET /v1/recommend/{user_id}", 422),
        ("POST /v1/events", 200),
        ("DELETE /v1/users/{user_id}", 200),
    ]
    assert lines[1]["request_id"] == "r-7"
    assert "Somebody" not in json.dumps(server.log)
    assert [line["event"] for line in server.log][-1] == "ended"


def test_types_of_events_and_their_weights_are_the_operators(serve, model):
    items = [str(each) for each in model.item_ids_[:3]]
    server = serve("--event-weight", "view=0", "--event-weight", "cart=0.5")
    said = server.client.get("/v1/model").json()
    assert said["event_weights"] == {
        "purchase": 1.0,
        "return": -1.0,
        "view": 0.0,
        "cart": 0.5,
        "remove_from_cart": 0.0,
    }
    server.events({**EVENT, "event": "view", "item_id": items[0]})
    assert server.list_of("u")["items"][0]["source"] == "popular"
    server.events({**EVENT, "event_id": "f", "event": "cart", "item_id": items[0]})
    assert server.list_of("u")["items"][0]["source"] == "history"


@pytest.mark.parametrize("weights", [{"purchase": -1.0}, {"return": 1.0}, {"view": float("nan")}, {"purchase": 0.0}])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(InvalidParameterError, match="event_weights"):
        Settings("m", "sqlite:///j", event_weights=weights)


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["missing.ancf"], 5, "no such model file"),
        (["-"], 2, "a model file that stays"),
        (["shop.ancf", "--event-weight", "view"], 2, "--event-weight view"),
        (["shop.ancf", "--event-weight", "return=1"], 2, "return weighs 1"),
        (["shop.ancf", "--journal", "mysql://x"], 2, "--journal mysql://x"),
        (["shop.ancf", "--journal", "sqlite:///no/such/folder/j.db"], 1, "no/such/folder"),
        (["shop.ancf", "--api-key-file", "missing.toml"], 2, "--api-key-file missing.toml"),
        (["shop.ancf", "--rules", "missing.toml"], 2, "--rules missing.toml: there is no such file"),
        (["shop.ancf", "--stock", "."], 2, "--stock .: is a folder"),
        (["shop.ancf", "--also", "new=missing.ancf"], 5, "--also new=missing.ancf: there is no such model file"),
        (["shop.ancf", "--share", "new=0.1"], 2, "--share new: no --also gives a model of that name"),
        (["shop.ancf", "--journal", "sqlite:///text.ancf"], 1, "Check that it is a journal"),
        (["shop.ancf", "--host", "256.1.1.1"], 2, "--host 256.1.1.1"),
        (["text.ancf"], 5, "text.ancf"),
    ],
)
def test_a_server_that_cannot_start_says_why(model_file, monkeypatch, capsys, options, code, complaint):
    monkeypatch.chdir(model_file.parent)
    (model_file.parent / "text.ancf").write_text("no model")
    port = [] if options[0] == "-" else ["--port", "0"]
    assert run(["serve", *options, *port]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_named(shared_server, model_file, capsys):
    port = shared_server.url.rpartition(":")[2]
    assert run(["serve", str(model_file), "--port", port]) == 2
    assert f"--port {port}: Address already in use" in capsys.readouterr().err


def test_without_the_extra_the_command_names_it(model_file):
    blocked = "import sys; sys.modules['uvicorn'] = sys.modules['uvloop'] = None; from ancf.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked, "serve", str(model_file)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'ancf[serve]'" in done.stderr
    assert "uvicorn, uvloop" in done.stderr


def test_the_package_is_imported_without_anything_of_the_extra():
    code = (
        "import sys, ancf, ancf.cli.app; print(sorted({'uvicorn', 'starlette', 'msgspec', 'httpx'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    assert ancf.__version__


def test_a_worker_does_not_load_what_it_has_no_use_for(serve):
    pytest.importorskip("pyarrow")
    for options in ((), ("--workers", 2)):
        server = serve(*options)
        [pid, *_] = [line["pid"] for line in server.log if line["event"] == "serving" and "workers" not in line]
        server.list_of("nobody", exclude="one")
        assert "libarrow" not in Path(f"/proc/{pid}/maps").read_text()
