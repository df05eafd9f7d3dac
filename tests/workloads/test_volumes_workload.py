"""Claims, snapshots and pods of scenarios: what is asked of Kubernetes, and what is understood of its answers."""

import subprocess
import sys
from hashlib import sha256

import pytest
from fakes import plays_kube
from rookery.errors import DeadlineExceeded, StorageFailure, UsageError
from rookery.kube import ApiUnavailable, ExecFailed
from rookery.kube.idling import IDLE
from rookery.signatures import IMAGE_IN_USE, POOL_NOT_FOUND, READ_ONLY_FILESYSTEM
from rookery.waiting import NotYet
from rookery.workloads.files import Files
from rookery.workloads.volumes import (
    DEVICE,
    MOUNT,
    Claim,
    ClaimSpec,
    FillResult,
    Pod,
    PodSpec,
    Snapshot,
    Subvolume,
    VolumeFailed,
    Volumes,
)

CLAIM = ClaimSpec("data", "volumes", "rook-ceph-block")


@plays_kube
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

    def events(self, namespace, *, name="", kind=""):
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
    return Volumes(kube, image="ceph", storage_class="rook-ceph-block")


@pytest.fixture
def claim(kube):
    return Claim(kube, CLAIM)


def pod_of(claim, **options):
    manifest = PodSpec("writer", claim, "ceph", **options).manifest()
    return manifest["spec"], manifest["spec"]["containers"][0]


def test_a_filesystem_is_mounted_and_a_raw_block_volume_is_a_device():
    spec, container = pod_of(CLAIM, node="worker", read_only=True)
    assert container["volumeMounts"] == [{"name": "data", "mountPath": MOUNT}]
    assert "volumeDevices" not in container
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "worker"}
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data", "readOnly": True}
    _, container = pod_of(ClaimSpec("data", "volumes", "rook-ceph-block", block=True))
    assert container["volumeDevices"] == [{"name": "data", "devicePath": DEVICE}]
    assert "volumeMounts" not in container


def test_a_pod_ends_at_once_or_takes_as_long_as_it_is_to():
    spec, container = pod_of(CLAIM)
    assert (spec["terminationGracePeriodSeconds"], container["command"]) == (1, IDLE)
    spec, container = pod_of(CLAIM, ends_after_s=30)
    assert (spec["terminationGracePeriodSeconds"], container["command"]) == (30, ["sleep", "infinity"])


def test_a_claim_names_its_source():
    assert CLAIM.manifest()["spec"]["volumeMode"] == "Filesystem"
    assert "dataSource" not in CLAIM.manifest()["spec"]
    clone = ClaimSpec("clone", "volumes", "rook-ceph-block", source=CLAIM, block=True, size="2Gi").manifest()["spec"]
    assert clone["dataSource"] == {"kind": "PersistentVolumeClaim", "name": "data"}
    assert (clone["volumeMode"], clone["resources"]["requests"]["storage"]) == ("Block", "2Gi")
    snapshot = Snapshot("before", CLAIM, "rook-ceph-block")
    assert snapshot.manifest()["spec"]["source"] == {"persistentVolumeClaimName": "data"}
    restored = ClaimSpec("restored", "volumes", "rook-ceph-block", source=snapshot).manifest()["spec"]
    assert restored["dataSource"]["apiGroup"] == "snapshot.storage.k8s.io"


def test_an_event_shows_a_signature(kube, claim):
    pod = Pod(kube, "writer", "volumes")
    with pytest.raises(NotYet, match="none"):
        pod.event(IMAGE_IN_USE).now()
    kube.messages = ["scheduled", "pool not found: pool (gone) not found in Ceph cluster"]
    with pytest.raises(NotYet, match="pool not found"):
        pod.event(IMAGE_IN_USE).now()
    assert claim.event(POOL_NOT_FOUND).now() == kube.messages[1]


def test_the_image_behind_a_claim(kube, claim):
    kube.objects["PersistentVolumeClaim", "data"] = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pvc-1"}}
    attributes = {"pool": "replicapool", "imageName": "csi-vol-1"}
    kube.objects["PersistentVolume", "pvc-1"] = {"spec": {"csi": {"volumeAttributes": attributes}}}
    assert claim.image == "replicapool/csi-vol-1"


def test_where_the_volume_behind_a_claim_is_attached(kube, claim):
    kube.objects["PersistentVolumeClaim", "data"] = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pvc-1"}}
    kube.objects["PersistentVolume", "pvc-1"] = {"metadata": {"name": "pvc-1"}}
    for volume, node in (("pvc-1", "worker"), ("pvc-2", "worker2")):
        spec = {"nodeName": node, "source": {"persistentVolumeName": volume}}
        kube.objects["VolumeAttachment", node] = {"spec": spec}
    assert claim.attached_to == ["worker"]


