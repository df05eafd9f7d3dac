"""The userspace CSI driver's controller, on a Ceph that is a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from playing import plays
from userspace_csi import controller as controller_of_images
from userspace_csi.clusters import Credentials
from userspace_csi.controller import Controller
from userspace_csi.copying import MAX_DEPTH, ImageInfo
from userspace_csi.errors import (
    AlreadyExists,
    AttemptHeld,
    DriverError,
    FailedPrecondition,
    HasSnapshots,
    ImageInUse,
    InvalidArgument,
    InvalidToken,
    NotFound,
    OperationPending,
    OutOfRange,
    PoolNotFound,
    Unauthenticated,
)
from userspace_csi.messages import ContentSource, CreateVolume
from userspace_csi.nodes import RegisteredNodes
from userspace_csi.takeover import Client, ImageUse
from userspace_csi.volumes import Capability, Capacity, VolumeId, image_name

GIB = 1 << 30
WRITER = Capability("SINGLE_NODE_WRITER", fs_type="ext4")
SECRETS = {"userID": "csi-rbd-provisioner", "userKey": "AQ=="}


@dataclass(eq=False)
class FakeImage:
    size: int
    features: tuple[str, ...] = ()
    data_pool: str = ""
    content: str = ""
    parent: FakeImage | None = None
    snapshots: dict[str, str] = field(default_factory=dict)  # name to content
    source: str = ""
    depth: int = 0


class Injected(DriverError):
    """The failure that a test asked for."""


@plays(controller_of_images.Pool)
@dataclass
class FakePool:
    """A pool in which librbd's rules for clones hold."""

    cluster: FakeCeph
    images: dict[str, FakeImage | None] = field(default_factory=dict)  # None: the name is taken, without an image
    trash: dict[str, FakeImage] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    watchers: tuple[Client, ...] = ()  # of each image that is in use

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None:
        self.cluster.change()
        if data_pool and data_pool not in self.cluster.by_name:
            raise PoolNotFound(data_pool)
        if image in self.images:
            raise AlreadyExists(image)
        self.images[image] = FakeImage(size, tuple(features), data_pool)

    def size(self, image: str) -> int:
        return self._open(image).size

    def info(self, image: str) -> ImageInfo:
        found = self._open(image)
        return ImageInfo(found.size, 1_700_000_000, found.source, found.depth, tuple(found.features), found.data_pool)

    def list_images(self) -> list[str]:
        return list(self.images)

    def use(self, image: str) -> ImageUse:
        self._open(image)
        return ImageUse(self.watchers if image in self.in_use else ())

    def resize(self, image: str, size: int) -> None:
        self.cluster.change()
        self._open(image).size = size

    def remove(self, image: str) -> None:
        if image in self.in_use:
            raise FailedPrecondition("image has watchers")
        if image not in self.images:
            raise NotFound(image)
        self.cluster.change()
        found = self.images[image]
        if found is not None and found.snapshots:
            raise HasSnapshots("image has snapshots")
        del self.images[image]
        if found is not None and self.cluster.children(found):
            self.trash[image] = found
        self.cluster.empty_trash()

    def remove_trashed(self, image: str) -> None:
        if image in self.trash and not self.cluster.children(self.trash[image]):
            del self.trash[image]

    def empty_trash(self) -> None:
        for image in list(self.trash):
            self.remove_trashed(image)

    def snapshot(self, image: str, name: str) -> None:
        self.cluster.change()
        found = self._open(image)
        if name in found.snapshots:
            raise AlreadyExists(name)
        found.snapshots[name] = found.content

    def drop_snapshot(self, image: str, name: str) -> None:
        self.cluster.change()
        self._open(image).snapshots.pop(name, None)

    def snapshots(self, image: str) -> list[str]:
        return list(self._open(image).snapshots)

    def clone(
        self, parent_pool: str, parent: str, snapshot: str, image: str, features: Sequence[str], data_pool: str = ""
    ) -> None:
        self.cluster.change()
        below = self.cluster.by_name[parent_pool]._open(parent)
        if image in self.images:
            raise AlreadyExists(image)
        # librbd copies the parent's labels, too.
        self.images[image] = FakeImage(
            below.size, tuple(features), data_pool, below.snapshots[snapshot], below, {}, below.source, below.depth
        )

    def label(self, image: str, *, source: str, depth: int) -> None:
        self.cluster.change()
        found = self._open(image)
        found.source, found.depth = source, depth

    def rename(self, image: str, name: str) -> None:
        self.cluster.change()
        if name in self.images:
            raise AlreadyExists(name)
        self.images[name] = self.images.pop(image)

    def flatten(self, image: str) -> None:
        self._open(image).parent = None
        self.cluster.empty_trash()

    def _open(self, image: str) -> FakeImage:
        found = self.images.get(image)
        if found is None:
            raise NotFound(image)
        return found


