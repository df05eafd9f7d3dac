"""The userspace CSI driver's controller, on a Ceph that is a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from harness.csi.driver.clusters import Credentials
from harness.csi.driver.controller import Controller, CreateVolume
from harness.csi.driver.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OperationPending,
    PoolNotFound,
    Unauthenticated,
)
from harness.csi.driver.volumes import Capability, Capacity

GIB = 1 << 30
WRITER = Capability("SINGLE_NODE_WRITER", fs_type="ext4")
SECRETS = {"userID": "csi-rbd-provisioner", "userKey": "AQ=="}


@dataclass
class FakePool:
    images: dict[str, int | None] = field(default_factory=dict)  # None: the name is taken, without an image behind it
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None:
        if image in self.images:
            raise AlreadyExists(image)
        self.images[image] = size
        self.features[image] = tuple(features)

    def size(self, image: str) -> int:
        size = self.images.get(image)
        if size is None:
            raise NotFound(image)
        return size

    def remove(self, image: str) -> None:
        if image in self.in_use:
            raise FailedPrecondition("image has watchers")
        if image not in self.images:
            raise NotFound(image)
        del self.images[image]


@dataclass
class FakeCeph:
    pools: dict[str, FakePool]

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> Iterator[FakePool]:
        if pool not in self.pools:
            raise PoolNotFound(pool)
        yield self.pools[pool]


class FakeNodes:
    def knows(self, node_id: str) -> bool:
        return node_id == "worker"


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def controller(pool: FakePool) -> Controller:
    return Controller(FakeCeph({"replicapool": pool}), FakeNodes())


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
    assert pool.features[first.id.image] == ("layering", "exclusive-lock")
    assert first.context["pool"] == "replicapool"
    assert first.context["imageName"] == first.id.image


def test_the_same_name_with_another_size_exists_already(controller: Controller) -> None:
    controller.create(request(required=GIB, limit=GIB))
    with pytest.raises(AlreadyExists):
        controller.create(request(required=2 * GIB, limit=2 * GIB))


def test_a_create_that_was_cut_short_is_finished(controller: Controller, pool: FakePool) -> None:
    image = controller.create(request()).id.image
    pool.images[image] = None
    assert controller.create(request()).size == GIB
    assert pool.images == {image: GIB}


def test_a_missing_pool_is_told_in_ceph_csis_words(controller: Controller) -> None:
    with pytest.raises(PoolNotFound) as caught:
        controller.create(request(parameters={"clusterID": "rook-ceph", "pool": "gone"}))
    assert str(caught.value) == "pool not found: pool (gone) not found in Ceph cluster"
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, InvalidArgument),
        ({"capabilities": ()}, InvalidArgument),
        ({"capabilities": (Capability("MULTI_NODE_MULTI_WRITER", block=True),)}, InvalidArgument),
        ({"parameters": {}}, InvalidArgument),
        ({"has_source": True}, InvalidArgument),
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
    with pytest.raises(FailedPrecondition, match=f"rbd image replicapool/{volume.image} is still being used"):
        controller.delete(str(volume), SECRETS)
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
    assert [str(error) for error in turned_away] == [f"an operation with the given Volume ID {volume} already exists"]
    assert turned_away[0].code == "ABORTED"
