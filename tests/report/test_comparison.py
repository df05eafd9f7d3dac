"""Runs side by side: what is of one kind, medians, rates before the first fault, and runs that are half there."""

import json

import pytest
from rookery import cli
from rookery.report.comparison import Comparison, write_rates
from rookery.report.recorded import read

HOSTILE = "[red]x</script>\x1b[2J"


def operation(process, type_, f, at, **more):
    return {"process": process, "type": type_, "f": f, "time_ns": int(at * 1e9), "at": 1000.0 + at, **more}


def writes(times, took=0.1, first=0):
    for key, at in enumerate(times, first):
        yield operation(0, "invoke", "write", at, key=key)
        yield operation(0, "ok", "write", at + took, key=key)


@pytest.fixture
def run(tmp_path):
    """Makes a run of one scenario, or of none; returns its folder."""

    def make(name, *, rook="1.18.8", seconds=None, phases=(), history=(), outcome="passed", verdict="valid", seed=1):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"rook": rook, "fault_seed": seed}
        told = {"settings": settings, "harness": {"commit": "c0ffee"}, "machine": {"host": "vm"}}
        (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
        if seconds is not None:
            scenario = folder / "it"
            scenario.mkdir()
            timings = {"scenario": "it", "outcome": outcome, "total_s": seconds, "uncounted_s": 1.0, "started": "x"}
            listed = [{"name": each, "start_s": 0, "seconds": took} for each, took in phases]
            (scenario / "timings.json").write_text(json.dumps({**timings, "phases": listed}), encoding="utf-8")
            (scenario / "report.json").write_text(
                json.dumps({"verdict": {"verdict": verdict}, "driver": "userspace"}), encoding="utf-8"
            )
            if history:
                (scenario / "history.jsonl").write_text(
                    "".join(json.dumps(each) + "\n" for each in history), encoding="utf-8"
                )
        return folder

    return make


def test_runs_of_one_kind_are_columns_of_their_own(run):
    found = Comparison.of([run("a", seconds=11), run("b", seconds=21, seed=2)])
    assert [column.name for column in found.columns] == ["a", "b"]
    assert [column.figures("it", "seconds") for column in found.columns] == [[10.0], [20.0]]


def test_beside_three_runs_of_one_kind_stands_their_median(run, capsys):
    seconds = {"a": 11, "b": 31, "c": 13}
    folders = [run(name, seconds=each) for name, each in seconds.items()]
    found = Comparison.of(folders)
    assert [column.name for column in found.columns] == ["a", "b", "c", "median"]
    assert found.as_dict()["scenarios"]["it"]["figures"]["seconds"][-1] == {"values": [10, 12, 30], "median": 12}
    assert cli.main(["compare", *map(str, folders)]) == 0
    assert "12 (10 to 30)" in capsys.readouterr().out
    assert [column.name for column in Comparison.of(folders[:2]).columns] == ["a", "b"]


def test_runs_of_more_kinds_are_medians_named_by_what_differs(run):
    folders = [run(f"old{n}", seconds=n, rook="1.17.9") for n in (11, 12, 31)] + [
        run("new", seconds=8, verdict="invalid")
    ]
    found = Comparison.of(folders)
    assert [column.name for column in found.columns] == ["rook 1.17.9 (3 runs)", "rook 1.18.8 (1 run)"]
    told = found.as_dict()["scenarios"]["it"]
    assert told["verdicts"] == ["valid 3", "invalid"]
    assert told["figures"]["seconds"][0] == {"values": [10.0, 11.0, 30.0], "median": 11.0}


def test_a_phase_that_came_twice_counts_whole_and_phases_stay_in_order(run):
    found = Comparison.of([run("a", seconds=9, phases=[("z", 1.5), ("a", 2), ("z", 0.5)]), run("b", seconds=9)])
    assert found.figures["it"] == ["seconds", "z", "a"]
    assert found.columns[0].figures("it", "z") == [2.0]
    assert found.columns[1].figures("it", "z") == []


def test_rates_are_of_before_the_first_fault(run):
    before = list(writes([1, 2, 3, 4]))
    fault = [operation(-1, "invoke", "fault", 5, value="node kill"), operation(-1, "ok", "fault", 6)]
    after = list(writes([50, 99], took=9, first=10))
    (folder := run("a", seconds=9, history=[*before, *fault, *after]))
    found = write_rates(read(folder / "it/history.jsonl"))
    assert found == {"acknowledged writes/s": 1.3, "write, median ms": 100.0, "write, 99 % ms": 100.0}


def test_of_several_workloads_each_has_its_rates_and_its_verdict_by_its_name(run):
    folder = run("a", seconds=9, history=list(writes([1, 2]))) / "it"
    later = "".join(json.dumps(each) + "\n" for each in writes([1, 2, 3, 4], took=0.5))
    (folder / "history-postgresql.jsonl").write_text(later, encoding="utf-8")
    report = {
        "verdict": {"verdict": "valid"},
        "verdicts": [{"of": "postgresql", "verdict": {"verdict": "unknown"}}],
        "histories": {"history.jsonl": "cassandra", "history-postgresql.jsonl": "postgresql"},
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (found,) = Comparison.of([folder.parent]).columns
    assert found.words("it", lambda each: each.verdict) == "cassandra: valid, postgresql: unknown"
    assert found.figures("it", "cassandra: write, median ms") == [100.0]
    assert found.figures("it", "postgresql: write, median ms") == [500.0]


def test_one_write_has_no_rate(run):
    assert write_rates(read(run("a", seconds=9, history=list(writes([1]))) / "it/history.jsonl")) == {}


def test_files_that_are_half_there_are_compared_as_far_as_they_go(run):
    good, bad = run("a", seconds=9), run("b", seconds=9, history=[{"no": "operation"}])
    (bad / "it/report.json").write_text("{", encoding="utf-8")
    (bad / "run.json").write_text("[]", encoding="utf-8")
    found = Comparison.of([good, bad])
    assert found.columns[1].words("it", lambda each: each.verdict) == ""


def test_hostile_names_stay_names(run):
    found = Comparison.of([run("a", seconds=9, phases=[(HOSTILE, 1)]), run("b", seconds=9)])
    assert json.loads(json.dumps(found.as_dict()))["scenarios"]["it"]["figures"][HOSTILE][0]["median"] == 1
