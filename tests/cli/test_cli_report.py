"""`rookery report`: the formats that other programs read, and the page in a browser."""

import json
import re
import webbrowser
from xml.etree import ElementTree as ET

import pytest
import stored_runs
from rookery import cli
from rookery.report import job_summary

HOSTILE = "<script>alert(1)</script>|`x`*\r\n::error::mine\x1b[2J\x00\ud800%0A"
FILES = stored_runs.FILES
JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
<testsuite name="rookery" errors="0" failures="0" skipped="1" tests="2" time="12.5">
<testcase classname="scenarios.test_it" name="test_it" time="3.0">
<properties><property name="results" value="/elsewhere/results/20261128T214243Z/it"/></properties></testcase>
<testcase classname="scenarios.test_it" name="test_other" time="0.1">
<skipped message="this needs three workers"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path / "results"


@pytest.fixture
def passed():
    timings = {**FILES["timings.json"], "scenario": "good", "outcome": "passed"}
    return {"timings.json": timings, "report.json": {"scenario": "good", "started": stored_runs.STARTED}}


def killed(**timings):
    """A scenario in which the run was killed."""
    known = {"scenario": "late", "started": "2026-11-28T22:00:00+00:00", "outcome": "running", "total_s": 5.0}
    return {"timings.json": {**known, "uncounted_s": 0.0, **timings}}


def report(capsys, *more):
    assert cli.main(["report", *more]) == 0
    return capsys.readouterr().out


def test_json_has_every_scenario_in_the_order_in_which_they_began(results, passed, capsys):
    for name, files in (("late", killed()), ("it", stored_runs.files()), ("good", passed)):
        stored_runs.write(results, files, scenario=name)
    told = json.loads(report(capsys, "--format", "json"))
    assert told["schema"] == "rookery.results/1"
    assert told["run"] == FILES["run.json"]
    assert [(each["scenario"], each["outcome"]) for each in told["scenarios"]] == [
        ("good", "passed"),
        ("it", "failed"),
        ("late", "running"),
    ]
    it = told["scenarios"][1]
    assert (it["seconds"], it["counted_s"], it["budget_s"]) == (8.0, 8.0, 60.0)
    for name in ("failures", "symptoms", "verdict", "rpo_seconds"):
        assert it[name] == FILES["report.json"][name]
    assert (told["scenarios"][2]["budget_s"], told["scenarios"][2]["failures"]) == (None, [])
    assert [set(each) for each in told["scenarios"]] == [set(it)] * 3, "what is not known is null, not missing"


def test_other_formats_change_nothing(results, capsys):
    scenario = stored_runs.write(results, stored_runs.files())
    before = {path: path.read_bytes() for path in scenario.parent.rglob("*") if path.is_file()}
    for name in ("github", "junit", "json"):
        report(capsys, "--format", name)
    assert {path: path.read_bytes() for path in scenario.parent.rglob("*") if path.is_file()} == before


def test_summary_has_a_table_with_what_failed_first_and_each_failure_folded_in(results, passed, capsys):
    stored_runs.write(results, passed, scenario="good")
    stored_runs.write(results, stored_runs.files())
    told = report(capsys, "--format", "github").splitlines()
    assert told[0] == "### Run 20261128T214243Z: 1 of 2 scenarios did not pass"
    assert "Exit status 1: a finding." in told
    rows = [line for line in told if line.startswith("| ")]
    assert rows[2] == "| it | **failed** | 8 | 8/60 | DeadlineExceeded: late |"
    assert rows[3] == "| good | passed | 8 | 8/60 |  |"
    folded = told.index("<details><summary>it: failed</summary>")
    assert told[folded + 2] == "<pre>"
    assert "  scenario scenarios/test_it.py::test_it: failed" in told[folded:]
    assert told[-1] == "::error file=scenarios/test_it.py,line=57,title=it%3A failed::DeadlineExceeded: late"


