"""What scenarios say of themselves, how they are found, and how that is shown."""

import ast
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from rookery import cli, metallb
from rookery.catalogue import showing
from rookery.catalogue.collection import Prose, collect
from rookery.catalogue.markers import Bug
from rookery.catalogue.sabotage import CAUSE, HINT, Marked
from rookery.errors import UsageError
from rookery.report.results import LastResult
from rookery.workloads import cassandra, postgresql
from rookery.workloads.registry import kinds

PROJECT = Path(__file__).parents[2]

A_FILE = '''
"""The title | of the file.

What happened to
whom: docs/incident.md#no-new-volumes.

Proof: a row.
"""
import pytest
from rookery.signatures import IMAGE_IN_USE

pytestmark = [pytest.mark.budget(240), pytest.mark.requires("mkfs")]

print("printed while it is imported")

def test_that_says_nothing(): pass

@pytest.mark.slow
@pytest.mark.budget(60)
@pytest.mark.bug("https://github.com/rook/rook/issues/1", symptom=IMAGE_IN_USE)
@pytest.mark.bug("https://tracker.ceph.com/issues/2")
def test_of_reports():
    """Two reports."""

@pytest.mark.cassandra(commitlog_sync="batch")
@pytest.mark.requires("three workers", "an image")
@pytest.mark.parametrize("fs", ["ext4", pytest.param("xfs", marks=[pytest.mark.core, pytest.mark.budget(90)])])
def test_variants(fs):
    """In two forms.

    One after the other.
    """
'''


@pytest.fixture(scope="module")
def ours():
    return collect(PROJECT / "scenarios")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "test_a.py").write_text(A_FILE, encoding="utf-8")
    return folder


def test_every_scenario_has_a_title_and_a_budget(ours):
    assert {scenario.id: missing for scenario in ours if (missing := scenario.missing)} == {}, (
        "see docs/writing-scenarios.md"
    )


def test_every_scenario_of_a_report_has_its_cause_marked(ours):
    of_reports = [each for each in ours if each.bugs]
    assert of_reports
    files = {each.file: Marked.file(PROJECT / "scenarios" / each.file) for each in of_reports}
    causes = {each.id: [mark for mark in files[each.file].of(each.test) if mark.kind == CAUSE] for each in of_reports}
    assert [name for name, marks in causes.items() if not marks] == [], HINT


def test_what_is_marked_in_scenarios_can_be_taken_out():
    for file in [Marked.file(path) for path in (PROJECT / "scenarios").rglob("test_*.py")]:
        whole = ast.dump(file.without(""))
        for kind in {mark.kind for mark in file.marks}:
            compile(file.without(kind), "test_it.py", "exec")
            assert ast.dump(file.without(kind)) != whole


def test_the_core_is_what_the_project_is_for(ours):
    assert [scenario.id for scenario in ours if scenario.tier == "core"] == [
        "test_headless_service.py::test_headless_service_removed",
        "test_node_kill.py::test_synced_rows_survive[one-kill]",
        "test_not_mounted.py::test_driver_for_another_directory",
        "test_pools.py::test_pool_with_both_layouts",
        "test_volumes.py::test_filesystem_moves_between_nodes[ext4]",
    ]


def test_no_two_scenarios_have_results_of_the_same_name(ours):
    assert [name for name, number in Counter(scenario.name for scenario in ours).items() if number > 1] == []


