"""Who holds a lease: told by locks that the kernel keeps, among processes, pid namespaces, and on a full disk."""

import fcntl
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import leases, locks, removers
from rookery.machine.leases import Lease, sweep
from rookery.machine.locks import machine_lock
from rookery.paths import state_dir
from rookery.waiting import DeadlineExceeded, NotYet, wait_for

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

HOLD = """
import sys
from rookery.machine.leases import Lease
Lease.acquire(sys.argv[1]).add("file", sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""
SWEEP = "from rookery.machine.leases import sweep; print(sweep())"
OUTLIVED = """
import os, subprocess, sys
from rookery.machine.leases import Lease
lease = Lease.acquire("mine")
if sys.argv[1] == "fork":
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(1)
        os.write(write, b"I live")
        sys.stdin.read()
        os._exit(0)
    os.read(read, 6)
else:
    subprocess.Popen(["cat"], stdout=subprocess.DEVNULL)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def program():
    """Starts a Python program with arguments, maybe by another (`under`); it is killed at the end."""
    started = []

    def start(text, *arguments, under=()):
        argv = [*under, sys.executable, "-c", text, *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, encoding="utf-8"))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate(timeout=10)


def test_a_living_owner_is_left_alone_and_a_killed_one_swept(program, tmp_path):
    owner = program(HOLD, "mine", tmp_path / "file")
    assert owner.stdout.readline() == "held\n"
    (tmp_path / "file").touch()
    assert sweep(everything=True) == []
    with pytest.raises(UsageError, match=f"mine is in use by process {owner.pid}") as caught:
        Lease.acquire("mine")
    assert f"kill {owner.pid}" in caught.value.hint
    owner.kill()
    owner.wait(timeout=10)
    assert sweep() == [f"file {tmp_path}/file"]


@needs_root
def test_a_living_owner_is_left_alone_from_another_pid_namespace(program, tmp_path):
    """As in two containers with one state folder: each sees other numbers, or the same one as another process."""
    space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*space, "true"], capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("no pid namespace can be made here")
    owner = program(HOLD, "mine", tmp_path / "file", under=space)
    assert owner.stdout.readline() == "held\n"
    (tmp_path / "file").touch()
    assert sweep() == []
    assert program(SWEEP, under=space).stdout.readline() == "[]\n"
    with pytest.raises(UsageError, match="which is not to be seen from here") as caught:
        Lease.acquire("mine")
    assert "kill" not in caught.value.hint  # that would be somebody else
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_child_that_outlives_its_parent_does_not_keep_it_among_the_living(program, how):
    parent = program(OUTLIVED, how)
    assert parent.stdout.readline() == "held\n"
    parent.wait(timeout=10)
    assert [lease.name for lease in Lease.all()] == ["mine"]
    Lease.acquire("mine").release()


