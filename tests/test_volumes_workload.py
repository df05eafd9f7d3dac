"""Claims, snapshots and pods of scenarios: what is asked of Kubernetes, and what is understood of its answers."""

import subprocess
from hashlib import sha256

import pytest

from harness.kube import ExecFailed
from harness.signatures import IMAGE_IN_USE, POOL_NOT_FOUND
from harness.waiting import DeadlineExceeded, NotYet
from harness.workloads.volumes import DEVICE, MOUNT, Claim, Filled, Pod, PodSpec, Snapshot, Subvolume, Volumes

CLAIM = Claim("data", "volumes")


class Kube:
    """Answers with what it was told to; remembers what it was asked to change."""

    def __init__(self):
        self.objects = {}
        self.messages = []
        self.stats = []
        self.printed = ""
        self.patched = []

    def get(self, kind, name, *, namespace=None):
        return self.objects.get((kind, name))

    def list(self, kind, *, namespace=None):
        return [found for (kind_of_it, _), found in self.objects.items() if kind_of_it == kind]

    def events(self, namespace, *, name):
        return [{"reason": "ProvisioningFailed", "message": message} for message in self.messages]

    def volume_stats(self, node):
        return self.stats

    def exec(self, pod, argv, *, namespace, timeout):
        if isinstance(self.printed, Exception):
            raise self.printed
        return self.printed

    def patch(self, kind, name, patch, *, namespace):
        self.patched.append((kind, name, patch))


@pytest.fixture
def kube():
    return Kube()


@pytest.fixture
def volumes(kube):
    return Volumes(kube, image="ceph")


def pod_of(claim, **options):
    manifest = PodSpec("writer", claim, "ceph", **options).manifest()
    return manifest["spec"], manifest["spec"]["containers"][0]


def test_a_filesystem_is_mounted_and_a_raw_block_volume_is_a_device():
    spec, container = pod_of(CLAIM, node="worker", read_only=True)
    assert container["volumeMounts"] == [{"name": "data", "mountPath": MOUNT}]
    assert "volumeDevices" not in container
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "worker"}
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data", "readOnly": True}
    _, container = pod_of(Claim("data", "volumes", block=True))
    assert container["volumeDevices"] == [{"name": "data", "devicePath": DEVICE}]
    assert "volumeMounts" not in container


def test_a_claim_names_its_source():
    assert CLAIM.manifest()["spec"]["volumeMode"] == "Filesystem"
    assert "dataSource" not in CLAIM.manifest()["spec"]
    clone = Claim("clone", "volumes", source=CLAIM, block=True, size="2Gi").manifest()["spec"]
    assert clone["dataSource"] == {"kind": "PersistentVolumeClaim", "name": "data"}
    assert (clone["volumeMode"], clone["resources"]["requests"]["storage"]) == ("Block", "2Gi")
    snapshot = Snapshot("before", CLAIM)
    assert snapshot.manifest()["spec"]["source"] == {"persistentVolumeClaimName": "data"}
    restored = Claim("restored", "volumes", source=snapshot).manifest()["spec"]
    assert restored["dataSource"]["apiGroup"] == "snapshot.storage.k8s.io"


def test_an_event_shows_a_signature(kube, volumes):
    pod = Pod(kube, "writer", "volumes")
    with pytest.raises(NotYet, match="none"):
        pod.says(IMAGE_IN_USE)()
    kube.messages = ["scheduled", "pool not found: pool (gone) not found in Ceph cluster"]
    with pytest.raises(NotYet, match="pool not found"):
        pod.says(IMAGE_IN_USE)()
    assert volumes.claim_says(CLAIM, POOL_NOT_FOUND)() == kube.messages[1]


def test_the_image_behind_a_claim(kube, volumes):
    kube.objects["PersistentVolumeClaim", "data"] = {"spec": {"volumeName": "pvc-1"}}
    attributes = {"pool": "replicapool", "imageName": "csi-vol-1"}
    kube.objects["PersistentVolume", "pvc-1"] = {"spec": {"csi": {"volumeAttributes": attributes}}}
    assert volumes.image_of(CLAIM) == "replicapool/csi-vol-1"


def test_where_the_volume_behind_a_claim_is_attached(kube, volumes):
    kube.objects["PersistentVolumeClaim", "data"] = {"spec": {"volumeName": "pvc-1"}}
    kube.objects["PersistentVolume", "pvc-1"] = {"metadata": {"name": "pvc-1"}}
    for volume, node in (("pvc-1", "worker"), ("pvc-2", "worker2")):
        spec = {"nodeName": node, "source": {"persistentVolumeName": volume}}
        kube.objects["VolumeAttachment", node] = {"spec": spec}
    assert volumes.attached_to(CLAIM) == ["worker"]


def test_the_subvolume_behind_a_claim(kube, volumes):
    kube.objects["PersistentVolumeClaim", "data"] = {"spec": {"volumeName": "pvc-1"}}
    attributes = {"subvolumeName": "csi-vol-1", "subvolumePath": "/volumes/csi/csi-vol-1/2"}
    kube.objects["PersistentVolume", "pvc-1"] = {"spec": {"csi": {"volumeAttributes": attributes}}}
    assert volumes.subvolume_of(CLAIM) == Subvolume("csi-vol-1", "/volumes/csi/csi-vol-1/2")