def test_the_page_is_made_of_the_scenarios_as_they_are(ours):
    committed = (PROJECT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert committed == showing.page(ours), "make it again: rookery scenarios --markdown > docs/scenarios.md"


def test_the_first_paragraph_is_the_title_and_the_second_the_summary():
    prose = Prose.of(
        """A title
        in two lines.

        What happened
        to whom.

        Proof: a row.
        """
    )
    assert prose == Prose("A title in two lines.", "What happened\nto whom.\n\nProof: a row.")
    assert prose.summary == "What happened to whom."


def test_a_docstring_that_is_not_there_reports_nothing():
    assert (Prose.of(None), Prose.of(None).summary) == (Prose("", ""), "")


def test_collected_with_what_they_state_and_how_they_are_marked(folder):
    found = {scenario.id: scenario for scenario in collect(folder)}
    assert list(found) == [
        "test_a.py::test_that_says_nothing",
        "test_a.py::test_of_reports",
        "test_a.py::test_variants[ext4]",
        "test_a.py::test_variants[xfs]",
    ]
    silent, reported, variant, core = found.values()
    assert (silent.title, silent.requires, silent.budget_s, silent.name) == (
        "The title | of the file.",
        ("mkfs",),
        240,
        "that_says_nothing",
    )
    assert silent.module.summary == "What happened to whom: docs/incident.md#no-new-volumes."
    assert reported.budget_s == 60
    assert [scenario.tier for scenario in found.values()] == ["rest", "slow", "rest", "core"]
    assert [bug.short for bug in reported.bugs] == ["https://tracker.ceph.com/issues/2", "rook/rook#1"]
    assert "is still being used" in reported.bugs[1].symptom
    assert variant.requires == core.requires == ("three workers", "an image", "mkfs")
    assert (variant.budget_s, variant.name, core.budget_s) == (240, "variants[ext4]", 90)
    assert variant.markers == ("cassandra(commitlog_sync=batch)",)


@pytest.mark.parametrize(
    ("pattern", "tests"),
    [("variants", 2), ("reports or xfs", 2), ("not slow", 3), ("core", 1), ("test_a", 4)],
)
def test_a_pattern_is_pytests_own(folder, pattern, tests):
    assert len(collect(folder, pattern)) == tests


def test_images_of_workloads_are_of_the_versions_asked_for(tmp_path):
    (tmp_path / "test_a.py").write_text("def test_it(cluster, cassandra): 'A ring.'", encoding="utf-8")
    images = [collect(tmp_path, versions=versions)[0].images for versions in (None, {"cassandra": "4.1.10"})]
    assert images == [(kinds()["cassandra"].image_of(),), (kinds()["cassandra"].image_of("4.1.10"),)]


def test_the_options_of_the_environment_do_not_hide_scenarios(folder, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-m nothing --deselect test_a.py -n 2")
    assert len(collect(folder)) == 4


@pytest.mark.parametrize(
    ("text", "pattern", "said"),
    [
        ("import not_there", "", "test_b.py cannot be collected:*No module named 'not_there'*hint: *--collect-only*"),
        ("def test(:", "", "test_b.py cannot be collected:*SyntaxError*"),
        ("@__import__('pytest').mark.unheard_of\ndef test_it(): pass", "", "*'unheard_of' not found in `markers`*"),
        (
            "@__import__('pytest').mark.bug('rook 1')\ndef test_it(): pass",
            "",
            "*status 4*\nERROR: *test_it: a bug is marked by the*",
        ),
        (
            "@__import__('pytest').mark.requires(nodes=3)\ndef test_it(): pass",
            "",
            "*status 4*\nERROR: *test_it: what can be required is a storage system*",
        ),
        ("raise SystemExit('gone')", "", "*gone*"),
        ("import os\nos._exit(7)", "", "pytest ended with status 7 when*hint: *"),
        ("", "(", "*status 4*\nERROR: Wrong expression passed to '-k': (*"),
        ("", "no_such_name", "*no scenario matches 'no_such_name'*hint: *-k*"),
    ],
)
def test_what_cannot_be_collected_is_reported(folder, text, pattern, said):
    (folder / "test_b.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n", encoding="utf-8")
    with pytest.raises(UsageError) as error:
        collect(folder, pattern)
    assert matches(str(error.value), said), str(error.value)
    assert "Traceback (most recent call last)" not in str(error.value)


def matches(text, pattern):
    return fnmatchcase(text, f"*{pattern.strip('*')}*".replace("[", "[[]"))


def test_a_folder_that_is_not_there_and_an_empty_one(tmp_path):
    with pytest.raises(UsageError, match=r"no such folder\n  hint: .*--scenarios DIR"):
        collect(tmp_path / "scenarios")
    with pytest.raises(UsageError, match=r"no scenario in it\n  hint: .*--scenarios DIR"):
        collect(tmp_path)


def result(root, time, scenario, outcome, seconds):
    made = root / time / scenario
    made.mkdir(parents=True)
    started = datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).isoformat()
    timings = {"scenario": scenario, "started": started, "outcome": outcome, "total_s": seconds, "uncounted_s": 0}
    (made / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
    return made


def test_listed_with_their_last_results(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    results = tmp_path / "results"
    result(results, "20261124T080000Z", "variants[xfs]", "failed", 70.0)
    result(results, "20261124T090000Z", "variants[xfs]", "passed", 78.4)
    assert cli.main(["scenarios", "--scenarios", str(folder), "--results-dir", str(results)]) == 0
    out = capsys.readouterr().out
    for shown in (
        "test_a.py: The title | of the file.",
        "What happened to whom: docs/incident.md#no-new-volumes.",
        "budget 90 s",
    ):
        assert out.count(shown) == 1
    for shown in (
        "78 s",
        "requires three workers; an image; mkfs",
        "bug https://tracker.ceph.com/issues/2, bug rook/rook#1",
    ):
        assert shown in out
    assert "failed" not in out
    assert out.endswith("4 scenarios: 1 core, 2 of the rest, 1 slow; last results: 1 passed, 78 s together\n")


def test_json_has_all_of_it(folder, tmp_path, capsys):
    last = result(tmp_path / "results", "20261124T090000Z", "of_reports", "passed", 78.4)
    argv = ["scenarios", "reports", "--json", "--scenarios", str(folder), "--results-dir", str(tmp_path / "results")]
    assert cli.main(argv) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["id"], found["budget_s"], found["tier"]) == ("test_a.py::test_of_reports", 60, "slow")
    assert (found["markers"], found["requires"]) == ([], ["mkfs"])
    assert found["summary"] == "What happened to whom: docs/incident.md#no-new-volumes."
    assert found["bugs"][0] == {"url": "https://tracker.ceph.com/issues/2", "symptom": ""}
    assert found["last"] == {
        "outcome": "passed",
        "seconds": 78.4,
        "started": "2026-11-24T09:00:00+00:00",
        "folder": str(last),
        "counted_s": None,
    }


def test_the_page_has_each_test_once(folder, capsys):
    assert cli.main(["scenarios", "--markdown", "--scenarios", str(folder)]) == 0
    page = capsys.readouterr().out
    assert r"| [test_a](#test_a) | The title \| of the file. | 4 |" in page
    assert page.count("### test_variants") == 1
    assert "- **Variants**: `ext4`, `xfs`\n- **Requires**: three workers; an image; mkfs\n" in page
    assert "[incident.md#no-new-volumes](incident.md#no-new-volumes)" in page
    assert "In two forms.\n\nOne after the other.\n\n- **Tier**" in page
    assert "Of 4: 1 core, 2 of the rest, 1 slow.\n" in page
    assert "- **Tier**: slow\n- **Budget**: 60 s\n- **Requires**: mkfs\n- **Reported**: [https://tracker.ceph" in page
    assert "- **Tier**: rest (ext4), core (xfs)\n- **Budget**: 240 s (ext4), 90 s (xfs)\n- **Variants**" in page
    assert "[rook/rook#1](https://github.com/rook/rook/issues/1), shown by 'rbd image …" in page


def test_a_scenario_without_a_title_or_a_budget_reports_it_in_the_list(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    (folder / "test_a.py").write_text("def test_it(): pass", encoding="utf-8")
    assert cli.main(["scenarios", "--scenarios", str(folder)]) == 0
    assert "it lacks a title in the file's docstring, `budget(seconds)`" in capsys.readouterr().out


def test_needs_neither_docker_nor_a_cluster_nor_a_home(folder, tmp_path):
    argv = [sys.executable, "-m", "rookery", "scenarios", "--json", "--scenarios", str(folder)]
    environment = {"PATH": "/nowhere", "PYTHONPATH": str(PROJECT / "harness"), "DOCKER_HOST": "tcp://127.0.0.1:1"}
    done = subprocess.run(
        argv, env=environment, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 4), done.stderr


def test_a_scenario_shows_the_images_of_what_it_deploys(ours):
    images = {scenario.test: scenario.images for scenario in ours}
    assert images["test_synced_rows_survive"] == (cassandra.KIND.image_of(),)
    assert images["test_commits_survive_the_node_kill"] == (postgresql.KIND.image_of(),)
    assert set(images["test_written_through_a_load_balancer"]) == {cassandra.KIND.image_of(), *metallb.IMAGES}


@pytest.mark.parametrize(
    ("url", "short"),
    [
        ("https://github.com/rook/rook/issues/8791", "rook/rook#8791"),
        ("https://github.com/rook/rook/pull/17828", "rook/rook#17828"),
        ("https://github.com/rook/rook", "https://github.com/rook/rook"),
        ("https://tracker.ceph.com/issues/76354", "https://tracker.ceph.com/issues/76354"),
    ],
)
def test_a_report_in_short(url, short):
    assert Bug(url).short == short


def test_summary_counts_what_came_of_them(ours):
    now = datetime.now(timezone.utc).isoformat()
    last = {
        ours[0].name: LastResult("failed", 20.0, now, Path()),
        ours[1].name: LastResult("passed", 10.0, now, Path()),
    }
    ours = [replace(scenario, tier=tier) for scenario, tier in zip(ours, ("slow", "rest"), strict=False)]
    assert showing.summary(ours[:1], {}) == "1 scenario: 1 slow"
    assert showing.summary(ours, last).startswith("2 scenarios: 1 of the rest, 1 slow; last results: 1 failed, 1 p")