@plays(controller_of_images.Ceph)
@dataclass
class FakeCeph:
    by_name: dict[str, FakePool] = field(default_factory=dict)
    changes: int = 0
    fail_at: int | None = None

    def change(self) -> None:
        self.changes += 1
        if self.changes == self.fail_at:
            raise Injected(f"at change {self.changes}")

    def clusters(self) -> list[str]:
        return ["rook-ceph"]

    def pools(self, cluster_id: str, credentials: Credentials) -> list[str]:
        return list(self.by_name)

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> Iterator[FakePool]:
        if pool not in self.by_name:
            raise PoolNotFound(pool)
        yield self.by_name[pool]

    def children(self, image: FakeImage) -> list[FakeImage]:
        everywhere = [it for pool in self.by_name.values() for it in [*pool.images.values(), *pool.trash.values()]]
        return [it for it in everywhere if it is not None and it.parent is image]

    def empty_trash(self) -> None:
        """What went to the trash for the sake of its clones goes with the last of them."""
        for pool in self.by_name.values():
            for name in [name for name, image in pool.trash.items() if not self.children(image)]:
                del pool.trash[name]
                self.empty_trash()
                return

    def is_empty(self) -> bool:
        return not any(pool.images or pool.trash for pool in self.by_name.values())


@plays(RegisteredNodes)
class FakeNodes:
    def knows(self, node_id: str) -> bool:
        return node_id == "worker"


@pytest.fixture
def ceph() -> FakeCeph:
    ceph = FakeCeph()
    ceph.by_name = {name: FakePool(ceph) for name in ("replicapool", "other", "ecpool")}
    return ceph


@pytest.fixture
def pool(ceph: FakeCeph) -> FakePool:
    return ceph.by_name["replicapool"]


@pytest.fixture
def controller(ceph: FakeCeph) -> Controller:
    return Controller(ceph, FakeNodes(), busy_patience=0)


def request(name: str = "pvc-1", required: int = GIB, limit: int = 0, **changes) -> CreateVolume:
    fields = {
        "name": name,
        "capacity": Capacity(required, limit),
        "capabilities": (WRITER,),
        "parameters": {"clusterID": "rook-ceph", "pool": "replicapool", "imageFeatures": "layering"},
        "secrets": SECRETS,
    }
    return CreateVolume(**{**fields, **changes})


def test_a_repeated_create_finds_the_same_volume(controller: Controller, pool: FakePool) -> None:
    first, second = controller.create(request()), controller.create(request())
    assert first == second
    assert first.size == GIB
    assert list(pool.images) == [first.id.image]
    made = pool.images[first.id.image]
    assert made is not None
    assert made.features == ("layering", "exclusive-lock")
    assert first.context["pool"] == "replicapool"
    assert first.context["imageName"] == first.id.image


def test_the_same_name_with_another_size_exists_already(controller: Controller) -> None:
    controller.create(request(required=GIB, limit=GIB))
    with pytest.raises(AlreadyExists):
        controller.create(request(required=2 * GIB, limit=2 * GIB))


@pytest.mark.parametrize("copied", [False, True])
def test_the_same_name_with_another_layout_exists_already(controller: Controller, pool: FakePool, copied: bool) -> None:
    source = source_of(controller, pool, "volume") if copied else None
    wanted = request(source=source)
    for parameters in (wanted.parameters, {**wanted.parameters, "dataPool": "replicapool"}):
        controller.create(replace(wanted, parameters=parameters))
    for other in ({"imageFeatures": "layering,object-map"}, {"dataPool": "ecpool"}):
        with pytest.raises(AlreadyExists):
            controller.create(replace(wanted, parameters={**wanted.parameters, **other}))


