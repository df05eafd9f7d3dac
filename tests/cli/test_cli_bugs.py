"""`rookery bugs` and `rookery reproduce`: what they print, and with which status they end."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ledgers import report
from rookery import cli, signatures
from rookery.catalogue import ledger, reproducing
from rookery.catalogue.collection import Prose
from rookery.catalogue.markers import Bug
from rookery.cli import reproduce
from rookery.report.results import Results
from rookery.storage import images

FILE = '''\
"""A title.

Symptom: the claim is Pending.

Workaround: the pool is made.

Proof: the claim is Bound.
"""

import pytest
from rookery import signatures

pytestmark = pytest.mark.budget(60)


@pytest.mark.requires("12 GiB of memory", workers=3)
@pytest.mark.bug("https://github.com/rook/rook/issues/1", symptom=signatures.POOL_NOT_FOUND)
def test_it(cluster):
    pass


@pytest.mark.bug("https://github.com/rook/rook/issues/2")
def test_other(cluster):
    pass
'''
FIRST = report(title="A pool is missing", fixed="1.20", cause="a misspelt name")
SECOND = report(
    url="https://github.com/rook/rook/issues/3",
    title="Nothing happens",
    status="not reproduced",
    seen="the claim was Bound after all",
    run=None,
)


@pytest.fixture
def folder(folder):
    """The folder, with a ledger."""
    (folder / "scenarios" / ledger.FILE).write_text(FIRST + SECOND, encoding="utf-8")
    return folder


def ended(monkeypatch, outcome, status, *, seen=True, **notes):
    """pytest that ends so, with results as its scenario would have them."""
    ran = []

    def run_pytest(given, pass_on):
        ran.append(given)
        (folder,) = (each.partition("=")[2] for each in given if each.startswith("--results-dir"))
        if outcome:
            with Results(reproduce.Path(folder) / "run", "it") as results:
                if seen:
                    results.saw("'pool not found' (event: the claim)", "pool not found: pool (late)")
                results.record(**notes)
                results.finish(outcome)
        return status

    monkeypatch.setattr(reproduce, "run_pytest", run_pytest)
    return ran


def test_reports_are_listed_with_what_came_of_them(folder, capsys):
    assert cli.main(["bugs"]) == 0
    told = capsys.readouterr().out
    assert "rook/rook#1" in told
    assert "A pool is missing" in told
    assert "2 reports: 1 reproduced, 1 not reproduced" in told
    assert "not in the ledger yet: rook/rook#2" in told


def test_some_of_them_by_their_text(folder, capsys):
    assert cli.main(["bugs", "misspelt", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["report"], told["scenarios"]) == ("rook/rook#1", ["bugs/test_it.py::test_it"])
    assert cli.main(["bugs", "nonsense"]) == 2


def test_a_report_is_reproduced(folder, monkeypatch, capsys):
    ran = ended(monkeypatch, "passed", 0)
    assert cli.main(["reproduce", "https://github.com/rook/rook/issues/1", "--rook", "1.19.10"]) == 0
    told = capsys.readouterr().out
    for line in (
        "rook/rook#1: A pool is missing",
        "affected: Rook all; fixed: 1.20",
        "here: Rook 1.19.10",
        "needs: 3 workers; 12 GiB of memory",
        "symptom after 0 s: pool not found: pool (late)",
        "workaround: the pool is made.",
        "proof: the claim is Bound.",
        "rook/rook#1: reproduced",
    ):
        assert line in told
    assert "evidence: results/run/it" in told
    (given,) = ran
    assert given[0] == "--rook=1.19.10"
    assert given[-1] == "scenarios/bugs/test_it.py::test_it"


@pytest.mark.parametrize(("recorded", "told"), [("delete what is in it", "delete what is in it"), ("", "it has none")])
def test_a_workaround_that_no_docstring_has_is_the_ledgers(folder, monkeypatch, collected, capsys, recorded, told):
    silent = [replace(each, module=Prose("A title.", "Proof: the claim is Bound.")) for each in collected]
    monkeypatch.setattr(reproduce.collection, "collect", lambda folder, **_: silent)
    (folder / "scenarios" / ledger.FILE).write_text(report(workaround=recorded), encoding="utf-8")
    ended(monkeypatch, "passed", 0)
    assert cli.main(["reproduce", "rook/rook#1"]) == 0
    assert f"  workaround: {told}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "pytest_status", "status", "told"),
    [
        ("failed", 1, 1, "rook/rook#1: not reproduced"),
        ("unknown", 1, 1, "not reproduced"),
        ("broken", 2, 2, "its scenario is wrong"),
        ("infrastructure", 3, 3, "the infrastructure failed"),
        ("skipped", 0, 3, "lacks what it needs"),
        (None, 3, 3, "the infrastructure failed"),
        (None, 2, 2, "its scenario is wrong, or was asked for wrongly"),
        (None, 0, 3, "lacks what it needs"),
    ],
)
def test_what_was_not_reproduced_reports_by_whose_fault(
    folder, monkeypatch, capsys, outcome, pytest_status, status, told
):
    ended(monkeypatch, outcome, pytest_status)
    assert cli.main(["reproduce", "rook/rook#1"]) == status
    assert told in capsys.readouterr().out


def test_a_symptom_that_a_version_shows_no_longer_is_reported_by_name(folder, monkeypatch, capsys):
    ended(monkeypatch, "failed", 1, seen=False)
    assert cli.main(["reproduce", "rook/rook#1"]) == 1
    assert "not reproduced: no longer shown here: 'pool not found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("signature", "shown"),
    [
        (signatures.POOL_HAS_IMAGES, True),
        (signatures.POOL_HAS_IMAGES.about("in-use"), True),
        (signatures.POOL_NOT_FOUND, False),
    ],
)
def test_a_symptom_is_known_again_when_it_was_looked_for_by_a_name(signature, shown):
    scenario = SimpleNamespace(bugs=[Bug("https://example.org/1", str(signatures.POOL_HAS_IMAGES)), Bug("https://b")])
    found = reproducing.shown(scenario, {"symptoms": [{"symptom": str(signature)}]})
    assert found == ({str(signatures.POOL_HAS_IMAGES)} if shown else set())
    assert reproducing.shown(scenario, {}) == set()


def test_an_earlier_result_is_not_taken_for_this_runs(folder, monkeypatch, capsys):
    ended(monkeypatch, "passed", 0)
    assert cli.main(["reproduce", "rook/rook#1"]) == 0
    ended(monkeypatch, None, 3)
    assert cli.main(["reproduce", "rook/rook#1"]) == 3
    assert "has no result" in capsys.readouterr().out


@pytest.fixture
def of_cassandra(folder, monkeypatch, collected):
    """The scenarios as those of Cassandra 9.9, which is nowhere; returns which registries can be reached."""
    there = [replace(each, images=("docker.io/library/cassandra:9.9",)) for each in collected]
    monkeypatch.setattr(reproduce.collection, "collect", lambda folder, **_: there)
    monkeypatch.setattr(images.resolve, "is_cached", lambda reference: False)
    reached = set()
    monkeypatch.setattr(images, "reachable_registries", lambda: reached)
    return reached


def test_a_version_that_nobody_has_is_refused_before_anything_runs(of_cassandra, monkeypatch, capsys):
    ran = ended(monkeypatch, "passed", 0)
    assert cli.main(["reproduce", "rook/rook#1", "--cassandra", "9.9"]) == 2
    told = capsys.readouterr().err
    assert "cassandra:9.9: not in docker, not in the archive cache, no registry can be reached" in told
    assert "a version that can be built here (4.1.10, 5.0.6)" in told
    assert ran == []


@pytest.mark.parametrize("more", [[], ["--registry-mirror", "mirror.example:5000"]], ids=["registry", "mirror"])
def test_a_version_that_a_registry_may_have_is_run(of_cassandra, monkeypatch, more):
    ran = ended(monkeypatch, "passed", 0)
    if not more:
        of_cassandra.add("docker.io")
    assert cli.main(["reproduce", "rook/rook#1", "--cassandra", "9.9", *more]) == 0
    assert len(ran) == 1


def test_a_version_of_a_workload_that_no_scenario_uses_is_not_looked_at(folder, monkeypatch):
    ended(monkeypatch, "passed", 0)
    assert cli.main(["reproduce", "rook/rook#1", "--cassandra", "9.9"]) == 0


def test_a_report_without_a_scenario_has_what_was_seen_of_it(folder, capsys):
    assert cli.main(["reproduce", "rook/rook#3"]) == 2
    assert "no scenario is made of rook/rook#3; the claim was Bound after all" in capsys.readouterr().err
