"""`rookery bisect`: which versions are tried, in which order, and what is said of what was found."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery import cli
from rookery.cli import bisect as command
from rookery.errors import UsageError
from rookery.matrix import bisection
from rookery.matrix.bisection import BAD, GOOD, SKIPPED

VERSIONS = [f"1.18.{patch}" for patch in range(9)]


def told(bad_from, skipped=()):
    """What comes of each version if all from that one on are bad."""
    return {each: SKIPPED if each in skipped else BAD if i >= bad_from else GOOD for i, each in enumerate(VERSIONS)}


def searched(truth):
    verdicts = {}
    while version := bisection.next_version(VERSIONS, verdicts):
        assert version not in verdicts
        verdicts[version] = truth[version]
    return verdicts


@given(st.integers(1, len(VERSIONS) - 1), st.sets(st.sampled_from(VERSIONS[1:-1])))
def test_the_first_bad_version_is_found_or_is_among_those_that_are_left(bad_from, skipped):
    truth = told(bad_from, skipped)
    verdicts = searched(truth)
    suspects = bisection.suspects(VERSIONS, verdicts)
    assert VERSIONS[bad_from] in suspects
    assert truth[suspects[-1]] == BAD
    assert set(suspects[:-1]) <= skipped, "all others were told apart"
    if not skipped:
        assert suspects == [VERSIONS[bad_from]]
        assert len(verdicts) <= 2 + math.ceil(math.log2(len(VERSIONS) - 1))


def test_the_ends_are_tried_first_and_believed_no_more_than_the_others():
    assert bisection.next_version(VERSIONS, {}) == "1.18.8"
    assert bisection.next_version(VERSIONS, {"1.18.8": BAD}) == "1.18.0"
    for verdicts in ({"1.18.8": GOOD}, {"1.18.8": SKIPPED}, {"1.18.8": BAD, "1.18.0": BAD}):
        assert bisection.next_version(VERSIONS, verdicts) is None
        assert not bisection.ends_differ(VERSIONS, verdicts)


def test_versions_in_between_are_those_that_can_be_had():
    assert bisection.between("kubernetes", "1.32.0", "1.34.0") == ["1.32.0", "1.33.0", "1.34.0"]
    assert bisection.between("kubernetes", "1.34.0", "1.32.0") == ["1.34.0", "1.33.0", "1.32.0"], "what mended it"
    assert bisection.between("kubernetes", "1.9.0", "1.33.0", also=["1.10.1"])[:2] == ["1.9.0", "1.10.1"]
    patches = bisection.between("rook", "1.17.8", "1.18.2", registries=True)
    assert patches == ["1.17.8", "1.17.9", "1.18.0", "1.18.1", "1.18.2"]


@pytest.mark.parametrize("asked", [("1.18.8", "1.18.8", ()), ("1.17.8", "1.18.8", ("1.19.0",))])
def test_what_is_not_between_is_refused(asked):
    good, bad, also = asked
    with pytest.raises(UsageError) as caught:
        bisection.between("rook", good, bad, also=also)
    assert caught.value.hint


def left(folder, *outcomes):
    for number, outcome in enumerate(outcomes):
        path = Path(folder) / "run" / f"claim{number}" / "timings.json"
        path.parent.mkdir(parents=True)
        path.write_text(
            json.dumps({"scenario": f"claim{number}", "outcome": outcome, "total_s": 1.0}), encoding="utf-8"
        )


@pytest.mark.parametrize(
    ("outcomes", "status", "verdict"),
    [
        (("passed",), 0, (GOOD, "passed")),
        (("passed", "failed"), 1, (BAD, "failed")),
        (("failed", "infrastructure"), 1, (BAD, "failed")),
        (("unknown",), 1, (SKIPPED, "unknown")),
        (("infrastructure", "passed"), 3, (SKIPPED, "infrastructure")),
        (("skipped",), 0, (SKIPPED, "skipped")),
        (("passed",), 3, (SKIPPED, "it did not run: exit status 3")),
        ((), 2, (SKIPPED, "it did not run: exit status 2")),
    ],
)
def test_what_is_no_finding_about_the_storage_is_skipped(tmp_path, outcomes, status, verdict):
    left(tmp_path, *outcomes)
    assert bisection.verdict(tmp_path, status) == verdict


@pytest.fixture
def bisect(monkeypatch, tmp_path, capsys):
    """Runs the command, with a pytest that leaves each version's outcome; returns status, output, versions tried."""
    scenario = SimpleNamespace(file="test_a.py", id="test_a.py::test_claim[ext4]", name="claim[ext4]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.collection, "collect", lambda folder: [scenario])
    monkeypatch.setattr(command, "reachable_registries", set)

    def run(outcomes, *argv):
        tried = []

        def pytest_(words, pass_on):
            (version,) = [word.partition("=")[2] for word in words if word.startswith("--kubernetes=")]
            (folder,) = [word.partition("=")[2] for word in words if word.startswith("--results-dir=")]
            assert "scenarios/test_a.py::test_claim[ext4]" in words
            tried.append(version)
            assert Path(folder).is_dir()
            left(folder, outcomes[version])
            return {"passed": 0, "failed": 1}.get(outcomes[version], 3)

        monkeypatch.setattr(command, "run_pytest", pytest_)
        status = cli.main(["bisect", *argv])
        out = capsys.readouterr()
        return status, out.out + out.err, tried

    return run


ASKED = ("claim[ext4]", "--of", "kubernetes", "--good", "v1.32.0", "--bad", "1.34.0")


def test_the_first_bad_one_is_reported_with_every_command(bisect, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    outcomes = {"1.32.0": "passed", "1.33.0": "failed", "1.34.0": "failed"}
    status, said, tried = bisect(outcomes, *ASKED, "--kind-workers", "1")
    assert (status, tried) == (0, ["1.34.0", "1.32.0", "1.33.0"])
    assert "kubernetes 1.33.0 is the first bad one; 1.32.0 is the last good one" in said
    assert "pytest --kind-workers=1 --kubernetes=1.33.0 'scenarios/test_a.py::test_claim[ext4]'" in said
    (path,) = (tmp_path / "results" / "bisect").glob("*/bisect.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["schema"] == "rookery.bisection/1"
    assert [step["verdict"] for step in written["steps"]] == ["bad", "good", "bad"]


@pytest.mark.parametrize(
    ("outcomes", "status", "told"),
    [
        (("passed", "infrastructure", "failed"), 1, "among 1.33.0, 1.34.0"),
        (("passed", "passed", "passed"), 1, "1.34.0 was said to be bad, and is good here"),
        (("failed", "passed", "failed"), 1, "1.32.0 was said to be good, and is bad here"),
        (("passed", "passed", "infrastructure"), 3, "1.34.0 was said to be bad, and is skipped here"),
    ],
)
def test_what_is_not_found_is_reported(bisect, outcomes, status, told):
    ended, said, _ = bisect(dict(zip(("1.32.0", "1.33.0", "1.34.0"), outcomes, strict=True)), *ASKED)
    assert (ended, told in said) == (status, True), said


def test_what_fits_no_rook_is_left_out_with_the_reason(bisect):
    status, said, tried = bisect(
        {}, *ASKED[:3], "--good", "1.30.0", "--bad", "1.33.0", "--versions", "1.31.x", "--dry-run"
    )
    assert (status, tried) == (0, [])
    assert "left out: 1.31.x: --kubernetes 1.31.x: no version" in said
    assert "kubernetes, from good to bad: 1.30.0 1.32.0 1.33.0" in said


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("nothing", *ASKED[1:]), "no such scenario"),
        ((*ASKED, "--kubernetes", "1.33.0"), "its version is what changes"),
        (("claim[ext4]", "--of", "kubernetes", "--good", "1.20.0", "--bad", "1.33.0"), "does not fit Rook"),
        (("claim[ext4]", "--good", "banana", "--bad", "1.18.8"), "is not a Rook version"),
    ],
)
def test_bad_input_is_refused_before_anything_is_run(bisect, tmp_path, argv, told):
    status, said, tried = bisect({}, *argv)
    assert (status, tried, told in said, "hint: " in said) == (2, [], True, True), said
    assert list(tmp_path.iterdir()) == []
