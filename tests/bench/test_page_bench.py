"""The benchmark of the page: what it makes, measures, and says where there is no browser."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import stored_runs
from rookery import cli
from rookery.bench import page
from rookery.browser import alone
from rookery.errors import InfrastructureError
from rookery.history.checkers import check_writes
from rookery.history.operations import History
from rookery.report import recorded


@pytest.fixture
def no_browser(monkeypatch):
    @contextmanager
    def none():
        raise InfrastructureError("no docker engine answers", hint="rookery setup")
        yield

    monkeypatch.setattr(page, "browser_alone", none)


@pytest.fixture
def browser(monkeypatch):
    """One that answers what a page would: not painted when it is asked first. `asked` is what was done with it."""
    painted = iter([None, {"paint": 120.0, "drawn": 480.0}, {"paint": 80.0, "drawn": 300.0}])
    state = SimpleNamespace(hover={"worst": 21.5, "said": 60}, asked=[])
    state.open = state.asked.append
    state.ask = lambda script: next(painted) if script == page.TIMES else state.hover

    @contextmanager
    def one():
        yield alone.BrowserAlone(state, "a-browser")

    monkeypatch.setattr(page, "browser_alone", one)
    monkeypatch.setattr(alone, "docker", lambda *words: state.asked.append(words))
    return state


def test_the_made_up_history_is_one_that_a_recorder_may_have_written(tmp_path):
    page.make(tmp_path / "run/it", 4_000)
    history = tmp_path / "run/it/history.jsonl"
    report = check_writes(History.load(history), rpo_seconds=None)
    assert report.verdict.value == "unknown", "nothing was read"
    found = recorded.read(history)
    assert (len(found), found.skipped, found.lanes) == (4_000, 0, page.CLIENTS)
    assert [fault.name for fault in found.faults] == ["node kill"]
    outcomes = {recorded.OUTCOMES[kind % len(recorded.OUTCOMES)] for kind in found.kind}
    assert outcomes == {"ok", "fail", "info"}


def test_without_a_browser_writing_is_measured_and_the_rest_reported(no_browser):
    measured = page.page(operations=2_000, runs=2)
    assert [set(run) for run in measured.runs] == [{page.WRITTEN, page.SIZE, page.RECORDED, page.COST}] * 2
    assert measured.facts["not measured"] == "first paint, hover: no docker engine answers hint: rookery setup"
    assert measured.exit_status == 0
    reached = {goal["step"]: goal["met"] for goal in measured.as_dict()["goals"]}
    assert (reached["written"], reached["size"], reached["first paint"], reached["hover"]) == (True, True, None, None)
    assert all(run[page.RECORDED] > 0 and run[page.COST] > 0 for run in measured.runs)


def test_in_a_browser_it_is_painted_and_answers(browser):
    measured = page.page(operations=100, runs=2)
    assert [run[page.PAINTED] for run in measured.runs] == [0.12, 0.08]
    assert [run[page.DRAWN] for run in measured.runs] == [0.48, 0.3]
    assert [run[page.HOVERED] for run in measured.runs] == [21.5, 21.5]
    (_, written, to), url = browser.asked[:2]
    assert (to, url) == ("a-browser:/tmp/index.html", "file:///tmp/index.html")
    assert written.endswith("run/scenario/index.html")


def test_what_the_browser_shows_is_photographed(browser, tmp_path, capsys):
    browser.screenshot = lambda path, css: path.write_bytes(css.encode())
    photo = tmp_path / "page.png"
    assert cli.main(["bench", "page", "--operations", "100", "--runs", "1", "--photo", str(photo)]) == 0
    assert photo.read_bytes() == b"#timeline"


def test_page_that_reports_nothing_where_the_pointer_is_is_reported(browser):
    browser.hover = {"worst": 1.0, "said": 0}
    measured = page.page(operations=100, runs=1)
    assert "says nothing" in measured.facts["failed"]
    assert measured.exit_status == 3


def test_of_a_scenario_a_copy_is_measured(no_browser, tmp_path, capsys):
    scenario = stored_runs.write(tmp_path, stored_runs.files())
    before = sorted(path.name for path in scenario.iterdir())
    assert cli.main(["bench", "page", "--of", str(scenario), "--runs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facts"]["of"] == str(scenario)
    assert told["goals"][1]["at_most"] == 0.4
    (watcher,) = [goal for goal in told["goals"] if goal["step"] == page.WATCHED]
    assert (watcher["reached"], watcher["at_most"], watcher["met"]) == (0.36, 2.0, True)
    assert told["units"][page.WATCHED] == "%"
    assert sorted(path.name for path in scenario.iterdir()) == before


def test_of_a_scenario_whose_watcher_reported_nothing_it_is_not_measured(no_browser, tmp_path):
    found = stored_runs.files()
    found["report.json"]["watcher"] = {"share_of_a_core": None, "error": "no API server"}
    measured = page.page(operations=0, runs=1, of=stored_runs.write(tmp_path, found))
    assert {goal["step"]: goal["met"] for goal in measured.as_dict()["goals"]}[page.WATCHED] is None
    of_made_up = page.page(operations=100, runs=1).as_dict()["goals"]
    assert page.WATCHED not in [goal["step"] for goal in of_made_up]


def test_what_is_no_scenario_is_bad_input(no_browser, tmp_path, capsys):
    assert cli.main(["bench", "page", "--of", str(tmp_path)]) == 2
    assert "hint:" in capsys.readouterr().err


def test_real_browser_paints_the_page_and_answers(chromium, tmp_path):
    measured = page.page(operations=20_000, runs=1)
    (run,) = measured.runs
    assert "not measured" not in measured.facts
    assert run[page.PAINTED] > 0
    assert run[page.DRAWN] > 0
    assert run[page.HOVERED] > 0
