"""Which scenarios fail for what nobody expects, and what is noted of it; nothing where nobody asked."""

import json
import time
from types import SimpleNamespace

import pytest
from pytester_runs import Cluster
from rookery.evidence import gate
from rookery.kube import ApiUnavailable
from rookery.plugin import expectations, session
from rookery.waiting import NotYet

pytest_plugins = "pytester"

SCENARIO = """
import pytest
from rookery.signatures import {signature}

{marks}
def test_it(cluster):
    cluster.says("OSD 1: FAILED ceph_assert(is_clean)")
    {body}
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs a scenario whose OSD ends by an assert; returns the run's status and report.json."""
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    monkeypatch.setattr(Cluster, "stored", {"storage-ready"})
    monkeypatch.setattr(
        expectations, "findings", lambda kube, *_, since: gate.of_log("osd.0", getattr(kube, "said", ""))
    )

    def run(*options, marks="", body="pass", signature="IMAGE_IN_USE"):
        pytester.makepyfile(SCENARIO.format(marks=marks, body=body, signature=signature))
        ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
        (report,) = pytester.path.glob("results/2*/it/report.json")
        return ran, json.loads(report.read_text(encoding="utf-8"))

    return run


CORE, FAIL = "@pytest.mark.core", "--unexpected=core"


@pytest.mark.parametrize(
    ("options", "marks", "status"),
    [
        ((), CORE, 1),
        ((), "", 0),
        (("--unexpected=note",), CORE, 0),
        ((FAIL,), CORE, 1),
        ((FAIL,), "", 0),
        (("--unexpected=all",), "", 1),
    ],
)
def test_it_is_noted_or_fails_those_that_it_is_asked_for(run, options, marks, status):
    ran, report = run(*options, marks=marks)
    assert ran.ret == status
    assert report["unexpected"] == ["osd.0: OSD 1: FAILED ceph_assert(is_clean)"]
    assert report["outcome"] == ("failed" if status else "passed")


def test_nobody_looks_who_is_not_asked(run):
    ran, report = run("--unexpected=none", marks=CORE)
    assert (ran.ret, report["outcome"]) == (0, "passed")
    assert "unexpected" not in report


def test_the_failure_has_what_was_printed(run):
    ran, report = run(FAIL, marks=CORE)
    ran.stdout.fnmatch_lines(["*reason *UnexpectedEvidence: it would have passed*", "*FAILED ceph_assert(is_clean)"])
    assert report["failures"][0]["when"] == "teardown"


def test_a_scenario_that_fails_anyway_fails_for_its_own_reason(run):
    _, report = run(FAIL, marks=CORE, body="assert not 'a row is lost'")
    assert [each["type"] for each in report["failures"]] == ["AssertionError"]
    assert report["unexpected"]


def test_what_it_expects_is_no_finding(run, monkeypatch):
    ours = "rookery.signatures.Signature('FAILED ceph_assert(…)', rookery.signatures.ShownBy.LOG, 'osd', 'https://x')"
    marks = f"import rookery.signatures\n{CORE}\n@pytest.mark.expects({ours})"
    ran, report = run(FAIL, marks=marks)
    assert (ran.ret, report["unexpected"]) == (0, [])


def test_the_symptom_of_its_report_is_expected(run):
    ours = "rookery.signatures.Signature('FAILED ceph_assert(…)', rookery.signatures.ShownBy.LOG, 'osd', 'https://x')"
    marks = f"import rookery.signatures\n{CORE}\n@pytest.mark.bug('https://x/1', symptom={ours})"
    ran, report = run(FAIL, marks=marks)
    assert (ran.ret, report["unexpected"]) == (0, [])


@pytest.mark.parametrize("wrong", ["expects()", "expects('osd down')", "expects(7)", "expects('OSD_DOWN', why='x')"])
def test_what_cannot_be_expected_is_reported(run, wrong):
    ran, _ = run(FAIL, marks=f"{CORE}\n@pytest.mark.{wrong}")
    assert "what can be expected is a health check by its code" in ran.stdout.str()
    assert ran.ret != 0


def test_a_cluster_that_does_not_answer_is_no_finding(run, monkeypatch):
    def silent(*_, since):
        raise ApiUnavailable("no answer")

    monkeypatch.setattr(expectations, "findings", silent)
    ran, report = run(FAIL, marks=CORE)
    assert ran.ret == 0
    assert "no answer" in report["unexpected_not_looked_for"]


def test_a_crash_since_the_scenario_began_is_a_finding(run, monkeypatch):
    crashes = [(time.time() + 60, "mgr.a", "new_id"), (time.time() - 60, "mgr.a", "old_id")]
    monkeypatch.setattr(Cluster, "storage", SimpleNamespace(**{**vars(Cluster.storage), "crashes": lambda: crashes}))
    ran, report = run(FAIL, marks=CORE, body="cluster.kube = None")
    assert ran.ret == 1
    assert report["unexpected"] == ["mgr.a: crash of mgr.a: new_id"]


@pytest.mark.parametrize("error", [NotYet("no mgr"), ValueError("no time")])
def test_crashes_that_cannot_be_asked_for_hide_nothing_else(run, monkeypatch, error):
    def silent():
        raise error

    monkeypatch.setattr(Cluster, "storage", SimpleNamespace(**{**vars(Cluster.storage), "crashes": silent}))
    ran, report = run(FAIL, marks=CORE)
    assert ran.ret == 1
    assert report["unexpected"] == ["osd.0: OSD 1: FAILED ceph_assert(is_clean)"]
    assert report["unexpected_not_looked_for"] == f"crashes: {type(error).__name__}: {error}"
