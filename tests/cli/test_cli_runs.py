"""`rookery compare` and `rookery recheck`, on runs as they lie on the disk."""

import json

import pytest
from rookery import cli
from stories import Story


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.fixture
def run(results):
    """Makes a run whose scenario `it` was checked; `verdict` overrides what the checker of then said."""

    def make(name, *, checked=True, **verdict):
        scenario = results / name / "it"
        scenario.mkdir(parents=True)
        (scenario.parent / "run.json").write_text(json.dumps({"started": name}), encoding="utf-8")
        timings = {"scenario": "it", "outcome": "passed", "total_s": 3.0, "phases": []}
        phase = {"name": "[bold]\x1b[2J", "start_s": 0, "seconds": 1.5}
        (scenario / "timings.json").write_text(json.dumps({**timings, "phases": [phase]}), encoding="utf-8")
        told = Story().acked(1, 2).in_flight(9).fault().read("QUORUM", [1, 2], 150).read("ALL", [1, 2], 160)
        lines = sorted(told.operations, key=lambda each: each.time_ns)
        (scenario / "history.jsonl").write_text("".join(each.to_json() + "\n" for each in lines), encoding="utf-8")
        report = {"verdict": {**told.check().as_dict(), **verdict}, "rpo_seconds": None} if checked else {}
        (scenario / "report.json").write_text(json.dumps(report), encoding="utf-8")
        return name

    return make


def test_compare_prints_a_table_of_each_scenario(run, capsys):
    assert cli.main(["compare", run("a"), run("b")]) == 0
    told = capsys.readouterr().out
    assert [word for word in ("it", "passed", "valid", "change", "+0%", "[bold]") if word not in told] == []
    assert "\x1b[2J" not in told


def test_compare_as_json_has_every_figure(run, capsys):
    assert cli.main(["compare", run("a"), run("b"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "rookery.comparison/1"
    assert [column["name"] for column in told["columns"]] == ["a", "b"]
    assert told["scenarios"]["it"]["figures"]["seconds"][1] == {"values": [3.0], "median": 3.0}


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "no-such-run"]])
def test_compare_wants_two_runs_that_are_there(run, capsys, names):
    run("a")
    assert cli.main(["compare", *names]) == 2
    assert "hint:" in capsys.readouterr().err


def test_recheck_is_silent_about_what_is_as_it_was(run, capsys):
    run("a")
    assert cli.main(["recheck"]) == 0
    assert "nothing" in capsys.readouterr().out


def test_recheck_shows_what_the_checker_of_then_has_not_seen(run, capsys, results):
    before = run("a", verdict="unknown", lost=[{"key": 2, "allowed": False}])
    kept = (results / before / "it/report.json").read_bytes()
    assert cli.main(["recheck", before, "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    told = printed["scenarios"]["it"]
    assert printed["schema"] == "rookery.recheck/1"
    assert (told["before"], told["now"], told["differences"]) == ("unknown", "valid", ["lost: only then: 2"])
    assert (results / before / "it/report.json").read_bytes() == kept


def test_recheck_has_the_history_of_a_second_workload(run, capsys, results):
    scenario = results / run("a") / "it"
    (scenario / "history-postgresql.jsonl").write_bytes((scenario / "history.jsonl").read_bytes())
    report = json.loads((scenario / "report.json").read_text(encoding="utf-8"))
    report["verdicts"] = [{"of": "postgresql", "verdict": {**report["verdict"], "verdict": "invalid"}}]
    (scenario / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert cli.main(["recheck", "a", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)["scenarios"]
    assert {name: (each["before"], each["now"]) for name, each in printed.items()} == {
        "it": ("valid", "valid"),
        "it postgresql": ("invalid", "valid"),
    }


def test_recheck_reports_nothing_of_a_history_that_was_not_checked(run, capsys):
    assert cli.main(["recheck", run("a", checked=False)]) == 2
    assert "was not checked when it ran" in capsys.readouterr().err
