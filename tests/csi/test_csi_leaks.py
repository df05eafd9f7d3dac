"""What counts as a leak, and how what there is of volumes is read from the API, from Ceph, and on nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
from rookery.csi import inventory
from rookery.csi.expected import expected_of
from rookery.csi.leaks import (
    RETAINED,
    Actual,
    Attachment,
    Expected,
    Filesystem,
    Helper,
    Image,
    Node,
    Pool,
    Subvolume,
    VolumeMount,
    VolumeUse,
    compare,
)
from userspace_csi import CEPHFS_DRIVER_NAME, CEPHFS_UNITS, DRIVER_NAME, RBD_UNITS
from userspace_csi.cephfs.client import FuseClients, Source
from userspace_csi.cephfs.subvolumes import SubvolumeId
from userspace_csi.clusters import Credentials
from userspace_csi.commands import Completed
from userspace_csi.units import Units
from userspace_csi.volumes import VolumeId
from userspace_csi.waiting import Deadline

UUID = "0c1a2b3c-0000-4000-8000-000000000001"
VOLUME = VolumeId("rook-ceph", "replicapool", f"csi-vol-{UUID}")
SLUG, POD = VOLUME.slug, "11111111-2222-4333-8444-555555555555"
KUBELET = "/var/lib/kubelet"
STAGING = f"{KUBELET}/plugins/kubernetes.io/csi/{DRIVER_NAME}/0123456789abcdef/globalmount"
TARGET = f"{KUBELET}/pods/{POD}/volumes/kubernetes.io~csi/pvc-1/mount"

EXPECTED = Expected(
    frozenset({VOLUME.spec}), frozenset({VolumeUse("worker", SLUG, POD)}), (Attachment("csi-1", "worker", SLUG),)
)
IMAGE = Image(VOLUME.image, "1f")
POOL = Pool("replicapool", (IMAGE,), ids=frozenset({"1f"}), objects_of=frozenset({"1f"}), names_of={VOLUME.image})
SERVING = Node(
    "worker",
    loops=((3, SLUG),),
    exports=frozenset({SLUG}),
    units=frozenset({SLUG}),
    processes=frozenset({SLUG}),
    records=frozenset({SLUG}),
    mounts=(VolumeMount(PurePosixPath(STAGING), SLUG), VolumeMount(PurePosixPath(TARGET), SLUG)),
)
ACTUAL = Actual((POOL,), (SERVING, Node("other")))


SHARED = SubvolumeId("rook-ceph", "myfs", f"csi-vol-{UUID}")
SPEC, SNAPSHOT = f"myfs/{SHARED.subvolume}", f"csi-snap-{UUID}"
SUBVOLUME = Subvolume(SHARED.subvolume, snapshots=(SNAPSHOT,))
FILESYSTEM = Filesystem("myfs", (SUBVOLUME,))
OF_CEPHFS = Expected(subvolumes=frozenset({SPEC}), snapshots=frozenset({f"{SPEC}@{SNAPSHOT}"}))


def texts(expected: Expected, actual: Actual) -> list[str]:
    return [str(finding) for finding in compare(expected, actual)]


def in_pool(expected: Expected = EXPECTED, **changes) -> list[str]:
    return texts(expected, replace(ACTUAL, pools=(replace(POOL, **changes),)))


def test_a_volume_in_use_is_as_it_should_be() -> None:
    assert texts(EXPECTED, ACTUAL) == []


def test_a_volume_that_nobody_uses_is_in_ceph_and_nowhere_else() -> None:
    unused = Expected(EXPECTED.images)
    assert texts(unused, Actual((POOL,), (Node("worker"),))) == []
    assert len(texts(unused, ACTUAL)) == 7  # loop device, FUSE file, unit, process, record, and two mounts


def test_an_image_that_nobody_has_is_a_leak_and_one_that_is_gone_is_missed() -> None:
    assert in_pool(images=(IMAGE, Image("csi-vol-2.partial", "2f"))) == [
        "replicapool: image csi-vol-2.partial: no PersistentVolume and no VolumeSnapshotContent has it"
    ]
    (missed,) = texts(EXPECTED, replace(ACTUAL, pools=()))
    assert missed.startswith(f"API: {VOLUME.spec}: ")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ids": {"1f", "2f"}}, "key id_2f of rbd_directory"),
        ({"objects_of": {"1f", "2f"}}, "objects of image id 2f"),
        ({"names_of": {VOLUME.image, "csi-vol-2"}}, "object rbd_id.csi-vol-2"),
        ({"images": (IMAGE, Image("csi-vol-2", ""))}, "image name csi-vol-2"),
        ({"images": (replace(IMAGE, snapshots=("csi-snap-1",)),)}, f"snapshot {VOLUME.image}@csi-snap-1"),
        ({"images": (replace(IMAGE, for_clones=1),)}, f"1 removed snapshots of {VOLUME.image}"),
        ({"trash": (Image("csi-vol-2", "2f"),)}, "image csi-vol-2 (id 2f) in the trash"),
    ],
)
def test_what_an_operation_that_was_cut_short_leaves_in_ceph(changes: dict, what: str) -> None:
    (text,) = in_pool(**changes)
    assert text.startswith(f"replicapool: {what}: ")


def test_a_snapshot_of_the_users_own_is_none_of_the_drivers() -> None:
    assert in_pool(images=(replace(IMAGE, snapshots=("before-lunch",)),)) == []


def test_the_trash_keeps_what_clones_need_over_any_number_of_steps() -> None:
    clone = replace(IMAGE, parent="3f")
    needed = (Image("csi-snap-3", "3f", parent="2f", for_clones=1), Image("csi-vol-2", "2f", for_clones=1))
    assert in_pool(images=(clone,), trash=needed) == []
    # A clone that is in the trash itself keeps nothing.
    (first, second) = in_pool(trash=needed)
    assert "csi-snap-3" in first
    assert "csi-vol-2" in second


def test_the_objects_in_a_data_pool_belong_to_images_of_another_pool() -> None:
    data = Pool("ec-data", objects_of=frozenset({"1f", "2f"}))
    (text,) = texts(EXPECTED, replace(ACTUAL, pools=(POOL, data)))
    assert text == "ec-data: objects of image id 2f: there is no such image"


def test_a_mount_for_a_pod_that_is_gone_is_a_leak_though_another_one_uses_the_volume() -> None:
    old = VolumeMount(PurePosixPath(TARGET.replace(POD, "99999999-2222-4333-8444-555555555555")), SLUG)
    (text,) = texts(EXPECTED, replace(ACTUAL, nodes=(replace(SERVING, mounts=(*SERVING.mounts, old)),)))
    assert text.startswith(f"worker: mount of {SLUG} at {old.point}: ")


def test_a_raw_block_volume_is_published_below_the_plugins() -> None:
    published = f"{KUBELET}/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-1"
    mounts = tuple(VolumeMount(PurePosixPath(published) / pod, SLUG) for pod in (POD, "of-a-pod-that-is-gone"))
    (text,) = texts(EXPECTED, replace(ACTUAL, nodes=(replace(SERVING, mounts=mounts),)))
    assert "of-a-pod-that-is-gone" in text


def test_a_mount_of_a_device_that_serves_no_volume_is_a_leak() -> None:
    dead = VolumeMount(PurePosixPath(STAGING), "")
    (text,) = texts(EXPECTED, replace(ACTUAL, nodes=(replace(SERVING, mounts=(dead,)),)))
    assert "a loop device that serves no volume" in text


def test_a_volume_on_another_node_than_its_pod_is_a_leak() -> None:
    moved = replace(EXPECTED, uses=frozenset({VolumeUse("other", SLUG, POD)}))
    found = texts(moved, ACTUAL)
    assert f"worker: loop device 3 of {SLUG}: no pod on this node uses the volume" in found
    assert "API: VolumeAttachment csi-1 to worker: no pod on that node uses the volume" in found


def test_stale_loop_devices_are_leaks() -> None:
    assert texts(EXPECTED, replace(ACTUAL, stale_loops=(7,))) == ["machine: loop device 7: what served it is dead"]


def in_filesystem(expected: Expected = OF_CEPHFS, **changes) -> list[str]:
    return texts(expected, Actual(filesystems=(replace(FILESYSTEM, **changes),)))


def test_a_subvolume_that_nobody_has_is_a_leak_and_one_that_is_gone_is_missed() -> None:
    assert in_filesystem() == []
    assert in_filesystem(subvolumes=(SUBVOLUME, Subvolume("csi-vol-2"))) == [
        "myfs: subvolume csi-vol-2: no PersistentVolume has it"
    ]
    (volume, snapshot) = in_filesystem(subvolumes=())
    assert volume.startswith(f"API: {SPEC}: its PersistentVolume")
    assert snapshot.startswith(f"API: {SPEC}@{SNAPSHOT}: its VolumeSnapshotContent")
    (missed,) = in_filesystem(subvolumes=(replace(SUBVOLUME, state="in-progress"),))
    assert missed == volume


def test_a_subvolume_is_kept_for_the_snapshots_that_the_api_has() -> None:
    kept = (replace(SUBVOLUME, state=RETAINED),)
    assert in_filesystem(replace(OF_CEPHFS, subvolumes=frozenset()), subvolumes=kept) == []
    (missed,) = in_filesystem(subvolumes=kept)
    assert missed.startswith(f"API: {SPEC}: ")
    (subvolume, snapshot) = in_filesystem(Expected(), subvolumes=kept)
    assert subvolume.startswith(f"myfs: subvolume {SUBVOLUME.name}, kept for its snapshots: ")
    assert snapshot == f"myfs: snapshot {SUBVOLUME.name}@{SNAPSHOT}: no VolumeSnapshotContent has it"
    (subvolume,) = in_filesystem(Expected(), subvolumes=(Subvolume("csi-vol-2", RETAINED),))
    assert subvolume.startswith("myfs: subvolume csi-vol-2, kept for its snapshots: ")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"subvolumes": (SUBVOLUME, Subvolume("csi-vol-2", ""))}, "subvolume csi-vol-2 (not finished)"),
        ({"subvolumes": (SUBVOLUME, Subvolume("csi-vol-2", "failed"))}, "subvolume csi-vol-2 (failed)"),
        (
            {"subvolumes": (replace(SUBVOLUME, snapshots=(SNAPSHOT, "csi-clone-2")),)},
            f"snapshot {SUBVOLUME.name}@csi-clone-2",
        ),
        (
            {"subvolumes": (replace(SUBVOLUME, copied=(("2d", SNAPSHOT),)),)},
            f"record 2d of a copy of {SUBVOLUME.name}@{SNAPSHOT}",
        ),
        ({"copies": (("2d", "csi-vol-2"),)}, "record 2d of a copy into csi-vol-2"),
        ({"trash": {"aa"}}, "aa in the trash"),
    ],
)
def test_what_an_operation_that_was_cut_short_leaves_in_a_filesystem(changes: dict, what: str) -> None:
    (text,) = in_filesystem(**changes)
    assert text.startswith(f"myfs: {what}: ")


def test_a_copy_that_is_in_progress_has_one_record_at_each_end() -> None:
    source = replace(SUBVOLUME, copied=(("2d", SNAPSHOT),))
    assert len(in_filesystem(subvolumes=(source,), copies=(("2d", "csi-vol-2"),))) == 1


def test_a_snapshot_of_a_subvolume_of_the_users_own_is_none_of_the_drivers() -> None:
    assert in_filesystem(subvolumes=(replace(SUBVOLUME, snapshots=(SNAPSHOT, "before-lunch")),)) == []


def test_a_client_of_a_volume_that_no_pod_uses_is_a_leak_and_so_is_a_mount_without_one() -> None:
    dead = VolumeMount(PurePosixPath(STAGING), "", served_by="ceph-fuse")
    assert texts(Expected(), Actual(nodes=(Node("worker", clients=frozenset({SHARED.slug}), mounts=(dead,)),))) == [
        f"worker: ceph-fuse of {SHARED.slug}: no pod on this node uses the volume",
        f"worker: mount of a ceph-fuse that serves no volume at {STAGING}: no pod on this node uses the volume",
    ]


def test_a_socket_is_a_leak_unless_a_pod_on_its_node_uses_the_volume() -> None:
    node = Node("worker", sockets=frozenset({SHARED.digest}))
    (text,) = texts(Expected(uses=frozenset({VolumeUse("other", SHARED.slug, POD)})), Actual(nodes=(node,)))
    assert text.startswith(f"worker: socket {SHARED.digest}.asok: ")
    assert texts(Expected(uses=frozenset({VolumeUse("worker", SHARED.slug, POD)})), Actual(nodes=(node,))) == []


@pytest.mark.parametrize(
    ("helper", "left"),
    [
        (Helper("e2fsck -p /dev/loop3", 99, SLUG), False),  # at work for a pod
        (Helper("e2fsck -p /dev/loop3", 121, SLUG), True),
        (Helper("e2fsck -p /dev/loop4", 1, "csi-vol-2-deadbeef"), True),
        (Helper("umount /mnt/of-somebody", 1), False),
        (Helper("umount /mnt/of-somebody", 121), True),
    ],
)
def test_a_helper_is_a_leak_when_no_call_can_want_it_any_more(helper: Helper, left: bool) -> None:
    found = texts(EXPECTED, replace(ACTUAL, nodes=(replace(SERVING, helpers=(helper,)),)))
    assert [text.split(": ")[:2] for text in found] == ([["worker", helper.command]] if left else [])


def test_what_should_exist_beside_the_rest_is_added_to_it() -> None:
    assert replace(EXPECTED, subvolumes=OF_CEPHFS.subvolumes, snapshots=OF_CEPHFS.snapshots) == EXPECTED | OF_CEPHFS
    assert OF_CEPHFS | EXPECTED == EXPECTED | OF_CEPHFS


def persistent_volume(name: str = "pvc-1", driver: str = DRIVER_NAME, handle: str = str(VOLUME)) -> dict:
    return {"metadata": {"name": name}, "spec": {"csi": {"driver": driver, "volumeHandle": handle}}}


CLAIM = {"metadata": {"namespace": "default", "name": "data"}, "spec": {"volumeName": "pvc-1"}}


def pod(phase: str = "Running", node: str = "worker", **volume) -> dict:
    volume = volume or {"persistentVolumeClaim": {"claimName": "data"}}
    return {
        "metadata": {"namespace": "default", "name": "pod", "uid": POD},
        "spec": {"nodeName": node, "volumes": [{"name": "v", **volume}, {"name": "empty", "emptyDir": {}}]},
        "status": {"phase": phase},
    }


def expected(**objects) -> Expected:
    everything = dict.fromkeys(("volumes", "contents", "claims", "pods", "attachments"), ())
    return expected_of(**{**everything, "volumes": [persistent_volume()], "claims": [CLAIM], **objects})


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_pod_uses_the_volume_of_its_claim(phase: str) -> None:
    assert expected(pods=[pod(phase)]).uses == {VolumeUse("worker", SLUG, POD)}


@pytest.mark.parametrize("ended", [pod("Succeeded"), pod("Failed"), pod("Pending", node="")])
def test_a_pod_that_has_ended_or_is_on_no_node_uses_nothing(ended: dict) -> None:
    assert expected(pods=[ended]).uses == frozenset()


def test_a_claim_made_for_a_pod_is_named_after_it() -> None:
    claim = {"metadata": {"namespace": "default", "name": "pod-v"}, "spec": {"volumeName": "pvc-1"}}
    assert expected(claims=[claim], pods=[pod(ephemeral={})]).uses == {VolumeUse("worker", SLUG, POD)}


def test_images_are_those_of_volumes_and_snapshots_of_this_driver() -> None:
    snapshot = f"csi-snap-{UUID}"
    contents = [
        {"spec": {"driver": DRIVER_NAME, "source": {}}, "status": {"snapshotHandle": f"rook-ceph/other/{snapshot}"}},
        {"spec": {"driver": DRIVER_NAME, "source": {}}},  # not taken yet
        {"spec": {"driver": "another", "source": {}}, "status": {"snapshotHandle": "rook-ceph/other/csi-snap-2"}},
    ]
    volumes = [
        persistent_volume(),
        persistent_volume("pvc-2", driver="another"),
        persistent_volume("pvc-3", handle="made by hand"),
        {"metadata": {"name": "local"}, "spec": {"local": {"path": "/mnt"}}},
    ]
    assert expected(volumes=volumes, contents=contents).images == {VOLUME.spec, f"other/{snapshot}"}


def test_subvolumes_and_their_snapshots_are_those_of_the_cephfs_driver() -> None:
    handle = f"{SHARED}@{SNAPSHOT}"
    contents = [
        {"spec": {"driver": CEPHFS_DRIVER_NAME, "source": {"snapshotHandle": handle}}},
        {"spec": {"driver": CEPHFS_DRIVER_NAME, "source": {}}},  # not taken yet
        {"spec": {"driver": "another", "source": {"snapshotHandle": handle}}},
    ]
    volumes = [
        persistent_volume(driver=CEPHFS_DRIVER_NAME, handle=str(SHARED)),
        persistent_volume("pvc-2", driver=CEPHFS_DRIVER_NAME, handle="made by hand"),
        persistent_volume("pvc-3", driver="another", handle=str(SHARED)),
    ]
    found = expected(volumes=volumes, contents=contents, pods=[pod()])
    assert found == replace(OF_CEPHFS, uses=frozenset({VolumeUse("worker", SHARED.slug, POD)}))


def test_an_attachment_is_of_a_volume_that_there_is_or_of_none() -> None:
    def attachment(volume: str, attacher: str = DRIVER_NAME) -> dict:
        spec = {"attacher": attacher, "nodeName": "worker", "source": {"persistentVolumeName": volume}}
        return {"metadata": {"name": f"csi-{volume}"}, "spec": spec}

    found = expected(
        volumes=[persistent_volume(), persistent_volume("shared", CEPHFS_DRIVER_NAME, str(SHARED))],
        attachments=[
            attachment("pvc-1"),
            attachment("gone"),
            attachment("pvc-1", "another"),
            attachment("shared", CEPHFS_DRIVER_NAME),
        ],
    )
    assert found.attachments == (
        Attachment("csi-pvc-1", "worker", SLUG),
        Attachment("csi-gone", "worker", ""),
        Attachment("csi-shared", "worker", SHARED.slug),
    )


MOUNTINFO = f"""\
900 800 0:55 / {KUBELET}/plugins/{DRIVER_NAME}/worker/{SLUG}/image rw - fuse.fuse-export /dev/fuse rw
901 800 7:3 / {STAGING} rw,relatime - ext4 /dev/loop3 rw
902 800 7:3 / {TARGET} rw,relatime - ext4 /dev/loop3 rw
903 800 0:20 /loop5 {KUBELET}/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-2/{POD} rw - tmpfs tmpfs rw
904 800 7:64 / /mnt/not-the-kubelets rw - ext4 /dev/loop64 rw
905 800 0:60 / {KUBELET}/pods/{POD}/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw
"""
LISTING = f"""
--- mounts
{MOUNTINFO}--- units
rookery-rbd-{SLUG}.service loaded active running RBD image {VOLUME.spec}
rookery-rbd-csi-vol-2-deadbeef.service loaded failed failed RBD image replicapool/csi-vol-2
--- processes
qemu-storage-daemon --blockdev {{"driver": "rbd"}} --export {{"mountpoint": "{KUBELET}/plugins/{DRIVER_NAME}/worker/{SLUG}/image"}}
--- records
{SLUG}
--- sockets
--- helpers
    100 mount -t ext4 /dev/loop3 {STAGING}
      7 /usr/sbin/mkfs.xfs -q -K /dev/loop64
