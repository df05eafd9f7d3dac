"""The userspace CSI driver's node part, on a node and a Ceph cluster that are a few sets and dictionaries.

The world below knows what would happen: who watches an image, what serves a file, what is mounted on what. It can be
told to fail at its n-th change, to be killed, or to lose its driver.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from csi_world import OTHER, SECRETS, STAGING, VOLUME, WRITER, Injected, World
from userspace_csi.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    ImageInUse,
    InvalidArgument,
    NotFound,
    OperationPending,
    Unavailable,
)
from userspace_csi.mounts import Mount
from userspace_csi.node import Node, Publish, Stage
from userspace_csi.takeover import Locker
from userspace_csi.volumes import Capability, Capacity
from userspace_csi.waiting import Deadline


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def soon() -> Deadline:
    return Deadline(0.5)


def stage_request(**changes) -> Stage:
    return replace(Stage(str(VOLUME), str(STAGING), WRITER, SECRETS), **changes)


def stage(node: Node) -> None:
    node.stage(stage_request(), soon())


def unstage(node: Node) -> None:
    node.unstage(str(VOLUME), str(STAGING), soon())


def test_stage_and_unstage_are_idempotent(world: World) -> None:
    node = world.driver()
    stage(node)
    assert world.serves()
    done = world.changes
    stage(node)
    assert world.changes == done
    unstage(node)
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize("step", range(1, 6))
@pytest.mark.parametrize("restarted", [False, True])
def test_a_stage_cut_short_anywhere_is_finished_by_the_next(world: World, step: int, restarted: bool) -> None:
    node = world.driver()
    world.fail_at = step
    with pytest.raises(Injected):
        stage(node)
    stage(world.driver() if restarted else node)
    assert world.serves()
    assert world.starts == 1
    unstage(node)
    assert world.is_clean()


@pytest.mark.parametrize("step", range(1, 4))
def test_an_unstage_cut_short_anywhere_is_finished_by_the_next(world: World, step: int) -> None:
    node = world.driver()
    stage(node)
    world.fail_at = world.changes + step
    with pytest.raises(Injected):
        unstage(node)
    unstage(node)
    assert world.is_clean()


def test_a_new_driver_finds_the_volume_served(world: World) -> None:
    stage(world.driver())
    stage(world.driver())
    assert world.serves()
    assert world.starts == 1


def test_after_a_node_kill_the_nodes_own_lock_is_broken_at_once(world: World) -> None:
    stage(world.driver())
    dead = world.exporter
    for _ in range(2):  # a second node kill right after the first passes as well
        dead = world.exporter
        world.node_kill()
        node = world.driver()
        assert world.loops == {}, "the loop device of the dead exporter is cleared before anything is served"
        stage(node)
        assert world.serves()
        assert dead is not None
        assert dead.address in world.blocklisted
    unstage(node)
    assert world.is_clean()


def test_a_node_kill_in_the_middle_of_a_take_over(world: World) -> None:
    stage(world.driver())
    world.node_kill()
    node = world.driver()
    world.fail_at = world.changes + 2  # the fence is done, the exporter does not come up
    with pytest.raises(Injected):
        stage(node)
    world.node_kill()
    stage(world.driver())
    assert world.serves()


def test_a_loop_number_that_went_to_somebody_else_is_left_alone(world: World) -> None:
    stage(world.driver())
    (number,) = world.loops
    world.node_kill()
    theirs = {number: (1000, Path("/disk.img"))}
    world.loops = dict(theirs)
    node = world.driver()
    assert world.loops == theirs
    stage(node)
    unstage(node)
    assert world.loops == theirs


def test_the_exporter_alone_died(world: World) -> None:
    node = world.driver()
    stage(node)
    world.exporter = None
    stage(node)
    assert world.starts == 2
    assert world.at(STAGING) is not None
    assert world.watchers == [world.exporter]


def test_another_living_client_keeps_the_image(world: World) -> None:
    world.watchers = [OTHER]
    with pytest.raises(ImageInUse) as caught:
        stage(world.driver(patience=0.3))
    assert str(caught.value) == f"rbd image replicapool/csi-vol-1 is still being used by {OTHER}"
    assert caught.value.code == "FAILED_PRECONDITION"
    assert world.exporter is None
    assert world.watchers == [OTHER]
    assert world.blocklisted == set()


def test_a_node_that_was_cut_off_is_fenced_before_another_writes(world: World) -> None:
    """Ceph has dropped its watch, but not its lock."""
    world.lockers = [Locker(OTHER, "auto 7")]
    stage(world.driver())
    assert OTHER.address in world.blocklisted
    assert world.serves()
    assert world.holds_the_lock()


def test_an_exporter_that_was_not_ended_takes_the_lock_before_there_is_a_device_again(world: World) -> None:
    node = world.driver()
    stage(node)
    world.fail_at = world.changes + 3  # unmounted and detached, and the driver dies
    with pytest.raises(Injected):
        unstage(node)
    assert (world.starts, world.loops) == (1, {})
    stage(world.driver())
    assert (world.starts, world.serves(), world.holds_the_lock()) == (1, True, True)


def test_two_nodes_that_claim_the_image_at_one_moment_both_give_way(world: World) -> None:
    world.after_start = OTHER
    with pytest.raises(ImageInUse):
        stage(world.driver())
    assert world.exporter is None
    assert world.loops == {}


def test_who_only_passes_by_is_waited_for(world: World) -> None:
    """The controller, for example, which removes a snapshot of the image."""
    world.after_start, world.leaves_after = OTHER, 2
    stage(world.driver(patience=10))
    assert world.serves()


def test_staging_waits_for_ceph(world: World) -> None:
    world.answers_after = 2
    world.driver().stage(stage_request(), Deadline(10))
    assert world.serves()


def test_ceph_does_not_come_back_in_time(world: World) -> None:
    world.answers_after = 1000
    with pytest.raises(Unavailable, match="no monitor answers"):
        stage(world.driver())


def test_a_caller_that_hangs_up_ends_the_waiting(world: World) -> None:
    world.answers_after = 1000
    with pytest.raises(Cancelled):
        world.driver().stage(stage_request(), Deadline(60, cancelled=lambda: world.answers_after < 1000))


def test_a_second_stage_meanwhile_is_turned_away(world: World) -> None:
    node = world.driver()
    codes = []

    def second_call() -> bool:
        with pytest.raises(OperationPending) as caught:
            node.stage(stage_request(), soon())
        codes.append(caught.value.code)
        return False

    node.stage(stage_request(), Deadline(1, cancelled=second_call))
    assert set(codes) == {"ABORTED"}


def test_requests_that_are_refused(world: World) -> None:
    node = world.driver()
    for changes in ({"volume_id": ""}, {"staging_path": ""}, {"capability": None}):
        with pytest.raises(InvalidArgument):
            node.stage(stage_request(**changes), soon())
    for volume in ("fake-vol-id", "rook-ceph/replicapool/csi-vol-none", "rook-ceph/gone/csi-vol-1"):
        with pytest.raises(NotFound):
            node.stage(stage_request(volume_id=volume), soon())
    with pytest.raises(InvalidArgument):
        node.unstage(str(VOLUME), "", soon())
    assert world.is_clean()


def test_staged_with_other_flags_or_another_filesystem_is_another_way(world: World) -> None:
    node = world.driver()
    stage(node)
    for other in (replace(WRITER, mount_flags=("discard",)), replace(WRITER, fs_type="xfs")):
        with pytest.raises(AlreadyExists):
            node.stage(stage_request(capability=other), soon())


def test_publish_and_unpublish(world: World, tmp_path: Path) -> None:
    node = world.driver()
    target = tmp_path / "pods" / "mount"
    request = Publish(str(VOLUME), str(STAGING), str(target), WRITER)
    with pytest.raises(FailedPrecondition, match="not staged"):
        node.publish(request, soon())
    stage(node)
    node.publish(request, soon())
    node.publish(request, soon())
    assert len([mount for mount in world.mounted if mount.point == target]) == 1
    with pytest.raises(AlreadyExists):
        node.publish(replace(request, readonly=True), soon())
    with pytest.raises(FailedPrecondition, match=str(target)):
        node.unstage(str(VOLUME), str(STAGING), soon())
    assert world.exporter is not None, "a volume that is still mounted keeps its exporter"
    assert world.at(STAGING) is not None
    node.unpublish(str(VOLUME), str(target), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    assert not target.exists()
    unstage(node)
    assert world.is_clean()


BLOCK = Capability("SINGLE_NODE_WRITER", block=True)
READER = Capability("MULTI_NODE_READER_ONLY", fs_type="ext4")
SOLE_WRITER = Capability("SINGLE_NODE_SINGLE_WRITER", fs_type="ext4")
GIB = 1 << 30


def publish_request(target: Path, capability: Capability = WRITER, **changes) -> Publish:
    return replace(Publish(str(VOLUME), str(STAGING), str(target), capability), **changes)


def test_a_raw_block_volume_is_the_device_itself(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    request = publish_request(target, BLOCK)
    with pytest.raises(FailedPrecondition, match="not staged"):
        node.publish(request, soon())
    for _ in range(2):
        node.stage(stage_request(capability=BLOCK), soon())
        node.publish(request, soon())
    with pytest.raises(AlreadyExists):
        node.publish(replace(request, readonly=True), soon())
    (shown,) = [mount for mount in world.mounted if mount.point == target]
    assert not shown.read_only
    (number,) = world.loops
    assert shown.root == Path(f"/loop{number}")
    assert target.is_file()
    assert world.filesystem == "", "no filesystem is made on a raw block volume"
    assert world.holds_the_lock()
    assert world.spare_nodes, "the kubelet can attach its own loop device"
    with pytest.raises(FailedPrecondition, match=str(target)):
        unstage(node)
    for _ in range(2):
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)
    assert not target.exists()
    assert world.spare_nodes == 0
    assert world.is_clean()


def test_after_a_node_kill_a_raw_block_volume_comes_back_on_another_device(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    node.stage(stage_request(capability=BLOCK), soon())
    node.publish(publish_request(target, BLOCK), soon())
    (number,) = world.loops
    world.loops[90] = (500, Path(f"/dev/loop{number}"))  # the kubelet's
    world.node_kill()
    node = world.driver()
    assert world.loops == {}, "neither the driver's nor the kubelet's device is left"
    node.stage(stage_request(capability=BLOCK), soon())
    node.publish(publish_request(target, BLOCK), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    unstage(node)
    assert world.is_clean()


def test_what_is_at_the_target_of_a_raw_block_volume_is_replaced_only_if_it_is_a_device(
    world: World, tmp_path: Path
) -> None:
    node, target = world.driver(), tmp_path / "publish" / "pod"
    node.stage(stage_request(capability=BLOCK), soon())
    strange = Mount((0, 77), target, "tmpfs", False)
    world.mounted.append(strange)
    with pytest.raises(AlreadyExists, match="tmpfs"):
        node.publish(publish_request(target, BLOCK), soon())
    assert strange in world.mounted
    world.mounted.remove(strange)
    world.mounted.append(Mount((0, 5), target, "devtmpfs", False, Path("/loop98")))  # of an exporter that has died
    node.publish(publish_request(target, BLOCK), soon())
    (number,) = world.loops
    assert [mount.root for mount in world.mounted if mount.point == target] == [Path(f"/loop{number}")]
    node.unpublish(str(VOLUME), str(target), soon())
    for _ in range(2):
        node.publish(publish_request(target, BLOCK, readonly=True), soon())
    assert [mount.read_only for mount in world.mounted if mount.point == target] == [True]


@pytest.mark.parametrize(("first", "second"), [(BLOCK, WRITER), (WRITER, BLOCK), (WRITER, READER), (READER, WRITER)])
def test_a_volume_is_staged_in_one_way_at_a_time(world: World, first: Capability, second: Capability) -> None:
    node = world.driver()
    world.filesystem = "ext4"
    node.stage(stage_request(capability=first), soon())
    with pytest.raises(AlreadyExists):
        node.stage(stage_request(capability=second), soon())
    unstage(node)
    node.stage(stage_request(capability=second), soon())
    assert world.starts == 2


def test_many_nodes_may_read(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "pod"
    world.filesystem = "ext4"
    world.watchers = [OTHER]  # a reader, too: it has not taken the lock
    for _ in range(2):
        node.stage(stage_request(capability=READER), soon())
    node.publish(publish_request(target, READER), soon())
    assert world.watchers == [OTHER, world.exporter]
    staged, published = world.at(STAGING), world.at(target)
    assert staged is not None
    assert staged.read_only
    assert published is not None
    assert published.read_only
    assert node.expand(str(VOLUME), str(target), Capacity(GIB), soon()) == GIB
    with pytest.raises(FailedPrecondition, match="reading only"):
        node.expand(str(VOLUME), str(target), Capacity(2 * GIB), soon())
    node.unpublish(str(VOLUME), str(target), soon())
    unstage(node)
    assert world.watchers == [OTHER]
    with pytest.raises(ImageInUse):
        stage(node)


def test_a_reader_makes_no_filesystem_and_meets_no_writer(world: World) -> None:
    node = world.driver()
    with pytest.raises(FailedPrecondition):
        node.stage(stage_request(capability=READER), soon())
    unstage(node)
    world.watchers, world.lockers = [OTHER], [Locker(OTHER, "auto 1")]
    with pytest.raises(ImageInUse):
        node.stage(stage_request(capability=READER), soon())
    assert world.filesystem == ""


def test_a_reader_comes_back_after_a_node_kill_without_waiting_for_its_own_watch(world: World) -> None:
    world.filesystem = "ext4"
    world.driver().stage(stage_request(capability=READER), soon())
    world.node_kill()
    world.driver().stage(stage_request(capability=READER), soon())
    staged = world.at(STAGING)
    assert staged is not None
    assert staged.read_only
    assert list(world.loops) == [staged.device[1]]


def test_a_stage_that_was_cut_short_can_be_taken_up_in_another_way(world: World) -> None:
    node = world.driver()
    world.fail_at = 4  # the exporter runs, the device is attached, and nothing uses it
    with pytest.raises(Injected):
        stage(node)
    world.filesystem = "ext4"
    node.stage(stage_request(capability=READER), soon())
    assert world.starts == 2
    assert world.watchers == [world.exporter]
    unstage(node)
    assert world.is_clean()


def test_a_single_writer_has_a_single_target(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "one"
    for capability in (SOLE_WRITER, replace(SOLE_WRITER, block=True, fs_type="")):
        node.stage(stage_request(capability=capability), soon())
        for _ in range(2):
            node.publish(publish_request(target, capability), soon())
        with pytest.raises(FailedPrecondition, match=str(target)):
            node.publish(publish_request(tmp_path / "two", capability), soon())
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)


def test_several_pods_of_a_node_may_share_a_volume(world: World, tmp_path: Path) -> None:
    node, shared = world.driver(), Capability("SINGLE_NODE_MULTI_WRITER", fs_type="xfs")
    node.stage(stage_request(capability=shared), soon())
    for name in ("one", "two"):
        node.publish(publish_request(tmp_path / name, shared), soon())
    assert world.filesystem == "xfs"


def test_mkfs_gets_the_options_of_the_storage_class(world: World) -> None:
    world.driver().stage(stage_request(context={"mkfsOptions": "-b 1024  -m0"}), soon())
    assert world.made_with == ("-b", "1024", "-m0")


@pytest.mark.parametrize("capability", [WRITER, Capability("SINGLE_NODE_WRITER", fs_type="xfs"), BLOCK])
def test_a_volume_grows_while_it_is_used(world: World, tmp_path: Path, capability: Capability) -> None:
    node, target = world.driver(), tmp_path / "pod"
    with pytest.raises(NotFound, match="not staged"):
        node.expand(str(VOLUME), str(target), Capacity(2 * GIB), soon())
    node.stage(stage_request(capability=capability), soon())
    node.publish(publish_request(target, capability), soon())
    world.image_size = 2 * GIB  # by ControllerExpandVolume
    for _ in range(2):
        assert node.expand(str(VOLUME), str(target), Capacity(2 * GIB - 1), soon()) == 2 * GIB
    assert world.filesystem_size == (0 if capability.block else 2 * GIB)
    assert node.expand(str(VOLUME), str(target), Capacity(GIB), soon()) == 2 * GIB, "it never shrinks"
    for arguments in (("", str(target)), (str(VOLUME), "")):
        with pytest.raises(InvalidArgument):
            node.expand(*arguments, Capacity(2 * GIB), soon())


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_an_image_that_grew_while_nobody_used_it_is_filled_by_the_next_stage(world: World, fs_type: str) -> None:
    node, request = world.driver(), stage_request(capability=replace(WRITER, fs_type=fs_type))
    node.stage(request, soon())
    unstage(node)
    world.image_size = 3 * GIB
    node.stage(request, soon())
    assert world.filesystem_size == 3 * GIB


def test_statistics_of_a_volume(world: World, tmp_path: Path) -> None:
    node, target = world.driver(), tmp_path / "pod"
    for capability in (WRITER, BLOCK):
        node.stage(stage_request(capability=capability), soon())
        node.publish(publish_request(target, capability), soon())
        stats = node.stats(str(VOLUME), str(target))
        assert (stats.size, stats.abnormal) == (GIB, "")
        assert (stats.usage is None) is capability.block
        for volume, path in ((str(VOLUME), "some/path"), ("fake-vol-id", str(target)), ("c/p/csi-vol-2", str(target))):
            with pytest.raises(NotFound):
                node.stats(volume, path)
        node.unpublish(str(VOLUME), str(target), soon())
        unstage(node)
    for arguments in (("", "some/path"), (str(VOLUME), "")):
        with pytest.raises(InvalidArgument):
            node.stats(*arguments)


def test_a_volume_whose_exporter_died_is_abnormal(world: World) -> None:
    node = world.driver()
    stage(node)
    world.exporter = None
    assert "has ended" in node.stats(str(VOLUME), str(STAGING)).abnormal
