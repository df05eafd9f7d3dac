"""Where the seconds of a run went, by results that were made by hand; nothing here runs a scenario."""

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rookery import cli
from rookery.bench import core as core_bench
from rookery.bench.core import (
    ACTING,
    ACTS,
    CATEGORIES,
    CEPH,
    DEPLOYED,
    HARNESS,
    NODES,
    PHASES,
    RESTORING,
    WAITING,
    Span,
)
from rookery.errors import UsageError
from rookery.machine import pytest_process

T0 = datetime(2026, 11, 28, 21, 0, tzinfo=timezone.utc).timestamp()
EARLIER, NOW = (datetime.fromtimestamp(at, timezone.utc).isoformat() for at in (T0 - 3600, T0 - 5))

DEPLOYED_FIRST = [  # name, start, seconds
    ("images ready", 0.5, 1.5),
    ("image store ready", 2.0, 8.0),
    ("kind cluster created", 10.0, 20.0),
    ("CephCluster Ready", 30.0, 60.0),
    ("OSDs up", 90.0, 5.0),
    ("nothing to HEALTH_OK", 10.0, 88.0),
    ("storage-ready saved", 99.0, 6.0),
    ("baseline taken", 105.0, 1.0),
    # Called at 110: a node kill at 115, whose phases all begin with it.
    ("logs gathered", 112.0, 3.0),
    ("nodes Ready", 115.0, 10.0),
    ("OSDs up", 115.0, 25.0),
    # The call has ended at 150.
    ("workload and volumes removed", 151.0, 7.0),
    ("no leaks", 158.0, 1.0),
]
RESTORED_FIRST = [
    ("storage-ready restored", 1.0, 10.0),
    ("restored: nodes Ready", 1.0, 19.0),
    ("restored: OSDs up", 1.0, 34.0),
    ("symptom shown", 41.0, 2.0),
]


