"""The CephFS driver's controller, on a mgr whose module `volumes` is a few dictionaries (fake_cephfs.py)."""

from __future__ import annotations

import errno
import importlib
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import userspace_csi as driver
from fake_cephfs import FakeCluster, Injected, Refused
from playing import plays
from userspace_csi.cephfs.controller import CephfsController
from userspace_csi.cephfs.subvolumes import SubvolumeId, SubvolumeSnapshotId, mount_options
from userspace_csi.clusters import ClusterConfig, Credentials
from userspace_csi.errors import (
    AlreadyExists,
    ClonePending,
    DriverError,
    FilesystemNotFound,
    InvalidArgument,
    InvalidToken,
    NotFound,
    OperationPending,
    OutOfRange,
    PoolNotFound,
    Unauthenticated,
    Unavailable,
)
from userspace_csi.messages import ContentSource, CreateVolume
from userspace_csi.nodes import RegisteredNodes
from userspace_csi.takeover import Client
from userspace_csi.volumes import Capability, Capacity

GIB = 1 << 30
SHARED = Capability("MULTI_NODE_MULTI_WRITER")
SECRETS = {"adminID": "csi-cephfs-provisioner", "adminKey": "AQ=="}
PARAMETERS = {"clusterID": "rook-ceph", "fsName": "myfs", "pool": "myfs-replicated"}
UUID = "00000000-0000-4000-8000-00000000000{}"


