"""The userspace CSI driver's loop devices, real ones. Needs root and a free loop device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from userspace_csi.errors import FailedPrecondition
from userspace_csi.loops import Loops
from userspace_csi.state import LoopRef
from userspace_csi.waiting import Deadline

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"what the exporter serves".ljust(1 << 20, b"\0"))
    return path


@pytest.fixture
def loops(tmp_path: Path) -> Loops:
    dev = tmp_path / "dev"  # a node's own, with nothing in it yet
    dev.mkdir()
    return Loops(dev=dev)


@pytest.fixture
def loop(loops: Loops, image: Path) -> Iterator[LoopRef]:
    attached = loops.attach(image, Deadline(10))
    yield attached
    loops.release(attached)


def test_a_device_shows_the_file(loops: Loops, image: Path, loop: LoopRef) -> None:
    assert loops.is_attached(loop)
    assert loops.device(loop).read_bytes() == image.read_bytes()


def test_requests_do_not_wait_for_each_other(loop: LoopRef) -> None:
    assert Path(f"/sys/block/loop{loop.number}/loop/dio").read_text(encoding="utf-8") == "1\n"


def test_a_second_attach_finds_the_first(loops: Loops, image: Path, loop: LoopRef) -> None:
    assert loops.attach(image, Deadline(10)) == loop


def test_a_file_of_the_same_path_elsewhere_is_not_ours(loops: Loops, image: Path, loop: LoopRef) -> None:
    """Nodes that share a kernel have the same paths: another file there now has another inode."""
    image.rename(image.with_name("moved"))
    image.write_bytes(bytes(4096))
    assert loops.find(image) is None
    image.with_name("moved").replace(image)
    assert loops.find(image) == loop


def test_detach_leaves_neither_device_nor_node(loops: Loops, loop: LoopRef) -> None:
    loops.detach(loop, Deadline(10))
    assert not loops.is_attached(loop)
    assert not loops.device(loop).exists()
    loops.detach(loop, Deadline(10))


def test_a_device_in_use_is_not_called_detached(loops: Loops, loop: LoopRef) -> None:
    with loops.device(loop).open("rb"), pytest.raises(FailedPrecondition, match="still in use"):
        loops.detach(loop, Deadline(0.2))
    loops.detach(loop, Deadline(10))
    assert not loops.is_attached(loop)


def test_another_attachment_of_the_same_number_is_left_alone(loops: Loops, loop: LoopRef) -> None:
    earlier = replace(loop, diskseq=loop.diskseq - 1)
    loops.release(earlier)
    loops.detach(earlier, Deadline(1))
    assert loops.is_attached(loop)


def test_a_readers_device_cannot_be_written_to(loops: Loops, image: Path) -> None:
    attached = loops.attach(image, Deadline(10), read_only=True)
    try:
        assert loops.device(attached).read_bytes() == image.read_bytes()
        with pytest.raises(OSError, match="not permitted"), loops.device(attached).open("r+b", buffering=0) as device:
            device.write(bytes(512))
    finally:
        loops.detach(attached, Deadline(10))
    writable = loops.attach(image, Deadline(10))
    with loops.device(writable).open("r+b", buffering=0) as device:
        assert device.write(b"x" * 512) == 512
    loops.detach(writable, Deadline(10))


def test_a_device_grows_while_it_is_open_and_never_shrinks(loops: Loops, image: Path, loop: LoopRef) -> None:
    with loops.device(loop).open("rb") as device:
        for size, there in ((3 << 20, 3 << 20), (2 << 20, 3 << 20)):
            loops.expand(loop, image, size)
            assert device.seek(0, os.SEEK_END) == there
            assert loops.size(loop) == there
    assert image.read_bytes().rstrip(b"\0") == b"what the exporter serves"


def test_a_device_follows_a_file_that_was_grown_by_others(loops: Loops, image: Path, loop: LoopRef) -> None:
    os.truncate(image, 4 << 20)
    loops.expand(loop, image, 0)
    assert loops.size(loop) == 4 << 20


def test_what_was_put_on_top_of_a_device_is_found(loops: Loops, loop: LoopRef) -> None:
    assert loops.stacked_on(loop) == []
    above = loops.attach(loops.device(loop), Deadline(10))
    try:
        assert loops.stacked_on(loop) == [above]
        assert loops.stacked_on(above) == []
    finally:
        loops.detach(above, Deadline(10))


def test_only_free_devices_get_node_files_for_others_to_take(loops: Loops, loop: LoopRef, tmp_path: Path) -> None:
    dev, sys_block = tmp_path / "dev", Path("/sys/block")
    before = set(dev.iterdir())
    loops.provide_nodes()
    spares = set(dev.glob("loop[0-9]*")) - before
    assert spares
    assert not [node for node in spares if (sys_block / node.name / "loop/backing_file").exists()]

    above = loops.attach(loops.device(loop), Deadline(10))  # what the kubelet does, though not by this class
    taken = loops.attach(tmp_path / "image", Deadline(10))
    assert taken == loop
    loops.withdraw_nodes()
    assert loops.device(loop).exists()
    assert loops.device(above).exists()
    assert {path.name for path in dev.glob("loop[0-9]*")} == {f"loop{loop.number}", f"loop{above.number}"}
    loops.detach(above, Deadline(10))
    assert not loops.device(above).exists()


def test_the_kubelets_device_keeps_its_node_file(loops: Loops, loop: LoopRef, tmp_path: Path) -> None:
    kubelet = Loops(dev=tmp_path / "dev")  # knows of no node files on record, as the kubelet does not
    loops.provide_nodes()
    above = kubelet.attach(loops.device(loop), Deadline(10))
    assert not above.made_node, "it was provided"
    loops.withdraw_nodes()
    assert loops.device(above).exists()
    kubelet.detach(above, Deadline(10))
    loops.withdraw_nodes()
    assert not loops.device(above).exists()


def test_node_files_for_the_kubelet_are_removed_by_a_later_life_of_the_driver(loops: Loops, tmp_path: Path) -> None:
    dev = tmp_path / "dev"
    loops.provide_nodes()
    own = min(dev.glob("loop[0-9]*"))
    loops.withdraw_nodes()
    own.touch()  # the node's own, of a device that is free
    loops.provide_nodes()
    assert len(list(dev.glob("loop[0-9]*"))) > 1
    Loops(dev=dev).withdraw_nodes()
    assert list(dev.glob("loop[0-9]*")) == [own]
    Loops(dev=dev).withdraw_nodes()
    assert own.exists()
