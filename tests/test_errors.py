"""Whatever is the user's or the machine's to mend comes with what to do next."""

import ast
import pickle
from pathlib import Path

import pytest
import rookery
from rookery.errors import InfrastructureError, MachineTooSlow, RookeryError, StorageFailure, UsageError, in_words
from rookery.kube.errors import ApiUnavailable, ExecFailed, KubeError, refused
from rookery.machine.leases import SweepIncomplete
from rookery.machine.run import CommandFailed, run

PACKAGE = Path(rookery.__file__).parent


@pytest.mark.parametrize("kind", [RookeryError, UsageError, InfrastructureError])
def test_an_error_has_to_have_a_hint(kind):
    with pytest.raises(TypeError, match="hint"):
        kind("no such Rook")


@pytest.mark.parametrize(
    "error",
    [
        MachineTooSlow("the engine", 60, "no socket"),
        CommandFailed(["docker", "info"], 1, "no socket"),
        CommandFailed(["docker", "info"], None, ""),
        KubeError("pods: forbidden", status=403),
        ApiUnavailable("GET /api: connection refused"),
        refused("GET /api", 503, None),
        ExecFailed("cqlsh", 1, "no host"),
        ExecFailed("cqlsh", None, ""),
        SweepIncomplete({"mine": OSError("busy")}, []),
    ],
    ids=repr,
)
def test_what_others_answer_has_one_by_its_kind(error):
    assert isinstance(error, InfrastructureError)
    assert error.hint
    assert str(error) == f"{error.message}\n  hint: {error.hint}"


@pytest.mark.parametrize(
    "error",
    [
        UsageError("no such Rook", hint="1.18.8"),
        MachineTooSlow("the engine", 60, "no socket"),
        CommandFailed(["docker", "info"], 1, "no socket"),
        StorageFailure("torn"),
    ],
    ids=repr,
)
def test_an_error_of_another_process_is_what_it_was_there(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_the_hints_of_programs_distinguish_one_that_is_missing_from_one_that_is_slow_and_one_that_failed():
    with pytest.raises(CommandFailed) as missing:
        run(["rookery-no-such-program"], timeout=5)
    errors = [missing.value, CommandFailed(["docker"], None, ""), CommandFailed(["docker"], 1, "")]
    assert len({error.hint for error in errors}) == 3
    assert "rookery-no-such-program" in missing.value.hint


def test_a_finding_about_the_storage_needs_none():
    assert str(StorageFailure("a row is lost")) == "a row is lost"


def test_a_text_around_an_error_has_no_hint_of_it():
    assert in_words(UsageError("no such Rook", hint="one of 1.18")) == "no such Rook"


def empty_hints(tree):
    """Each call that has a hint which says nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            hints = [each.value for each in node.keywords if each.arg == "hint"]
            if any(isinstance(hint, ast.Constant) and not str(hint.value or "").strip() for hint in hints):
                yield node


def test_no_hint_is_given_as_an_empty_one():
    assert [*empty_hints(ast.parse("UsageError('no such Rook', hint=' ')"))]
    found = {path: [*empty_hints(ast.parse(path.read_text("utf-8")))] for path in PACKAGE.rglob("*.py")}
    own = {PACKAGE / "errors.py"}  # of a condition that ceased, which is a finding
    assert {path for path, calls in found.items() if calls} <= own