"""  # noqa: E501


def test_what_a_node_lists() -> None:
    folder = f"{KUBELET}/plugins/{DRIVER_NAME}"
    attached = {3: f"{folder}/worker/{SLUG}/image", 4: f"{folder}/other/{SLUG}/image", 64: "/disks/worker.img"}
    node = inventory.node_of("worker", LISTING, attached, KUBELET)
    assert node.loops == ((3, SLUG),)
    assert node.exports == node.processes == node.records == {SLUG}
    assert node.units == {SLUG, "csi-vol-2-deadbeef"}
    assert node.helpers == (
        Helper(f"mount -t ext4 /dev/loop3 {STAGING}", 100, SLUG),
        Helper("/usr/sbin/mkfs.xfs -q -K /dev/loop64", 7),
    )
    assert [(mount.volume, mount.point.name) for mount in node.mounts] == [
        (SLUG, "globalmount"),
        (SLUG, "mount"),
        ("", POD),
    ]


@pytest.fixture
def client_program(tmp_path) -> str:
    """The command line that the driver starts a client with, to mount `SHARED` at `STAGING` in this test's folder."""
    calls: list[list[str]] = []

    def run(argv, *, timeout, check=True) -> Completed:
        calls.append(argv)
        return Completed(0, "active", "")

    clients = FuseClients(
        SimpleNamespace(at=lambda point: point), secrets_dir=tmp_path / "keys", sockets=tmp_path, run=run
    )
    source = Source(SHARED, "/volumes/csi/v/1", ["10.96.1.1"], Credentials("csi-cephfs-node", "key"), ("noatime",))
    clients.start(source, tmp_path / STAGING.lstrip("/"), Deadline(10))
    (launch,) = [argv for argv in calls if "systemd-run" in argv]
    return " ".join(launch[launch.index("ceph-fuse") :])