def test_whoever_got_a_lock_on_a_file_that_was_removed_meanwhile_has_nothing(tmp_path, monkeypatch):
    def late(descriptor, how):
        (tmp_path / "lock").rename(tmp_path / "removed")
        (tmp_path / "lock").touch()  # by somebody who came later
        flock(descriptor, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", late)
    assert locks.take(tmp_path / "lock", create=True) is None


def test_a_lock_is_exclusive_or_shared_and_goes_with_its_file(tmp_path):
    path = tmp_path / "lock"
    first = locks.take(path, create=True)
    assert locks.take(path, create=True) is None
    assert locks.take(path, shared=True) is None
    path.unlink()
    second = locks.take(path, create=True)
    first.release()
    first.release()
    assert locks.take(path) is None
    second.release()
    shared = [locks.take(path, shared=True) for _ in range(2)]
    assert locks.take(path) is None
    for lock in shared:
        lock.release()
    assert locks.take(tmp_path / "none") is None


def test_whoever_waits_for_a_machine_lock_reports_it_once(logged, monkeypatch):
    monkeypatch.setattr(locks, "LOGGED_AFTER", 0.1)
    with machine_lock("images"):
        with pytest.raises(DeadlineExceeded), machine_lock("images", within=0.3):
            pass
        (said,) = logged.messages
        assert f"{state_dir()}/images.lock" in said
    with machine_lock("images"):
        assert logged.messages == [said]


@pytest.fixture
def slow_sweep(monkeypatch, tmp_path):
    """A sweep in a thread, of the leases `first` and `second`, which takes the time until `released` for the first."""
    for name in ("first", "second"):
        lease = Lease.acquire(name)
        lease.add("file", tmp_path / name)
        (tmp_path / name).touch()
        lease._release_lock()
    in_progress, released = threading.Event(), threading.Event()

    def slow(resource, lease):
        in_progress.set()
        assert released.wait(20)
        return removers._remove_file(resource, lease)

    monkeypatch.setitem(removers.REMOVERS, "file", slow)

    @contextmanager
    def begun():
        removed = []
        thread = threading.Thread(target=lambda: removed.extend(sweep()))
        thread.start()
        try:
            assert in_progress.wait(20)
            yield SimpleNamespace(removed=removed, released=released)
        finally:
            released.set()
            thread.join(20)

    return begun


def test_a_run_waits_for_the_sweep_of_its_lease_and_goes_on(slow_sweep, tmp_path):
    with slow_sweep() as sweeping:
        waited = []
        run = threading.Thread(target=lambda: waited.append(Lease.acquire("first")))
        run.start()
        with pytest.raises(NotYet, match="a sweep is removing"):
            leases._locked_for_life("first")
        assert waited == []
        sweeping.released.set()
        run.join(20)
        assert waited[0].resources == []
    assert sweeping.removed == [f"file {tmp_path}/{name}" for name in ("first", "second")]


def test_a_sweep_takes_one_lease_at_a_time(slow_sweep, tmp_path):
    with slow_sweep() as sweeping:
        sweeping.released.set()
        second = Lease.acquire("second")  # by the sweep or by us: it is free or being swept, and never in use
        assert second.resources == []
        assert not (tmp_path / "second").exists()


def test_a_second_sweep_waits_for_the_first_and_reports_it(slow_sweep, logged, monkeypatch):
    monkeypatch.setattr(locks, "LOGGED_AFTER", 0.0)
    removed = []
    with slow_sweep() as sweeping:
        other = threading.Thread(target=lambda: removed.extend(sweep()))
        other.start()
        wait_for(lambda: logged.messages or _not_yet(), what="the second sweep to wait", within=20)
        sweeping.released.set()
        other.join(20)
    assert (len(logged.messages), removed) == (1, [])


def _not_yet():
    raise NotYet("nothing was said")


def test_a_sweep_that_never_ends_is_reported(slow_sweep, monkeypatch):
    monkeypatch.setattr(leases, "SWEPT", 0.1)
    with slow_sweep():
        for attempt in (sweep, lambda: Lease.acquire("first")):
            with pytest.raises(InfrastructureError, match="not within"):
                attempt()


def fill(file):
    while True:
        file.write(bytes(1 << 10))


@needs_root
def test_a_full_disk_is_swept(tmp_path, monkeypatch):
    """The disks of clusters are what fills it, so that nothing can be written down before they are gone."""
    state = tmp_path / "small"
    state.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "test", str(state)]
    subprocess.run(argv, check=True, timeout=10)
    try:
        monkeypatch.setenv("ROOKERY_STATE_DIR", str(state))
        for name in ("swept", "taken-up"):
            lease = Lease.acquire(name)
            lease.make_directory(state / name)
            with lease.make_file(state / name / "disk.img"):
                pass
            lease.add("volume", "/dev/loop0", sequence="-1")  # goes first, and frees nothing
            lease._release_lock()
        with (state / "swept/disk.img").open("wb", buffering=0) as disk, pytest.raises(OSError, match="No space left"):
            fill(disk)
        with pytest.raises(InfrastructureError, match="No space left"):
            Lease.acquire("new")
        assert (state / "swept/disk.img").exists()
        assert sweep() == [
            *(f"{kind} {state}/swept{more}" for kind, more in (("file", "/disk.img"), ("directory", ""))),
            *(f"{kind} {state}/taken-up{more}" for kind, more in (("file", "/disk.img"), ("directory", ""))),
        ]
        assert [path.name for path in state.rglob("*")] == ["leases"]
    finally:
        subprocess.run(["umount", str(state)], check=True, timeout=10)


@needs_root
def test_a_name_is_taken_up_again_on_a_full_disk(tmp_path, monkeypatch):
    def full(path, *_, **__):
        if (tmp_path / "file").exists():
            raise OSError(28, "No space left on device")
        return real(path, *_, **__)

    dead = Lease.acquire("dead")
    dead.add("file", tmp_path / "file")
    (tmp_path / "file").touch()
    dead._release_lock()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", full)
    lease = Lease.acquire("dead")
    assert lease.resources == []
    assert not (tmp_path / "file").exists()


def test_what_was_killed_before_it_wrote_anything_leaves_nothing():
    locks.take(_directory() / "early.lock", create=True).release()
    (_directory() / "writing.tmp").touch()
    assert sweep() == []
    assert list(_directory().iterdir()) == []


def _directory() -> Path:
    path = state_dir() / "leases"
    path.mkdir(parents=True, exist_ok=True)
    return path
