"""What the kernel tells of real loop devices: which attachment it is, and whether its server is dead."""

from rookery.machine import loop


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


def test_a_device_is_one_of_the_dead_once_the_server_of_its_file_is(loop_number, fuse_file):
    assert loop.attach(loop_number, fuse_file.path)
    assert not loop.stale_devices(loop_number)
    fuse_file.server.kill()
    fuse_file.server.wait(timeout=10)
    assert loop.stale_devices(loop_number)


def test_a_device_that_is_free_or_on_a_disk_is_none_of_the_dead(loop_number, tmp_path):
    assert not loop.stale_devices(loop_number)
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    assert loop.attach(loop_number, tmp_path / "file")
    assert not loop.stale_devices(loop_number)
