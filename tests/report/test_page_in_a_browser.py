"""The page of a real node kill (tests/data/node-kill, 1,626 rows acknowledged) in a real headless Chromium."""

import lzma
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.browser.alone import browser_alone
from rookery.report import pages

STORED = Path(__file__).parents[1] / "data" / "node-kill"
# What the page tells of places all over the lanes: (x in pixels, text) for each that it tells something of.
HOVERED = """
const done = arguments[0], canvas = document.querySelector("canvas.lanes"), rect = canvas.getBoundingClientRect();
const tip = document.getElementById("tip"), told = [];
for (let y = 5; y < rect.height; y += 10)
  for (let x = 160; x < rect.width - 20; x += 10) {
    const at = { clientX: rect.left + x, clientY: rect.top + y, bubbles: true };
    canvas.dispatchEvent(new PointerEvent("pointermove", at));
    if (tip.offsetHeight > 0) told.push([x, tip.textContent]);
  }
done(told);
"""


@pytest.fixture
def page(tmp_path):
    """The page, made anew of what is stored."""
    scenario = tmp_path / "run" / "synced_rows_survive"
    scenario.mkdir(parents=True)
    for each in ("report.json", "timings.json", "verdict.txt", "events.jsonl"):
        shutil.copy(STORED / each, scenario)
    shutil.copy(STORED / "run.json", scenario.parent)
    with lzma.open(STORED / "history.jsonl.xz") as stored:
        (scenario / "history.jsonl").write_bytes(stored.read())
    return pages.scenario(scenario)


@pytest.fixture
def shown(chromium, page):
    with browser_alone() as alone:
        alone.show(page)
        yield SimpleNamespace(browser=alone.browser, hovered=lambda: alone.browser.ask(HOVERED))


def widths(told, text):
    """Between which pixels the page tells a text."""
    found = [x for x, each in told if text in each]
    return (min(found), max(found)) if found else (0, 0)


def test_page_of_a_node_kill_is_small_and_says_the_verdict(page):
    text = page.read_text()
    assert len(text) < 400_000
    assert "No acknowledged row was missing at QUORUM, and none at ALL." in text


def test_pointer_is_told_what_happened_there_and_a_closer_look_shows_more_of_it(shown):
    told = shown.hovered()
    for text in ("node kill; proof: the boots of", "ring whole", "33 pgs: 33 active+clean", "osd.0", "write of row"):
        assert any(text in each for _, each in told), text
    begin, end = widths(told, "node kill; proof")
    shown.browser.click("#fault")
    closer = shown.hovered()
    assert widths(closer, "node kill; proof")[1] - widths(closer, "node kill; proof")[0] > 2 * (end - begin)
    shown.browser.click("#whole")
    assert widths(shown.hovered(), "node kill; proof") == (begin, end)


def test_whole_timeline_is_photographed(shown, tmp_path):
    photo = tmp_path / "timeline.png"
    shown.browser.screenshot(photo, "#timeline")
    data = photo.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])  # https://www.w3.org/TR/png-3/#11IHDR
    assert (width > 1000, height > 1100) == (True, True), "more than the window had room for"
    assert len(data) > width * height / 50, "it is not blank"