def test_a_claim_is_being_detached_and_then_detached(kube, claim):
    kube.objects["PersistentVolumeClaim", "data"] = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pvc-1"}}
    kube.objects["PersistentVolume", "pvc-1"] = {"metadata": {"name": "pvc-1"}}
    with pytest.raises(NotYet, match="no VolumeAttachment"):
        claim.being_detached.now()
    spec = {"nodeName": "worker", "source": {"persistentVolumeName": "pvc-1"}}
    metadata = {"name": "csi-1", "finalizers": ["external-attacher/rbd"]}
    attachment = kube.objects["VolumeAttachment", "csi-1"] = {"metadata": metadata, "spec": spec}
    with pytest.raises(NotYet, match="csi-1"):
        claim.being_detached.now()
    attachment["metadata"] |= {"deletionTimestamp": "2026-11-30T00:00:00Z"}
    claim.being_detached.now()
    with pytest.raises(NotYet, match=r"csi-1.*external-attacher/rbd"):
        claim.detached.now()
    del kube.objects["VolumeAttachment", "csi-1"]
    claim.detached.now()


def test_the_subvolume_behind_a_claim(kube, claim):
    kube.objects["PersistentVolumeClaim", "data"] = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pvc-1"}}
    attributes = {"subvolumeName": "csi-vol-1", "subvolumePath": "/volumes/csi/csi-vol-1/2"}
    kube.objects["PersistentVolume", "pvc-1"] = {"spec": {"csi": {"volumeAttributes": attributes}}}
    assert claim.subvolume == Subvolume("csi-vol-1", "/volumes/csi/csi-vol-1/2")


def test_claims_have_what_their_namespace_sets_unless_they_set_it(kube):
    volumes = Volumes(kube, image="ceph", storage_class="rook-cephfs", access_mode="ReadWriteMany")
    kube.apply = lambda objects: None
    claim = volumes.apply_claim("data", access_mode="ReadOnlyMany")
    assert (claim.spec.storage_class, claim.spec.access_mode) == ("rook-cephfs", "ReadOnlyMany")


@pytest.mark.parametrize("room", [2, 99])
def test_a_volume_is_filled_until_it_refuses(kube, tmp_path, monkeypatch, room):
    """The script itself, in this machine's shell, with a `sync` that refuses from the third file on."""
    fake = tmp_path / "sync"
    fake.write_text(
        f"#!/bin/sh\n[ $(ls {tmp_path}/volume | wc -l) -le {room} ] || {{ echo quota exceeded >&2; exit 1; }}",
        encoding="utf-8",
    )
    fake.chmod(0o755)
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr("rookery.workloads.volumes.MOUNT", f"{tmp_path}/volume")
    monkeypatch.setattr("rookery.workloads.volumes._PIECE", 1)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    kube.exec = lambda pod, argv, **_: (
        subprocess.run(argv, env=environment, capture_output=True, encoding="utf-8").stdout
    )
    found = Pod(kube, "writer", "volumes").fill("piece", 3)
    assert found == (FillResult(2, "quota exceeded") if room == 2 else FillResult(3, ""))


