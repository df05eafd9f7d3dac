"""The plugin inside a pytest of its own, with the storage cluster faked: options, exit status, results folder."""

import json
from dataclasses import fields
from importlib import metadata
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from harness import plugin, session
from harness.errors import BadInput, InfrastructureError
from harness.settings import Settings, option_name


class Cluster:
    """Comes up, or fails to with `trouble`; going down may fail as well."""

    trouble = None
    trouble_at_end = None

    def __init__(self, settings, say):
        self.ready = False
        self.nodes = SimpleNamespace(disks={})

    def bring_up(self, results):
        with results.phase("kind cluster created"):
            if self.trouble:
                raise self.trouble
        results.note(driver="fake")
        self.ready = True

    def note(self, results):
        results.note(driver="fake, again")

    def delete(self):
        if self.trouble_at_end:
            raise self.trouble_at_end


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(session, "StorageCluster", Cluster)
    return Cluster


@pytest.fixture
def scenario(pytester, cluster):
    """Runs a scenario of that body with the fixture `cluster`."""

    def run(body, *options):
        pytester.makepyfile(
            f"import pytest\nfrom harness.errors import *\ndef test_it(cluster, results):\n    {body}\n"
        )
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options, no_reraise_ctrlc=True)

    return run


def folder(pytester):
    (found,) = (pytester.path / "results").iterdir()
    return found


def outcomes(pytester):
    """The outcome by timings.json, by report.json, and the element of junit.xml that tells it."""
    found = folder(pytester)
    timings, report = (json.loads((found / name).read_text()) for name in ("timings.json", "report.json"))
    trouble = ElementTree.fromstring((found / "junit.xml").read_bytes()).find(".//testcase/*")
    return timings["outcome"], report["outcome"], None if trouble is None else trouble.tag


@pytest.mark.parametrize("order", [("rookery", "pytest-kind"), ("pytest-kind", "rookery")], ids=" then ".join)
def test_options_and_kind_cluster_are_ours_beside_pytest_kind(pytester, monkeypatch, order):
    installed = {found.metadata["Name"]: found for found in metadata.distributions()}
    monkeypatch.setattr(metadata, "distributions", lambda: [installed[name] for name in order])
    monkeypatch.setenv("ROOKERY_CLUSTER_NAME", "of-the-environment")
    shown = pytester.runpytest_inprocess("--help")
    assert shown.ret == 0
    options = {word for line in shown.outlines for word in line.replace("=", " ").split() if word.startswith("--")}
    assert {option_name(setting.name) for setting in fields(Settings)} - options == set()
    pytester.makepyfile(
        f"""
        def test_it(request, settings):
            assert (settings.cluster_name, settings.workers) == ("of-the-environment", 5)
            used = request._fixturemanager.getfixturedefs("kind_cluster", request.node)[-1]
            assert used.func.__module__ == {plugin.__name__!r}
        """
    )
    pytester.runpytest_inprocess("--workers=5", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_scenario_that_passed(scenario, pytester):
    assert scenario("pass").ret == 0
    assert outcomes(pytester) == ("passed", "passed", None)
    assert [phase["name"] for phase in json.loads((folder(pytester) / "timings.json").read_text())["phases"]] == [
        "kind cluster created"
    ]
    assert json.loads((folder(pytester) / "report.json").read_text())["driver"] == "fake"
    assert folder(pytester).name.endswith("Z-it")


@pytest.mark.parametrize(
    ("body", "status", "outcome", "trouble"),
    [
        ("assert 1 == 2", 1, "failed", "failure"),
        ("raise Unknown('nothing in flight')", 1, "unknown", "error"),
        ("raise InfrastructureError('docker is gone')", 3, "infrastructure", "error"),
        ("pytest.skip('for another driver')", 0, "skipped", "skipped"),
        ("raise KeyboardInterrupt", 2, "unknown", "error"),
    ],
)
def test_a_scenario_that_did_not_pass(scenario, pytester, body, status, outcome, trouble):
    assert scenario(body).ret == status
    assert outcomes(pytester) == (outcome, outcome, trouble)


@pytest.mark.parametrize(
    ("error", "status"),
    [(InfrastructureError("no room"), 3), (BadInput("no such Rook"), 2), (OSError("disk full"), 3)],
)
def test_a_bring_up_that_fails_says_nothing_about_the_storage(scenario, pytester, cluster, monkeypatch, error, status):
    monkeypatch.setattr(cluster, "trouble", error)
    ran = scenario("pass")
    assert ran.ret == status
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines([f"*{type(error).__name__}: {error}"])
    assert outcomes(pytester) == ("infrastructure", "infrastructure", "error")


def test_a_cluster_that_a_scenario_failed_on_is_replaced(pytester, cluster):
    pytester.makepyfile("def test_a(cluster): assert False\ndef test_b(cluster): pass\n")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 1
    phases = [
        json.loads((found / "timings.json").read_text())["phases"] for found in (pytester.path / "results").iterdir()
    ]
    assert [len(found) for found in phases] == [1, 1]


@pytest.mark.parametrize(("body", "status"), [("pass", 3), ("assert False", 1)])
def test_a_cluster_that_cannot_be_removed_does_not_hide_what_failed(scenario, cluster, monkeypatch, body, status):
    monkeypatch.setattr(cluster, "trouble_at_end", InfrastructureError("container stuck"))
    ran = scenario(body)
    assert ran.ret == status
    ran.stdout.fnmatch_lines(["*container stuck"])


def test_settings_that_make_no_sense_end_the_run(scenario, pytester):
    ran = scenario("pass", "--workers=many")
    assert ran.ret == 2
    ran.stdout.fnmatch_lines(["*--workers many: not a number*"])
    assert not (pytester.path / "results").exists()


def test_settings_come_from_the_pyproject_of_the_scenarios(scenario, pytester):
    pytester.makepyprojecttoml("[tool.rookery]\nresults = 'elsewhere'\n")
    assert scenario("pass").ret == 0
    assert (pytester.path / "elsewhere").is_dir()


def test_tests_without_a_cluster_keep_pytests_exit_status(pytester, cluster):
    pytester.makepyfile("def test_it():\n    raise ValueError")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 1
    assert not (pytester.path / "results").exists()