def test_what_a_node_lists_of_cephfs(client_program, tmp_path) -> None:
    kubelet = tmp_path / KUBELET.lstrip("/")
    staging, target, old = (f"{tmp_path}{path}" for path in (STAGING, TARGET, f"{KUBELET}/plugins/old/globalmount"))
    listing = f"""
--- mounts
900 800 0:71 / {staging} rw - fuse.ceph-fuse ceph-fuse rw,user_id=0
901 800 0:72 / {staging} rw - fuse.ceph-fuse ceph-fuse rw,user_id=0
902 800 0:72 / {target} ro - fuse.ceph-fuse ceph-fuse rw,user_id=0
903 800 0:73 / {old} rw - fuse.ceph-fuse ceph-fuse rw,user_id=0
--- units
{Units(CEPHFS_UNITS).name(SHARED.slug)} loaded active running CephFS volume {SHARED}
--- processes
{client_program}
ceph-fuse -f /mnt/of-somebody
--- records
{SHARED.slug}
--- sockets
{SHARED.digest}.asok
--- helpers
"""
    node = inventory.node_of("worker", listing, {}, str(kubelet))
    assert node == Node(
        "worker",
        units=frozenset({SHARED.slug}),
        clients=frozenset({SHARED.slug}),
        records=frozenset({SHARED.slug}),
        sockets=frozenset({SHARED.digest}),
        mounts=(
            VolumeMount(Path(staging), "", "ceph-fuse"),  # of a client that is dead, under a living one's
            VolumeMount(Path(staging), SHARED.slug, "ceph-fuse"),
            VolumeMount(Path(target), SHARED.slug, "ceph-fuse"),
            VolumeMount(Path(old), "", "ceph-fuse"),
        ),
    )


def test_an_empty_node_lists_nothing() -> None:
    listing = "\n--- mounts\n--- units\n--- processes\n--- records\n--- sockets\n--- helpers\n"
    assert inventory.node_of("worker", listing, {}, KUBELET) == Node("worker")


def test_units_are_found_by_the_name_that_the_driver_gives_them() -> None:
    for prefix, volume in ((RBD_UNITS, VOLUME), (CEPHFS_UNITS, SHARED)):
        assert inventory._UNIT.fullmatch(Units(prefix).name(volume.slug))[1] == volume.slug
