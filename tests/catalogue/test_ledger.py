"""The ledger of reports: what it may say, which scenarios belong to it, and the page that is made of both."""

from pathlib import Path

import pytest
from ledgers import RUN, report
from rookery.catalogue import bugs_page, collection, ledger
from rookery.catalogue.collection import Prose, Scenario
from rookery.catalogue.markers import Bug
from rookery.errors import UsageError

PROJECT = Path(__file__).parents[2]
SCENARIOS = PROJECT / "scenarios"

GOOD = report(
    url="https://github.com/rook/rook/issues/5222",
    title="A pool is deleted",
    affected="all to 1.18",
    cause="as designed",
    workaround="delete what is in it",
    seen="the operator's log",
    run={**RUN, "command": "pytest scenarios/bugs"},
)


@pytest.mark.parametrize("text", [GOOD, "[[report", None], ids=["good", "torn", "none"])
def test_causes_are_those_of_the_ledger_above_a_file_of_scenarios(tmp_path, text):
    (tmp_path / "scenarios/bugs").mkdir(parents=True)
    if text is not None:
        (tmp_path / "scenarios" / ledger.FILE).write_text(text, encoding="utf-8")
    known = {"https://github.com/rook/rook/issues/5222": "as designed"} if text == GOOD else {}
    for file in ("test_a.py", "bugs/test_b.py"):
        assert ledger.causes(tmp_path / "scenarios" / file) == known


def scenario(url="https://github.com/rook/rook/issues/5222", symptom="'in use' (log: the operator)", **more):
    told = {
        "file": "bugs/test_it.py",
        "test": "test_it",
        "variant": "",
        "name": "it",
        "module": Prose("It.", ""),
        "own": Prose("", ""),
        "tier": "rest",
        "budget_s": 60,
        "markers": (),
        "bugs": (Bug(url, symptom),),
        "requires": (),
        "images": (),
    }
    return Scenario(**{**told, **more})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bugs").mkdir()
    (tmp_path / ledger.FILE).write_text(GOOD, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def scenarios():
    return collection.collect(SCENARIOS)


def test_every_report_of_a_scenario_is_in_the_ledger_with_all_it_should_have(scenarios):
    reports = ledger.load(SCENARIOS)
    assert ledger.unrecorded(reports, scenarios) == []
    assert {report.short: report.missing for report in reports if set(report.missing) - {"run"}} == {}


def test_a_status_is_what_scenario_and_run_bear_out(scenarios):
    for entry in ledger.join(ledger.load(SCENARIOS), scenarios):
        report = entry.report
        if report.status == "reproduced":
            assert entry.symptoms, f"{report.short}: by what is it known?"
            assert report.run, f"{report.short}: when was it seen?"
        if report.status == "guard":
            assert entry.scenarios, f"{report.short}: what guards it?"


def test_the_page_is_made_of_ledger_and_scenarios_as_they_are(scenarios):
    entries = ledger.join(ledger.load(SCENARIOS), scenarios)
    page = (PROJECT / "docs/bugs.md").read_text(encoding="utf-8")
    assert page == bugs_page.page(entries), "make it again: rookery bugs --markdown > docs/bugs.md"


def test_a_report_is_joined_with_its_scenarios_and_no_others(folder):
    others = scenario(url="https://github.com/rook/rook/issues/52")
    (entry,) = ledger.join(ledger.load(folder), [scenario(), others, scenario(test="test_again")])
    assert [each.test for each in entry.scenarios] == ["test_it", "test_again"]
    assert entry.symptoms == ["'in use' (log: the operator)"]
    told = entry.as_dict()
    assert (told["report"], told["run"]["date"]) == ("rook/rook#5222", "2026-11-29")
    assert told["scenarios"] == ["bugs/test_it.py::test_it", "bugs/test_it.py::test_again"]


def test_a_report_that_is_not_in_the_ledger_is_reported(folder):
    assert ledger.unrecorded(ledger.load(folder), [scenario(url="https://example.org/bug/7")]) == [
        "https://example.org/bug/7"
    ]


def test_a_folder_without_a_ledger_has_no_reports(tmp_path):
    assert ledger.load(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('status = "reproduced"', 'status = "green"', "status = 'green' is none of 'reproduced'"),
        ('cause = "as designed"\n', "", "missing: cause"),
        ('cause = "as designed"', "cause = 7", "cause = 7 is no str"),
        ('sabotage = ""', 'sabotaged = ""', "unknown: sabotaged; known: url"),
        ("date = 2026-11-29", 'date = "2026-11-29"', "date = '2026-11-29' is no date"),
        ("seconds = 40", "minutes = 40", "unknown: minutes"),
        (GOOD, GOOD + GOOD, "it is there twice"),
        (GOOD, "[[report]\n", "ledger.toml: "),
        (GOOD, "report = [7]\n", "report 1: not a table"),
        (GOOD, GOOD.partition("run =")[0] + "run = 7\n", "run: not a table"),
    ],
)
def test_what_is_no_ledger_is_refused_with_the_report_that_is_wrong(folder, old, new, told):
    (folder / ledger.FILE).write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        ledger.load(folder)
    assert told in str(refused.value)


def test_what_a_report_does_not_have_is_missing(folder):
    (folder / ledger.FILE).write_text(GOOD.replace('"as designed"', '" "').partition("run =")[0], encoding="utf-8")
    (report,) = ledger.load(folder)
    assert report.missing == ["cause", "run"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("rook/rook#16428", "https://github.com/rook/rook/issues/16428"),
        ("https://github.com/rook/rook/issues/16428", "https://github.com/rook/rook/issues/16428"),
        ("http://github.com/rook/rook/issues/16428#issuecomment-1", "https://github.com/rook/rook/issues/16428"),
        ("https://github.com/ceph/ceph/pull/28607/files", "https://github.com/ceph/ceph/pull/28607"),
        ("https://tracker.ceph.com/issues/76354", "https://tracker.ceph.com/issues/76354"),
    ],
)
def test_a_report_is_known_by_address_or_number(given, address):
    assert ledger.address_of(given) == address


@pytest.mark.parametrize("given", ["16428", "rook#16428", "https://", "", "rook/rook"])
def test_what_names_no_report_is_refused(given):
    with pytest.raises(UsageError, match="is no report"):
        ledger.address_of(given)


def test_the_page_reports_what_was_not_tried(folder):
    (entry,) = ledger.join(ledger.load(folder), [scenario()])
    page = bugs_page.page([entry])
    assert "| [rook/rook#5222](#rookrook5222) | A pool is deleted | reproduced |" in page
    assert "## rook/rook#5222" in page
    assert "- **Sabotage**: not tried" in page
    assert "- **Product**: Rook all to 1.18, not fixed" in page
    assert "[test_it](scenarios.md#bugstest_it)" in page
    assert "1 report: 1 reproduced." in page