def test_claims_have_what_their_namespace_says_unless_they_say_otherwise(kube):
    volumes = Volumes(kube, image="ceph", storage_class="rook-cephfs", access_mode="ReadWriteMany")
    kube.apply = lambda objects: None
    claim = volumes.apply_claim("data", access_mode="ReadOnlyMany")
    assert (claim.storage_class, claim.access_mode) == ("rook-cephfs", "ReadOnlyMany")


@pytest.mark.parametrize("room", [2, 99])
def test_a_volume_is_filled_until_it_refuses(kube, tmp_path, monkeypatch, room):
    """The script itself, in this machine's shell, with a `sync` that refuses from the third file on."""
    fake = tmp_path / "sync"
    fake.write_text(
        f"#!/bin/sh\n[ $(ls {tmp_path}/volume | wc -l) -le {room} ] || {{ echo quota exceeded >&2; exit 1; }}"
    )
    fake.chmod(0o755)
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr("harness.workloads.volumes.MOUNT", f"{tmp_path}/volume")
    monkeypatch.setattr("harness.workloads.volumes._PIECE", 1)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    kube.exec = lambda pod, argv, **_: subprocess.run(argv, env=environment, capture_output=True, text=True).stdout
    found = Pod(kube, "writer", "volumes").fill("piece", 3)
    assert found == (Filled(2, "quota exceeded") if room == 2 else Filled(3, ""))


def test_a_claim_has_grown_when_its_status_says_so(kube, volumes):
    volumes.grow(CLAIM, "2Gi")
    assert kube.patched == [
        ("PersistentVolumeClaim", "data", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    ]
    status = {"capacity": {"storage": "1Gi"}, "conditions": [{"type": "FileSystemResizePending"}]}
    kube.objects["PersistentVolumeClaim", "data"] = {"status": status}
    kube.objects["Pod", "writer"] = {"metadata": {"name": "writer"}}
    grown = volumes.grown(CLAIM, "2Gi")
    for _ in range(2):
        with pytest.raises(NotYet, match="FileSystemResizePending"):
            grown()
    assert [(kind, name) for kind, name, _ in kube.patched[1:]] == [("Pod", "writer")], "touched once"
    status["capacity"]["storage"] = "2Gi"
    grown()


def test_a_kubelets_statistics_are_of_the_claim_and_of_what_was_written(kube, volumes, monkeypatch):
    monkeypatch.setattr("harness.workloads.volumes.STATISTICS_KNOWN", 0)
    other, mine = ({"pvcRef": {"name": "data", "namespace": n}, "usedBytes": 7} for n in ("other", "volumes"))
    kube.stats = [other]
    with pytest.raises(DeadlineExceeded, match=r"the kubelet knows \[\]"):
        volumes.statistics(CLAIM, "worker", used=7)
    kube.stats = [other, mine]
    with pytest.raises(DeadlineExceeded, match="'usedBytes': 7"):
        volumes.statistics(CLAIM, "worker", used=8)
    assert volumes.statistics(CLAIM, "worker", used=7) == mine


def test_what_a_pod_says_of_its_volume(kube):
    pod = Pod(kube, "writer", "volumes")
    kube.printed = f"overlay / overlay rw 0 0\n/dev/loop3 {MOUNT} xfs ro,noatime,nouuid 0 0\n"
    assert pod.mount_options() == ["xfs", "ro", "noatime", "nouuid"]
    kube.printed = "1B-blocks\n1020702720\n"
    assert pod.filesystem_bytes() == 1020702720
    with pytest.raises(AssertionError, match="may write"):
        pod.refuses_writes()
    kube.printed = ExecFailed("touch", 1, "touch: Read-only file system")
    assert "Read-only" in pod.refuses_writes()


def test_reads_are_counted_as_long_as_they_are_right(kube, tmp_path, monkeypatch):
    """The script itself, in this machine's shell; the second read finds another content."""
    reads, content = tmp_path / "reads", tmp_path / "content"
    monkeypatch.setattr("harness.workloads.volumes._READS", reads)
    monkeypatch.setattr("harness.workloads.volumes.MOUNT", tmp_path)
    monkeypatch.setattr("harness.workloads.volumes._BETWEEN_READS", f"0; echo changed > {content}")
    # In the foreground, so that what it counts is there when it has ended.
    kube.exec = lambda pod, argv, **_: (
        subprocess.run([*argv[:-1], argv[-1].removesuffix("&")], capture_output=True, text=True).stdout
    )
    pod = Pod(kube, "writer", "volumes")
    with pytest.raises(NotYet, match="has no number yet"):
        pod.read_beyond(0)
    content.write_text("random\n")
    pod.start_reading("content", sha256(b"random\n").hexdigest())
    assert pod.read_beyond(0) == 1
    with pytest.raises(NotYet, match="still at 1"):
        pod.read_beyond(1)
