"""What there is of volumes: by the API, in Ceph, and on the nodes; for `harness.csi.leaks` to compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.csi.driver import DRIVER_NAME, RBD_UNITS
from harness.csi.driver.errors import NotFound
from harness.csi.driver.mounts import Mount, parse_mountinfo
from harness.csi.driver.node import LOOP_MAJOR
from harness.csi.driver.volumes import SnapshotId, VolumeId
from harness.csi.leaks import Attachment, Image, Node, Pool, Use, VolumeMount, Wanted
from harness.kube import Kube
from harness.machine import loop
from harness.machine.docker import docker_output
from harness.rook import toolbox

Object = Mapping[str, Any]

_LISTING_SECONDS = 30.0
_LIST_IMAGES = Path(toolbox.__file__).with_name("list_images.py")
_UNIT = re.compile(rf"{RBD_UNITS}-(\S+)\.service")
_FILE = re.compile(rf"/plugins/{re.escape(DRIVER_NAME)}/([^/\s]+)/([^/\s]+)/image")
_MARK = "--- "

# --- by the API ---------------------------------------------------------------------------------------------------


def wanted_by(kube: Kube) -> Wanted:
    """What should exist by the API. Raises `ApiUnavailable`."""
    return wanted_of(
        volumes=kube.list("PersistentVolume"),
        contents=kube.list("VolumeSnapshotContent"),
        claims=kube.list("PersistentVolumeClaim"),
        pods=kube.list("Pod"),
        attachments=kube.list("VolumeAttachment"),
    )


def wanted_of(
    *,
    volumes: Iterable[Object],
    contents: Iterable[Object],
    claims: Iterable[Object],
    pods: Iterable[Object],
    attachments: Iterable[Object],
) -> Wanted:
    """What should exist by these objects of the API.

    A pod that has ended uses its volumes no more; one that is being deleted still may.
    """
    by_name = {volume["metadata"]["name"]: found for volume in volumes if (found := _volume_of(volume))}
    snapshots = [found for content in contents if (found := _snapshot_of(content))]
    of_claims = {
        (claim["metadata"]["namespace"], claim["metadata"]["name"]): claim["spec"].get("volumeName", "")
        for claim in claims
    }
    uses = set()
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for claim in _claims_of(pod):
            if volume := by_name.get(of_claims.get((pod["metadata"]["namespace"], claim), "")):
                uses.add(Use(node, volume.slug, pod["metadata"]["uid"]))
    return Wanted(
        images=frozenset(image.spec for image in (*by_name.values(), *snapshots)),
        uses=frozenset(uses),
        attachments=tuple(
            _attachment(each, by_name) for each in attachments if each["spec"]["attacher"] == DRIVER_NAME
        ),
    )


def _volume_of(volume: Object) -> VolumeId | None:
    source = volume["spec"].get("csi") or {}
    if source.get("driver") == DRIVER_NAME:
        with suppress(NotFound):
            return VolumeId.parse(source["volumeHandle"])
    return None


def _snapshot_of(content: Object) -> SnapshotId | None:
    handle = (content.get("status") or {}).get("snapshotHandle") or content["spec"]["source"].get("snapshotHandle")
    if content["spec"]["driver"] == DRIVER_NAME and handle:
        with suppress(NotFound):
            return SnapshotId.parse(handle)
    return None


def _claims_of(pod: Object) -> list[str]:
    claims = []
    for volume in pod["spec"].get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            claims.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:  # its claim is made for the pod, and is named after both
            claims.append(f"{pod['metadata']['name']}-{volume['name']}")
    return claims


def _attachment(attachment: Object, volumes: Mapping[str, VolumeId]) -> Attachment:
    volume = volumes.get(attachment["spec"]["source"].get("persistentVolumeName", ""))
    return Attachment(attachment["metadata"]["name"], attachment["spec"]["nodeName"], volume.slug if volume else "")


# --- in Ceph ------------------------------------------------------------------------------------------------------


def pools(kube: Kube, namespace: str) -> tuple[Pool, ...]:
    """What Ceph's pools hold of images. Raises `NotYet` while Ceph does not answer."""
    return pools_of(toolbox.ask_program(kube, namespace, _LIST_IMAGES))


def pools_of(listing: Mapping[str, Any]) -> tuple[Pool, ...]:
    """Of what `list_images.py` printed."""
    return tuple(
        Pool(
            name=name,
            images=tuple(_image(each, known) for each, known in held["images"].items()),
            trash=tuple(_image(known["name"], {**known, "id": image_id}) for image_id, known in held["trash"].items()),
            ids=frozenset(held["ids"]),
            objects_of=frozenset(held["objects_of"]),
            names_of=frozenset(held["names_of"]),
        )
        for name, held in listing.items()
    )


def _image(name: str, known: Mapping[str, Any]) -> Image:
    return Image(name, known["id"], known["parent"], tuple(known["snapshots"]), known["for_clones"])


# --- on the nodes -------------------------------------------------------------------------------------------------


def nodes(names: Sequence[str], kubelet_dir: str) -> tuple[Node, ...]:
    """What the nodes have of volumes, asked of all at once. Raises `CommandFailed` for one that is off."""
    script = _SCRIPT.format(kubelet=kubelet_dir, driver=DRIVER_NAME, units=RBD_UNITS, mark=_MARK)

    def ask(name: str) -> str:
        return docker_output("exec", name, "sh", "-c", script, "sh", name, timeout=_LISTING_SECONDS)

    with ThreadPoolExecutor(len(names)) as pool:
        listings = list(pool.map(ask, names))
    attached = loop.attached()
    return tuple(node_of(name, text, attached, kubelet_dir) for name, text in zip(names, listings, strict=True))


# Each part behind a line that names it. Everything is read from tables: no path is asked that may be dead.
_SCRIPT = """
echo "{mark}mounts"; cat /proc/self/mountinfo
echo "{mark}units"; systemctl list-units --all --plain --no-legend --full '{units}-*.service'
echo "{mark}processes"; ps -eww -o args= | grep 'qemu-storage-daemo[n]'
echo "{mark}records"; ls "{kubelet}/plugins/{driver}/$1" 2>/dev/null
exit 0
"""


def node_of(name: str, listing: str, attached: Mapping[int, str], kubelet_dir: str) -> Node:
    """A node, of what the script above printed on it and of the machine's loop devices."""
    parts = {}
    for part in re.split(rf"^{re.escape(_MARK)}", listing, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        parts[title.strip()] = text
    loops = {}
    for number, file in attached.items():
        found = _FILE.search(file)
        if found and found[1] == name:
            loops[number] = found[2]
    mounts = [mount for mount in parse_mountinfo(parts["mounts"]) if mount.point.is_relative_to(kubelet_dir)]
    return Node(
        name=name,
        loops=tuple(loops.items()),
        exports=frozenset(found[2] for mount in mounts if (found := _FILE.search(str(mount.point)))),
        units=frozenset(_UNIT.findall(parts["units"])),
        processes=frozenset(found[1] for found in _FILE.findall(parts["processes"])),
        records=frozenset(parts["records"].split()),
        mounts=tuple(
            VolumeMount(mount.point, loops.get(number, ""))
            for mount in mounts
            if (number := _loop_of(mount)) is not None
        ),
    )


def _loop_of(mount: Mount) -> int | None:
    """The number of the loop device that a filesystem is on, or whose node file is mounted there."""
    if mount.device[0] == LOOP_MAJOR:
        return mount.device[1]
    node_file = re.fullmatch(r"/loop(\d+)", str(mount.root))
    return int(node_file[1]) if node_file and mount.fs_type in ("tmpfs", "devtmpfs") else None