def test_in_a_workflow_the_summary_is_appended_to_the_file_of_the_step(results, capsys, tmp_path, monkeypatch):
    file = tmp_path / "summary.md"
    file.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    stored_runs.write(results, stored_runs.files())
    told = report(capsys, "--format", "github")
    assert told.startswith("::error ")
    assert len(told.splitlines()) == 1
    assert file.read_text(encoding="utf-8").startswith("before\n### Run ")


def test_summary_that_cannot_be_written_is_bad_input(results, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    stored_runs.write(results, stored_runs.files())
    assert cli.main(["report", "--format", "github"]) == 2
    assert "hint:" in capsys.readouterr().err


def test_run_that_was_killed_reports_it_in_each_format(results, capsys):
    run = {name: value for name, value in FILES["run.json"].items() if not name.startswith("e")}
    stored_runs.write(results, {**killed(), "run.json": {**run, "outcome": "running"}})
    told = report(capsys, "--format", "github")
    assert "It has not come to its end" in told
    assert "| it | **running** | 5 |  | it has not come to its end" in told
    assert told.splitlines()[-1].startswith("::error title=it%3A running::it has not come to its end")
    (case,) = ET.fromstring(report(capsys, "--format", "junit")).iter("testcase")
    assert case.find("error").get("message").startswith("it has not come to its end")


@pytest.mark.parametrize(
    ("outcome", "told"), [("interrupted", "it was interrupted"), ("broken", "nothing that can be")]
)
def test_one_that_did_not_pass_is_reported_though_nothing_shows_how(results, capsys, outcome, told):
    stored_runs.write(results, {**killed(outcome=outcome), "run.json": FILES["run.json"]})
    assert told in report(capsys, "--format", "github").splitlines()[-1]
    assert told in report(capsys, "--format", "junit")


def with_failures(results, number, reason="late"):
    """A run of so many scenarios that failed."""
    report_ = {**FILES["report.json"]}
    report_["failures"] = [{**FILES["report.json"]["failures"][0], "reason": reason}]
    for n in range(number):
        stored_runs.write(results, {**stored_runs.FILES, "report.json": report_}, scenario=f"it-{n}")


@pytest.mark.parametrize(("number", "left_out"), [(3, None), (60, r"Left out, .*: \d+ failures\.")])
def test_summary_is_cut_to_what_github_takes_and_reports_it(results, tmp_path, capsys, monkeypatch, number, left_out):
    with_failures(results, number, reason=("\u20ac<" * 1000 + "\n") * 100)
    file = tmp_path / "summary.md"
    file.write_text("x" * 1000, encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    report(capsys, "--format", "github")
    told = file.read_text(encoding="utf-8")
    assert file.stat().st_size <= job_summary.LIMIT
    assert told.count("**failed**") == number, "the table has each"
    assert told.count("<details>") == told.count("</details>")
    assert "more characters" in told
    assert (re.search(left_out, told) is not None) if left_out else ("Left out" not in told)
    if left_out:
        assert file.stat().st_size > job_summary.LIMIT * 0.8, "no more is left out than has to be"


@pytest.mark.parametrize("limit", [0, 500, 1500, 3000, 6000])
def test_summary_of_any_limit_is_within_it(results, limit):
    with_failures(results, 12)
    from rookery.report import document

    told = job_summary.summary(document.of(results / "20261128T214243Z"), limit)
    assert len(told.encode()) <= limit
    assert bool(told) == (limit > 500)


def test_full_summary_is_reported(results, tmp_path, capsys, monkeypatch):
    file = tmp_path / "summary.md"
    file.write_text("x" * job_summary.LIMIT, encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    stored_runs.write(results, stored_runs.files())
    assert cli.main(["report", "--format", "github"]) == 0
    assert "no room is left" in capsys.readouterr().err
    assert file.stat().st_size == job_summary.LIMIT


def test_hostile_text_is_no_markdown_no_command_and_no_xml(results, capsys):
    report_ = {**FILES["report.json"], "test": f"a,b:{HOSTILE}.py::test_x[{HOSTILE}]", "title": HOSTILE}
    failure = {**FILES["report.json"]["failures"][0], "where": f"a,b:{HOSTILE}", "reason": HOSTILE, "type": HOSTILE}
    report_["failures"] = [failure, {**failure, "when": "teardown", "outcome": "broken"}]
    timings = {**FILES["timings.json"], "scenario": HOSTILE, "outcome": HOSTILE}
    stored_runs.write(results, {**stored_runs.files(), "report.json": report_, "timings.json": timings})
    told = report(capsys, "--format", "github")
    assert "<script" not in told.partition("::error file=")[0]
    assert "\x1b" not in told
    (row,) = [line for line in told.splitlines() if line.startswith("| it ")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    commands = [line for line in told.splitlines() if line.lstrip().startswith("::")]
    assert len(commands) == 1
    properties, _, message = commands[0].removeprefix("::error ").partition("::")
    assert "\r" not in message
    assert [each.partition("=")[0] for each in properties.split(",")] == ["file", "title"]
    assert "%250A" in message
    root = ET.fromstring(report(capsys, "--format", "junit"))
    assert [each.tag for each in root.iter("testcase").__next__()] == ["properties", "failure", "error"]
    assert root.find("testsuite").get("errors") == "1"


def test_junit_is_pytests_own_with_what_it_could_not_have(results, capsys):
    stored_runs.write(results, stored_runs.files())
    scenario = stored_runs.write(results, killed(), scenario="late")
    (scenario.parent / "junit.xml").write_text(JUNIT, encoding="utf-8")
    suite = ET.fromstring(report(capsys, "--format", "junit")).find("testsuite")
    assert [case.get("name") for case in suite.findall("testcase")] == ["test_it", "test_other", "late"]
    assert suite.find("testcase/skipped").get("message") == "this needs three workers"
    counts = {name: suite.get(name) for name in ("tests", "errors", "failures", "skipped", "time")}
    assert counts == {"tests": "3", "errors": "1", "failures": "0", "skipped": "1", "time": "12.5"}


@pytest.mark.parametrize("stored", [None, "", JUNIT[:300], "<html/>", "<testsuites/>"])
def test_junit_is_made_of_the_scenarios_where_pytests_is_missing_or_torn(results, passed, capsys, stored):
    stored_runs.write(results, passed, scenario="good")
    scenario = stored_runs.write(results, stored_runs.files())
    if stored is not None:
        (scenario.parent / "junit.xml").write_text(stored, encoding="utf-8")
    suite = ET.fromstring(report(capsys, "--format", "junit")).find("testsuite")
    good, it = suite.findall("testcase")
    assert (it.get("classname"), it.get("name"), it.get("file")) == (
        "scenarios.test_it",
        "test_it",
        "scenarios/test_it.py",
    )
    assert it.find("failure").get("message") == "DeadlineExceeded: late"
    assert "again    pytest scenarios/test_it.py::test_it" in it.find("failure").text
    told = {each.get("name"): each.get("value") for each in it.iter("property")}
    assert told == {
        "bug": "https://example.org/1",
        "results": str(scenario),
        "outcome": "failed",
        "budget_s": "60.0",
        "counted_s": "8.0",
    }
    assert [each.tag for each in good] == ["properties"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("time")) == ("2", "1", "16.000")


@pytest.mark.parametrize(
    ("display", "opens", "told"), [(True, True, ""), (True, False, "no browser"), (False, True, "no browser")]
)
def test_open_shows_the_page_or_reports_where_it_is(results, capsys, monkeypatch, display, opens, told):
    scenario = stored_runs.write(results, stored_runs.files())
    opened = []
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or opens)
    assert cli.main(["report", "--open"]) == 0
    page = scenario.parent / "index.html"
    err = capsys.readouterr().err
    assert opened == ([page.as_uri()] if display else [])
    assert told in err
    assert not told or str(page) in err


def test_open_is_of_pages(results, capsys):
    stored_runs.write(results, stored_runs.files())
    assert cli.main(["report", "--open", "--format", "json"]) == 2
    assert "hint:" in capsys.readouterr().err
