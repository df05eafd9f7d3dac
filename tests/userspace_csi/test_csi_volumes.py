"""The userspace CSI driver: ids, names, parameters, sizes."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from userspace_csi.errors import InvalidArgument, NotFound, OutOfRange
from userspace_csi.volumes import (
    MIB,
    Capability,
    Capacity,
    Parameters,
    VolumeId,
    image_name,
    require_supported,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_a_volume_id_shows_where_its_image_is(cluster: str, pool: str, image: str) -> None:
    volume = VolumeId.of(cluster, pool, image)
    assert VolumeId.parse(str(volume)) == volume


@pytest.mark.parametrize("text", ["", "fake-vol-id", "a/b", "a/b/c/d", "a//c", "a/../c", "a/b/c\n", "a/b/$(c)"])
def test_other_ids_are_volumes_that_do_not_exist(text: str) -> None:
    with pytest.raises(NotFound):
        VolumeId.parse(text)


def test_a_pool_that_no_id_can_carry_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="rep/licapool"):
        VolumeId.of("rook-ceph", "rep/licapool", "x")
    with pytest.raises(InvalidArgument):
        VolumeId.of("rook-ceph", "p" * 120, "x")


def test_images_of_one_name_in_two_pools_have_different_slugs() -> None:
    assert VolumeId("c", "a", "i").slug != VolumeId("c", "b", "i").slug


def test_the_image_carries_the_claims_uuid() -> None:
    unique = uuid.uuid4()
    assert image_name(f"pvc-{unique}") == f"csi-vol-{unique}"


@given(st.text(min_size=1, max_size=128), st.text(min_size=1, max_size=128))
def test_an_image_name_follows_from_the_volumes_and_fits(one: str, other: str) -> None:
    assert image_name(one) == image_name(one)
    assert VolumeId.parse(f"c/p/{image_name(one)}")
    assert len(image_name(one)) <= 96
    try:
        uuid.UUID(one.removeprefix("pvc-"))
    except ValueError:
        assert one == other or image_name(one) != image_name(other)


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_a_size_is_within_the_range_or_refused(required: int, limit: int) -> None:
    capacity = Capacity(required, limit)
    try:
        size = capacity.size()
    except OutOfRange:
        assert limit
        assert (limit // MIB) * MIB < max(required, 1)
    except InvalidArgument:
        assert 0 < limit < required
    else:
        assert size > 0
        assert size % MIB == 0
        assert capacity.allows(size)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(InvalidArgument):
        Capacity(-1, 0).size()
    assert Capacity().size() == 1 << 30
    assert not Capacity(required=2 << 30).allows(1 << 30)
    assert not Capacity(limit=1 << 30).allows(2 << 30)


def test_the_exclusive_lock_is_always_on() -> None:
    parameters = Parameters.parse({"clusterID": "rook-ceph", "pool": "replicapool", "imageFeatures": "layering"})
    assert parameters.features == ("layering", "exclusive-lock")


def test_an_object_map_has_its_fast_diff_as_librbd_makes_it() -> None:
    parameters = Parameters.parse({"clusterID": "rook-ceph", "pool": "replicapool", "imageFeatures": "object-map"})
    assert parameters.features == ("layering", "exclusive-lock", "object-map", "fast-diff")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pool": ""}, "pool"),
        ({"clusterID": ""}, "clusterID"),
        ({"imageFormat": "1"}, "imageFormat"),
        ({"imageFeatures": "layering,journaling"}, "journaling"),
        ({"imageFeatures": "fast-diff"}, "object-map"),
        ({"encrypted": "true"}, "encrypted"),
        ({"stripeUnit": "65536"}, "stripeUnit"),
        ({"stripeCount": "4"}, "stripeCount"),
        ({"objectSize": "1048576"}, "objectSize"),
        ({"topologyConstrainedPools": "[]"}, "topologyConstrainedPools"),
        ({"volumeNamePrefix": "team-"}, "volumeNamePrefix"),
    ],
)
def test_parameters_that_are_refused_by_name(change: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Parameters.parse({"clusterID": "rook-ceph", "pool": "replicapool", **change})


@pytest.mark.parametrize(
    "capability",
    [
        None,
        Capability("SINGLE_NODE_WRITER", fs_type="btrfs"),
        Capability("MULTI_NODE_MULTI_WRITER", fs_type="ext4"),
        Capability("MULTI_NODE_SINGLE_WRITER", block=True),
    ],
)
def test_unsupported_capabilities_are_refused(capability: Capability | None) -> None:
    require_supported([Capability("SINGLE_NODE_WRITER", block=True), Capability("MULTI_NODE_READER_ONLY")])
    require_supported([Capability("SINGLE_NODE_WRITER", fs_type="ext4"), Capability("SINGLE_NODE_WRITER")])
    with pytest.raises(InvalidArgument):
        require_supported([Capability("SINGLE_NODE_WRITER"), capability])
    with pytest.raises(InvalidArgument):
        require_supported([])
