"""Loop disks, on real loop devices."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.errors import InfrastructureError, UsageError
from rookery.machine import disks, loop
from rookery.machine.disks import MIN_DISK_BYTES, attached, claim, create_disk, parse_size
from rookery.machine.leases import Lease

needs_loop = pytest.mark.skipif(os.geteuid() != 0 or not loop.supported(), reason="needs root and loop devices")


@pytest.fixture
def lease():
    lease = Lease.acquire("disks")
    yield lease
    lease.release()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GiB", 10 * 1024**3),
        ("10Gi", 10 * 1024**3),
        ("10g", 10 * 1024**3),
        ("10GB", 10**10),
        ("1.5 KiB", 1536),
        ("6442450944", 6442450944),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@settings(deadline=None)
@given(st.integers(0, 2**60), st.sampled_from(["", "K", "M", "G", "T"]))
def test_whole_sizes_lose_nothing(number, unit):
    assert parse_size(f"{number}{unit}") == number * 1024 ** ["", "K", "M", "G", "T"].index(unit)


@pytest.mark.parametrize("text", ["", "big", "-1G", "10X", "10GiBs", "G"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


def test_a_disk_too_small_for_ceph_is_refused(lease, tmp_path):
    with pytest.raises(UsageError, match=r"5\.0 GiB is too small: .* 6 GiB"):
        create_disk(tmp_path / "a.img", 5 * 1024**3, lease)
    assert not (tmp_path / "a.img").exists()
    assert lease.resources == []


def test_a_disk_for_which_there_is_no_room_is_refused_with_the_numbers(lease, tmp_path):
    with pytest.raises(InfrastructureError, match=r"GiB free.*1048576\.0 GiB"):
        create_disk(tmp_path / "a.img", 2**50, lease)
    assert lease.resources == []


def test_a_file_that_was_there_before_is_left_alone(lease, tmp_path):
    (tmp_path / "a.img").write_text("precious", encoding="utf-8")
    with pytest.raises(InfrastructureError, match="exists already"):
        create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    lease.release()
    assert (tmp_path / "a.img").read_text(encoding="utf-8") == "precious"


@needs_loop
def test_a_disk_is_sparse_and_attached(lease, tmp_path):
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    assert attached()[disk.number] == str(disk.path)
    assert os.stat(disk.device).st_rdev == os.makedev(*disk.device_number)
    assert os.stat(disk.path).st_size == MIN_DISK_BYTES
    assert os.stat(disk.path).st_blocks * 512 < 1024**2


@needs_loop
def test_a_disk_keeps_its_number_while_it_is_detached(lease, tmp_path):
    first = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    disks.detach(first)
    disks.detach(first)
    assert first.number not in attached()
    second = create_disk(tmp_path / "b.img", MIN_DISK_BYTES, lease)
    disks.attach(first)
    disks.attach(first)
    assert attached()[first.number] == str(first.path)
    assert attached()[second.number] == str(second.path)


@needs_loop
def test_a_number_that_was_taken_meanwhile_is_not_taken_back(lease, tmp_path):
    first = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    second = create_disk(tmp_path / "b.img", MIN_DISK_BYTES, lease)
    disks.detach(first)
    disks.detach(second)
    assert loop.attach(first.number, second.path)
    try:
        with pytest.raises(InfrastructureError, match=r"is taken by .*b\.img"):
            disks.attach(first)
        disks.detach(first)
        assert attached()[first.number] == str(second.path)
    finally:
        loop.detach(first.number)


@needs_loop
def test_a_number_lost_to_somebody_faster_is_passed_over(lease, tmp_path, monkeypatch):
    real, asked = loop.attach, []

    def beaten_once(number, backing_file):
        asked.append(number)
        return len(asked) > 1 and real(number, backing_file)

    monkeypatch.setattr(loop, "attach", beaten_once)
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    assert disk.number == asked[-1] != asked[0]
    assert [r.name for r in lease.resources if r.kind == "loop"] == [disk.device]


@needs_loop
def test_detaching_a_device_that_is_held_open_does_not_claim_success(lease, tmp_path):
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    with open(disk.device, "rb"), pytest.raises(InfrastructureError, match="still attached"):
        loop.detach(disk.number, within=0.2)
    disks.detach(disk)
    assert disk.number not in attached()


@needs_loop
def test_destroy_leaves_neither_file_nor_device(lease, tmp_path):
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    disks.destroy(disk, lease)
    disks.destroy(disk, lease)
    assert lease.resources == []
    assert not disk.path.exists()
    assert not os.path.exists(f"/sys/block/loop{disk.number}")
    assert not os.path.exists(disk.device)


@needs_loop
def test_file_and_device_are_on_record_before_they_are_made(lease, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(number, backing_file):
        raise Killed

    monkeypatch.setattr(loop, "attach", killed)
    with pytest.raises(Killed):
        create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    on_record = json.loads((tmp_path / "state/leases/disks.json").read_text(encoding="utf-8"))["resources"]
    assert [r["kind"] for r in on_record] == ["file", "loop"]
    assert on_record[0]["details"].items() <= on_record[1]["details"].items()  # device and inode


def test_a_number_is_claimed_before_its_file_is_there(lease, tmp_path):
    disk = claim(tmp_path / "a.img", loop.FIRST_NUMBER + 50, lease)
    assert disk.number == loop.FIRST_NUMBER + 50
    assert not disk.path.exists()
    assert lease.has("file", disk.path)
    assert lease.has("loop", disk.device)


@needs_loop
def test_a_claimed_disk_is_attached_once_its_file_is_there(lease, tmp_path):
    number = max([loop.FIRST_NUMBER, *attached()]) + 50
    disk = claim(tmp_path / "a.img", number, lease)
    with disk.path.open("wb") as file:
        file.truncate(MIN_DISK_BYTES)
    disks.record(disk, lease)
    disks.attach(disk)
    assert attached()[number] == str(disk.path)
    lease.release()
    assert number not in attached()
    assert not disk.path.exists()


def test_a_number_that_another_disk_has_is_not_claimed(lease, tmp_path):
    held = claim(tmp_path / "a.img", loop.FIRST_NUMBER + 50, lease)  # detached, but somebody's
    with pytest.raises(InfrastructureError, match=rf"{held.device} is taken"):
        claim(tmp_path / "b.img", held.number, lease)
    assert not lease.has("file", tmp_path / "b.img")
    assert lease.has("loop", held.device)


def test_a_number_that_is_attached_to_something_else_is_not_claimed(lease, tmp_path, monkeypatch):
    monkeypatch.setattr(disks, "attached", lambda: {250: "/var/lib/snapd/snaps/core.snap"})
    with pytest.raises(InfrastructureError, match="/dev/loop250 is taken"):
        claim(tmp_path / "a.img", 250, lease)
    assert lease.resources == []


@needs_loop
def test_a_file_that_has_taken_the_place_of_the_disks_own_is_not_detached_for_it(lease, tmp_path):
    """As if the same path meant another file, which it does in another mount namespace."""
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    disks.detach(disk)
    disk.path.rename(tmp_path / "aside")
    disk.path.write_bytes(bytes(1 << 20))
    assert loop.attach(disk.number, disk.path)
    try:
        assert attached()[disk.number] == str(disk.path)
        assert lease.release() == []
        assert attached()[disk.number] == str(disk.path)
        assert disk.path.exists()
    finally:
        loop.detach(disk.number)
        loop.remove(disk.number)


@needs_loop
def test_a_disk_that_was_removed_by_hand_is_detached_all_the_same(lease, tmp_path):
    disk = create_disk(tmp_path / "a.img", MIN_DISK_BYTES, lease)
    disk.path.unlink()
    assert lease.release() == [f"loop {disk.device} ({disk.path})"]
    assert disk.number not in attached()


@needs_loop
def test_a_device_that_was_there_before_stays(lease, tmp_path):
    number = max([loop.FIRST_NUMBER, *attached()]) + 60
    loop.ensure_node(number)
    try:
        disk = claim(tmp_path / "a.img", number, lease)
        with disk.path.open("wb") as file:
            file.truncate(MIN_DISK_BYTES)
        disks.record(disk, lease)
        disks.attach(disk)
        disks.destroy(disk, lease)
        assert number not in attached()
        assert loop.exists(number)
    finally:
        loop.remove(number)


def test_a_disk_whose_file_is_gone_cannot_be_recorded(lease, tmp_path):
    disk = claim(tmp_path / "a.img", loop.FIRST_NUMBER + 50, lease)
    with pytest.raises(InfrastructureError, match="is gone"):
        disks.record(disk, lease)
