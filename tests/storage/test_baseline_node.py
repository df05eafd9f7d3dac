"""What of the nodes is compared: other numbers of loop devices and other pods' UIDs are no difference."""

from types import SimpleNamespace

import pytest
from rookery.storage.baseline import node
from rookery.storage.baseline.fingerprint import NODES, compare
from userspace_csi import DRIVER_NAME, RBD_UNITS

KUBELET = "/var/lib/kubelet"
SLUG = "csi-vol-1-0a1b2c3d"
POD, ANOTHER_POD = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def listing(
    *,
    number=3,
    pod=POD,
    devices="",
    mounts="",
    records=SLUG,
    sockets="rbd-reg.sock",
    rook="mon-a",
    kubelet="active",
):
    target = f"{KUBELET}/pods/{pod}/volumes/kubernetes.io~csi/pvc-1/mount"
    listing = f"""
--- devices
/dev/loop{number}
/dev/loop64
{devices}
--- plugins
{DRIVER_NAME}
--- registrations
{sockets}
--- services
active
{kubelet}
--- rook
{rook}
--- mounts
901 800 7:{number} / {target} rw - ext4 /dev/loop{number} rw
902 800 0:60 / {KUBELET}/pods/{pod}/volumes/kubernetes.io~projected/token rw - tmpfs tmpfs rw
{mounts}
--- units
{RBD_UNITS}-{SLUG}.service loaded active running image
--- processes
--- records
{records}
--- sockets
--- helpers
"""
    return "\n".join(filter(None, listing.splitlines())) + "\n"


def attached(number=3, **others):
    image = f"{KUBELET}/plugins/{DRIVER_NAME}/worker/{SLUG}/image"
    return {number: image, 64: "/disks/worker.img"} | {int(other[1:]): file for other, file in others.items()}


def picture(text, loops):
    return node.fingerprint_of({"worker": True}, {"worker": text}, loops, KUBELET)


def told(text, loops):
    return [str(each) for each in compare(picture(listing(), attached()), picture(text, loops))]


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        (listing(number=7), attached(7)),  # the volume was mounted again
        (listing(pod=ANOTHER_POD), attached()),
        (listing(devices="/dev/loop9"), attached()),  # a spare one, attached to nothing
        (listing(), attached(n9=f"{KUBELET}/plugins/{DRIVER_NAME}/another/{SLUG}/image")),
    ],
)
def test_what_is_new_each_time_is_no_difference(text, loops):
    assert told(text, loops) == []


@pytest.mark.parametrize(
    ("text", "loops", "line"),
    [
        (listing(), {64: "/disks/worker.img"}, f'worker loop devices of volumes ["{SLUG}"]: 1 -> nothing'),
        (listing(devices="/dev/loop65"), attached(n65="/disks/spare.img"), "worker block devices"),
        (listing(devices="/dev/dm-0"), attached(), "worker block devices"),
        (listing(records=""), attached(), "worker records"),
        (listing(sockets=""), attached(), "worker registrations"),
        (listing(kubelet="inactive"), attached(), "worker containerd, kubelet"),
        (listing(rook="mon-a mon-d"), attached(), "worker /var/lib/rook"),
        (
            listing(mounts=f"903 800 0:71 / {KUBELET}/plugins/old rw - fuse.ceph-fuse ceph-fuse rw"),
            attached(),
            'worker mounts ["fuse.ceph-fuse /var/lib/kubelet/plugins/old"]: nothing -> 1',
        ),
    ],
)
def test_what_is_left_on_a_node_is_one(text, loops, line):
    assert any(line in each for each in told(text, loops))


def test_a_node_that_is_off_is_not_asked(monkeypatch):
    states = [SimpleNamespace(name="worker", running=False), SimpleNamespace(name="worker2", running=True)]
    asked = []

    def ask_nodes(names, script):
        asked.append((names, script))
        return [listing() for _ in names]

    monkeypatch.setattr(node.node_containers, "states", lambda names: states)
    monkeypatch.setattr(node.inventory, "ask_nodes", ask_nodes)
    monkeypatch.setattr(node.loop, "attached", attached)
    found = node.collect(["worker", "worker2"], KUBELET)
    assert [names for names, _ in asked] == [["worker2"]]
    assert all(
        f"--- {part}" in asked[0][1] for part in ("devices", "plugins", "registrations", "services", "rook", "mounts")
    )
    assert found.items[NODES, "worker", "power"].value == "off"
    assert {name for _, name, title in found.items if title == "mounts"} == {"worker2"}
