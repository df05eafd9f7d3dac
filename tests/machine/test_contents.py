"""Contents of disks: recognised by the programs that look at disks, and compared without reading holes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.machine.contents import digest, overwrite, partition
from rookery.machine.disks import LoopDisk

MIB = 1 << 20


def sparse(path, size, pieces=()):
    with path.open("wb") as file:
        file.truncate(size)
        for position, piece in pieces:
            file.seek(position)
            file.write(piece)
    return path


def test_written_zeros_and_holes_are_the_same_content(tmp_path):
    holes = sparse(tmp_path / "a", 8 * MIB, [(5 * MIB + 17, b"data")])
    zeros = sparse(tmp_path / "b", 8 * MIB, [(0, bytes(6 * MIB)), (5 * MIB + 17, b"data")])

    assert digest(holes) == digest(zeros)


@settings(deadline=None)
@given(
    st.tuples(st.integers(0, 4 * MIB - 1), st.binary(min_size=1, max_size=64)),
    st.tuples(st.integers(0, 4 * MIB - 1), st.binary(min_size=1, max_size=64)),
)
def test_contents_have_the_same_digest_exactly_if_they_are_equal(tmp_path_factory, one, other):
    folder = tmp_path_factory.mktemp("disks")
    first, second = sparse(folder / "a", 5 * MIB, [one]), sparse(folder / "b", 5 * MIB, [other])

    assert (digest(first) == digest(second)) == (first.read_bytes() == second.read_bytes())


def test_the_size_is_part_of_the_content(tmp_path):
    assert digest(sparse(tmp_path / "a", MIB)) != digest(sparse(tmp_path / "b", 2 * MIB))


class Detached(LoopDisk):
    """Its file in place of a device, which not everybody may attach."""

    @property
    def device(self):
        return str(self.path)


def test_overwriting_changes_the_content(tmp_path):
    disk = sparse(tmp_path / "disk", 4 * MIB)
    before = digest(disk)
    overwrite(Detached(disk, 0), at=2 * MIB, size=512)

    assert digest(disk) != before
    assert os.stat(disk).st_size == 4 * MIB


@pytest.mark.parametrize("write", [partition, lambda path: overwrite(path, at=0)], ids=["partition", "overwrite"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_no_disk_of_the_harness(tmp_path, write, kind):
    precious = tmp_path / "sda"
    precious.write_bytes(b"precious" * MIB)
    with pytest.raises(AttributeError, match="device"):
        write(kind(precious))
    assert precious.read_bytes() == b"precious" * MIB


@pytest.fixture
def partitioned(tmp_path):
    if not shutil.which("sfdisk"):
        pytest.skip("no sfdisk here")
    disk = sparse(tmp_path / "disk", 64 * MIB)
    partition(Detached(disk, 0))
    return disk


@pytest.mark.skipif(not shutil.which("blkid"), reason="no blkid here")
def test_blkid_sees_a_partition_table(partitioned):
    found = subprocess.run(
        ["blkid", "-p", "-o", "export", partitioned], capture_output=True, encoding="utf-8", check=True
    )

    assert "PTTYPE=gpt" in found.stdout


@pytest.mark.skipif(not shutil.which("partx"), reason="no partx here")
def test_the_partition_is_there(partitioned):
    argv = ["partx", "--show", "--noheadings", "--output", "START,NAME", partitioned]
    found = subprocess.run(argv, capture_output=True, encoding="utf-8", check=True)

    assert found.stdout.split(maxsplit=1) == ["2048", "somebody's data\n"]
