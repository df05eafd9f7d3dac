"""`rookery bench kill` as a command: what it asks for, ends with and refuses."""

import json
import logging
from pathlib import Path

import pytest
from rookery import cli
from rookery.bench import kill as kill_bench
from rookery.bench.common import Bench
from rookery.bench.kill import PHASES


def test_the_command_asks_for_what_was_given(monkeypatch, capsys):
    asked = []

    def kill(settings, **options):
        asked.append((settings.cluster_name, settings.fault_seed, options))
        logging.getLogger("rookery.bench.kill").info("round 1/1")
        return Bench("kill")

    monkeypatch.setattr(kill_bench, "kill", kill)
    argv = ["bench", "kill", "--times", "4", "--fault-seed", "7", "--only", "save", "deploy", "--cluster-name=mine"]
    assert cli.main([*argv, "--scenario", "a.py::x", "b.py::y", "--results-dir", "there", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["name"] == "kill"
    assert printed.err.endswith(" round 1/1\n")
    name, seed, options = asked.pop()
    assert (name, seed) == ("mine", 7)
    assert options["scenarios"] == ["a.py::x", "b.py::y"]
    assert (options["times"], options["only"]) == (4, ["save", "deploy"])
    assert sorted(options["options"]) == ["--cluster-name=mine", "--fault-seed=7"]
    assert cli.main(["bench", "kill"]) == 0
    (_, _, options) = asked.pop()
    assert (options["times"], options["only"]) == (len(PHASES), ())
    assert options["scenarios"] == kill_bench.SCENARIOS


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, 0),
        ({"left": ["round 1, save: mount /x"]}, 1),
        ({"changed": ["round 1, save: /x: gone"]}, 1),
        ({"failed": "no engine"}, 3),
        ({"failed": "no engine", "changed": ["round 1, save: /x: gone"]}, 1),
    ],
)
@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_the_exit_status_distinguishes_findings_from_failures(monkeypatch, capsys, facts, status, option):
    measured = kill_bench.KillBench("kill", facts={"seed": 1, "kills": 0, "left": [], "changed": [], **facts})
    monkeypatch.setattr(kill_bench, "kill", lambda *_, **__: measured)
    assert cli.main(["bench", "kill", *option]) == status
    printed = capsys.readouterr().out
    assert [
        line
        for value in facts.values()
        for line in ([value] if isinstance(value, str) else value)
        if line not in printed
    ] == []


@pytest.mark.parametrize("argv", [["--times", "0"], ["--only", "lunch"], ["--kubeconfig", "mine"]])
def test_what_the_command_refuses(argv, capsys):
    try:
        status = cli.main(["bench", "kill", *argv])
    except SystemExit as refused:
        status = refused.code
    assert status == 2


def test_the_scenarios_are_there_and_of_the_core():
    root = Path(__file__).parents[2]
    for scenario in kill_bench.SCENARIOS:
        path, _, name = scenario.partition("::")
        before, _, _ = (root / path).read_text(encoding="utf-8").partition(f"def {name}(")
        assert "@pytest.mark.core" in before.rpartition("\n\n\n")[2]
