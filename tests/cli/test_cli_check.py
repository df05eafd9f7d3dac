"""`rookery check --sabotage`: what is run, what is said of it, and with which status it ends."""

import json

import pytest
from rookery import cli, signatures
from rookery.catalogue import ledger
from rookery.cli import check
from rookery.report.results import Results

FILE = '''\
"""A title."""

import pytest
from rookery import signatures

pytestmark = pytest.mark.budget(60)


@pytest.mark.bug("https://github.com/rook/rook/issues/1", symptom=signatures.POOL_NOT_FOUND)
def test_it(cluster):
    cluster.harm()  # cause
    cluster.mend()  # workaround


@pytest.mark.bug("https://github.com/rook/rook/issues/2")
def test_guard(cluster):
    with cluster.fault(it):  # cause
        pass


@pytest.mark.bug("https://github.com/rook/rook/issues/3")
def test_unmarked(cluster):
    pass
'''


@pytest.fixture
def ends(monkeypatch):
    """Has each scenario end so: outcome and whether its symptom shows, by what it lacks; returns what was run."""
    ran = []

    def to(status=1, **outcomes):
        def run_pytest(given, pass_on):
            ran.append(given)
            (results,) = (each.partition("=")[2] for each in given if each.startswith("--results-dir"))
            (kind,) = (each.partition("=")[2] for each in given if each.startswith("--take-out"))
            outcome, shown = outcomes.get(kind, (None, False))
            for name in [each.partition("::test_")[2] for each in given if "::" in each] if outcome else []:
                with Results(check.Path(results) / "run", name) as found:
                    if shown:
                        found.saw(signatures.POOL_NOT_FOUND, "pool not found: pool (late)")
                    if outcome != "passed":
                        found.record(failures=[failure(outcome)])
                    found.finish(outcome)
            return status

        monkeypatch.setattr(check, "run_pytest", run_pytest)
        return ran

    return to


def failure(outcome):
    reason = {"when": "call", "outcome": outcome, "type": "DeadlineExceeded", "reason": "no event\nsays [it]."}
    return {**reason, "where": "", "after_s": 1.0, "after_phase": ""}


def test_both_are_taken_out_one_after_the_other(folder, ends, capsys):
    ran = ends(cause=("failed", False), workaround=("unknown", True))
    assert cli.main(["check", "--sabotage", "rook/rook#1", "--rook", "1.19.10"]) == 0
    for given, kind in zip(ran, ("cause", "workaround"), strict=True):
        assert given[:4] == ["--rook=1.19.10", "-p", "rookery.plugin.sabotaging", f"--take-out={kind}"]
        assert given[5:] == ["scenarios/bugs/test_it.py::test_it"]
    told = capsys.readouterr().out
    for line in ("cluster.harm()", "cluster.mend()", "no event says [it].", "results: results/sabotage/"):
        assert line in told
    assert (
        '  sabotage = "The cause taken out: red after 0 s, DeadlineExceeded: no event says [it]. '
        'The workaround taken out: red after 0 s, DeadlineExceeded: no event says [it]."'
    ) in told


@pytest.mark.parametrize(
    ("cause", "workaround", "status", "verdicts"),
    [
        (("passed", False), ("failed", True), 1, ["green", "red"]),
        (("failed", False), ("passed", True), 1, ["red", "green"]),
        (("failed", True), ("failed", True), 1, ["red for another reason", "red"]),
        (("failed", False), ("failed", False), 1, ["red", "red for another reason"]),
        (("broken", False), ("failed", True), 2, ["wrong", "red"]),
        (("failed", False), ("infrastructure", True), 3, ["red", "infrastructure"]),
        (("skipped", False), ("skipped", False), 3, ["infrastructure", "infrastructure"]),
        (("failed", False), (None, False), 3, ["red", "infrastructure"]),
        (("broken", False), ("passed", True), 1, ["wrong", "green"]),
        (("infrastructure", False), ("broken", True), 2, ["infrastructure", "wrong"]),
    ],
)
def test_each_has_to_turn_red_by_itself(folder, ends, capsys, cause, workaround, status, verdicts):
    ends(cause=cause, workaround=workaround)
    assert cli.main(["check", "--sabotage", "--json", "bugs/test_it.py::test_it"]) == status
    told = json.loads(capsys.readouterr().out)
    assert [each["verdict"] for each in told["tried"]] == verdicts
    assert [each["without"] for each in told["tried"]] == ["cause", "workaround"]
    assert (told["schema"], told["without_workaround"]) == ("rookery.sabotage/1", [])


def test_without_a_result_a_wrong_command_line_is_distinguished_from_a_machine(folder, ends):
    ends(status=2)
    assert cli.main(["check", "--sabotage", "it"]) == 2


def test_one_without_a_workaround_is_listed_as_such(folder, ends, capsys):
    ran = ends(cause=("failed", False))
    assert cli.main(["check", "--sabotage", "guard"]) == 0
    assert len(ran) == 1
    assert "bugs/test_it.py::test_guard: no workaround is marked" in capsys.readouterr().out


@pytest.mark.parametrize("asked", ["scenarios/bugs/test_it.py", "rook/rook#3", "unmarked"])
def test_a_scenario_without_a_mark_is_bad_input(folder, ends, capsys, asked):
    ran = ends()
    assert cli.main(["check", "--sabotage", asked]) == 2
    told = capsys.readouterr().err
    assert "scenarios/bugs/test_it.py::test_unmarked: no cause is marked" in told
    assert "hint: end the line of the statement" in told
    assert ran == []
    assert not (folder / "results").exists()


def test_a_scenario_that_there_is_not_is_bad_input(folder, capsys):
    assert cli.main(["check", "--sabotage", "nonsense"]) == 2
    assert "nonsense: no such scenario" in capsys.readouterr().err


def test_options_of_a_run_are_for_a_run(folder, capsys):
    assert cli.main(["check", "scenarios/bugs/test_it.py", "--rook=1.19.10"]) == 2
    assert "--rook is for --sabotage" in capsys.readouterr().err


def test_what_is_missing_as_json(folder, capsys):
    (folder / "scenarios" / ledger.FILE).write_text("", encoding="utf-8")
    assert cli.main(["check", "scenarios/bugs/test_it.py", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert any("test_unmarked: no cause is marked" in each for each in told)
    assert not any("test_guard: no cause is marked" in each for each in told)


def test_a_folder_is_reported_as_one(folder, capsys):
    assert cli.main(["check", "scenarios/bugs"]) == 2
    assert capsys.readouterr().err.startswith("rookery: scenarios/bugs: a folder\n  hint: a file of scenarios")
