"""Nights of the matrix: their order, what is taken up again, what differs, and the page."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone

import pytest
from rookery import cli
from rookery.cli import matrix as command
from rookery.errors import UsageError
from rookery.matrix import cell_runs, cells, grid, nights
from rookery.matrix.cells import Cell, Expected, Matrix

A, B = Cell("a", "the first", {"rook": "1.18.8"}), Cell("b", "the second", {"rook": "1.17.8"})
DAY = date(2026, 12, 1)


def night_of(tmp_path, hour):
    return nights.new_night(tmp_path, datetime(2026, 12, 1, hour, tzinfo=timezone.utc))


def scenario(folder, name, outcome, seconds=12.0, *, harness=None, **timings):
    path = folder / "run" / f"20261201T000000Z-{name}"
    path.mkdir(parents=True)
    (path / "timings.json").write_text(
        json.dumps({"scenario": name, "outcome": outcome, "total_s": seconds, **timings}), encoding="utf-8"
    )
    (path.parent / "run.json").write_text(json.dumps({"harness": harness or {}}), encoding="utf-8")


def pytest_with(outcomes, status=0):
    """Stands in for pytest: leaves the scenarios of each cell in the folder it is told."""
    called = []

    def run(command):
        (folder,) = [word.partition("=")[2] for word in command if word.startswith("--results-dir=")]
        called.append(folder.rpartition("/")[2])
        for name, outcome in outcomes.items():
            scenario(cell_runs.Path(folder), name, outcome)
        return status

    return run, called


def test_each_cell_is_a_run_of_its_own(tmp_path):
    night = night_of(tmp_path, 1)
    run, called = pytest_with({"claim": "passed"})
    assert cell_runs.run_cells([A, B], night, run=run) == 0
    assert called == ["a", "b"]
    assert [(each.cell, each.outcome) for each in nights.cells_of(night)] == [("a", "passed"), ("b", "passed")]
    told = json.loads((night / "a" / nights.CELL_FILE).read_text(encoding="utf-8"))
    assert (told["schema"], told["cell"]["rook"]) == ("rookery.cell/1", "1.18.8")
    assert "--rook=1.18.8" in told["command"]


def test_a_night_is_taken_up_where_it_ended(tmp_path):
    night = night_of(tmp_path, 1)
    run, _ = pytest_with({"claim": "passed"})
    cell_runs.run_cells([A], night, run=run)
    scenario(night / "b", "claim", "running")  # begun, and killed
    run, called = pytest_with({"claim": "passed"})
    cell_runs.run_cells([A, B], night, run=run)
    assert called == ["b"]
    (resumed,) = [each for each in nights.cells_of(night) if each.cell == "b"]
    assert [each.outcome for each in nights.scenarios_of(resumed)] == ["passed"], "what was killed is no result of it"
    assert (night / "b.ended-1" / "run").is_dir(), "and is kept"


def test_no_cell_begins_after_the_budget(tmp_path):
    run, called = pytest_with({})
    assert cell_runs.run_cells([A, B], night_of(tmp_path, 1), budget_s=0, run=run) == 0
    assert called == []


def test_a_failed_scenario_counts_most(tmp_path):
    statuses = iter([3, 1, 0])
    assert cell_runs.run_cells([A, B, Cell("c", "", {})], night_of(tmp_path, 1), run=lambda _: next(statuses)) == 1


@pytest.mark.parametrize(("until", "status"), [(date.max, 0), (date.min, 1)])
def test_what_is_in_quarantine_turns_no_cell_red_until_its_day(tmp_path, until, status):
    cell = Cell("a", "", {}, expected=(Expected("claim", "https://example.org/1", until),))
    run, _ = pytest_with({"claim[ext4]": "failed", "other": "passed"}, status=1)
    assert cell_runs.run_cells([cell], night_of(tmp_path, 1), run=run) == status


def test_quarantine_excuses_no_other_scenario(tmp_path):
    cell = Cell("a", "", {}, expected=(Expected("claim", "https://example.org/1", date.max),))
    run, _ = pytest_with({"claim": "failed", "other": "failed"}, status=1)
    assert cell_runs.run_cells([cell], night_of(tmp_path, 1), run=run) == 1


def test_the_failed_come_first_and_then_the_longest_not_run(tmp_path):
    c, d = Cell("c", "", {}), Cell("d", "", {})
    first, second = night_of(tmp_path, 1), night_of(tmp_path, 2)
    ran = [(first, A, 0), (second, B, 0), (second, c, 1)]
    for number, (night, cell, status) in enumerate(ran):
        (night / cell.name).mkdir()
        nights.write(night / cell.name, cell, started=f"2026-12-01T0{number}", seconds=1.0, status=status, command=[])
    assert [cell.name for cell in nights.in_order([B, A, d, c], tmp_path)] == ["c", "d", "a", "b"]


def test_new_failures_are_reported_first(tmp_path):
    def night(hour, outcomes):
        folder = night_of(tmp_path, hour)
        run, _ = pytest_with(outcomes)
        cell_runs.run_cells([A], folder, run=run)
        (cell,) = nights.cells_of(folder)
        return nights.scenarios_of(cell)

    before = night(1, {"stays": "passed", "breaks": "passed", "heals": "failed", "goes": "passed"})
    after = night(2, {"stays": "passed", "breaks": "failed", "heals": "passed", "comes": "passed"})
    assert [(each.kind, each.scenario) for each in nights.compare(before, after)] == [
        ("new failure", "breaks"), ("fixed", "heals"), ("new", "comes"), ("gone", "goes"),
    ]  # fmt: skip
    # A cell that did not run says nothing of its scenarios, and one that runs for the first time of its failures only.
    assert nights.compare(before, []) == []
    assert [(each.kind, each.scenario) for each in nights.compare([], after)] == [("new failure", "breaks")]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("passed", "infrastructure", "no verdict"),
        ("failed", "interrupted", "no verdict"),
        ("infrastructure", "interrupted", None),
        ("infrastructure", "failed", "new failure"),
        ("infrastructure", "passed", None),
        ("failed", "passed", "fixed"),
        ("failed", "unknown", None),
        ("skipped", "unknown", "new failure"),
        ("passed", "skipped", None),
    ],
)
def test_what_the_machine_has_kept_from_its_end_is_no_failure_of_the_storage(tmp_path, before, after, kind):
    def run_of(outcome):
        return nights.ScenarioRun("claim", "a", "", outcome, 1.0, tmp_path)

    assert [each.kind for each in nights.compare([run_of(before)], [run_of(after)])] == ([kind] if kind else [])


def test_a_cell_is_compared_with_when_it_ran_last(tmp_path):
    for hour, ran, outcome in ((1, [A, B], "passed"), (2, [A], "passed"), (3, [A, B], "failed")):
        run, _ = pytest_with({"claim": outcome})
        cell_runs.run_cells(ran, night_of(tmp_path, hour), run=run)
    shown = grid.of(tmp_path, Matrix((A, B)), DAY)
    assert [(each.kind, each.cell) for each in shown.differences] == [("new failure", "a"), ("new failure", "b")]


@pytest.fixture
def own_matrix(tmp_path):
    """A matrix.toml with the cell `a`, and its last two nights, in the latter of which the scenario `claim` fails."""
    path = tmp_path / "matrix.toml"
    path.write_text('[[cell]]\nname = "a"\nwhy = "<first>"\nsettings = { rook = "1.17.8" }\n', encoding="utf-8")
    for hour, outcome in ((1, "passed"), (2, "failed")):
        run, _ = pytest_with({"claim": outcome, "other[ext4]": "passed"})
        cell_runs.run_cells(list(cells.load(path).cells), night_of(tmp_path, hour), run=run)
    return path


def compared(path, *argv):
    return cli.main(["matrix", "compare", *argv, "--matrix", str(path), "--results-dir", str(path.parent)])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["x", "20261201T020000Z"], "x: no such night\n  hint: there are: 20261201T010000Z, 20261201T020000Z\n"),
        (["20261201T020000Z"], "20261201T020000Z: two nights are compared\n"),
    ],
)
def test_what_cannot_be_compared_is_reported(own_matrix, capsys, asked, told):
    assert compared(own_matrix, *asked) == 2
    assert told in capsys.readouterr().err


def test_without_a_night_it_is_shown_how_one_begins(tmp_path, capsys):
    (tmp_path / "matrix.toml").write_text('[[cell]]\nname = "a"\nwhy = "b"\n', encoding="utf-8")
    assert compared(tmp_path / "matrix.toml") == 2
    said = f"rookery: there is no night in {tmp_path / 'nightly'}\n  hint: `rookery matrix run` begins one\n"
    assert capsys.readouterr().err == said


def test_a_new_failure_is_a_text_for_an_issue(own_matrix, tmp_path, capsys):
    (folder,) = (tmp_path / "nightly" / "20261201T020000Z").rglob("*-claim")
    failure = {"when": "call", "outcome": "failed", "type": "StorageFailure", "reason": "lost ``` @everyone"}
    failure["after_s"] = 3.0
    report = {"test": "scenarios/test_a.py::test_claim", "rook": "1.17.8", "failures": [failure]}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert compared(own_matrix, "--issues", str(tmp_path / "issues")) == 1
    (path,) = (tmp_path / "issues").iterdir()
    assert path.name == "001-claim.md"
    title, *rest = path.read_text(encoding="utf-8").splitlines()
    assert title == "# Nightly: claim fails"
    assert "| a | passed | failed | `--rook=1.17.8` |" in rest
    start = rest.index("StorageFailure: lost ``` @everyone")
    assert rest[start - 1] == rest[start + 1] == "````", "nobody is mentioned by what a log says"
    assert "pytest scenarios/test_a.py::test_claim --rook=1.17.8" in rest
    capsys.readouterr()


def test_a_variant_of_a_scenario_is_reported_by_its_name(own_matrix, tmp_path, capsys):
    night = nights.night_named(tmp_path, "20261202T010000Z")
    run, _ = pytest_with({"claim": "failed"})
    cell_runs.run_cells(list(cells.load(own_matrix).cells), night, run=run)
    assert compared(own_matrix) == 0
    assert "other[ext4]" in capsys.readouterr().out


def test_what_is_in_quarantine_is_no_issue(own_matrix, tmp_path, capsys):
    expected = '[{ scenario = "claim", link = "https://example.org/1", until = 9999-12-31 }]'
    own_matrix.write_text(own_matrix.read_text(encoding="utf-8") + f"expected = {expected}\n", encoding="utf-8")
    assert compared(own_matrix, "--issues", str(tmp_path / "issues")) == 1
    assert list((tmp_path / "issues").iterdir()) == []
    assert "new failure" in capsys.readouterr().out


def test_of_the_first_night_every_failure_is_new(tmp_path, capsys):
    (tmp_path / "matrix.toml").write_text('[[cell]]\nname = "a"\nwhy = "b"\n', encoding="utf-8")
    run, _ = pytest_with({"claim": "passed"})
    cell_runs.run_cells([A], night_of(tmp_path, 1), run=run)
    assert compared(tmp_path / "matrix.toml") == 0
    assert "no cell of it ran before" in capsys.readouterr().out
    run, _ = pytest_with({"claim": "failed"})
    cell_runs.run_cells([B], night_of(tmp_path, 2), run=run)
    night_of(tmp_path, 3)  # begun, and no cell has come to its end in it
    assert compared(tmp_path / "matrix.toml", "--json") == 1
    assert [each["cell"] for each in json.loads(capsys.readouterr().out)] == ["b"]


def test_machines_that_share_a_night_give_it_one_name(tmp_path, monkeypatch):
    (tmp_path / "matrix.toml").write_text(
        '[[cell]]\nname = "a"\nwhy = "b"\n[[cell]]\nname = "b"\nwhy = "b"\n', encoding="utf-8"
    )
    run, called = pytest_with({"claim": "passed"})
    monkeypatch.setattr(command, "run_pytest", lambda options, pass_on: run(options))
    monkeypatch.setattr(command, "machine_has", dict)
    where = ["--matrix", str(tmp_path / "matrix.toml"), "--results-dir", str(tmp_path)]
    for cell in ("a", "b", "b"):
        assert cli.main(["matrix", "run", cell, "--night", "20261130T010000Z", *where]) == 0
    assert called == ["a", "b"], "what is done in that night already is not run again"
    assert [night.name for night in nights.nights(tmp_path)] == ["20261130T010000Z"]


@pytest.mark.parametrize("name", ["tonight", "..", "20261130", "20261330T010000Z", " 20261130T010000Z"])
def test_a_night_is_named_by_a_time(tmp_path, name, capsys):
    with pytest.raises(UsageError, match="no name of a night") as caught:
        nights.night_named(tmp_path, name)
    assert "date -u" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_outcomes_and_differences(tmp_path, capsys):
    (tmp_path / "matrix.toml").write_text('[[cell]]\nname = "a"\nwhy = "<first>"\n', encoding="utf-8")
    matrix = cells.load(tmp_path / "matrix.toml")
    for hour, outcome in ((1, "passed"), (2, "failed")):
        run, _ = pytest_with({"claim": outcome})
        cell_runs.run_cells(list(matrix.cells), night_of(tmp_path, hour), run=run)
    shown = grid.of(tmp_path, matrix, DAY)
    ((name, (square,)),) = shown.rows
    assert (name, square.outcome, square.quarantined) == ("claim", "failed", False)
    argv = ["matrix", "page", "--matrix", str(tmp_path / "matrix.toml"), "--results-dir", str(tmp_path)]
    assert cli.main(argv) == 0
    page = (tmp_path / "nightly" / "index.html").read_text(encoding="utf-8")
    assert "<b>new failure</b>: claim in a" in page
    assert "&lt;first&gt;" in page
    assert (tmp_path / "nightly" / square.link).is_dir()
    capsys.readouterr()
    assert cli.main(["matrix", "compare", "--results-dir", str(tmp_path)]) == 1
    assert "new failure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "commit", "flaky"),
    [
        ("failed", "abc", True),
        ("failed", "def", False),  # another harness: it may have been mended, or broken
        ("failed", None, False),
        ("passed", "abc", False),
        ("infrastructure", "abc", False),
    ],
)
def test_flaky_is_what_came_out_otherwise_on_the_same_commit(tmp_path, before, commit, flaky):
    for hour, outcome, of in ((1, before, commit), (2, "passed", commit and "abc")):
        night = night_of(tmp_path, hour)
        timings = {"over_budget": True, "counted_s": 80.4, "budget_s": 60}
        scenario(night / "a", "claim", outcome, harness={"commit": of, "changed": False}, **timings)
        nights.write(night / "a", A, started="2026-12-01T00:00:00+00:00", seconds=1.0, status=0, command=[])
    ((_, (square,)),) = grid.of(tmp_path, Matrix((A,)), DAY).rows
    assert (square.flaky, square.over_budget) == (flaky, "80 s of 60")
    assert "over budget: 80 s of 60" in grid.write(tmp_path, Matrix((A,)), DAY).read_text(encoding="utf-8")


def test_quarantine_that_is_over_is_reported(tmp_path):
    cell = Cell("a", "", {}, expected=(Expected("claim", "https://example.org/1", date.min),))
    run, _ = pytest_with({"claim": "failed"}, status=1)
    cell_runs.run_cells([cell], night_of(tmp_path, 1), run=run)
    shown = grid.of(tmp_path, Matrix((cell,)), DAY)
    assert shown.expired == (("a", "claim", "https://example.org/1"),)


def test_without_a_night_there_is_nothing_to_show(tmp_path, capsys):
    assert grid.of(tmp_path, Matrix(()), DAY) is None
    for argv in (["matrix", "compare"], ["matrix", "run", "--resume"]):
        assert cli.main([*argv, "--results-dir", str(tmp_path)]) == 2
    assert "hint" in capsys.readouterr().err
