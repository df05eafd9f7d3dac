"""What the kernel tells of real loop devices: which attachment it is, and whether its server is dead."""

import os

import pytest
from rookery.machine import loop
from rookery.machine.loop import FileId


def test_each_attachment_has_a_number_of_its_own(loop_number, tmp_path):
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    seen = [loop.sequence(loop_number)]
    for _ in range(2):
        assert loop.attach(loop_number, tmp_path / "file")
        seen.append(loop.sequence(loop_number))
        loop.detach(loop_number)
    assert seen == sorted(set(seen))


def test_a_device_that_does_not_exist_was_never_attached():
    assert loop.sequence(1_000_000) == 0


def test_a_device_is_stale_once_the_server_of_its_file_is_dead(loop_number, fuse_file):
    assert loop.attach(loop_number, fuse_file.path)
    assert not loop.is_stale(loop_number)
    fuse_file.server.kill()
    fuse_file.server.wait(timeout=10)
    assert loop.is_stale(loop_number)


def test_a_device_that_is_free_or_on_a_disk_is_not_stale(loop_number, tmp_path):
    assert not loop.is_stale(loop_number)
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    assert loop.attach(loop_number, tmp_path / "file")
    assert not loop.is_stale(loop_number)


def test_a_device_that_is_torn_away_is_of_no_size_for_whoever_has_it_open(loop_number, tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(b"kept" + bytes(1 << 20))
    loop.attach(loop_number, path)
    ours = loop.is_file(FileId.of(path))
    device = os.open(loop.device(loop_number), os.O_RDWR)
    try:
        assert loop.tear_away(loop_number, ours)
        assert (loop.size(loop_number), os.pread(device, 512, 0)) == (0, b"")
        with pytest.raises(OSError, match="No space left"):
            os.pwrite(device, b"lost", 0)
        assert loop.restore_size(loop_number, ours)
        assert (loop.size(loop_number), os.pread(device, 4, 0)) == (1 << 20, b"kept")
        assert not loop.tear_away(loop_number, loop.is_file(FileId(0, 0)))
        assert loop.size(loop_number) == 1 << 20
    finally:
        os.close(device)


def test_a_torn_device_has_its_size_when_it_is_attached_anew(loop_number, tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    loop.attach(loop_number, path)
    loop.tear_away(loop_number, loop.is_file(FileId.of(path)))
    assert loop.detach(loop_number)
    loop.attach(loop_number, path)
    assert loop.size(loop_number) == 1 << 20
