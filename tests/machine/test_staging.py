"""What is in the making in the cache, and what is left of it when its process is killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError
from rookery.images import build, recipes
from rookery.machine import kind, leases, locks, staging
from rookery.machine.staging import SUFFIX, staged
from rookery.metallb import manifests as metallb
from rookery.paths import cache_dir
from rookery.rook import manifests as rook

ROOT = Path(__file__).parents[2]
PLACES = [
    *(
        "bin/kind",
        "builds/ceph-v18.2.7",
        "crds/snapshots.yaml",
        "images/0123.tar",
        "metallb/0.15.2.yaml",
        "rook/1.18.8",
    ),
    *("stores/0123-4567", "snapshots/rookery-0123/storage-ready"),
]
MAKE = """
import sys
from pathlib import Path
from rookery.machine.staging import staged
with staged(Path(sys.argv[1])) as partial:
    (partial / "half").mkdir()
    print(partial, flush=True)
    sys.stdin.read()
"""


def test_what_is_made_takes_its_place_when_it_is_complete():
    target = cache_dir() / "stores/a"
    with staged(target) as partial:
        assert (partial.parent, partial.suffix, list(partial.iterdir())) == (target.parent, SUFFIX, [])
        (partial / "file").touch()
        assert not target.exists()
        partial.rename(target)
    assert list(target.parent.iterdir()) == [target]
    assert (target / "file").exists()


def test_what_fails_leaves_nothing():
    def fail():
        with staged(cache_dir() / "stores/a") as partial:
            (partial / "folder").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((cache_dir() / "stores").iterdir()) == []


def test_each_attempt_has_a_folder_of_its_own():
    target = cache_dir() / "stores/a"
    with staged(target) as one, staged(target) as other:
        assert one != other
        assert leases.sweep() == []
        assert {one, other} == set(target.parent.iterdir())


@pytest.mark.parametrize("place", PLACES)
def test_a_sweep_leaves_what_a_living_process_makes_and_removes_what_a_killed_one_did(place):
    target = cache_dir() / place
    argv = [sys.executable, "-c", MAKE, str(target)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, encoding="utf-8") as killed:
        partial = Path(killed.stdout.readline().rstrip())
        assert leases.sweep() == []
        assert (partial / "half").is_dir()
        killed.kill()
    assert leases.sweep() == [f"unfinished {partial}"]
    assert not target.parent.exists()  # a key without snapshots would count as one
    assert leases.sweep() == []


class Killed(BaseException):
    pass


@pytest.fixture
def maker(monkeypatch):
    """Whatever is asked to make something is killed at it; `at` are the paths where it was to do so."""
    at = []

    def make(*arguments, **_):
        at.append(next(each for each in arguments if isinstance(each, Path)))
        assert leases.sweep() == []  # it is held
        raise Killed

    monkeypatch.setattr(kind, "_download_release", lambda target: False)
    monkeypatch.setattr(kind, "kind_binary", lambda: (_ for _ in ()).throw(InfrastructureError("none", hint="h")))
    monkeypatch.setattr(build, "_docker_build", make)
    monkeypatch.setattr(metallb, "_module", make)
    monkeypatch.setattr(rook, "from_go_module", lambda version, dest: False)
    monkeypatch.setattr(rook, "from_release_archive", lambda version, dest: False)
    return SimpleNamespace(at=at, make=make)


@pytest.mark.parametrize(
    "begin",
    [
        kind.install_kind,
        lambda make: build._build_one(recipes.require("registry.k8s.io/kube-scheduler:v1.32.0")),
        lambda make: metallb.manifests_for("0.15.2", make),
        lambda make: rook.manifests_for("1.18.8", fetch=[make]),
    ],
    ids=["kind", "an image", "MetalLB", "Rook"],
)
def test_whatever_takes_long_to_make_is_made_where_a_sweep_would_find_it(maker, begin):
    with pytest.raises(Killed):
        begin(maker.make)
    (at,) = maker.at
    folder = next(each for each in (at, *at.parents) if each.suffix == SUFFIX)
    folder.mkdir(parents=True)
    assert leases.sweep() == [f"unfinished {folder}"]


def test_keys_of_a_client_of_the_api_do_not_outlive_it(tmp_path):
    """The library writes them to files for as long as the process lives."""
    user = {"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"}
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "c", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig), encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    program = (
        "import sys; from rookery.kube.client import _configuration; from pathlib import Path\n"
        "print(_configuration(Path(sys.argv[1])).key_file, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "kubeconfig")]
    pipe, environment = subprocess.PIPE, {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=ROOT, encoding="utf-8", env=environment) as killed:
        key = Path(killed.stdout.readline().rstrip())
        assert leases.sweep() == []
        assert key.read_text(encoding="utf-8") == "key"
        killed.kill()
    assert leases.sweep() == [f"unfinished {key.parent}"]
    assert list((tmp_path / "tmp").iterdir()) == []

    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, encoding="utf-8", timeout=60)
    assert not Path(ended.stdout.rstrip()).parent.exists()


def test_what_is_complete_or_lies_elsewhere_is_not_swept():
    kept = [cache_dir() / place for place in (*PLACES, "stores/a/lib/b.partial", "logs/c.partial")]
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
        patched.setattr(staging.shutil, "rmtree", lambda path, ignore_errors: None)
        assert leases.sweep() == []
    assert leases.sweep() == [f"unfinished {left}"]


@pytest.fixture
def swept(monkeypatch):
    """Has so many new folders (`times`) removed before they are locked, as a sweep may do; `made` are all of them."""
    swept, take = SimpleNamespace(times=0, made=[]), locks.take

    def late(path):
        swept.made.append(path)
        if len(swept.made) <= swept.times:
            shutil.rmtree(path.parent)
        return take(path)

    monkeypatch.setattr(staging.locks, "take", late)
    return swept


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(swept):
    swept.times = 1
    with staged(cache_dir() / "stores/a") as partial:
        assert len(swept.made) == 2
        assert partial == swept.made[-1]
        assert partial.is_dir()


def test_one_that_is_always_removed_is_reported(swept):
    swept.times = 1000
    with pytest.raises(InfrastructureError, match="removed each time"), staged(cache_dir() / "stores/a"):
        pass