def write(root, name, phases, *, at=0.0, total, call=None, run=NOW, tier="core", outcome="passed"):
    """The results of a scenario that began `at` so many seconds after the first."""
    started = datetime.fromtimestamp(T0 + at, timezone.utc)
    folder = root / f"{started:%Y%m%dT%H%M%SZ}" / name
    folder.mkdir(parents=True)
    timings = {"scenario": name, "started": started.isoformat(), "outcome": outcome, "total_s": total}
    timings["phases"] = [{"name": each, "start_s": start, "seconds": seconds} for each, start, seconds in phases]
    if call:
        timings["call"] = {"start_s": call[0], "seconds": call[1]}
    report = {"started": started.isoformat(), "run": run, "tier": tier}
    (folder / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
    (folder / "report.json").write_text(
        json.dumps({key: value for key, value in report.items() if value}), encoding="utf-8"
    )


@pytest.fixture
def results(tmp_path):
    """A run that deployed, and whose second scenario had the cluster restored."""
    write(tmp_path, "node_kill[batch]", DEPLOYED_FIRST, total=160.0, call=(110.0, 40.0))
    write(tmp_path, "pools", RESTORED_FIRST, at=162, total=50.0, call=(40.0, 8.0))
    return tmp_path


def test_each_second_of_a_run_is_in_one_category(results):
    measured = core_bench.of(results)
    assert measured.runs == [
        {
            "images": 1.5,
            "store": 8.0,
            "nodes": 20.0,
            "Ceph": 68.0,  # with what of "nothing to HEALTH_OK" no other phase has
            "saving": 6.0,
            "restoring": 34.0,
            "workload": 7.0,
            "acts": 40 - 3 - 25 + 8 - 2,
            "waiting for product": 25 + 2,
            "harness": 5 + 11.5 + 4 + 7,
            "the harness adds": 77.0,
            "the product takes": 140.0,
            "core, nothing saved": 217.0,  # from when pytest began, 5 s before the first scenario
        }
    ]
    assert measured.facts["scenarios"] == ["2 passed"]


def test_what_overlaps_is_reported_by_what_each_phase_added(results):
    (parts,) = core_bench.of(results).parts
    assert parts[WAITING] == {"nodes Ready": 10.0, "OSDs up": 15.0, "symptom shown": 2.0}
    assert parts[CEPH] == {"CephCluster Ready": 60.0, "OSDs up": 5.0, "nothing to HEALTH_OK": 3.0}
    assert parts[RESTORING] == {"storage-ready restored": 10.0, "restored: nodes Ready": 9.0, "restored: OSDs up": 15.0}
    assert parts[HARNESS] == {
        "baseline taken": 1.0,
        "logs gathered": 3.0,
        "no leaks": 1.0,
        "the rest of setup": (0.5 + 1 + 4) + (1 + 5),
        "the rest of teardown": (1 + 1) + 2,
        "outside scenarios: pytest, removing the cluster": 5 + 2,
    }


@pytest.mark.parametrize(
    ("phase", "called", "category"),
    [
        ("image of the browser ready", True, "images"),
        ("image store ready", False, "store"),
        ("cassandra-batch-ready saved", False, "saving"),
        ("restored: OSDs up", True, "restoring"),
        ("OSDs up", False, "Ceph"),
        ("OSDs up", True, "waiting for product"),
        ("fault 2: OSDs up", True, "waiting for product"),
        ("workload deployed", False, "workload"),
        ("logs gathered", True, "harness"),
        ("evidence before node kill", True, "harness"),
        ("mounted after the workaround", True, "waiting for product"),
    ],
)
def test_a_phase_has_its_category_by_its_name(phase, called, category):
    assert core_bench.category_of(phase, called=called) == category


@pytest.mark.parametrize("name", [name for names in (*PHASES.values(), DEPLOYED) for name in names])
def test_every_phase_that_is_known_by_name_is_in_the_source(name):
    """Whoever renames a phase is told that it would be counted as the product's."""
    root = Path(core_bench.__file__).parents[1]
    sources = [*root.rglob("*.py"), *(Path(__file__).parents[2] / "scenarios").glob("*.py")]
    own = Path(core_bench.__file__)
    written = name.replace("*", "").strip()
    assert any(written in path.read_text(encoding="utf-8") for path in sources if path != own)


moments = st.floats(-50, 150, allow_nan=False)


@given(
    st.lists(
        st.builds(
            lambda category, name, start, seconds, rest: Span(category, name, start, start + seconds, rest),
            st.sampled_from(CATEGORIES),
            st.sampled_from("abc"),
            moments,
            st.floats(0, 100),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.floats(0, 100),
)
def test_all_categories_together_are_the_whole_time(spans, whole):
    parts = core_bench.account(spans, 0.0, whole)
    assert list(parts) == list(CATEGORIES)
    seconds = [each for named in parts.values() for each in named.values()]
    assert all(each > 0 for each in seconds)
    assert sum(seconds) == pytest.approx(whole, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.sampled_from(CATEGORIES)), max_size=8))
def test_each_second_goes_to_the_first_category_that_has_it(drawn):
    spans = [Span(category, "it", start, start + seconds) for start, seconds, category in drawn]
    expected = dict.fromkeys(CATEGORIES, 0)
    for second in range(40):
        there = {span.category for span in spans if span.start <= second < span.end}
        expected[next((each for each in core_bench.PRIORITY if each in there), HARNESS)] += 1
    parts = core_bench.account(spans, 0, 40)
    assert {category: sum(named.values()) for category, named in parts.items()} == pytest.approx(expected)


def test_the_last_run_is_taken_of_a_folder_that_has_several(results):
    write(results, "pools", RESTORED_FIRST, at=-3000, total=500.0, call=(40.0, 8.0), run=EARLIER)
    write(results, "bench-restore-0", [("storage-ready restored", 0, 10.0)], at=900, total=60.0, run="", tier="")
    assert core_bench.of(results).runs[0]["core, nothing saved"] == 217.0


@pytest.mark.parametrize(
    ("phases", "tier", "whole"),
    [
        (DEPLOYED_FIRST, "core", "core, nothing saved"),
        (
            [("kind cluster created", 1, 20), *[(n, s + 30, t) for n, s, t in RESTORED_FIRST]],
            "core",
            "core, nothing saved",
        ),
        (RESTORED_FIRST, "core", "core, states saved"),
        (RESTORED_FIRST, "rest", "whole run"),
        ([], "core", "whole run"),
    ],
)
def test_the_whole_is_held_against_the_goal_of_how_it_began(tmp_path, phases, tier, whole):
    write(tmp_path, "pools", phases, total=395.0, call=(40.0, 8.0), tier=tier)
    measured = core_bench.of(tmp_path)
    assert list(measured.runs[0])[-1] == whole
    met = {goal["step"]: goal["met"] for goal in measured.as_dict()["goals"]}
    assert met == {
        "core, nothing saved": True if whole == "core, nothing saved" else None,
        "core, states saved": False if whole == "core, states saved" else None,
        "until the first verdict": None,
    }


def test_a_run_that_made_its_images_is_held_against_no_goal_but_that_of_its_first_verdict(tmp_path):
    made = [("images ready", 0.5, 700.0), *((name, start + 700, seconds) for name, start, seconds in DEPLOYED_FIRST)]
    write(tmp_path, "node_kill[batch]", made, total=900.0, call=(810.0, 40.0))
    write(tmp_path, "pools", RESTORED_FIRST, at=900, total=1000.0, call=(940.0, 8.0))
    measured = core_bench.of(tmp_path)
    assert list(measured.runs[0].items())[-2:] == [
        ("core, images made first", 1905.0),
        ("until the first verdict", 905.0),
    ]
    met = {goal["step"]: goal["met"] for goal in measured.as_dict()["goals"]}
    assert met == {"core, nothing saved": None, "core, states saved": None, "until the first verdict": True}


def test_what_was_never_called_or_is_of_no_run_is_counted_nevertheless(tmp_path):
    write(tmp_path, "pools", RESTORED_FIRST, total=50.0, run="", tier="", outcome="running")
    for name, text in (("half", '{"total_s": 7'), ("other", "{}")):
        (tmp_path / "20261128T210000Z" / name).mkdir(parents=True)
        (tmp_path / "20261128T210000Z" / name / "timings.json").write_text(text, encoding="utf-8")
    measured = core_bench.of(tmp_path)
    (parts,) = measured.parts
    assert parts[HARNESS] == {"the rest of scenarios never called": 14.0}
    assert measured.runs[0]["whole run"] == 50.0
    assert measured.facts["scenarios"] == ["1 running"]


def test_a_folder_without_results_is_bad_input(tmp_path, capsys):
    with pytest.raises(UsageError, match="no results of scenarios there"):
        core_bench.of(tmp_path / "nothing")
    assert cli.main(["bench", "core", "--of", str(tmp_path)]) == 2
    assert "hint:" in capsys.readouterr().err


def test_the_table_has_shares_sums_goal_and_what_it_is_made_of(results, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.main(["bench", "core", "--of", str(results)]) == 0
    lines = {line.strip("│ ").partition("│")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert [each for each in CATEGORIES if each not in lines] == []
    for where, shown in (
        ("restoring", ("34.0 s", "16%", "restored: OSDs up 15.0, storage-ready restored 10.0")),
        ("the harness adds", ("77.0 s", "35%", "images + store + saving + restoring + harness")),
        ("the product takes", ("140.0 s", "65%", "nodes + Ceph + workload + acts + waiting for product")),
        ("core, nothing saved", ("217.0 s", "at most 600, met")),
    ):
        assert [text for text in shown if text not in lines[where]] == [], where


def test_json_has_all_of_it(results, capsys):
    assert cli.main(["bench", "core", "--of", str(results), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert sum(measured["shares"][category] for category in CATEGORIES) == pytest.approx(1, abs=0.01)
    assert measured["parts"][0][ACTS] == {ACTING: 18.0}
    assert measured["medians"]["the harness adds"] == 77.0


def test_of_several_runs_the_medians_and_all_their_seconds_shared():
    bench = core_bench.CoreBench("core")
    for whole, nodes in ((100.0, 10.0), (100.0, 50.0), (200.0, 20.0)):
        scenario = core_bench.Scenario(0, whole, "passed", NOW, "core", True, [Span(NODES, "made", 0, nodes)])
        bench.add(core_bench.Run([scenario], 0, whole))
    assert bench.medians[NODES] == 20.0
    assert bench.shares[NODES] == 0.2
    assert bench.made_of(NODES) == {"made": 20.0}
    assert bench.made_of(HARNESS) == {core_bench.OUTSIDE: 90.0}


@pytest.fixture
def pytest_of_users(monkeypatch, tmp_path):
    """A script in place of python: it writes results, says how it was called, and ends with its statuses in turn."""
    program = tmp_path / "python"
    program.write_text(
        f"""#!{sys.executable}
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--results-dir") + 1])
scenario = folder / "20261128T210000Z" / "it"
scenario.mkdir(parents=True)
phases = [{{"name": "storage-ready restored", "start_s": 0, "seconds": 0}}]
timings = {{"started": "2026-11-28T21:00:00+00:00", "outcome": "passed", "total_s": 0, "phases": phases}}
(scenario / "timings.json").write_text(json.dumps(timings))
(scenario / "report.json").write_text(json.dumps({{"tier": "core"}}))
print(*sys.argv[1:])
sys.exit(int(os.environ["STATUSES"].split()[int(folder.name[-1]) - 1]))
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setattr(pytest_process.sys, "executable", str(program))

    def run(statuses, *argv):
        monkeypatch.setenv("STATUSES", statuses)
        return cli.main(["bench", "core", "--json", "--results-dir", str(tmp_path / "results"), *argv])

    return run


def test_core_runs_pytest_as_a_user_would_with_the_options_that_were_given(pytest_of_users, capsys, tmp_path):
    assert pytest_of_users("0 0", "--runs", "2", "--rook", "1.17.9") == 0
    printed = capsys.readouterr()
    called = [line.split() for line in printed.err.splitlines()]
    assert [argv[:5] for argv in called] == [["-m", "pytest", "--override-ini=testpaths=scenarios", "-m", "core"]] * 2
    assert [argv[5:7] for argv in called] == [["--rook=1.17.9", "--results-dir"]] * 2
    folders = [Path(argv[7]) for argv in called]
    assert sorted(os.listdir(tmp_path / "results")) == sorted(folder.name for folder in folders)
    assert [folder.name.partition("-")[2] for folder in folders] == ["bench-core-1", "bench-core-2"]
    runs = json.loads(printed.out)["runs"]
    assert [list(run)[-1] for run in runs] == ["core, states saved"] * 2
    assert all(run["harness"] == run["core, states saved"] for run in runs)


def test_a_run_that_fails_ends_it_and_what_was_measured_is_reported(pytest_of_users, capsys):
    assert pytest_of_users("0 1 0", "--runs", "3") == 3
    measured = json.loads(capsys.readouterr().out)
    assert len(measured["runs"]) == 1
    assert measured["facts"]["failed"].startswith("run 2: pytest ended with 1; its table: rookery bench core --of ")
    assert pytest_of_users("1") == 3  # and where nothing was
    assert json.loads(capsys.readouterr().out)["medians"] == {}
    Console().print(core_bench.table(core_bench.CoreBench("core")))
