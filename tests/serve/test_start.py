"""What a server does before its first answer, and what it does without."""

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

import ancf
from ancf.serving.model_reading import read_model, version_of
from ancf.serving.service import Service
from ancf.serving.settings import Settings

# The server runs in the main thread; another one asks it all that follows, and says what was loaded.
ASKS_EVERYTHING = """
import json, os, signal, sys, threading, urllib.request
from ancf.serving.server import run
from ancf.serving.settings import Settings

model, journal, questions = json.load(sys.stdin)
said = {}

def ask(url):
    for path, body in questions:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
        try:
            said[path] = urllib.request.urlopen(request, timeout=30).status
        except Exception as error:
            said[path] = str(error)
    said["loaded"] = [name for name in ("pandas", "pyarrow") if sys.modules.get(name) is not None]
    os.kill(os.getpid(), signal.SIGTERM)

run(Settings(model=model, journal=journal, port=0), lambda url: threading.Thread(target=ask, args=(url,)).start())
print(json.dumps(said))
"""


def test_a_worker_answers_every_route_without_pandas(model, model_file, tmp_path):
    items = model.item_ids_.values.tolist()
    user, category = model.user_ids_[0], urllib.parse.quote(str(model._fitted().item_categories[0]))
    bought = {"event_id": "e1", "user_id": user, "item_id": items[3], "time": "2026-11-27T10:00:00Z"}
    questions = [
        (f"/v1/recommend/{user}", None),
        (f"/v1/recommend/{user}?n=20&exclude={items[0]}&category={category}&explain=2&diversity=0.3", None),
        (f"/v1/recommend/{user}?items={items[1]}&items={items[2]}&exclude_seen=false", None),
        ("/v1/events", {"events": [bought]}),
        (f"/v1/recommend/{user}?n=11&explain=2", None),
        (f"/v1/recommend/{user}?now=2026-11-28", None),
        (f"/v1/recommend/{user}?now=2026-11-27T10:00:00Z", None),
        ("/v1/recommend/nobody", None),
        ("/v1/recommend", {"users": [user, "nobody"], "rules": {"at_most": {"category": 2}}, "n": 5}),
        ("/v1/recommend?basket", {"history": items[:3], "weights": [1.0, 2.0, 1.0]}),
        (f"/v1/buy-again/{user}", None),
        (f"/v1/similar/{items[0]}?exclude={items[1]}", None),
        (f"/v1/bought-together?item_id={items[0]}&item_id={items[1]}", None),
        ("/v1/popular", None),
        (f"/v1/explain?user_id={user}&item_id={items[5]}", None),
        ("/v1/score", {"user_id": user, "items": items[:4]}),
        ("/v1/history", {"user_id": user}),
        ("/v1/items?search=a", None),
        ("/v1/users?n=3", None),
        ("/v1/model", None),
        ("/v1/reload", {}),
        ("/metrics", None),
    ]
    given = json.dumps([str(model_file), f"sqlite:///{tmp_path}/events.db", questions])
    ended = subprocess.run(
        [sys.executable, "-c", ASKS_EVERYTHING], input=given, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert {path: said[path] for path, _ in questions} == {path: 200 for path, _ in questions}, ended.stderr
    assert said["loaded"] == []


def test_loading_and_asking_a_model_needs_no_pandas(model_file):
    script = (
        "import sys, ancf\n"
        f"model = ancf.load({str(model_file)!r})\n"
        "model.recommend(model.user_ids_[0], N=3)\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_file_is_read_once_for_a_start(model_file, tmp_path):
    read = []

    def read_and_count(path):
        read.append(path)
        return read_model(path)

    service = Service(Settings(model=str(model_file), journal=f"sqlite:///{tmp_path}/events.db"), read_and_count)
    assert read == [Path(model_file)]
    assert service.model().version == version_of(model_file)
    service._journal.close()


def test_a_damaged_file_is_told_at_the_start(model_file):
    damaged = bytearray(model_file.read_bytes())
    damaged[-1] ^= 1
    model_file.write_bytes(damaged)
    command = [sys.executable, "-m", "ancf", "serve", str(model_file), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 5
    assert f"{model_file}: the bytes of tensor" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "moment", ["2011-11-27", "2011-11-27T08:30", "2011-11-27 08:30:05", "2011-11-27T08:30:00+02:00"]
)
def test_a_plain_moment_is_read_as_any_other_text(moment, model):
    from ancf.data.timestamps import read_moments
    from ancf.scoring.past import read_now

    assert read_now(moment, model._fitted().purchases) == int(read_moments([moment], "now")[0])


@pytest.mark.parametrize("moment", ["2011-02-30", "2011-13-01", "2011-11-27T25:00"])
def test_no_moment_is_told(moment, model):
    with pytest.raises(ancf.InvalidDataError, match="now"):
        model.recommend(model.user_ids_[0], now=moment)
