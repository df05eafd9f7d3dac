"""What is in the making in the cache, and what is left of it when its process is killed."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import InfrastructureError
from harness.machine import leases, unfinished
from harness.machine.unfinished import SUFFIX, being_made
from harness.paths import cache_dir

ROOT = Path(__file__).parent.parent
PLACES = ["bin/kind", "crds/snapshots.yaml", "images/0123.tar", "stores/0123-4567", "snapshots/rookery-0123/rook-ready"]
MAKE = """
import sys
from pathlib import Path
from harness.machine.unfinished import being_made
with being_made(Path(sys.argv[1])) as partial:
    (partial / "half").mkdir()
    print(partial, flush=True)
    sys.stdin.read()
"""


def test_what_is_made_takes_its_place_when_it_is_whole():
    target = cache_dir() / "stores/a"
    with being_made(target) as partial:
        assert (partial.parent, partial.suffix, list(partial.iterdir())) == (target.parent, SUFFIX, [])
        (partial / "file").touch()
        assert not target.exists()
        partial.rename(target)
    assert list(target.parent.iterdir()) == [target]
    assert (target / "file").exists()


def test_what_fails_leaves_nothing():
    def fail():
        with being_made(cache_dir() / "stores/a") as partial:
            (partial / "folder").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((cache_dir() / "stores").iterdir()) == []


def test_each_attempt_has_a_folder_of_its_own():
    target = cache_dir() / "stores/a"
    with being_made(target) as one, being_made(target) as other:
        assert one != other
        assert leases.sweep() == []
        assert {one, other} == set(target.parent.iterdir())


@pytest.mark.parametrize("place", PLACES)
def test_a_sweep_leaves_what_a_living_process_makes_and_removes_what_a_killed_one_did(place):
    target = cache_dir() / place
    argv = [sys.executable, "-c", MAKE, str(target)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as killed:
        partial = Path(killed.stdout.readline().rstrip())
        assert leases.sweep() == []
        assert (partial / "half").is_dir()
        killed.kill()
    assert leases.sweep() == [f"unfinished {partial}"]
    assert not target.parent.exists()  # a cell without snapshots would count as one
    assert leases.sweep() == []


def test_what_is_whole_or_lies_elsewhere_is_not_swept():
    kept = [cache_dir() / place for place in (*PLACES, "stores/a/lib/b.partial", "rook/c.partial")]
    for path in kept:
        path.mkdir(parents=True)
    assert leases.sweep() == []
    assert all(path.is_dir() for path in kept)


def test_a_file_that_an_earlier_version_left_is_swept():
    (cache_dir() / "images").mkdir(parents=True)
    (cache_dir() / "images/0123.partial").touch()
    assert leases.sweep() == [f"unfinished {cache_dir()}/images/0123.partial"]


def test_what_something_still_writes_to_goes_another_time(monkeypatch):
    left = cache_dir() / "stores/a.partial"
    (left / "written").mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(unfinished.shutil, "rmtree", lambda path, ignore_errors: None)
        assert leases.sweep() == []
    assert leases.sweep() == [f"unfinished {left}"]


@pytest.fixture
def swept(monkeypatch):
    """Has so many new folders (`times`) removed before they are locked, as a sweep may do; `made` are all of them."""
    swept, lock = SimpleNamespace(times=0, made=[]), unfinished._lock

    def late(path):
        swept.made.append(path)
        if len(swept.made) <= swept.times:
            shutil.rmtree(path.parent)
        return lock(path)

    monkeypatch.setattr(unfinished, "_lock", late)
    return swept


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(swept):
    swept.times = 1
    with being_made(cache_dir() / "stores/a") as partial:
        assert len(swept.made) == 2
        assert partial == swept.made[-1]
        assert partial.is_dir()


def test_one_that_is_always_removed_is_told(swept):
    swept.times = 1000
    with pytest.raises(InfrastructureError, match="removed each time"), being_made(cache_dir() / "stores/a"):
        pass
