"""Timeline page of a trace in a browser: charts, numbers, width, no resources."""

from __future__ import annotations

import itertools
import json
import pathlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_cli.timeline import page
from gateway_cli.timeline_data import timeline_data
from gateway_proto import Client, Config
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder, read
from tests.adapters.support import PATIENCE, run_command

pytestmark = pytest.mark.slow

DEMO = pathlib.Path(__file__).parents[2] / "docs" / "traces" / "demo.jsonl"
LINES = read(DEMO.read_text().splitlines())
EVENTS = [event for line in LINES for event in line.get("events", ())]
NAMES = Counter(event["name"] for event in EVENTS if "sequence" in event)
TYPES = Counter(event["type"] for event in EVENTS)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


# ----- the numbers -----


def test_close_is_listed_before_the_dial_that_it_caused() -> None:
    rows = [(row["at"], row["kind"]) for row in timeline_data(LINES)["decisions"]]

    for (at, kind), (next_at, next_kind) in itertools.pairwise(rows):
        assert not (at == next_at and kind == "dial" and next_kind == "closed")


@pytest.mark.parametrize("status", [200, 404])
def test_lookup_is_neither_a_connection_nor_a_close(status: int) -> None:
    lines: list[str] = []
    with Recorder(lines.append) as recorder:
        client = recorder.client(Config(token="t", intents=0, api_url="http://localhost/api"))
        client.events()
        lookup = client.dial_succeeded(now=0.0)
        body = b'{"url": "ws://localhost"}'
        head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        lookup.receive_data(head + body, now=1.0)
        lookup.events()
        client.events()

    shown_text = timeline_data(read(lines))

    assert shown_text["facts"]["lookups"] == 1
    assert shown_text["facts"]["connections"] == shown_text["facts"]["closes"] == 0
    kinds = [row["kind"] for row in shown_text["decisions"]]
    assert kinds[:2] == ["dial", "gateway found" if status == 200 else "lookup failed"]


def _fact(name: str) -> Any:
    return timeline_data(LINES)["facts"][name]