def test_a_claim_has_grown_when_its_status_reports_it(kube, claim):
    claim.expand("2Gi")
    assert kube.patched == [
        ("PersistentVolumeClaim", "data", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    ]
    status = {"capacity": {"storage": "1Gi"}, "conditions": [{"type": "FileSystemResizePending"}]}
    kube.objects["PersistentVolumeClaim", "data"] = {"status": status}
    kube.objects["Pod", "writer"] = {"metadata": {"name": "writer"}}
    grown = claim.expanded("2Gi")
    for _ in range(2):
        with pytest.raises(NotYet, match="FileSystemResizePending"):
            grown.now()
    assert [(kind, name) for kind, name, _ in kube.patched[1:]] == [("Pod", "writer")], "touched once"
    status["capacity"]["storage"] = "2Gi"
    grown.now()


def test_a_kubelets_statistics_are_of_the_claim_and_of_what_was_written(kube, volumes, monkeypatch):
    monkeypatch.setattr("rookery.workloads.volumes.STATISTICS_KNOWN", 0)
    other, mine = ({"pvcRef": {"name": "data", "namespace": n}, "usedBytes": 7} for n in ("other", "volumes"))
    kube.stats = [other]
    with pytest.raises(DeadlineExceeded, match=r"the kubelet knows \[\]"):
        volumes.statistics(CLAIM, "worker", used=7)
    kube.stats = [other, mine]
    with pytest.raises(DeadlineExceeded, match="'usedBytes': 7"):
        volumes.statistics(CLAIM, "worker", used=8)
    assert volumes.statistics(CLAIM, "worker", used=7) == mine


def test_what_a_pod_reports_of_its_volume(kube):
    pod = Pod(kube, "writer", "volumes")
    kube.printed = f"overlay / overlay rw 0 0\n/dev/loop3 {MOUNT} xfs ro,noatime,nouuid 0 0\n"
    assert pod.mount_options() == ["xfs", "ro", "noatime", "nouuid"]
    kube.printed = "1B-blocks\n1020702720\n"
    assert pod.filesystem_bytes() == 1020702720
    with pytest.raises(StorageFailure, match="may write"):
        pod.refuses_writes()
    kube.printed = ExecFailed("touch", 1, "touch: Read-only file system")
    assert "Read-only" in pod.refuses_writes()
    kube.printed = ExecFailed("touch", None, "")
    with pytest.raises(VolumeFailed, match="did not end in time"):
        pod.refuses_writes()


def test_reads_are_counted_as_long_as_they_are_right(kube, tmp_path, monkeypatch):
    """The script itself, in this machine's shell; the second read finds another content."""
    reads, content = tmp_path / "reads", tmp_path / "content"
    monkeypatch.setattr("rookery.workloads.volumes._READS", reads)
    monkeypatch.setattr("rookery.workloads.volumes.MOUNT", tmp_path)
    monkeypatch.setattr("rookery.workloads.volumes._BETWEEN_READS", f"0; echo changed > {content}")
    # In the foreground, so that what it counts is there when it has ended.
    kube.exec = lambda pod, argv, **_: (
        subprocess.run([*argv[:-1], argv[-1].removesuffix("&")], capture_output=True, encoding="utf-8").stdout
    )
    pod = Pod(kube, "writer", "volumes")
    with pytest.raises(NotYet, match="has no number yet"):
        pod.reads_above(0).now()
    content.write_text("random\n", encoding="utf-8")
    pod.start_reading("content", sha256(b"random\n").hexdigest())
    assert pod.reads_above(0).now() == 1
    with pytest.raises(NotYet, match="still at 1"):
        pod.reads_above(1).now()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ExecFailed("sh", 1, "sha256sum: /volume/a: No such file or directory"), VolumeFailed),
        (ExecFailed("sh", 1, "sha256sum: /volume/a: Input/output error"), VolumeFailed),
        (ExecFailed("sh", 2, "Read-only file system"), VolumeFailed),
        (ExecFailed("sh", 135, "Bus error"), VolumeFailed),  # of a page that cannot be read
        (ExecFailed("sh", None, ""), VolumeFailed),
        (ExecFailed("sh", 127, "sh: rsync: not found"), UsageError),
        (ExecFailed("sh", 137, "Killed"), ExecFailed),
        (ExecFailed("sh", 143, "Terminated"), ExecFailed),
        (ApiUnavailable("the stream broke off"), ApiUnavailable),
    ],
)
def test_what_a_volume_does_not_give_back_is_distinguished_from_an_exec_that_did_not_come_about(kube, error, raised):
    kube.printed = error
    with pytest.raises(raised) as caught:
        Pod(kube, "writer", "volumes").checksum("a")
    assert type(caught.value) is raised
    if raised is VolumeFailed:
        assert (caught.value.status, caught.value.output) == (error.status, error.output)
        assert "pod writer: " in str(caught.value)


# A `dd` that stores on the device what the environment says, and reads what is there, without O_DIRECT.
DD = """#!{python}
import hashlib, os, subprocess, sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
if "of" not in given:
    words = [word for word in sys.argv[1:] if word != "iflag=direct"]
    sys.exit(subprocess.run(["/usr/bin/dd", *words]).returncode)
if os.environ["VOLUME"] == "refuses":
    sys.exit("dd: writing: Input/output error")
content = sys.stdin.buffer.read()
with open(given["of"], "r+b") as device:
    device.seek(int(given["seek"]) << 20)
    device.write(bytes(len(content)) if os.environ["VOLUME"] == "zeros" else content)
"""
# A `sync` after which the file has what the volume has made of it.
SYNC = """#!{python}
import os, sys
if os.environ["VOLUME"] == "refuses":
    sys.exit("sync: Input/output error")
if os.environ["VOLUME"] == "zeros":
    size = os.path.getsize(sys.argv[1])
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(size))
"""
# A `tee` that cannot write to its file.
TEE = """#!{python}
import os, sys
if os.environ["VOLUME"] == "full":
    sys.stdout.buffer.write(sys.stdin.buffer.read())
    sys.exit("tee: No space left on device")
os.execv("/usr/bin/tee", ["tee", *sys.argv[1:]])
"""


