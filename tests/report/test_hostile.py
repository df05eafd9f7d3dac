"""What a cluster, a log or a key says stays text: on both pages, in the terminal, and in the names of files."""

import html
import json
import os
import re
from html.parser import HTMLParser

import pytest
from hovering import hovered
from rookery import cli
from rookery.browser.alone import browser_alone
from rookery.report import failures, pages

STARTED = "2026-11-28T21:42:43+00:00"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' onmouseover=alert(1) {{ 7*7 }} [bold]"
TERMINAL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\x08\x9b2J"
LONG = "x" * 1_000_000
HOSTILE = MARKUP + TERMINAL
LIVE = [
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
]


class Seen(HTMLParser):
    """Elements with their attributes, as a browser would have them."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


@pytest.fixture
def scenario(tmp_path):
    """The folder of a scenario that failed, every text of which is hostile."""
    folder = tmp_path / "results/20261128T214000Z" / "it"
    logs = folder / "logs/at-the-end" / "<img src=x onerror=alert(1)>"
    logs.mkdir(parents=True)
    (logs / "\"quoted\" & 'named'.log").write_bytes(b"\xff\xfe\x00 2026-11-28T21:42:50Z " + HOSTILE.encode() + b"\n")
    (logs / "long.log").write_text(f"{LONG}\nSeed provider couldn't lookup host {HOSTILE}{LONG}\n", encoding="utf-8")
    (logs / os.fsdecode(b"not-utf-8-\xff.log")).write_text("2026-11-28T21:42:51Z x\n", encoding="utf-8")
    phase = {"name": HOSTILE, "start_s": 1.0, "seconds": 2.0}
    wait = {**phase, "within": 9, "ended": HOSTILE}
    timings = {"scenario": HOSTILE, "started": STARTED, "outcome": "failed", "total_s": 9.0, "uncounted_s": 0.0}
    (folder / "timings.json").write_text(
        json.dumps({**timings, "phases": [phase, phase], "waits": [wait]}), encoding="utf-8"
    )
    failure = {"when": "call", "outcome": "failed", "type": "DeadlineExceeded", "reason": f"{HOSTILE}\n{LONG}"}
    report = {
        "scenario": HOSTILE,
        "test": f"test_it.py::test_it[{HOSTILE}]",
        "title": HOSTILE,
        "started": STARTED,
        "failures": [{**failure, "where": HOSTILE, "after_s": 1.0, "after_phase": HOSTILE}],
        "symptoms": [{"symptom": HOSTILE, "line": HOSTILE + LONG}],
        "bugs": [{"url": url, "symptom": HOSTILE} for url in ("https://example.org/" + MARKUP, *LIVE)],
        "images": {HOSTILE: HOSTILE},
        "unexpected": [HOSTILE + LONG],
        "faults": [{"name": HOSTILE, "at": 1.0, "healed_at": 2.0}],
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    run = {
        "started": STARTED,
        "command": ["pytest", HOSTILE],
        "settings": {HOSTILE: HOSTILE},
        "machine": {"host": HOSTILE},
    }
    (folder.parent / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


@pytest.fixture
def with_history(scenario):
    """The same with clients, a fault and a cluster of which every text is hostile."""
    more = {"key": HOSTILE, "value": HOSTILE, "node": HOSTILE, "error": HOSTILE, "at": 1_795_902_173.0}
    lines = [
        {**more, "process": process, "type": type_, "f": f, "time_ns": at * 10**9}
        for process, type_, f, at in (
            (0, "invoke", HOSTILE, 1),
            (1, "invoke", "write", 2),
            (0, "ok", HOSTILE, 5),
            (1, "fail", "write", 6),
            (2, "invoke", "read", 6),
            (2, HOSTILE, "read", 7),
            (-1, "invoke", "fault", 3),
            (-1, "ok", "fault", 4),
        )
    ]
    lines[-1]["fault"] = {"started_ns": 3 * 10**9, "proof": HOSTILE}
    (scenario / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    events = [
        {"at": 1_795_902_173.0 + second, "kind": "node", "name": HOSTILE, "state": HOSTILE, "text": HOSTILE}
        for second in (1, 20)
    ]
    (scenario / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
    return scenario


@pytest.mark.parametrize("which", ["scenario", "run", "history"])
def test_no_page_has_an_element_or_a_handler_that_is_not_ours(scenario, which, request):
    if which == "history":
        request.getfixturevalue("with_history")
    own = pages.scenario(scenario)
    page = pages.run(scenario.parent) if which == "run" else own
    text = page.read_text(encoding="utf-8")
    elements = Seen(text).elements
    assert not [each for each in elements if each[0] in ("img", "iframe", "object")]
    assert len([each for each in elements if each[0] == "script"]) == {"run": 0, "scenario": 2, "history": 3}[which]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert "alert(1)" in text, "it is there, as text"
    assert "49" not in text.partition("{{ 7*7 }}")[0][-20:], "no template of theirs is filled in"
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert [link for link in links if link.startswith("https://example.org/")]
    schemes = {found[1].lower() for link in links if (found := re.match(r"[\s\x00-\x20]*([\w.+-]+):", link))}
    assert schemes <= {"https"}, "any other is text"
    assert all(html.escape(each, quote=False) in text for each in LIVE)


def test_a_real_browser_shows_it_as_text_and_executes_none_of_it(chromium, with_history):
    """An alert would be in the way of whatever the browser is asked afterwards."""
    page = pages.scenario(with_history)
    with browser_alone() as alone:
        alone.show(page)
        told = [text for _, text in hovered(alone.browser)]
        for shown in ("answered by " + MARKUP[:20], "; proof: " + MARKUP[:20]):
            assert any(shown in text for text in told), shown
        alone.browser.click("#fault")
        found = alone.browser.ask(FOUND)
    assert found == {"elements": 0, "handlers": 0, "live": 0}


FOUND = """
const all = [...document.querySelectorAll("*")];
arguments[0]({
  elements: document.querySelectorAll("img, iframe, object").length,
  handlers: all.filter((each) => each.getAttributeNames().some((name) => name.startsWith("on"))).length,
  live: [...document.links].filter((each) => !["https:", "file:"].includes(each.protocol)).length,
});
"""


def test_every_log_has_a_link_that_leads_to_it(scenario):
    from urllib.parse import unquote_to_bytes

    elements = Seen(pages.scenario(scenario).read_text(encoding="utf-8")).elements
    links = {unquote_to_bytes(attributes["href"]) for tag, attributes in elements if tag == "a"}
    for path in scenario.rglob("*.log"):
        assert os.fsencode(path.relative_to(scenario)) in links


def test_a_failure_in_the_terminal_moves_no_cursor_and_is_no_megabyte(scenario):
    told = failures.block(scenario)
    assert not set("\x1b\x07\x08\r\x9b") & set(told)
    assert MARKUP.partition("[")[0] in told
    assert len(told) < 50_000
    assert "more characters" in told


def test_the_commands_print_it_as_text(scenario, capsys, monkeypatch):
    monkeypatch.chdir(scenario.parents[2])
    assert cli.main(["report"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert MARKUP in told