def test_facts_are_those_of_the_trace() -> None:
    pytest.importorskip("plotly")
    facts = timeline_data(LINES)["facts"]

    acked = [event["latency"] for event in EVENTS if event["type"] == "HeartbeatAcked"]
    latencies = [latency * 1000 for latency in acked if latency is not None]
    assert facts == {
        "seconds": round(LINES[-1]["at"] - 1000, 3),
        "connections": len([line for line in LINES if "made" in line]) - 1,
        "lookups": 1,
        "dials": TYPES["DialScheduled"],
        "failed dials": TYPES["DialFailed"],
        "sessions": TYPES["Ready"],
        "resumes": TYPES["Resumed"],
        "closes": TYPES["Closed"] - 1,
        "dispatches": TYPES["Dispatch"] + TYPES["Ready"] + TYPES["Resumed"],
        "heartbeats acknowledged": len(latencies),
        "heartbeats not acknowledged": TYPES["HeartbeatSent"] - len(acked),
        "median latency, ms": round(sorted(latencies)[len(latencies) // 2], 1),
        "longest latency, ms": round(max(latencies), 1),
        "most commands waiting": max(line.get("waiting", 0) for line in LINES),
    }
    assert facts["resumes"] == 5 and facts["heartbeats not acknowledged"] > 0


def test_capacity_follows_the_rate_limit_of_any_minute() -> None:
    (lane,) = timeline_data(LINES)["lanes"]

    assert max(capacity for _, capacity in lane["capacity"]) == 120
    assert (
        0 <= min(capacity for _, capacity in lane["capacity"]) <= 5
    )  # some slots are reserved for heartbeats
    times = [at for at, _ in lane["capacity"]]
    assert times == sorted(times)
    assert lane["states"][0]["state"] == "connecting"
    for before, after in zip(lane["states"], lane["states"][1:], strict=False):
        assert before["start"] <= before["end"] <= after["start"]


def test_dispatches_are_counted_in_their_time_interval() -> None:
    rates = timeline_data(LINES)["dispatches"]

    names = Counter(event["name"] for event in EVENTS if "sequence" in event)
    for entry in rates["names"]:
        assert sum(entry["counts"]) == entry["count"]
        if entry["name"] != "all others":
            assert entry["count"] == names[entry["name"]]
    assert sum(entry["count"] for entry in rates["names"]) == sum(names.values())
    first = next(e for e in rates["names"] if e["name"] == "MESSAGE_CREATE")
    came = [
        line["at"] - 1000
        for line in LINES
        for event in line.get("events", ())
        if event.get("name") == "MESSAGE_CREATE"
    ]
    assert first["counts"][0] == len([at for at in came if at < rates["width"]])


def test_server_trace_has_a_lane_for_each_connection() -> None:
    lines: list[str] = []
    recorder = Recorder(lines.append)
    server = recorder.server(ServerConfig())
    config = Config(token="any", intents=0, api_url="http://localhost/api")
    link = Link(Client(config), server)
    link.run(60)
    link.cut()
    link.run(60)
    recorder.close()

    shown_text = timeline_data(read(lines))

    assert [lane["name"] for lane in shown_text["lanes"]] == [f"connection {n}" for n in (2, 3, 4)]
    assert shown_text["facts"]["dispatches"] == 2
    assert [row["kind"] for row in shown_text["decisions"]] == ["closed", "closed"]
    assert "capacity" in shown_text["lanes"][0] and shown_text["lanes"][0]["capacity"] == []


def test_empty_trace_and_single_connection_are_drawn() -> None:
    lines: list[str] = []
    recorder = Recorder(lines.append)
    assert timeline_data(read(lines))["facts"]["connections"] == 0

    config = Config(token="any", intents=0)
    connection = recorder.connection(config, "ws://localhost", now=5.0, framing=False)
    connection.check_clock(1e9, now=6.0)
    shown_text = timeline_data(read(lines))

    assert shown_text["facts"]["connections"] == 1
    assert shown_text["lanes"][0]["name"] == "connection 1"
    assert shown_text["unix"] == 1e9 - 1


def test_timeline_prints_or_writes_the_same_data(
    tmp_path: pathlib.Path,
) -> None:
    pytest.importorskip("plotly")
    printed = run_command("timeline", str(DEMO), "--json")
    out = tmp_path / "page.html"
    written = run_command("timeline", str(DEMO), "--out", str(out))
    nowhere = run_command("timeline", str(DEMO), "--out", "/nowhere/at/all")

    assert json.loads(printed.stdout)["facts"]["resumes"] == 5
    assert (written.returncode, written.stdout) == (0, f"{out}\n")
    assert out.read_text().startswith("<!doctype html>")
    assert (nowhere.returncode, len(nowhere.stderr.splitlines())) == (2, 1)


def test_trace_without_data_is_reported(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(DEMO.read_text().splitlines()[0] + '\n{"new": "client", "id": 1}\n')

    result = run_command("timeline", str(path))

    assert result.returncode == 2
    assert "not as traces have it: KeyError('config')" in result.stderr


# ----- the page -----


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """A page in a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: pathlib.Path, width: int) -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(path.as_uri())
        self.wait(lambda: self.run("return document.body.dataset.drawn") == "yes", "the charts")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def wait(self, condition: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited too long for {what}"
            time.sleep(0.05)

    def range(self, chart: str) -> list[float]:
        return list(self.run(f"return document.getElementById('{chart}').layout.xaxis.range"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    pytest.importorskip("plotly")
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, chromedriver = _chromium(), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("there is no chromium with its chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    yield Page(driver)
    driver.quit()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    pytest.importorskip("plotly")
    path = tmp_path_factory.mktemp("page") / "demo.html"
    path.write_text(page(timeline_data(LINES), "demo.jsonl"), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 400])
def test_page_draws_without_error_and_loads_no_resources(
    browser: Page, demo: pathlib.Path, width: int
) -> None:
    browser.open(demo, width)

    assert browser.driver.get_log("browser") == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return document.documentElement.scrollWidth") <= width
    for chart in ("states", "heartbeats", "dispatches", "queue"):
        box = browser.run(f"return document.querySelector('#{chart} .main-svg').clientWidth")
        assert 0.75 * width < box <= width
    small = browser.run(
        "return Math.min(...[...document.querySelectorAll('.xtick text, dt, td')]"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert small >= 11


def test_page_shows_the_numbers_of_the_trace(browser: Page, demo: pathlib.Path) -> None:
    browser.open(demo, 1280)

    facts = {e.get_attribute("data-fact"): e.text for e in browser.all("#facts dd")}
    assert facts == {name: str(value) for name, value in timeline_data(LINES)["facts"].items()}
    rows = [row.text for row in browser.all("#decisions tr")]
    assert (
        len(rows) == sum(TYPES[t] for t in ("DialScheduled", "DialFailed", "Closed", "Resumed")) + 3
    )
    assert any("zombie: no heartbeat ACK" in row for row in rows)
    assert any("op 7" in row for row in rows)
    # The elements that the charts draw.
    points = browser.all("#heartbeats .scatterlayer .point")
    assert len(points) == _fact("heartbeats acknowledged") + _fact("heartbeats not acknowledged")
    drawn = browser.run(
        "return document.getElementById('dispatches').data.flatMap((t) => [...t.y])"
        ".reduce((a, b) => a + b, 0)"
    )
    assert drawn == _fact("dispatches")
    bars = browser.all("#dispatches .barlayer .point path")
    assert len(bars) >= 100
    names = [button.text for button in browser.all("#names button")]
    assert f"MESSAGE_CREATE {NAMES['MESSAGE_CREATE']}" in names


def test_page_can_be_filtered(browser: Page, demo: pathlib.Path) -> None:
    browser.open(demo, 1280)
    field = browser.all("#filter")[0]

    field.send_keys("closed 4009 peer")
    rows = [row.text for row in browser.all("#decisions tr")]
    assert len(rows) == 1 and "Session timed out" in rows[0]
    field.clear()
    field.send_keys("TYPING")
    browser.wait(
        lambda: browser.run("return document.getElementById('dispatches').data.length") == 1,
        "the one name",
    )
    browser.all("#all")[0].click()
    browser.wait(lambda: len(browser.all("#decisions tr")) > 20, "all rows again")
    browser.all("#names button")[0].click()
    shown = browser.run("return document.getElementById('dispatches').data.map((t) => t.name)")
    assert browser.all("#names button")[0].text.split()[0] not in shown
    assert len(shown) == len(browser.all("#names button")) - 1


def test_all_charts_zoom_together(browser: Page, demo: pathlib.Path) -> None:
    browser.open(demo, 1280)
    whole = browser.range("states")

    row = next(r for r in browser.all("#decisions tr") if "zombie" in r.text)
    browser.run("arguments[0].click()", row)
    browser.wait(lambda: browser.range("queue") != whole, "the zoom")
    at = float(row.text.split()[0])
    for chart in ("states", "heartbeats", "dispatches", "queue"):
        low, high = browser.range(chart)
        assert low < at < high and high - low < 60
    browser.run("Plotly.relayout('heartbeats', {'xaxis.range[0]': 100, 'xaxis.range[1]': 200})")
    browser.wait(lambda: browser.range("states") == [100, 200], "the other charts")
    browser.all("#all")[0].click()
    browser.wait(lambda: browser.range("dispatches") == whole, "the whole time")


def test_hovered_point_shows_its_description(browser: Page, demo: pathlib.Path) -> None:
    browser.open(demo, 1280)

    browser.run("Plotly.Fx.hover('heartbeats', [{curveNumber: 0, pointNumber: 0}])")
    browser.wait(lambda: browser.all("#heartbeats .hovertext"), "the text")

    text = browser.all("#heartbeats .hovertext")[0].text
    first = next(e["latency"] for e in EVENTS if e["type"] == "HeartbeatAcked")
    assert f"ACK after {first * 1000:.1f} ms" in text
    assert "connection 3" in text


def test_hovered_name_of_a_dispatch_is_text(browser: Page, tmp_path: pathlib.Path) -> None:
    name = "<a href='https://example.com'>%{x}</a>"
    line = {"at": 0.0, "id": 1, "new": "connection", "config": {"version": 10}, "state": "ready"}
    event = {"type": "Dispatch", "name": name, "sequence": 1, "d": {}}
    path = tmp_path / "names.html"
    lines = [line, {"at": 1.0, "id": 1, "state": "ready", "events": [event]}]
    path.write_text(page(timeline_data(lines), "names"), encoding="utf-8")
    browser.open(path, 1280)

    browser.run("Plotly.Fx.hover('dispatches', [{curveNumber: 0, pointNumber: 0}])")
    browser.wait(lambda: browser.all("#dispatches .hovertext"), "the text")

    assert name in browser.all("#dispatches .hovertext")[0].text
    assert not browser.all("#dispatches .hovertext a")


def test_controls_and_direction_marks_are_escaped_in_the_page() -> None:
    marks = "\u202e\x1b[2J"
    line = {"at": 0.0, "id": 1, "new": "connection", "config": {"version": 10}, "state": "ready"}
    events = [
        {"type": "Dispatch", "name": f"NAME{marks}", "sequence": 1, "d": {}},
        {"type": "DialFailed", "reason": f"REASON{marks}"},
    ]
    data = timeline_data([line, {"at": 1.0, "id": 1, "state": "ready", "events": events}])

    text = page(data, f"FILE{marks}").partition('id="data">')[2].partition("</script>")[0]
    drawn = json.loads(text)

    assert drawn["name"] == "FILE\\u202e\\x1b[2J"
    assert drawn["dispatches"]["names"][0]["name"] == "NAME\\u202e\\x1b[2J"
    assert "REASON\\u202e\\x1b[2J" in drawn["decisions"][0]["text"]


def test_text_of_a_peer_is_never_executed(browser: Page, tmp_path: pathlib.Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    lines: list[str] = []
    recorder = Recorder(lines.append)
    config = Config(token="any", intents=0, gateway_url="ws://localhost")
    server = Server()
    link = Link(recorder.client(config), server)
    link.run(1)
    server.dispatch(evil, {}, now=link.now, to=lambda _: True)
    for connection in server.open_connections:
        connection.close(4000, evil, now=link.now)
    link.run(5)
    recorder.close()
    path = tmp_path / "evil.html"
    path.write_text(page(timeline_data(read(lines)), evil), encoding="utf-8")

    browser.open(path, 1280)

    assert browser.driver.get_log("browser") == []
    assert browser.run("return document.title") == evil
    assert browser.run("return document.images.length") == 0
    assert any(evil in row.text for row in browser.all("#decisions tr"))
    assert any(evil in button.text for button in browser.all("#names button"))
