"""Small files and the moving of them: the same files everywhere, and a comparison that finds what differs."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.workloads import moving, small_files
from rookery.workloads.moving import TransferResult, checksums, differences, make_files, move, moved, serve
from rookery.workloads.volumes import VolumeFailed

COUNT = 600  # three folders, the last one not full

STATS = """
Number of files: 20,081 (reg: 20,000, dir: 81)
Number of created files: 20,081 (reg: 20,000, dir: 81)
Number of deleted files: 0
Number of regular files transferred: 20,000
Total file size: 40,889,471 bytes
Total transferred file size: 40,889,471 bytes
"""


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """A pod that is this machine, with a folder for its volume; its image has python3 and no rsync."""
    monkeypatch.setattr(moving, "TREE", str(tmp_path / "tree"))
    ran = []

    def sh(script, *, timeout=60):
        ran.append(script)
        if "rsync" in script:
            return STATS
        script = script.replace("python3", sys.executable, 1)
        return subprocess.run(
            ["sh", "-c", script], capture_output=True, encoding="utf-8", timeout=60, check=True
        ).stdout

    return SimpleNamespace(sh=sh, ran=ran, name="target", address="10.244.1.7", tree=tmp_path / "tree")


def test_files_made_in_a_pod_are_those_that_are_expected(pod):
    make_files(pod, COUNT, seed=7)

    assert checksums(pod) == small_files.expected(COUNT, seed=7)
    assert checksums(pod) != small_files.expected(COUNT, seed=8)


def test_files_are_small_and_of_any_size():
    sizes = [len(small_files.content_of(number, seed=1)) for number in range(2_000)]

    assert min(sizes) < 100
    assert 3_900 < max(sizes) < 4_096


def test_contents_differ():
    assert len(set(small_files.expected(2_000, seed=1).values())) == 2_000


def test_everything_that_differs_is_found(pod):
    make_files(pod, COUNT, seed=7)
    (pod.tree / small_files.path_of(0)).unlink()
    (pod.tree / small_files.path_of(1)).write_bytes(b"")
    (pod.tree / "stray").write_bytes(b"?")

    found = differences(small_files.expected(COUNT, seed=7), checksums(pod))
    assert found == "1 missing: 0000/0000000; 1 not asked for: stray; 1 of another content: 0000/0000001"


def test_nothing_differs():
    wanted = small_files.expected(10, seed=1)

    assert differences(wanted, dict(reversed(wanted.items()))) == ""


def test_many_differences_are_counted_and_not_all_named():
    told = differences(small_files.expected(50, seed=1), {})

    assert told.startswith("50 missing: 0000/0000000, ")
    assert told.endswith("0000/0000009, ...")


def test_a_volume_that_keeps_zeros_differs_in_every_file(pod):
    make_files(pod, COUNT, seed=7)
    for path in pod.tree.rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))

    found = differences(small_files.expected(COUNT, seed=7), checksums(pod))
    assert found.startswith(f"{COUNT} of another content: ")


@pytest.mark.parametrize("stats", [STATS, STATS.replace(",", "")])
def test_what_rsync_has_moved(stats):
    found = moved(stats, seconds=80.0)

    assert found == TransferResult(files=20_000, bytes=40_889_471, seconds=80.0)
    assert found.per_second == 250.0


def test_something_else_than_stats_is_reported():
    with pytest.raises(InfrastructureError, match="file list"):
        moved("building file list ... done", seconds=1.0)


def test_files_go_to_the_daemons_tree(pod):
    assert move(pod, "rsync://10.244.1.7:8730/volume").files == 20_000
    (command,) = pod.ran
    assert command.endswith("/tree/ rsync://10.244.1.7:8730/volume/tree/")


def test_a_daemon_is_served_once_it_answers(pod):
    refusals = [VolumeFailed("rsync", 10, "Connection refused"), "", "volume\n"]

    def sh(script, *, timeout=60):
        if script.startswith("cat > /tmp/rsyncd.conf"):
            return ""
        answer = refusals.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pod.sh = sh
    assert serve(pod) == "rsync://10.244.1.7:8730/volume"
    assert not refusals


def test_a_daemon_that_never_answers_is_reported(pod, monkeypatch):
    monkeypatch.setattr(moving, "DAEMON_ANSWERS", 0)
    pod.sh = lambda script, *, timeout=60: ""
    with pytest.raises(DeadlineExceeded, match="rsync daemon in target"):
        serve(pod)
