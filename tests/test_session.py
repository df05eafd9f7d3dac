"""Whose fault a failure is: outcome, exit status and junit.xml; and when a session makes and removes its cluster."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from harness import session
from harness.errors import BadInput, InfrastructureError, Unknown
from harness.report.junit import write_junit
from harness.report.results import Results
from harness.session import Session, finish, outcome_of
from harness.settings import Settings
from harness.waiting import DeadlineExceeded

LATE = DeadlineExceeded("HEALTH_OK", 60, "2 osds down")


def quiet(line):
    pass


@pytest.fixture
def results(tmp_path):
    with Results(tmp_path, "power_cycle", say=quiet) as results:
        yield results


@pytest.mark.parametrize(
    ("error", "at_setup", "outcome"),
    [
        (None, False, "passed"),
        (AssertionError("row lost"), False, "failed"),
        (LATE, False, "failed"),
        (Unknown("nothing in flight"), False, "unknown"),
        (InfrastructureError("docker is gone"), False, "infrastructure"),
        (BadInput("no such Rook"), False, "infrastructure"),
        (LATE, True, "infrastructure"),
        (Unknown("interrupted"), True, "unknown"),
        (pytest.skip.Exception("for another driver"), False, "skipped"),
        (pytest.skip.Exception("for another driver"), True, "skipped"),
    ],
)
def test_the_outcome_says_what_an_exception_tells_about_the_storage(error, at_setup, outcome):
    assert outcome_of(error, at_setup=at_setup) == outcome


INFRASTRUCTURE, INPUT, OWN = InfrastructureError("i"), BadInput("b"), AssertionError("a")


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([], 5),  # as pytest has it
        ([INFRASTRUCTURE], 3),
        ([INFRASTRUCTURE, INPUT], 2),
        ([INPUT, INFRASTRUCTURE, OWN], 1),
        ([Unknown("u")], 1),
        ([LATE], 1),
    ],
)
def test_the_exit_status_is_that_of_the_weightiest_failure(failures, status):
    running = Session(Settings(), quiet)
    running.failures = failures
    assert running.exit_status(5) == status


class Cluster:
    """A StorageCluster that remembers what was done to it."""

    fails = False

    def __init__(self, settings, say):
        self.ready = False
        self.did = []
        self.nodes = SimpleNamespace(keep=lambda: self.did.append("keep"), kubeconfig_path="/k")

    def bring_up(self, results):
        self.did.append("bring_up")
        if self.fails:
            raise InfrastructureError("no room")
        self.ready = True

    def create_nodes(self, results):
        self.did.append("create_nodes")

    def note(self, results):
        self.did.append("note")

    def delete(self):
        self.did.append("delete")


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    return Session(Settings(), quiet)


def test_the_next_scenario_gets_the_same_cluster(running, results):
    cluster = running.storage(results)
    assert running.storage(results) is cluster
    assert running.nodes(results) is cluster.nodes
    assert cluster.did == ["bring_up", "note"]


def test_bare_nodes_are_replaced_for_a_scenario_that_needs_storage(running, results):
    running.nodes(results)
    bare = running._cluster
    assert running.storage(results) is not bare
    assert bare.did == ["create_nodes", "delete"]


def test_a_cluster_that_did_not_come_up_is_made_anew(running, results, monkeypatch):
    monkeypatch.setattr(Cluster, "fails", True)
    with pytest.raises(InfrastructureError):
        running.storage(results)
    broken = running._cluster
    monkeypatch.setattr(Cluster, "fails", False)
    assert running.storage(results) is not broken
    assert broken.did == ["bring_up", "delete"]


def test_a_cluster_that_a_scenario_failed_on_is_made_anew(running, results):
    spoiled = running.storage(results)
    running.failed(AssertionError("row lost"))
    fresh = running.storage(results)
    assert fresh is not spoiled
    assert spoiled.did == ["bring_up", "delete"]
    assert running.storage(results) is fresh


def test_the_end_removes_the_cluster_once(running, results):
    cluster = running.storage(results)
    running.close()
    running.close()
    assert cluster.did == ["bring_up", "delete"]


def test_a_cluster_to_keep_is_kept_and_its_kubeconfig_told(running, results):
    said = []
    running.settings, running.say = Settings(keep_cluster=True), said.append
    cluster = running.storage(results)
    running.close()
    assert cluster.did == ["bring_up", "keep"]
    assert "KUBECONFIG=/k" in said[0]


def test_a_cluster_that_did_not_come_up_is_not_kept(running, results):
    running.settings = Settings(keep_cluster=True)
    running.nodes(results)
    bare = running._cluster
    running.close()
    assert bare.did == ["create_nodes", "delete"]


def call(error=None):
    return SimpleNamespace(excinfo=error and SimpleNamespace(value=error))


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ({"setup": call(), "call": call()}, "passed"),
        ({"setup": call(), "call": call(AssertionError("lost"))}, "failed"),
        ({"setup": call(AssertionError("lost"))}, "infrastructure"),
        ({"setup": call()}, "unknown"),  # interrupted while it ran
        ({}, "unknown"),
    ],
)
def test_finish_settles_the_outcome_by_the_calls(results, calls, outcome):
    finish(results, "scenarios/test_a.py::test_b", calls)
    assert results.outcome == outcome
    assert (parse(results.path("junit.xml")).find(".//testcase/*") is None) == (outcome == "passed")


def parse(path):
    return ElementTree.fromstring(path.read_bytes())


@pytest.mark.parametrize(
    ("outcome", "kind", "failures", "errors"),
    [
        ("failed", "failure", "1", "0"),
        ("infrastructure", "error", "0", "1"),
        ("unknown", "error", "0", "1"),
        ("skipped", "skipped", "0", "0"),
    ],
)
def test_junit_tells_a_failure_of_the_storage_from_an_error(tmp_path, outcome, kind, failures, errors):
    write_junit(tmp_path / "j.xml", "scenarios/test_a.py::test_b[x]", 12.34, outcome, BadInput("no\x1b[0m\nmore"))
    suite = parse(tmp_path / "j.xml").find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", failures, errors)
    (case,) = suite
    assert (case.get("classname"), case.get("name"), case.get("time")) == ("scenarios/test_a.py", "test_b[x]", "12.3")
    (found,) = case
    assert (found.tag, found.get("type"), found.get("message")) == (kind, "BadInput", "no\ufffd[0m")
    assert found.text == "no\ufffd[0m\nmore"


def test_junit_of_what_passed_holds_no_trouble(tmp_path):
    write_junit(tmp_path / "j.xml", "a.py::test_b", 1, "passed", None)
    suite = parse(tmp_path / "j.xml").find("testsuite")
    assert (suite.get("failures"), suite.get("errors"), len(suite.find("testcase"))) == ("0", "0", 0)


def test_a_scenario_that_needs_another_topology_gets_another_cluster(running, results):
    usual = running.storage(results)
    special = running.storage(results, topology="kind-configs/kubelet-root-dir.yaml")
    assert special is not usual
    assert running.storage(results, topology="kind-configs/kubelet-root-dir.yaml") is special
    assert running.storage(results) is not special