def test_a_create_that_was_cut_short_is_finished(controller: Controller, pool: FakePool) -> None:
    image = controller.create(request()).id.image
    pool.images[image] = None
    assert controller.create(request()).size == GIB
    assert list(pool.images) == [image]
    assert pool.size(image) == GIB


@pytest.mark.parametrize("parameters", [{"pool": "gone"}, {"pool": "replicapool", "dataPool": "gone"}])
def test_a_missing_pool_is_reported_in_ceph_csis_words(controller: Controller, parameters: dict[str, str]) -> None:
    with pytest.raises(PoolNotFound) as caught:
        controller.create(request(parameters={"clusterID": "rook-ceph", **parameters}))
    assert str(caught.value) == "pool not found: pool (gone) not found in Ceph cluster"
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, InvalidArgument),
        ({"capabilities": ()}, InvalidArgument),
        ({"capabilities": (Capability("MULTI_NODE_MULTI_WRITER", block=True),)}, InvalidArgument),
        ({"parameters": {}}, InvalidArgument),
        ({"source": ContentSource(snapshot_id="non-existing-snapshot-id")}, NotFound),
        ({"source": ContentSource(volume_id="fake-vol-id")}, NotFound),
        ({"source": ContentSource(volume_id="rook-ceph/replicapool/csi-vol-none")}, NotFound),
        ({"source": ContentSource(volume_id="rook-ceph/gone/csi-vol-none")}, NotFound),
        ({"source": ContentSource(volume_id="elsewhere/replicapool/csi-vol-none")}, InvalidArgument),
        ({"secrets": {}}, Unauthenticated),
    ],
)
def test_creates_that_are_refused(controller: Controller, pool: FakePool, changes: dict, error: type) -> None:
    with pytest.raises(error):
        controller.create(request(**changes))
    assert pool.images == {}


def test_a_key_is_in_no_representation() -> None:
    secret = {"userID": "someone", "userKey": "AQDoNotShow=="}
    assert "DoNotShow" not in repr(request(secrets=secret)) + repr(Credentials.from_secrets(secret))


def test_delete_is_idempotent(controller: Controller, pool: FakePool) -> None:
    volume = str(controller.create(request()).id)
    controller.delete(volume, SECRETS)
    assert pool.images == {}
    controller.delete(volume, SECRETS)
    controller.delete("rook-ceph/gone/csi-vol-1", SECRETS)
    controller.delete("reallyfakevolumeid", {})
    with pytest.raises(InvalidArgument):
        controller.delete("", SECRETS)


def test_a_volume_in_use_is_not_deleted(controller: Controller, pool: FakePool) -> None:
    volume = controller.create(request()).id
    pool.in_use.add(volume.image)
    pool.watchers = (Client(4711, "10.244.1.7:0/99"), Client(4712, "10.244.2.7:0/98"))
    with pytest.raises(ImageInUse) as caught:
        controller.delete(str(volume), SECRETS)
    assert str(caught.value) == (
        f"rbd image replicapool/{volume.image} is still being used by client.4711 at 10.244.1.7:0/99, "
        "client.4712 at 10.244.2.7:0/98: image has watchers"
    )
    assert caught.value.code == "FAILED_PRECONDITION"
    assert volume.image in pool.images


