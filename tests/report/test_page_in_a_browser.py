"""The page of a real node kill (tests/data/node-kill, 1,626 rows acknowledged) in a real headless Chromium."""

import json
import lzma
import re
import shutil
import struct
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hovering import hovered
from rookery.browser.alone import browser_alone
from rookery.report import pages

WAIT = "the ring: 100.0 s of at most 240 s, met"
BEGAN = datetime(2026, 11, 29, 18, 27)  # UTC, of the logs; 100 s after the scenario
STORED = Path(__file__).parents[1] / "data" / "node-kill"


@pytest.fixture
def page(tmp_path):
    """The page, made anew of what is stored."""
    scenario = tmp_path / "run" / "synced_rows_survive"
    scenario.mkdir(parents=True)
    for each in ("report.json", "verdict.txt", "events.jsonl"):
        shutil.copy(STORED / each, scenario)
    timings = json.loads((STORED / "timings.json").read_text(encoding="utf-8"))
    waits = [{"name": "the ring", "start_s": 220.0, "seconds": 100.0, "within": 240.0, "ended": "met"}]  # not of then
    (scenario / "timings.json").write_text(json.dumps({**timings, "waits": waits}), encoding="utf-8")
    shutil.copy(STORED / "run.json", scenario.parent)
    with lzma.open(STORED / "history.jsonl.xz") as stored:
        (scenario / "history.jsonl").write_bytes(stored.read())
    return pages.scenario(scenario)


@pytest.fixture
def shown(chromium, page):
    with browser_alone() as alone:
        alone.show(page)
        yield SimpleNamespace(browser=alone.browser, hovered=lambda: hovered(alone.browser))


def widths(told, text):
    """Between which pixels the page tells a text."""
    found = [x for x, each in told if text in each]
    return (min(found), max(found)) if found else (0, 0)


@pytest.fixture
def with_logs(page):
    """The page of the same with a bundle as large as a real one: 220 logs of 400 lines over five minutes."""
    for number in range(220):
        moment, name = ("before-node-kill-1", "at-the-end")[number % 2], "0123456789abcdef"[number // 2 % 16]
        pod = page.parent / f"logs/{moment}/logs/rook-ceph/rook-ceph-osd-{number // 2}-7c9f8d6b5{name}-x{name}2kq"
        pod.mkdir(parents=True)
        stamps = (BEGAN + timedelta(seconds=300 * each / 400) for each in range(400))
        (pod / "log-collector.log").write_text(
            "".join(f"{each:%Y-%m-%dT%H:%M:%S.%f}789Z osd said\n" for each in stamps), encoding="utf-8"
        )
    return pages.scenario(page.parent)


def test_page_of_a_node_kill_is_small_and_reports_the_verdict(with_logs):
    text = with_logs.read_text(encoding="utf-8")
    assert "log files: 220" in text
    assert len(text) < 400_000
    assert "No acknowledged row was missing at QUORUM, and none at ALL." in text


def test_pointer_shows_what_happened_there_and_a_closer_look_shows_more_of_it(shown):
    told = shown.hovered()
    for text in (
        "node kill; proof: the boots of",
        "ring Up and Normal",
        "33 pgs: 33 active+clean",
        "osd.0",
        "write of row",
        WAIT,
    ):
        assert any(text in each for _, each in told), text
    begin, end = widths(told, "node kill; proof")
    shown.browser.click("#fault")
    closer = shown.hovered()
    assert widths(closer, "node kill; proof")[1] - widths(closer, "node kill; proof")[0] > 2 * (end - begin)
    shown.browser.click("#whole")
    assert widths(shown.hovered(), "node kill; proof") == (begin, end)


def test_a_scenario_without_clients_has_a_timeline_with_its_fault(chromium, page):
    (page.parent / "history.jsonl").unlink()
    with browser_alone() as alone:
        alone.show(pages.scenario(page.parent))
        told = hovered(alone.browser)
    begin, end = widths(told, "node kill; proof: the boots of")
    assert end - begin > 20, "from its injection to its healing, 19 s of some 340"


def test_a_second_workload_has_lanes_and_charts_of_its_own(chromium, page):
    with (page.parent / "history.jsonl").open(encoding="utf-8") as history:
        first = json.loads(next(history))
    (page.parent / "history-postgresql.jsonl").write_text(
        "".join(
            json.dumps({"process": 0, "f": "write", "key": 77777, "type": type_, **after(first, seconds)}) + "\n"
            for type_, seconds in (("invoke", 10), ("ok", 40))
        ),
        encoding="utf-8",
    )
    with browser_alone() as alone:
        alone.show(pages.scenario(page.parent))
        told = hovered(alone.browser)
        titles = alone.browser.ask(TITLES)
    begin, end = widths(told, "write of row 77777: ok after 30.000 s")
    assert end - begin > 20, "30 s of some 340"
    assert any("write of row" in each and "77777" not in each for _, each in told)
    assert [each for each in titles if each.startswith("postgresql: ")] == [
        "postgresql: operations a second, by how they ended",
        "postgresql: how long acknowledged operations took",
    ]
    assert len(titles) == 4


def after(line, seconds):
    return {"time_ns": line["time_ns"] + seconds * 10**9, "at": line["at"] + seconds}


TITLES = 'arguments[0]([...document.querySelectorAll(".u-title")].map((each) => each.textContent));'


def test_a_click_shows_where_each_log_is_at_that_moment(chromium, with_logs):
    with browser_alone() as alone:
        alone.show(with_logs)
        told = alone.browser.ask(CLICKED)
    assert len(told) == 220
    assert re.fullmatch(r"logs/at-the-end/logs/rook-ceph/\S+/log-collector.log from line \d+ on", told[0])


CLICKED = """
const canvas = document.querySelector("canvas.lanes"), rect = canvas.getBoundingClientRect();
const at = { clientX: rect.left + rect.width / 2, clientY: rect.top + 5, bubbles: true };
canvas.dispatchEvent(new PointerEvent("pointerdown", at));
canvas.dispatchEvent(new PointerEvent("pointerup", at));
arguments[0]([...document.querySelectorAll("#moment div")].map((each) => each.textContent));
"""


def test_whole_timeline_is_photographed(shown, tmp_path):
    photo = tmp_path / "timeline.png"
    shown.browser.screenshot(photo, "#timeline")
    data = photo.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])  # https://www.w3.org/TR/png-3/#11IHDR
    assert (width > 1000, height > 1100) == (True, True), "more than the window had room for"
    assert len(data) > width * height / 50, "it is not blank"
