"""What happens on the way is logged, each module to its own logger; only a command prints, and that is its answer."""

import ast
import json
import logging
import re
import time
from pathlib import Path

import pytest
from rookery import cli
from rookery.cli import sweep as sweeping
from rookery.log_lines import TimeOfDay

HARNESS = Path(__file__).parents[1] / "harness/rookery"
MODULES = sorted(HARNESS.rglob("*.py"))
PROGRAMS = {  # which another process runs, and reads the output of
    *("rook/ask_ceph.py", "rook/tell_ceph.py", "rook/read_ceph.py", "rook/list_images.py", "rook/list_subvolumes.py"),
    "workloads/small_files.py",  # in a pod
    "catalogue/collecting.py",  # beside us, as it imports scenarios
}
LEVELS = ("debug", "info", "warning", "error", "exception")


def named(path):
    return str(path.relative_to(HARNESS))


@pytest.fixture(scope="module")
def trees():
    return {named(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_no_print_function_is_passed_on(trees):
    assert len(trees) > 100
    taken = [
        f"{name}:{each.lineno}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.arguments)
        for each in (*node.posonlyargs, *node.args, *node.kwonlyargs)
        if each.arg == "say"
    ]
    assert taken == []


def test_commands_alone_print(trees):
    def prints(tree):
        return any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))

    assert {name for name, tree in trees.items() if prints(tree) and not name.startswith("cli/")} == PROGRAMS


def test_each_module_logs_to_a_logger_of_its_name(trees):
    def loggers(tree):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        return [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("getLogger")]

    by_name = {name: found for name, tree in trees.items() if (found := loggers(tree))}
    assert len(by_name) > 20
    others = {name: found for name, found in by_name.items() if found != ["logging.getLogger(__name__)"]}
    assert others == {
        "log_lines.py": ["logging.getLogger('rookery')"],  # which the plugin and the command listen on
        "workloads/cassandra/client.py": ["logging.getLogger('cassandra')"],  # the driver's, which is to be quiet
    }


def test_a_message_is_made_only_where_somebody_hears_it(trees):
    """Its arguments are given to the logger: `log.info("%s in %.1f s", …)`."""

    def messages(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"log.{each}" for each in LEVELS}:
                yield node.args[0]

    made = [f"{name}:{each.lineno}" for name, tree in trees.items() for each in messages(tree) if is_made(each)]
    assert made == []


def is_made(message):
    return isinstance(message, ast.JoinedStr | ast.BinOp | ast.Call)


@pytest.fixture
def in_tokyo(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_time_of_day_is_that_of_the_record_in_utc(in_tokyo):
    record = logging.makeLogRecord({"msg": "%s is\n%d", "args": ("it", 5), "created": 3725.9})
    assert TimeOfDay().format(record) == "01:02:05 it is\n01:02:05 5"
    assert TimeOfDay("gw1").format(record) == "01:02:05 gw1 it is\n01:02:05 gw1 5"


@pytest.fixture
def sweeps(monkeypatch):
    """A sweep that logs at every level what it waits for, and removes nothing."""

    def sweep(*, everything):
        log = logging.getLogger("rookery.machine.locks")
        log.debug("the lock: not for 10 of 60 s")
        log.info("waiting for another run")
        log.warning("it has ended")
        return []

    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(sweeping.Lease, "all", list)


SHOWN = r"\d\d:\d\d:\d\d waiting for another run\n\d\d:\d\d:\d\d it has ended\n"


def test_what_a_command_logs_is_shown_where_it_prints(sweeps, capsys):
    assert cli.main(["sweep"]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(SHOWN + "nothing to remove\n", printed.out)
    assert printed.err == ""


def test_what_a_command_logs_is_shown_beside_json(sweeps, capsys):
    assert cli.main(["sweep", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert re.fullmatch(SHOWN, printed.err)


@pytest.mark.parametrize("argv", [["sweep"], ["scenarios", "--scenarios", "nowhere"]], ids=["0", "2"])
def test_nothing_is_left_on_the_logger_after_a_command(sweeps, argv):
    loggers = [logging.getLogger(name) for name in ("rookery", "")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    cli.main(argv)
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before