@plays(RegisteredNodes)
class FakeNodes:
    def knows(self, node_id: str) -> bool:
        return node_id == "worker"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def module(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`cephfs.ceph`, over librados' Python bindings which only the driver's image has."""
    rados = ModuleType("rados")
    rados.Error = type("Error", (Exception,), {})
    rados.Rados = lambda rados_id, conf: cluster
    monkeypatch.setitem(sys.modules, "rados", rados)
    names = (f"{driver.__name__}.connections", f"{driver.__name__}.cephfs.ceph")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(names[1])
    for name in names:  # bound to the fake
        sys.modules.pop(name, None)


@pytest.fixture
def ceph(module: ModuleType, tmp_path) -> Any:
    config = ClusterConfig(tmp_path / "csi-cluster-config-json")
    config.path.write_text(json.dumps([{"clusterID": "rook-ceph", "monitors": ["10.96.1.1:6789"]}]), encoding="utf-8")
    return module.Ceph(config)


@pytest.fixture
def controller(ceph: Any) -> CephfsController:
    return CephfsController(ceph, FakeNodes(), clone_patience=0.05)


def request(name: str = f"pvc-{UUID.format(1)}", required: int = GIB, limit: int = 0, **changes: Any) -> CreateVolume:
    fields = {
        "name": name,
        "capacity": Capacity(required, limit),
        "capabilities": (SHARED,),
        "parameters": PARAMETERS,
        "secrets": SECRETS,
    }
    return CreateVolume(**{**fields, **changes})


def test_ids_show_where_to_find_it() -> None:
    volume = SubvolumeId.of("rook-ceph", "myfs", f"pvc-{UUID.format(1)}")
    assert str(volume) == f"rook-ceph/myfs/csi-vol-{UUID.format(1)}"
    assert SubvolumeId.parse(str(volume)) == volume
    snapshot = SubvolumeSnapshotId.of(volume, f"snapshot-{UUID.format(2)}")
    assert str(snapshot) == f"{volume}@csi-snap-{UUID.format(2)}"
    assert SubvolumeSnapshotId.parse(str(snapshot)) == snapshot
    assert SubvolumeId.of("rook-ceph", "other", f"pvc-{UUID.format(1)}").slug != volume.slug


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fake-vol-id",
        "rook-ceph/myfs/other",
        "rook-ceph/myfs/csi-vol-1",
        f"rook-ceph/myfs/csi-vol-{UUID.format(1)}/more",
        f"../myfs/csi-vol-{UUID.format(1)}",
        f"{'a' * 99}/myfs/csi-vol-{UUID.format(1)}",
    ],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(NotFound):
        SubvolumeId.parse(text)
    with pytest.raises(NotFound):
        SubvolumeSnapshotId.parse(f"{text}@csi-snap-{UUID.format(2)}")


def test_options_come_from_the_class_and_the_volume() -> None:
    capability = Capability("MULTI_NODE_MULTI_WRITER", mount_flags=("noatime", "debug"))
    assert mount_options({"fuseMountOptions": "debug, nosuid"}, capability) == ("debug", "nosuid", "noatime")
    assert mount_options({}, SHARED) == ()


def test_a_repeated_create_finds_the_same_volume(controller: CephfsController, cluster: FakeCluster) -> None:
    first, second = controller.create(request()), controller.create(request())
    assert first == second
    assert cluster.group is not None
    (name,) = cluster.group
    assert (cluster.group[name].size, cluster.group[name].pool) == (GIB, "myfs-replicated")
    assert first.context["subvolumePath"] == f"/volumes/csi/{name}/1"
    assert first.context["subvolumeName"] == name
    with pytest.raises(AlreadyExists):
        controller.create(request(required=2 * GIB))


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        (
            {"fsName": "gone"},
            FilesystemNotFound,
            r"filesystem not found: filesystem \(gone\) not found in Ceph cluster",
        ),
        ({"pool": "gone"}, PoolNotFound, r"pool not found: pool \(gone\) not found in Ceph cluster"),
        ({"fsName": ""}, InvalidArgument, "fsName"),
        ({"clusterID": ""}, InvalidArgument, "clusterID"),
        ({"clusterID": "elsewhere"}, InvalidArgument, "elsewhere"),
        ({"mounter": "kernel"}, InvalidArgument, "mounter kernel is not supported"),
        ({"encrypted": "true"}, InvalidArgument, "encrypted"),
        ({"backingSnapshot": "true"}, InvalidArgument, "backingSnapshot"),
        ({"volumeNamePrefix": "team-"}, InvalidArgument, "volumeNamePrefix"),
    ],
)
def test_parameters_that_are_refused(controller: CephfsController, parameters: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        controller.create(request(parameters={**PARAMETERS, **parameters}))


def test_what_is_done_in_any_case_may_be_asked_for(controller: CephfsController) -> None:
    asked = {"mounter": "fuse", "backingSnapshot": "false", "volumeNamePrefix": "csi-vol-"}
    assert controller.create(request(parameters={**PARAMETERS, **asked})).size == GIB


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, InvalidArgument),
        ({"capabilities": ()}, InvalidArgument),
        ({"capabilities": (Capability("SINGLE_NODE_WRITER", block=True),)}, InvalidArgument),
        ({"capabilities": (Capability("SINGLE_NODE_WRITER", fs_type="ext4"),)}, InvalidArgument),
        ({"secrets": {}}, Unauthenticated),
        ({"source": ContentSource(snapshot_id="non-existing-snapshot-id")}, NotFound),
        ({"source": ContentSource(volume_id=f"rook-ceph/myfs/csi-vol-{UUID.format(9)}")}, NotFound),
        ({"source": ContentSource(volume_id=f"rook-ceph/other/csi-vol-{UUID.format(9)}")}, InvalidArgument),
    ],
)
def test_creates_that_are_refused(
    controller: CephfsController, cluster: FakeCluster, changes: dict, error: type
) -> None:
    cluster.group = {}
    with pytest.raises(error):
        controller.create(request(**changes))
    assert cluster.group == {}


def test_a_mgr_that_does_not_answer_is_asked_again(controller: CephfsController, cluster: FakeCluster) -> None:
    cluster.mgr_answers = False
    with pytest.raises(Unavailable):
        controller.create(request())


@pytest.mark.parametrize("says", ["", "error in mkdir /volumes/csi"])
def test_a_mgr_that_is_shut_out_of_the_filesystem_is_reported_by_the_words_that_people_look_for(
    controller: CephfsController, cluster: FakeCluster, says: str
) -> None:
    """The claim's event has what the driver answers."""
    cluster.mgr_answers, cluster.mgr_says = False, (errno.ESHUTDOWN, says)
    with pytest.raises(Unavailable, match=rf"{says}.*\(108\) Cannot send after transport endpoint shutdown"):
        controller.create(request())


def test_what_the_mgr_reports_in_words_is_not_reported_twice(
    controller: CephfsController, cluster: FakeCluster
) -> None:
    says = "error in mkdir /volumes/csi: Cannot send after transport endpoint shutdown [Errno 108]"
    cluster.mgr_answers, cluster.mgr_says = False, (errno.ESHUTDOWN, says)
    with pytest.raises(Unavailable) as caught:
        controller.create(request())
    assert str(caught.value).endswith(says)


def test_delete_is_idempotent(controller: CephfsController, cluster: FakeCluster) -> None:
    volume = str(controller.create(request()).id)
    controller.delete(volume, SECRETS)
    assert cluster.group == {}
    controller.delete(volume, SECRETS)
    controller.delete("reallyfakevolumeid", {})
    cluster.filesystems.clear()
    controller.delete(volume, SECRETS)
    with pytest.raises(InvalidArgument):
        controller.delete("", SECRETS)


def test_a_volume_grows_and_never_shrinks(controller: CephfsController) -> None:
    volume = str(controller.create(request()).id)
    for required, there in ((2 * GIB - 1, 2 * GIB), (GIB, 2 * GIB), (2 * GIB, 2 * GIB)):
        assert controller.expand(volume, Capacity(required), SECRETS) == there
    with pytest.raises(OutOfRange):
        controller.expand(volume, Capacity(GIB, GIB), SECRETS)
    with pytest.raises(NotFound):
        controller.expand(f"rook-ceph/myfs/csi-vol-{UUID.format(9)}", Capacity(GIB), SECRETS)


def test_publish_wants_the_volume_and_the_node_to_exist(controller: CephfsController) -> None:
    volume = str(controller.create(request()).id)
    controller.publish(volume, "worker", SHARED, False, SECRETS)
    controller.publish(volume, "worker", SHARED, False, {})
    with pytest.raises(NotFound, match="nobody"):
        controller.publish(volume, "nobody", SHARED, False, SECRETS)
    for missing in ("fake-vol-id", f"rook-ceph/myfs/csi-vol-{UUID.format(9)}"):
        with pytest.raises(NotFound):
            controller.publish(missing, "worker", SHARED, False, SECRETS)
    with pytest.raises(InvalidArgument):
        controller.publish(volume, "worker", Capability("SINGLE_NODE_WRITER", block=True), False, SECRETS)


def test_validation_confirms_or_objects(controller: CephfsController) -> None:
    volume = str(controller.create(request()).id)
    assert controller.validate(volume, [SHARED, Capability("SINGLE_NODE_WRITER")], SECRETS) == ""
    assert "raw block" in controller.validate(volume, [SHARED, Capability("SINGLE_NODE_WRITER", block=True)], SECRETS)
    with pytest.raises(NotFound):
        controller.validate("fake-vol-id", [SHARED], SECRETS)


def test_a_repeated_snapshot_finds_the_same(controller: CephfsController, cluster: FakeCluster) -> None:
    volume = str(controller.create(request()).id)
    first = controller.create_snapshot("snapshot-1", volume, SECRETS, {})
    controller.expand(volume, Capacity(2 * GIB), SECRETS)
    assert controller.create_snapshot("snapshot-1", volume, SECRETS, {}) == first
    assert (first.source_id, first.size, first.created) == (volume, GIB, 1767323045)


def test_a_name_is_used_for_one_snapshot_only(controller: CephfsController) -> None:
    one, other = (str(controller.create(request(f"pvc-{UUID.format(n)}")).id) for n in (1, 2))
    controller.create_snapshot("snapshot-1", one, SECRETS, {})
    with pytest.raises(AlreadyExists):
        controller.create_snapshot("snapshot-1", other, SECRETS, {})


def test_a_snapshot_outlives_its_volume(controller: CephfsController, cluster: FakeCluster) -> None:
    volume = str(controller.create(request()).id)
    snapshot = controller.create_snapshot("snapshot-1", volume, SECRETS, {})
    controller.delete(volume, SECRETS)
    with pytest.raises(NotFound):
        controller.expand(volume, Capacity(2 * GIB), SECRETS)
    ((listed,), token) = controller.list_snapshots(SECRETS)
    assert (str(listed.id), listed.size, token) == (str(snapshot.id), 0, "")
    assert controller.create_snapshot("snapshot-1", volume, SECRETS, {}).id == snapshot.id
    controller.delete_snapshot(str(snapshot.id), SECRETS)
    controller.delete_snapshot(str(snapshot.id), SECRETS)
    assert cluster.group == {}


def test_a_volume_is_made_anew_under_the_name_of_one_with_snapshots(controller: CephfsController) -> None:
    volume = str(controller.create(request()).id)
    controller.create_snapshot("snapshot-1", volume, SECRETS, {})
    controller.delete(volume, SECRETS)
    assert controller.create(request(required=2 * GIB)).size == 2 * GIB


def test_snapshots_are_listed_by_page(controller: CephfsController) -> None:
    volumes = [str(controller.create(request(f"pvc-{UUID.format(n)}")).id) for n in range(3)]
    ids = sorted(str(controller.create_snapshot(f"snapshot-{v}", v, SECRETS, {}).id) for v in volumes)
    found, token = controller.list_snapshots(SECRETS, max_entries=2)
    assert [str(it.id) for it in found] == ids[:2]
    rest, end = controller.list_snapshots(SECRETS, max_entries=2, starting_token=token)
    assert ([str(it.id) for it in rest], end) == (ids[2:], "")
    ((only,), _) = controller.list_snapshots(SECRETS, source_volume_id=volumes[1])
    assert only.source_id == volumes[1]
    assert controller.list_snapshots(SECRETS, snapshot_id=str(only.id), source_volume_id=volumes[0]) == ([], "")
    assert controller.list_snapshots(SECRETS, snapshot_id=ids[0])[0][0].source_id == ids[0].partition("@")[0]
    for unknown in ("fake", f"rook-ceph/gone/csi-vol-{UUID.format(1)}@csi-snap-{UUID.format(1)}"):
        assert controller.list_snapshots(SECRETS, snapshot_id=unknown) == ([], "")
    with pytest.raises(InvalidToken):
        controller.list_snapshots(SECRETS, starting_token="invalid")


def source_of(controller: CephfsController, cluster: FakeCluster, kind: str) -> ContentSource:
    """A volume, or a snapshot of one, that holds "old"; the volume has been written to since."""
    volume = controller.create(request(f"pvc-{UUID.format(7)}")).id
    subvolume = cluster.members()[volume.subvolume]
    subvolume.content = "old"
    if kind == "volume":
        return ContentSource(volume_id=str(volume))
    snapshot = controller.create_snapshot("snapshot-1", str(volume), SECRETS, {})
    subvolume.content = "new"
    return ContentSource(snapshot_id=str(snapshot.id))


KINDS = pytest.mark.parametrize("kind", ["volume", "snapshot"])


@KINDS
def test_a_copy_has_the_content_and_the_size_asked_for(
    controller: CephfsController, cluster: FakeCluster, kind: str
) -> None:
    source = source_of(controller, cluster, kind)
    wanted = request(required=2 * GIB, source=source)
    made = controller.create(wanted)
    assert controller.create(wanted) == made
    found = cluster.members()[made.id.subvolume]
    assert (found.content, found.size, made.size) == ("old", 2 * GIB, 2 * GIB)
    assert not [name for it in cluster.members().values() for name in it.snapshots if name.startswith("csi-clone-")]
    with pytest.raises(AlreadyExists, match="with the content of"):
        controller.create(request(required=2 * GIB))


@KINDS
def test_a_copy_cannot_be_smaller(controller: CephfsController, cluster: FakeCluster, kind: str) -> None:
    source = source_of(controller, cluster, kind)
    with pytest.raises(OutOfRange):
        controller.create(request(required=GIB // 2, source=source))


@KINDS
def test_a_copy_that_takes_long_is_asked_for_again(
    controller: CephfsController, cluster: FakeCluster, kind: str
) -> None:
    wanted = request(source=source_of(controller, cluster, kind))
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending, match="in-progress") as caught:
        controller.create(wanted)
    assert caught.value.code == "ABORTED"
    cluster.copies_until = 0
    assert controller.create(wanted).size == GIB


def test_another_source_under_the_same_name(controller: CephfsController, cluster: FakeCluster) -> None:
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(request(source=source_of(controller, cluster, "snapshot")))
    other = controller.create(request(f"pvc-{UUID.format(8)}")).id
    with pytest.raises(AlreadyExists, match="is being made of"):
        controller.create(request(source=ContentSource(volume_id=str(other))))


@KINDS
@pytest.mark.parametrize("finished", [True, False])
def test_a_copy_cut_short_anywhere_is_finished_or_removed_without_a_trace(
    controller: CephfsController, cluster: FakeCluster, kind: str, finished: bool
) -> None:
    source = source_of(controller, cluster, kind)
    wanted, before = request(required=2 * GIB, source=source), json.dumps(names(cluster))
    first = cluster.changes
    made = controller.create(wanted)
    steps = cluster.changes - first
    controller.delete(str(made.id), SECRETS)
    assert steps >= 3
    for step in range(1, steps + 1):
        cluster.fail_at = cluster.changes + step
        with pytest.raises(Injected):
            controller.create(wanted)
        cluster.fail_at = None
        if finished:
            assert controller.create(wanted) == made
            assert cluster.members()[made.id.subvolume].content == "old"
        controller.delete(str(made.id), SECRETS)
    # A temporary snapshot may wait for the next copy of its volume, or for the removal of that.
    if finished:
        assert json.dumps(names(cluster)) == before
    if source.volume_id:
        controller.delete(source.volume_id, SECRETS)
        assert cluster.group == {}


def names(cluster: FakeCluster) -> dict[str, list[str]]:
    return {name: list(it.snapshots) for name, it in cluster.members().items()}


@KINDS
@pytest.mark.parametrize("restarted", [False, True])
def test_a_copy_without_its_label_is_kept_only_by_who_saw_it_made(
    ceph: Any, controller: CephfsController, cluster: FakeCluster, kind: str, restarted: bool
) -> None:
    source, other = source_of(controller, cluster, kind), controller.create(request(f"pvc-{UUID.format(8)}")).id
    cluster.members()[other.subvolume].content = "of another volume"
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(request(source=source))
    cluster.copies_until = 0  # it is complete when it is asked for the next time
    if restarted:
        controller = CephfsController(ceph, FakeNodes(), clone_patience=0.05)
    volume = SubvolumeId.of("rook-ceph", "myfs", request().name)
    copy = cluster.members()[volume.subvolume]
    cluster.fs_clone_status("myfs", "csi", volume.subvolume)
    controller.create(request(source=source))
    assert cluster.members()[volume.subvolume].content == "old"
    kept = cluster.members()[volume.subvolume] is copy
    assert kept is not restarted, "it is made anew only if nobody knows of what it was made"
    controller.delete(str(volume), SECRETS)

    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(request(source=source))
    cluster.copies_until = 0
    cluster.fs_clone_status("myfs", "csi", volume.subvolume)
    controller.create(request(source=ContentSource(volume_id=str(other))))
    assert cluster.members()[volume.subvolume].content == "of another volume"


def test_a_copy_that_ends_before_it_is_cancelled_is_removed(
    controller: CephfsController, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(controller, cluster, "volume")
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(request(source=source))

    def too_late(**_: str) -> str:
        cluster.copies_until = 0
        raise Refused(errno.EINVAL, "cannot cancel -- clone finished (check clone status)")

    monkeypatch.setattr(cluster, "fs_clone_cancel", too_late)
    controller.delete(str(SubvolumeId.of("rook-ceph", "myfs", request().name)), SECRETS)
    assert names(cluster) == {SubvolumeId.parse(source.volume_id).subvolume: []}


def test_a_copy_begun_anew_has_the_content_of_now(controller: CephfsController, cluster: FakeCluster) -> None:
    source = source_of(controller, cluster, "volume")
    cluster.fail_at = cluster.changes + 2  # the snapshot is taken, and nothing more
    with pytest.raises(Injected):
        controller.create(request(source=source))
    cluster.fail_at = None
    cluster.members()[SubvolumeId.parse(source.volume_id).subvolume].content = "newer"
    made = controller.create(request(source=source))
    assert cluster.members()[SubvolumeId.parse(str(made.id)).subvolume].content == "newer"


def test_a_copy_in_progress_is_removed(controller: CephfsController, cluster: FakeCluster) -> None:
    source = source_of(controller, cluster, "volume")
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(request(source=source))
    volume = SubvolumeId.of("rook-ceph", "myfs", request().name)
    controller.delete(str(volume), SECRETS)
    assert names(cluster) == {SubvolumeId.parse(source.volume_id).subvolume: []}


def test_a_copy_that_failed_is_begun_anew(controller: CephfsController, cluster: FakeCluster) -> None:
    wanted = request(source=source_of(controller, cluster, "snapshot"))
    cluster.copies_until = 1_000_000
    with pytest.raises(ClonePending):
        controller.create(wanted)
    cluster.members()[SubvolumeId.of("rook-ceph", "myfs", wanted.name).subvolume].state = "failed"
    with pytest.raises(DriverError, match="could not be made of"):
        controller.create(wanted)
    cluster.copies_until = 0
    assert controller.create(wanted).size == GIB


def test_a_second_call_for_the_same_volume_is_turned_away(
    controller: CephfsController, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = str(controller.create(request()).id)
    remove = cluster.fs_subvolume_rm

    def remove_while_another_call_comes(**arguments: Any) -> str:
        with pytest.raises(OperationPending):
            controller.delete(volume, SECRETS)
        return remove(**arguments)

    monkeypatch.setattr(cluster, "fs_subvolume_rm", remove_while_another_call_comes)
    controller.delete(volume, SECRETS)
    assert cluster.group == {}


def test_a_dead_client_is_blocklisted(ceph: Any, cluster: FakeCluster) -> None:
    credentials = Credentials("csi-cephfs-node", "AQ==")
    with ceph.filesystem("rook-ceph", "myfs", credentials) as filesystem:
        filesystem.fence(Client(4305, "172.18.0.3:0/2893847"))
        assert cluster.blocklist == ["172.18.0.3:0/2893847"]
        cluster.may_blocklist = False
        with pytest.raises(Unauthenticated):
            filesystem.fence(Client(4305, "172.18.0.3:0/2893847"))


@pytest.mark.parametrize(("state", "said"), [("up:replay", "up:replay"), ("", "none at all")])
def test_a_filesystem_without_an_active_mds_is_not_served(
    ceph: Any, cluster: FakeCluster, state: str, said: str
) -> None:
    with ceph.filesystem("rook-ceph", "myfs", Credentials("user", "AQ==")) as filesystem:
        filesystem.require_served()
        cluster.mds = state
        with pytest.raises(Unavailable, match=said):
            filesystem.require_served()