@pytest.fixture
def volume(kube, tmp_path, monkeypatch):
    """A pod that is this machine's shell, whose volume does what it is told: "keeps", "zeros", "refuses", "full"."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("dd", DD), ("sync", SYNC), ("tee", TEE)):
        (programs / name).write_text(text.format(python=sys.executable), encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / "device").write_bytes(bytes(8 << 20))
    monkeypatch.setattr("rookery.workloads.volumes.MOUNT", str(tmp_path))
    monkeypatch.setattr("rookery.workloads.volumes.DEVICE", str(tmp_path / "device"))

    def pod(does):
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "VOLUME": does, "TMPDIR": str(tmp_path)}

        def execute(pod, argv, **_):
            done = subprocess.run(argv, env=environment, capture_output=True, encoding="utf-8")
            if done.returncode:
                raise ExecFailed("sh", done.returncode, done.stdout + done.stderr)
            return done.stdout

        kube.exec = execute
        return Pod(kube, "writer", "volumes")

    return pod


def test_a_checksum_is_that_of_what_was_written(volume, tmp_path):
    pod = volume("keeps")
    written = pod.write("a", mebibytes=2)
    content = (tmp_path / "a").read_bytes()
    assert (len(content), sha256(content).hexdigest()) == (2 << 20, written)
    assert pod.checksum("a") == written != pod.write("b", mebibytes=2)
    assert not list(tmp_path.glob("tmp.*")), "nothing is left in the container"


def test_a_checksum_of_a_device_is_that_of_what_was_written_there(volume, tmp_path):
    pod = volume("keeps")
    start, end = pod.write_device(2), pod.write_device(1, at=7)
    content = (tmp_path / "device").read_bytes()
    assert len(content) == 8 << 20
    assert [sha256(content[: 2 << 20]).hexdigest(), sha256(content[7 << 20 :]).hexdigest()] == [start, end]
    assert (pod.checksum_device(2), pod.checksum_device(1, at=7)) == (start, end)


def write_to_shared(pod):
    """To a volume of CephFS that several pods may mount."""
    shared = Files(pod._kube, image="any", storage_class="rook-cephfs", access_mode="ReadWriteMany")
    shared.pod.write("a", 2)


@pytest.mark.parametrize(
    "write",
    [lambda pod: pod.write("a", 2), lambda pod: pod.write_device(2), write_to_shared],
    ids=["file", "raw", "CephFS"],
)
def test_a_volume_that_keeps_zeros_is_found_by_the_first_read(volume, write):
    """The sum of what is read back would be right each time, had it been taken from what was read back."""
    zeros = sha256(bytes(2 << 20)).hexdigest()
    with pytest.raises(StorageFailure, match=f"is read as {zeros}"):
        write(volume("zeros"))


@pytest.mark.parametrize(
    ("write", "does", "says"),
    [
        (lambda pod: pod.write("a", 2), "refuses", "sync: Input/output error"),
        (lambda pod: pod.write("a", 2), "full", "tee: No space left"),
        (lambda pod: pod.write_device(2), "refuses", "dd: writing: Input/output error"),
        (lambda pod: pod.checksum("gone"), "keeps", "gone.*No such file"),
        (lambda pod: pod.checksum_device(2, at=9), "keeps", "cannot skip|No such file"),
    ],
    ids=["file refused", "file full", "raw refused", "file gone", "raw gone"],
)
def test_what_goes_wrong_in_the_midst_of_a_pipeline_is_not_lost(volume, tmp_path, write, does, says):
    if "cannot" in says:
        (tmp_path / "device").unlink()
    with pytest.raises(VolumeFailed, match=says):
        write(volume(does))


def test_a_write_is_refused_in_those_words_or_not_yet(kube):
    refused = Pod(kube, "writer", "volumes").write_refused(READ_ONLY_FILESYSTEM)
    with pytest.raises(NotYet, match="may write on its volume"):
        refused.now()
    kube.printed = ExecFailed("touch", 1, "touch: Input/output error")
    with pytest.raises(NotYet, match="Input/output error"):
        refused.now()
    kube.printed = ExecFailed("touch", 1, "touch: Read-only file system")
    assert refused.now() == "touch: Read-only file system"
    kube.printed = ExecFailed("touch", None, "")
    with pytest.raises(VolumeFailed, match="did not end in time"):
        refused.now()


def test_a_claim_may_name_the_one_volume_that_will_do():
    assert ClaimSpec("data", "volumes", "rook-ceph-block", volume="pvc-1").manifest()["spec"]["volumeName"] == "pvc-1"
    assert "volumeName" not in CLAIM.manifest()["spec"]
