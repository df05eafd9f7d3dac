"""What should exist of volumes by the API; for `rookery.csi.leaks` to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from userspace_csi import CEPHFS_DRIVER_NAME, DRIVER_NAME
from userspace_csi.cephfs.subvolumes import SubvolumeId, SubvolumeSnapshotId
from userspace_csi.errors import NotFound
from userspace_csi.volumes import SnapshotId, VolumeId

from rookery.csi.leaks import Attachment, Expected, VolumeUse
from rookery.kube import Kube
from rookery.kube.objects import fields_of, items_of, value_of

Object = Mapping[str, Any]

_VOLUMES: dict[str, Callable[[str], VolumeId | SubvolumeId]] = {
    DRIVER_NAME: VolumeId.parse,
    CEPHFS_DRIVER_NAME: SubvolumeId.parse,
}
_SNAPSHOTS: dict[str, Callable[[str], SnapshotId | SubvolumeSnapshotId]] = {
    DRIVER_NAME: SnapshotId.parse,
    CEPHFS_DRIVER_NAME: SubvolumeSnapshotId.parse,
}


def expected_by(kube: Kube) -> Expected:
    """What should exist by the API. Raises `ApiUnavailable`."""
    return expected_of(
        volumes=kube.list("PersistentVolume"),
        contents=kube.list("VolumeSnapshotContent"),
        claims=kube.list("PersistentVolumeClaim"),
        pods=kube.list("Pod"),
        attachments=kube.list("VolumeAttachment"),
    )


def expected_of(
    *,
    volumes: Iterable[Object],
    contents: Iterable[Object],
    claims: Iterable[Object],
    pods: Iterable[Object],
    attachments: Iterable[Object],
) -> Expected:
    """What should exist by these objects of the API.

    A pod that has ended uses its volumes no more; one that is being deleted still may.
    """
    by_name = {volume["metadata"]["name"]: found for volume in volumes if (found := _volume_of(volume))}
    snapshots = [taken for content in contents if (taken := _snapshot_of(content))]
    of_claims = {
        (claim["metadata"]["namespace"], claim["metadata"]["name"]): value_of(claim, "spec", "volumeName", default="")
        for claim in claims
    }
    uses = set()
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or value_of(pod, "status", "phase") in ("Succeeded", "Failed"):
            continue
        for claim in _claims_of(pod):
            if volume := by_name.get(of_claims.get((pod["metadata"]["namespace"], claim), "")):
                uses.add(VolumeUse(node, volume.slug, pod["metadata"]["uid"]))
    everything = [*by_name.values(), *snapshots]
    return Expected(
        images=frozenset(image.spec for image in everything if isinstance(image, VolumeId)),
        uses=frozenset(uses),
        attachments=tuple(_attachment(each, by_name) for each in attachments if each["spec"]["attacher"] in _VOLUMES),
        subvolumes=frozenset(_spec(volume) for volume in everything if isinstance(volume, SubvolumeId)),
        snapshots=frozenset(
            f"{_spec(snapshot.source)}@{snapshot.name}"
            for snapshot in everything
            if isinstance(snapshot, SubvolumeSnapshotId)
        ),
    )


def _volume_of(volume: Object) -> VolumeId | SubvolumeId | None:
    source = fields_of(volume, "spec", "csi")
    if parse := _VOLUMES.get(source.get("driver", "")):
        with suppress(NotFound):
            return parse(source["volumeHandle"])
    return None


def _snapshot_of(content: Object) -> SnapshotId | SubvolumeSnapshotId | None:
    handle = value_of(content, "status", "snapshotHandle") or value_of(content, "spec", "source", "snapshotHandle")
    if (parse := _SNAPSHOTS.get(content["spec"]["driver"])) and handle:
        with suppress(NotFound):
            return parse(handle)
    return None


def _spec(volume: SubvolumeId) -> str:
    return f"{volume.filesystem}/{volume.subvolume}"


def _claims_of(pod: Object) -> list[str]:
    claims = []
    for volume in items_of(pod, "spec", "volumes"):
        if "persistentVolumeClaim" in volume:
            claims.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:  # its claim is made for the pod, and is named after both
            claims.append(f"{pod['metadata']['name']}-{volume['name']}")
    return claims


def _attachment(attachment: Object, volumes: Mapping[str, VolumeId | SubvolumeId]) -> Attachment:
    volume = volumes.get(value_of(attachment, "spec", "source", "persistentVolumeName", default=""))
    return Attachment(attachment["metadata"]["name"], attachment["spec"]["nodeName"], volume.slug if volume else "")
