"""The lock of a file as a pod asks for it; `flock` is this machine's, and stands for that of the pod."""

import os
import shutil
import signal
import subprocess

import pytest
from fakes import plays_kube
from rookery.errors import StorageFailure
from rookery.kube import ExecFailed
from rookery.signatures import LOCK_IS_HELD
from rookery.waiting import NotYet
from rookery.workloads import volumes
from rookery.workloads.volumes import Pod

pytestmark = pytest.mark.skipif(not shutil.which("flock"), reason="needs flock of util-linux")


@plays_kube
class Kube:
    """Runs what a pod is told to here, in one process group, so that all of it ends with the pod."""

    def __init__(self):
        self.groups = []

    def exec(self, pod, argv, *, namespace, timeout):
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", start_new_session=True
        )
        self.groups.append(process.pid)
        output, _ = process.communicate(timeout=10)
        if process.returncode:
            raise ExecFailed(pod, process.returncode, output)
        return output

    def end(self):
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.groups.clear()


@pytest.fixture
def lock_of(tmp_path, monkeypatch):
    """The lock of one file, as a pod of that name asks for it."""
    monkeypatch.setattr(volumes, "MOUNT", str(tmp_path))
    made = {}

    def lock_of(name):
        made.setdefault(name, Kube())
        return Pod(made[name], name, "volumes").lock("database")

    lock_of.end = lambda name: made[name].end()
    yield lock_of
    for kube in made.values():
        kube.end()


def test_a_lock_that_a_pod_holds_is_refused_to_others_until_that_pod_ends(lock_of):
    holder, other = lock_of("holder"), lock_of("other")
    other.granted.now()
    with pytest.raises(NotYet, match="was granted"):
        other.refused(LOCK_IS_HELD).now()
    holder.hold()
    assert LOCK_IS_HELD.line_in(other.refused(LOCK_IS_HELD).now())
    with pytest.raises(NotYet, match="failed to get lock"):
        other.granted.now()
    lock_of.end("holder")
    other.granted.wait(within=5)


def test_a_lock_that_another_pod_holds_is_not_taken(lock_of):
    lock_of("holder").hold()
    with pytest.raises(StorageFailure):
        lock_of("other").hold()


def test_what_is_refused_for_something_else_is_not_held(lock_of, tmp_path):
    tmp_path.rmdir()
    with pytest.raises(NotYet, match="No such file"):
        lock_of("other").refused(LOCK_IS_HELD).now()
