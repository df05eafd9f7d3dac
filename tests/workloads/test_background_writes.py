"""A write that nobody waits for: in flight, ended, or failed."""

import subprocess

import pytest
from playing import plays
from rookery.errors import StorageFailure
from rookery.waiting import NotYet
from rookery.workloads import background_writes, volumes
from rookery.workloads.background_writes import BackgroundWrite

WRITE = "head -c 1M /dev/urandom | tee /volume/file | sha256sum"


@plays(volumes.Pod)
class Pod:
    """A shell in a folder that stands for a pod's root."""

    name = "writer"

    def __init__(self, root):
        self.root = root

    def sh(self, script):
        return subprocess.run(
            ["sh", "-c", script.replace("/volume", str(self.root / "volume")).replace("/tmp/w", f"{self.root}/w")],
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout


@pytest.fixture
def pod(tmp_path, monkeypatch):
    monkeypatch.setattr(background_writes, "_STARTED", 5.0)
    (tmp_path / "volume").mkdir()
    return Pod(tmp_path)


def test_what_was_written_has_the_checksum_taken_on_its_way(pod):
    written = BackgroundWrite(pod, "/volume/file", WRITE).ended.wait(within=10)
    assert written == pod.sh("sha256sum /volume/file").split()[0]
    assert (pod.root / "volume/file").stat().st_size == 1 << 20


def test_a_write_that_ended_is_not_in_progress(pod):
    write = BackgroundWrite(pod, "/volume/file", WRITE)
    write.ended.wait(within=10)
    with pytest.raises(NotYet, match="ended with status 0"):
        write.in_flight.now()


def test_a_write_into_what_does_not_answer_is_in_progress(pod):
    pod.sh("mkfifo /volume/file")  # nobody reads it
    write = BackgroundWrite(pod, "/volume/file", "echo written | tee /volume/file | sha256sum")
    write.in_flight.wait(within=10)
    with pytest.raises(NotYet, match="still in flight"):
        write.ended.now()
    assert pod.sh("cat /volume/file") == "written\n"
    write.ended.wait(within=10)


def test_a_write_that_fails_is_a_finding(pod):
    write = BackgroundWrite(pod, "/volume/no/folder", "cat /volume/no/folder")
    with pytest.raises(StorageFailure, match=r"pod writer: /volume/no/folder: .*[Nn]o such file"):
        write.ended.wait(within=10)
