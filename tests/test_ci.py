"""What .ci/run does, with every command that it starts faked: in which order, whose turn it is, and how it ends."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "run"
FAKE_PYTHON = """#!/bin/sh
echo "ran: $*"
case "$*" in {fails}) exit {status};; esac
"""
FAKE_ROOKERY = """#!/bin/sh
case "$*" in
"matrix draw 17") echo default;;
"matrix draw "*) echo rook-1.17 --rook=1.17.8;;
"bench "*) echo "ran: $*"; exit 3;;
esac
"""
FAKE_GIT = """#!/bin/sh
case "$1" in rev-list) echo {commits};; rev-parse) echo {shallow};; esac
"""
ENGINE = (
    "-m tox -e unit -- tests/machine/test_identity.py tests/bench/test_page_bench.py "
    "tests/report/test_page_in_a_browser.py tests/report/test_hostile.py"
)
CORE, SLICE = (
    ["-m pip install tox", "-m tox", "-m tox -e docs", "-m tox -e e2e", "-m tox -e stranger", ENGINE],
    "-m tox -e e2e -- scenarios -m not core and not slow",
)


@pytest.fixture
def ci(tmp_path):
    """Runs a copy of the script; returns its exit status, the commands of python3, and what else it says."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "run")
    rookery = tmp_path / ".tox" / "e2e" / "bin" / "rookery"
    rookery.parent.mkdir(parents=True)
    rookery.write_text(FAKE_ROOKERY, encoding="utf-8")
    rookery.chmod(0o755)

    def run(commits=204, shallow="false", fails="nothing", status=0, slices=None, environment=()):
        for name, text in (("python3", FAKE_PYTHON), ("git", FAKE_GIT)):
            fake = tmp_path / "bin" / name
            fake.write_text(text.format(commits=commits, shallow=shallow, fails=fails, status=status), encoding="utf-8")
            fake.chmod(0o755)
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **dict(environment)}
        if slices:
            environment["ROOKERY_CI_SLICES"] = slices
        done = subprocess.run(
            [str(tmp_path / ".ci" / "run")],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        lines = done.stdout.splitlines()
        ran = [line.removeprefix("ran: ") for line in lines if line.startswith("ran: ")]
        python = [command for command in ran if not command.startswith("bench ")]
        benches = [command for command in ran if command not in python]
        return done.returncode, python, [*benches, *(line for line in lines if not line.startswith("ran: "))]

    return run


def test_lint_unit_tests_and_docs_then_the_core_then_a_slice_of_the_rest(ci):
    status, ran, said = ci()
    assert (status, ran[:6], len(ran)) == (0, CORE, 7)
    assert ran[6].startswith(f"{SLICE} --shard 1/12")
    assert said[-2:] == [
        "core has passed; of the rest it is the turn of slice 1/12, by the 204 commits of this clone",
        "the slice is run in the cell default",
    ]


def test_the_slice_is_run_in_the_cell_whose_turn_it_is(ci):
    _, ran, said = ci(commits=216)
    assert ran[6] == f"{SLICE} --shard 1/12 --rook=1.17.8"
    assert said[-1] == "the slice is run in the cell rook-1.17 (--rook=1.17.8)"


@pytest.mark.parametrize(("slices", "number"), [(None, 12), ("3", 3)])
def test_so_many_submissions_in_a_row_have_every_slice(ci, slices, number):
    turns = {ci(commits, slices=slices)[1][6].partition("--shard ")[2].split()[0] for commits in range(40, 40 + number)}
    assert turns == {f"{index}/{number}" for index in range(1, number + 1)}


@pytest.mark.parametrize(
    ("fails", "ran"),
    [
        ('"-m tox"', 2),
        ("*docs*", 3),
        ('"-m tox -e e2e"', 4),
        ("*stranger*", 5),
        ("*identity*", 6),
        ("*--shard*", 7),
    ],
)
def test_what_fails_ends_it_with_its_status(ci, fails, ran):
    status, commands, _ = ci(fails=fails, status=3)
    assert (status, len(commands)) == (3, ran)


def test_where_tox_has_its_environments_elsewhere_the_slice_is_run_as_without_options(ci, tmp_path):
    (tmp_path / ".tox" / "e2e" / "bin" / "rookery").unlink()
    status, ran, _ = ci(commits=216)
    assert (status, ran[6]) == (0, f"{SLICE} --shard 1/12")


def test_a_draw_that_fails_ends_it(ci, tmp_path):
    rookery = tmp_path / ".tox" / "e2e" / "bin" / "rookery"
    rookery.write_text('#!/bin/sh\ncase "$*" in "matrix draw "*) exit 2;; esac\n', encoding="utf-8")
    status, ran, _ = ci()
    assert (status, ran) == (2, CORE)


@pytest.mark.parametrize("results", [None, "elsewhere"])
def test_where_the_seconds_of_the_core_went_is_reported_and_fails_nothing(ci, results):
    status, _, said = ci(environment={"ROOKERY_RESULTS_DIR": results} if results else {})
    assert status == 0
    assert said[:2] == [f"bench core --of {results or 'results'}", "bench page --runs 1"]


def test_an_empty_slice_is_no_failure_and_an_empty_core_is_one(ci):
    assert ci(fails="*--shard*", status=5)[0] == 0
    assert ci(fails='"-m tox -e e2e"', status=5)[0] == 5


def test_a_shallow_clone_is_warned_that_its_turn_means_nothing(ci):
    assert any("this clone is shallow" in line for line in ci(commits=1, shallow="true")[2])


def test_tox_gives_a_run_the_time_to_remove_its_cluster():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(SCRIPT.parent.parent / "tox.ini")
    for name in ("suicide_timeout", "interrupt_timeout", "terminate_timeout"):
        for environment in ("e2e", "stranger"):
            assert tox[f"testenv:{environment}"].getint(name) >= 60