def test_an_image_in_use_that_has_lost_its_name_meanwhile_is_reported_as_in_use(
    controller: Controller, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = controller.create(request()).id
    pool.in_use.add(volume.image)

    def gone(image: str) -> ImageUse:
        raise NotFound(image)

    monkeypatch.setattr(pool, "use", gone)
    with pytest.raises(ImageInUse, match="still being used by nobody who still watches it: image has watchers"):
        controller.delete(str(volume), SECRETS)


def test_a_volume_with_snapshots_of_others_is_not_called_in_use(controller: Controller, pool: FakePool) -> None:
    volume = controller.create(request()).id
    pool.images[volume.image].snapshots["an-operators"] = "content"
    with pytest.raises(HasSnapshots, match=f"rbd image replicapool/{volume.image} has snapshots") as caught:
        controller.delete(str(volume), SECRETS)
    assert "still being used" not in str(caught.value)  # by which a reader knows the other
    assert volume.image in pool.images


def test_publish_wants_the_volume_and_the_node_to_exist(controller: Controller) -> None:
    volume = str(controller.create(request()).id)
    controller.publish(volume, "worker", WRITER, False, SECRETS)
    controller.publish(volume, "worker", WRITER, False, {})
    with pytest.raises(NotFound, match="nobody"):
        controller.publish(volume, "nobody", WRITER, False, SECRETS)
    for missing in ("fake-vol-id", "rook-ceph/replicapool/csi-vol-none", "rook-ceph/gone/csi-vol-none"):
        with pytest.raises(NotFound, match=missing.rpartition("/")[2]):
            controller.publish(missing, "worker", WRITER, False, SECRETS)
    for arguments in (("", "worker", WRITER), (volume, "", WRITER), (volume, "worker", None)):
        with pytest.raises(InvalidArgument):
            controller.publish(*arguments, False, SECRETS)


def test_validation_confirms_or_objects(controller: Controller) -> None:
    volume = str(controller.create(request()).id)
    assert controller.validate(volume, [WRITER], SECRETS) == ""
    assert "btrfs" in controller.validate(volume, [WRITER, Capability("SINGLE_NODE_WRITER", fs_type="btrfs")], SECRETS)
    with pytest.raises(NotFound):
        controller.validate("fake-vol-id", [WRITER], SECRETS)
    with pytest.raises(InvalidArgument):
        controller.validate(volume, [], SECRETS)


def test_a_second_call_for_the_same_volume_is_turned_away(controller: Controller, pool: FakePool) -> None:
    volume = str(controller.create(request()).id)
    remove, turned_away = pool.remove, []

    def remove_while_another_call_comes(image: str) -> None:
        try:
            controller.delete(volume, SECRETS)
        except OperationPending as error:
            turned_away.append(error)
        remove(image)

    pool.remove = remove_while_another_call_comes
    controller.delete(volume, SECRETS)
    assert {str(error) for error in turned_away} == {f"an operation with the given Volume ID {volume} already exists"}
    assert turned_away[0].code == "ABORTED"


def test_a_volume_grows_and_never_shrinks(controller: Controller, pool: FakePool) -> None:
    volume = controller.create(request()).id
    for required, there in ((2 * GIB - 1, 2 * GIB), (GIB, 2 * GIB), (2 * GIB, 2 * GIB)):
        assert controller.expand(str(volume), Capacity(required), SECRETS) == there
        assert pool.size(volume.image) == there
    with pytest.raises(OutOfRange):
        controller.expand(str(volume), Capacity(GIB, GIB), SECRETS)


@pytest.mark.parametrize(
    ("volume", "capacity", "error"),
    [
        ("", Capacity(GIB), InvalidArgument),
        ("rook-ceph/replicapool/csi-vol-none", Capacity(), InvalidArgument),
        ("fake-vol-id", Capacity(GIB), NotFound),
        ("rook-ceph/replicapool/csi-vol-none", Capacity(GIB), NotFound),
        ("rook-ceph/gone/csi-vol-none", Capacity(GIB), NotFound),
    ],
)
def test_what_cannot_grow(controller: Controller, volume: str, capacity: Capacity, error: type) -> None:
    with pytest.raises(error):
        controller.expand(volume, capacity, SECRETS)


def write(pool: FakePool, image: str, content: str) -> None:
    pool._open(image).content = content


def source_of(controller: Controller, pool: FakePool, kind: str) -> ContentSource:
    """A volume, or a snapshot of one, that holds "old"; the volume has been written to since."""
    volume = controller.create(request("pvc-source")).id
    write(pool, volume.image, "old")
    if kind == "volume":
        return ContentSource(volume_id=str(volume))
    snapshot = controller.create_snapshot("snapshot-1", str(volume), SECRETS, {})
    write(pool, volume.image, "new")
    return ContentSource(snapshot_id=str(snapshot.id))


def test_a_repeated_snapshot_finds_the_same(controller: Controller, pool: FakePool) -> None:
    volume = str(controller.create(request()).id)
    first, second = (controller.create_snapshot("snapshot-1", volume, SECRETS, {}) for _ in range(2))
    assert first == second
    assert (first.source_id, first.size, first.created) == (volume, GIB, 1_700_000_000)
    assert sorted(pool.images) == sorted([first.id.image, VolumeId.parse(volume).image])
    other = str(controller.create(request("pvc-2")).id)
    with pytest.raises(AlreadyExists, match=volume):
        controller.create_snapshot("snapshot-1", other, SECRETS, {})


def test_what_librbd_has_forgotten_in_the_trash_goes_with_the_next_removal(
    controller: Controller, pool: FakePool
) -> None:
    pool.trash["csi-vol-parent"] = FakeImage(GIB)  # its last clones went at the same time
    controller.delete(str(controller.create(request()).id), SECRETS)
    assert not pool.trash


def test_a_snapshot_that_librbd_has_asked_for_twice_is_taken(
    controller: Controller, pool: FakePool, monkeypatch
) -> None:
    volume = controller.create(request()).id
    take = pool.snapshot

    def twice(image: str, name: str) -> None:
        take(image, name)
        take(image, name)

    monkeypatch.setattr(pool, "snapshot", twice)
    assert controller.create_snapshot("snapshot-1", str(volume), SECRETS, {}).source_id == str(volume)
    assert not pool.snapshots(volume.image)


@pytest.mark.parametrize(
    ("name", "volume", "error"),
    [
        ("", "testId", InvalidArgument),
        ("name", "", InvalidArgument),
        ("name", "testId", NotFound),
        ("name", "rook-ceph/replicapool/csi-vol-none", NotFound),
        ("name", "rook-ceph/gone/csi-vol-none", NotFound),
    ],
)
def test_snapshots_that_are_refused(
    controller: Controller, ceph: FakeCeph, name: str, volume: str, error: type
) -> None:
    with pytest.raises(error):
        controller.create_snapshot(name, volume, SECRETS, {})
    assert ceph.is_empty()


def test_a_snapshot_under_another_prefix_is_refused(controller: Controller, pool: FakePool) -> None:
    volume = controller.create(request()).id
    with pytest.raises(InvalidArgument, match="snapshotNamePrefix"):
        controller.create_snapshot("snapshot-1", str(volume), SECRETS, {"snapshotNamePrefix": "team-"})
    assert list(pool.images) == [volume.image]


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
@pytest.mark.parametrize("into", ["replicapool", "other"])
def test_a_copy_holds_what_its_source_held(
    controller: Controller, ceph: FakeCeph, pool: FakePool, kind: str, into: str
) -> None:
    source = source_of(controller, pool, kind)
    wanted = request("pvc-copy", source=source, parameters={"clusterID": "rook-ceph", "pool": into})
    first, second = controller.create(wanted), controller.create(wanted)
    assert first == second
    made = ceph.by_name[into]._open(first.id.image)
    assert (made.content, made.size) == ("old", GIB)
    with pytest.raises(AlreadyExists):
        controller.create(replace(wanted, source=None))
    controller.create(request("pvc-plain"))
    with pytest.raises(AlreadyExists):
        controller.create(request("pvc-plain", source=source))
    if kind == "volume":
        with pytest.raises(InvalidArgument, match="itself"):
            controller.create(request("pvc-source", source=source))


def test_a_copy_is_as_large_as_its_source_or_larger(controller: Controller, pool: FakePool) -> None:
    source = source_of(controller, pool, "snapshot")
    assert controller.create(request("a", source=source, required=0)).size == GIB
    assert controller.create(request("b", source=source, required=3 * GIB)).size == 3 * GIB
    for required, limit in ((GIB // 2, 0), (0, GIB // 2)):
        with pytest.raises(OutOfRange):
            controller.create(request("c", source=source, required=required, limit=limit))


@pytest.mark.parametrize("order", list(permutations(["volume", "snapshot", "restored", "clone"])))
def test_sources_and_copies_are_deleted_in_any_order(ceph: FakeCeph, order: tuple[str, ...]) -> None:
    controller, pool = Controller(ceph, FakeNodes(), busy_patience=0), ceph.by_name["replicapool"]
    snapshot = source_of(controller, pool, "snapshot")
    restored = str(controller.create(request("pvc-restored", source=snapshot)).id)
    clone = str(controller.create(request("pvc-clone", source=ContentSource(volume_id=restored))).id)
    volume = str(controller.create(request("pvc-source")).id)
    ids = {"volume": volume, "restored": restored, "clone": clone}
    for deleted in order:
        for _ in range(2):
            if deleted == "snapshot":
                controller.delete_snapshot(snapshot.snapshot_id, SECRETS)
            else:
                controller.delete(ids[deleted], SECRETS)
    assert ceph.is_empty()


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("step", range(1, 8))
def test_a_copy_cut_short_anywhere_is_made_anew_and_leaves_nothing(
    controller: Controller, ceph: FakeCeph, pool: FakePool, kind: str, again: bool, step: int
) -> None:
    source = source_of(controller, pool, kind)
    wanted = request("pvc-copy", source=source, required=2 * GIB)
    ceph.fail_at = ceph.changes + step
    with pytest.raises(Injected):
        controller.create(wanted)
    copy = "rook-ceph/replicapool/" + image_name("pvc-copy")
    if again:
        assert pool._open(controller.create(wanted).id.image).content == "old"
    controller.delete(copy, SECRETS)
    if source.snapshot_id:
        controller.delete_snapshot(source.snapshot_id, SECRETS)
    controller.delete("rook-ceph/replicapool/" + image_name("pvc-source"), SECRETS)
    assert ceph.is_empty()


def test_what_a_copy_has_left_goes_with_a_volume_that_was_made_without_a_source(
    controller: Controller, ceph: FakeCeph, pool: FakePool
) -> None:
    source = source_of(controller, pool, "snapshot")
    ceph.fail_at = ceph.changes + 4  # the clone is there, and has not its name yet
    with pytest.raises(Injected):
        controller.create(request("pvc-copy", source=source))
    made = controller.create(request("pvc-copy")).id
    assert made.image + ".partial" in pool.images
    controller.delete(str(made), SECRETS)
    assert not [name for name in [*pool.images, *pool.trash] if name.startswith(made.image)]


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_what_a_dead_attempt_holds_is_no_refusal(
    controller: Controller, ceph: FakeCeph, pool: FakePool, kind: str
) -> None:
    """A provisioner forgets what is refused, and the half of a copy would stay."""
    volume = source_of(controller, pool, "volume").volume_id
    ask = {
        "volume": lambda: controller.create(request("pvc-copy", source=ContentSource(volume_id=volume))),
        "snapshot": lambda: controller.create_snapshot("copy", volume, SECRETS, {}),
    }[kind]
    ceph.fail_at = ceph.changes + 4
    with pytest.raises(Injected):
        ask()
    (partial,) = [name for name in pool.images if name.endswith(".partial")]
    pool.in_use.add(partial)
    with pytest.raises(AttemptHeld, match=rf"{partial} .* ask again"):
        ask()
    pool.in_use.clear()
    ask()
    assert partial not in pool.images


def test_a_snapshot_that_an_operator_took_keeps_the_volume(controller: Controller, pool: FakePool) -> None:
    volume = controller.create(request()).id
    pool.snapshot(volume.image, "before-upgrade")
    with pytest.raises(FailedPrecondition, match="has snapshots"):
        controller.delete(str(volume), SECRETS)
    assert pool.snapshots(volume.image) == ["before-upgrade"]


def test_no_chain_of_copies_gets_deeper_than_its_limit(controller: Controller, pool: FakePool) -> None:
    volume = str(controller.create(request("pvc-0")).id)
    for number in range(1, MAX_DEPTH + 2):
        volume = str(controller.create(request(f"pvc-{number}", source=ContentSource(volume_id=volume))).id)
    depths, image = [], pool._open(VolumeId.parse(volume).image)
    assert (image.depth, image.parent) == (0, None)
    depths = [pool.info(name).depth for name in pool.images]
    assert max(depths) == MAX_DEPTH


def test_a_source_is_not_deleted_while_it_is_copied(controller: Controller, pool: FakePool) -> None:
    source = source_of(controller, pool, "volume")
    clone, turned_away = pool.clone, []

    def clone_while_others_come(*arguments, **options) -> None:
        pool.clone = clone
        with pytest.raises(OperationPending) as caught:
            controller.delete(source.volume_id, SECRETS)
        turned_away.append(caught.value)
        controller.create(request("pvc-other", source=source))  # two may copy the same source
        clone(*arguments, **options)

    pool.clone = clone_while_others_come
    controller.create(request("pvc-copy", source=source))
    assert len(turned_away) == 1
    controller.delete(source.volume_id, SECRETS)


@pytest.fixture
def snapshots(controller: Controller) -> list[str]:
    """The ids of five snapshots of three volumes in two pools."""
    made = []
    for number in range(5):
        pool = "other" if number % 3 == 2 else "replicapool"
        wanted = request(f"pvc-{number % 3}", parameters={"clusterID": "rook-ceph", "pool": pool})
        volume = str(controller.create(wanted).id)
        made.append(str(controller.create_snapshot(f"snapshot-{number}", volume, SECRETS, {}).id))
    return sorted(made)


def ids_of(listed: tuple[list, str]) -> list[str]:
    return [str(snapshot.id) for snapshot in listed[0]]


def test_all_snapshots_are_listed(controller: Controller, snapshots: list[str], pool: FakePool) -> None:
    pool.images[image_name("x").replace("vol", "snap") + ".partial"] = FakeImage(GIB)
    assert ids_of(controller.list_snapshots(SECRETS)) == snapshots
    controller.delete_snapshot(snapshots[2], SECRETS)
    assert ids_of(controller.list_snapshots(SECRETS)) == snapshots[:2] + snapshots[3:]


def test_a_list_comes_in_parts(controller: Controller, snapshots: list[str]) -> None:
    listed, token = controller.list_snapshots(SECRETS, max_entries=2)
    assert [str(snapshot.id) for snapshot in listed] == snapshots[:2]
    controller.delete_snapshot(token, SECRETS)  # another caller's business
    assert controller.list_snapshots(SECRETS, starting_token=token, max_entries=9)[1] == ""
    assert ids_of(controller.list_snapshots(SECRETS, starting_token=token)) == snapshots[3:]
    with pytest.raises(InvalidToken) as caught:
        controller.list_snapshots(SECRETS, starting_token="invalid-token")
    assert caught.value.code == "ABORTED"


def test_lists_of_one_snapshot_or_of_one_volume(controller: Controller, snapshots: list[str]) -> None:
    assert ids_of(controller.list_snapshots(SECRETS, snapshot_id=snapshots[1])) == [snapshots[1]]
    of_volume = controller.list_snapshots(SECRETS)[0][0].source_id
    found = controller.list_snapshots(SECRETS, source_volume_id=of_volume)[0]
    assert found
    assert {snapshot.source_id for snapshot in found} == {of_volume}
    for missing in ("none-exist-id", "rook-ceph/replicapool/csi-snap-none", "rook-ceph/gone/csi-snap-none"):
        assert controller.list_snapshots(SECRETS, snapshot_id=missing) == ([], "")
        assert controller.list_snapshots(SECRETS, source_volume_id=missing.replace("snap", "vol")) == ([], "")


def test_a_snapshot_is_no_volume(controller: Controller, snapshots: list[str], ceph: FakeCeph) -> None:
    controller.delete(snapshots[0], SECRETS)
    assert snapshots[0] in ids_of(controller.list_snapshots(SECRETS))
    volume = controller.list_snapshots(SECRETS)[0][0].source_id
    controller.delete_snapshot(volume, SECRETS)
    assert controller.validate(volume, [WRITER], SECRETS) == ""
