"""Claims, snapshots and pods that a scenario makes one by one, and what pods have on their volumes, by checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rookery.errors import StorageFailure, UsageError
from rookery.kube import ExecFailed, Kube, retry_while_api_unavailable
from rookery.kube.conditions import bound, not_ready, not_started
from rookery.kube.idling import IDLE
from rookery.kube.named import NamedObject
from rookery.kube.objects import Object, items_of, still_there, title_of, value_of
from rookery.kube.symptoms import seen
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, condition, minutes
from rookery.workloads.background_writes import BackgroundWrite
from rookery.workloads.file_locks import FileLock
from rookery.workloads.persistent_volumes import PersistentVolume
from rookery.workloads.volume_snapshots import VolumeSnapshot

MOUNT = "/volume"
DEVICE = "/dev/volume"
BOUND = minutes(1)
POD_READY = minutes(2)
POD_GONE = minutes(2)
SNAPSHOT_READY = minutes(1)
COUNTED = minutes(1)
REFUSED = minutes(1)
EXPANDED = minutes(2)
STATISTICS_KNOWN = minutes(3)  # the kubelet asks the driver once a minute
EXEC_SECONDS = 60.0
_PIECE = 4  # MiB
_READS = "/tmp/reads"
_BETWEEN_READS = 0.2  # seconds: whoever is looked at has the machine to himself for most of the time
SNAPSHOT_API = "snapshot.storage.k8s.io/v1"


_NOT_FOUND = 127  # of a shell: it knows no such program
_KILLED = (137, 143)  # by somebody; a volume cannot do that to a process


class VolumeFailed(StorageFailure):
    """A command that works on a volume ended with another status than 0, or (`status` None) did not end in time: what
    was to be read is not there, or cannot be read or written."""

    def __init__(self, what: str, status: int | None, output: str) -> None:
        how = "did not end in time" if status is None else f"ended with status {status}"
        super().__init__(f"{what}: {how}\n{output.strip()[-4000:]}".rstrip())
        self.status = status
        self.output = output


@dataclass(frozen=True)
class ClaimSpec:
    """A PersistentVolumeClaim to be made. `source` is a snapshot or another claim whose content it is to have;
    `volume` is the one PersistentVolume that will do, by its name."""

    name: str
    namespace: str
    storage_class: str
    size: str = "1Gi"
    access_mode: str = "ReadWriteOnce"
    block: bool = False
    volume: str = ""
    source: Claim | ClaimSpec | Snapshot | None = None

    def manifest(self) -> Object:
        spec: Object = {
            "accessModes": [self.access_mode],
            "volumeMode": "Block" if self.block else "Filesystem",
            "resources": {"requests": {"storage": self.size}},
            "storageClassName": self.storage_class,
        }
        if self.source is not None:
            spec["dataSource"] = self.source.reference()
        if self.volume:
            spec["volumeName"] = self.volume
        return _object("v1", "PersistentVolumeClaim", self.name, self.namespace, spec)

    def reference(self) -> Object:
        return {"kind": "PersistentVolumeClaim", "name": self.name}


@dataclass(frozen=True)
class Snapshot:
    """A VolumeSnapshot to be made."""

    name: str
    claim: Claim | ClaimSpec
    snapshot_class: str

    def manifest(self) -> Object:
        source = {"persistentVolumeClaimName": self.claim.name}
        spec = {"volumeSnapshotClassName": self.snapshot_class, "source": source}
        return _object(SNAPSHOT_API, "VolumeSnapshot", self.name, self.claim.namespace, spec)

    def reference(self) -> Object:
        return {"apiGroup": SNAPSHOT_API.partition("/")[0], "kind": "VolumeSnapshot", "name": self.name}


@dataclass(frozen=True)
class Subvolume:
    """A subvolume of CephFS: its name, and its path in the filesystem."""

    name: str
    path: str


@dataclass(frozen=True)
class FillResult:
    """How much a volume took until it refused, in MiB, and what it said then; "" if it never did."""

    mebibytes: int
    refusal: str


@dataclass(frozen=True)
class PodSpec:
    """A pod that sleeps beside the volume of a claim; `image` needs a shell and coreutils.

    It ends at once when it is told to, or takes `ends_after_s` seconds for it.
    """

    name: str
    claim: ClaimSpec
    image: str
    node: str = ""
    read_only: bool = False
    privileged: bool = False
    ends_after_s: int = 0

    def manifest(self) -> Object:
        container: Object = {
            "name": "main",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"] if self.ends_after_s else IDLE,  # the first process: no trap, no end
            "securityContext": {"runAsUser": 0, "privileged": self.privileged},
        }
        if self.claim.block:
            container["volumeDevices"] = [{"name": "data", "devicePath": DEVICE}]
        else:
            container["volumeMounts"] = [{"name": "data", "mountPath": MOUNT}]
        source = {"claimName": self.claim.name, "readOnly": self.read_only}
        spec: Object = {
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": source}],
            "terminationGracePeriodSeconds": self.ends_after_s or 1,
        }
        if self.node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": self.node}
        return _object("v1", "Pod", self.name, self.claim.namespace, spec)


class Claim(NamedObject):
    """A claim that has been applied, as `spec` has it."""

    def __init__(self, kube: Kube, spec: ClaimSpec) -> None:
        super().__init__(kube, "PersistentVolumeClaim", spec.name, spec.namespace)
        self.spec = spec

    @property
    def bound(self) -> Condition[str]:
        """The claim is bound; its value is the name of the PersistentVolume."""
        return bound(self._kube, self.name, self.namespace)

    def delete(self) -> None:
        """Ask for it to be deleted."""
        self._kube.delete("PersistentVolumeClaim", self.name, namespace=self.namespace)

    @condition("claim {self.name} gone", within=POD_GONE)
    @retry_while_api_unavailable()
    def gone(self) -> None:
        """There is no such claim any more; its volume may still be there."""
        if found := self._kube.get("PersistentVolumeClaim", self.name, namespace=self.namespace):
            raise NotYet(still_there(found))

    def reference(self) -> Object:
        return self.spec.reference()

    @property
    def uid(self) -> str:
        """The claim's identity: another one means that the claim was made anew."""
        return self._existing()["metadata"]["uid"]

    @property
    def volume(self) -> Object:
        """The PersistentVolume behind the claim. Raises `NotYet` while the claim is not bound."""
        name = self.bound.now()
        volume = self._kube.get("PersistentVolume", name)
        if volume is None:
            raise NotYet(f"there is no PersistentVolume {name}")
        return volume

    @property
    def persistent_volume(self) -> PersistentVolume:
        """The same, to be changed. Raises `NotYet` while the claim is not bound."""
        return PersistentVolume(self._kube, self.bound.now())

    @property
    def image(self) -> str:
        """`POOL/IMAGE` behind the claim. Raises `NotYet` while the claim is not bound."""
        return image_of(self.volume)

    @property
    def subvolume(self) -> Subvolume:
        """The subvolume of CephFS behind the claim. Raises `NotYet` while the claim is not bound."""
        attributes = _attributes(self.volume)
        return Subvolume(attributes["subvolumeName"], attributes["subvolumePath"])

    @property
    def attached_to(self) -> list[str]:
        """The nodes to which the API has the volume attached. Raises `NotYet` while the claim is not bound."""
        return [found["spec"]["nodeName"] for found in self._attachments()]

    @condition("claim {self.name} being detached", within=POD_GONE)
    @retry_while_api_unavailable()
    def being_detached(self) -> None:
        """Kubernetes has asked for its VolumeAttachments to be deleted, and they are still there."""
        found = self._attachments()
        if not found or any("deletionTimestamp" not in each["metadata"] for each in found):
            raise NotYet("; ".join(map(title_of, found)) or "there is no VolumeAttachment of it")

    @condition("claim {self.name} detached", within=POD_GONE)
    @retry_while_api_unavailable()
    def detached(self) -> None:
        """There is no VolumeAttachment of it any more."""
        if found := self._attachments():
            raise NotYet("; ".join(map(still_there, found)))

    def expand(self, size: str) -> None:
        """Ask for more; the pods that use the claim see when they have it."""
        wanted = {"spec": {"resources": {"requests": {"storage": size}}}}
        self._kube.patch("PersistentVolumeClaim", self.name, wanted, namespace=self.namespace)

    def expanded(self, size: str) -> Condition[None]:
        """The claim's own status has the new size, which it gets when the node is done, too.

        A kubelet looks for volumes to grow when it syncs a pod, which it does once a minute, or when the pod changes:
        so the namespace's pods are touched once it is the node's turn.
        """
        touched = False

        @retry_while_api_unavailable()
        def ask() -> None:
            nonlocal touched
            found = self._kube.get("PersistentVolumeClaim", self.name, namespace=self.namespace)
            conditions, capacity = items_of(found, "status", "conditions"), value_of(found, "status", "capacity")
            if not touched and any(each["type"] == "FileSystemResizePending" for each in conditions):
                self._touch_pods(size)
                touched = True
            if value_of(capacity, "storage") != size:
                reasons = [each.get("message") or each["type"] for each in conditions]
                raise NotYet(f"{capacity}: {'; '.join(reasons)}")

        return Condition(f"claim {self.name} of {size}", ask, within=EXPANDED)

    def _attachments(self) -> list[Object]:
        name = self.volume["metadata"]["name"]
        found = self._kube.list("VolumeAttachment")
        return [each for each in found if value_of(each, "spec", "source", "persistentVolumeName") == name]

    def _touch_pods(self, note: str) -> None:
        for pod in self._kube.list("Pod", namespace=self.namespace):
            change = {"metadata": {"annotations": {"rookery.io/grows-to": note}}}
            self._kube.patch("Pod", pod["metadata"]["name"], change, namespace=self.namespace)

    def _existing(self) -> Object:
        claim = self._kube.get("PersistentVolumeClaim", self.name, namespace=self.namespace)
        if claim is None:
            raise NotYet(f"there is no claim {self.name}")
        return claim


class Pod(NamedObject):
    """A pod that has been applied; `mount` is where it has its volume, if that is no raw block device."""

    mount = MOUNT

    def __init__(self, kube: Kube, name: str, namespace: str) -> None:
        super().__init__(kube, "Pod", name, namespace)

    @condition("pod {self.name} Ready", within=POD_READY)
    @retry_while_api_unavailable()
    def ready(self, *, since: float = 0.0) -> Object:
        """The pod is Ready, which its volume's mount comes before."""
        pod = self.existing()
        if reason := not_ready(pod, since=since):
            raise NotYet(reason)
        return pod

    @condition("pod {self.name} with its volume mounted", within=POD_READY)
    @retry_while_api_unavailable()
    def mounted(self, *, since: float = 0.0) -> None:
        """The pod's container runs, which the mount of its volume comes before."""
        if reason := not_started(self.existing(), since=since):
            raise NotYet(reason)

    @condition("pod {self.name} gone", within=POD_GONE)
    @retry_while_api_unavailable()
    def gone(self) -> None:
        """There is no such pod any more."""
        if found := self._kube.get("Pod", self.name, namespace=self.namespace):
            raise NotYet(still_there(found))

    def delete(self) -> None:
        """Delete it and wait until it is gone; its volume may still be mounted on its node for a moment."""
        self._kube.delete("Pod", self.name, namespace=self.namespace, grace_seconds=1)
        self.gone.wait()

    def force_delete(self) -> None:
        """Take it out of the API at once, whether its node knows of it or not."""
        self._kube.delete("Pod", self.name, namespace=self.namespace, grace_seconds=0)
        self.gone.wait()

    @property
    def uid(self) -> str:
        """The pod's identity, by which its node has its folder."""
        return self.existing()["metadata"]["uid"]

    @property
    def node(self) -> str:
        """The node the pod runs on."""
        return self.existing()["spec"]["nodeName"]

    @property
    def restarts(self) -> int:
        """How often its container was started again."""
        statuses = items_of(self.existing(), "status", "containerStatuses")
        return sum(value_of(each, "restartCount", default=0) for each in statuses)

    def existing(self) -> Object:
        """The pod as the API has it; `NotYet` if it has none."""
        pod = self._kube.get("Pod", self.name, namespace=self.namespace)
        if pod is None:
            raise NotYet(f"there is no pod {self.name}")
        return pod

    @property
    def address(self) -> str:
        """The address at which other pods reach it."""
        address = value_of(self.existing(), "status", "podIP")
        if not address:
            raise NotYet(f"pod {self.name} has no address")
        return address

    def sh(self, script: str, *, timeout: float = EXEC_SECONDS) -> str:
        """What a shell script in the pod prints within `timeout` seconds.

        Raises `VolumeFailed` when it ends with another status than 0 or not in time, as whatever a pod does here has to
        do with its volume; `UsageError` when the image lacks the program; and what an exec raises that does not come
        about (`ApiUnavailable`, `KubeError`) or whose process is killed (`ExecFailed`).
        """
        try:
            return self._kube.exec(self.name, ["sh", "-c", script], namespace=self.namespace, timeout=timeout)
        except ExecFailed as error:
            if error.status == _NOT_FOUND:
                raise UsageError(f"pod {self.name}: {error.message}", hint="an image that has the program") from error
            if error.status in _KILLED:
                raise
            raise VolumeFailed(f"pod {self.name}: {script}", error.status, error.output) from error

    def write(self, name: str, mebibytes: int) -> str:
        """Write a file of random bytes, sync it, and return the SHA-256 of what was written, taken on its way.

        Raises `StorageFailure` if already the first read has another one.
        """
        path = f"{MOUNT}/{name}"
        written = self.sh(_synced(path, mebibytes)).split()[0]
        return self._read_back(path, written, self.checksum(name))

    def _read_back(self, place: str, written: str, found: str) -> str:
        if found != written:
            raise StorageFailure(f"pod {self.name}: {place} was written with SHA-256 {written}, and is read as {found}")
        return written

    def checksum(self, name: str) -> str:
        """SHA-256 of a file, read from the volume: what the page cache has of it is dropped first."""
        path = f"{MOUNT}/{name}"
        return self.sh(f"dd if={path} iflag=nocache count=0 status=none; sha256sum {path}").split()[0]

    def start_reading(self, name: str, checksum: str) -> None:
        """Read a file past the page cache over and over, as long as it has that checksum (see `reads_above`)."""
        path = f"{MOUNT}/{name}"
        self._start_reading(f"dd if={path} iflag=nocache count=0 status=none; sha256sum {path}", checksum)

    def start_reading_device(self, mebibytes: int, checksum: str) -> None:
        """The same for so many MiB at the start of the raw block volume."""
        self._start_reading(f"dd if={DEVICE} bs=1M count={mebibytes} iflag=direct status=none | sha256sum", checksum)

    def _start_reading(self, read: str, checksum: str) -> None:
        again = f'test "$({{ {read}; }} | cut -c-64)" = {checksum}'
        loop = f"i=0; while {again}; do i=$((i+1)); echo $i > {_READS}; sleep {_BETWEEN_READS}; done"
        self.sh(f"rm -f {_READS}; nohup sh -c '{loop}' >/tmp/reads.err 2>&1 &")

    def reads_above(self, times: int) -> Condition[int]:
        """It was read more often than that, each time as it should be."""
        return self.counter_above(times, _READS)

    @condition("pod {self.name} to count above {number} in {file}", within=COUNTED)
    def counter_above(self, number: int, file: str) -> int:
        """What counts in the pod has written a number into the file that is beyond this one."""
        try:
            now = int(self.sh(f"cat {file}").strip())
        except (VolumeFailed, ValueError) as error:
            raise NotYet(f"{file} has no number yet: {error}") from error
        if now <= number:
            raise NotYet(f"{file} is still at {now}")
        return now

    def write_device(self, mebibytes: int, *, at: int = 0) -> str:
        """Write random bytes to the raw block volume, `at` so many MiB from its start, and return their SHA-256; as
        `write`."""
        store = f"dd of={DEVICE} bs=1M seek={at} iflag=fullblock oflag=direct conv=notrunc,fsync status=none"
        script = _hashed(f"head -c {mebibytes}M /dev/urandom | {{ tee /dev/fd/3 | {store}; }} 3>&1")
        written = self.sh(script).split()[0]
        return self._read_back(f"{DEVICE} from {at} MiB on", written, self.checksum_device(mebibytes, at=at))

    def checksum_device(self, mebibytes: int, *, at: int = 0) -> str:
        """SHA-256 of a part of the raw block volume, read past the page cache."""
        read = f"dd if={DEVICE} bs=1M skip={at} count={mebibytes} iflag=direct status=none"
        return self.sh(_hashed(read)).split()[0]

    def device_bytes(self) -> int:
        """The size of the raw block volume, as the pod sees it."""
        return int(self.sh(f"blockdev --getsize64 {DEVICE}"))

    def filesystem_bytes(self) -> int:
        """The size of the mounted filesystem, as the pod sees it."""
        return int(self.sh(f"df --output=size --block-size=1 {MOUNT}").split()[1])

    def mount_options(self) -> list[str]:
        """How the volume is mounted: its filesystem's type first, then the options."""
        for line in self.sh("cat /proc/mounts").splitlines():
            _, point, fs_type, options, *_ = line.split()
            if point == MOUNT:
                return [fs_type, *options.split(",")]
        raise StorageFailure(f"pod {self.name}: nothing is mounted at {MOUNT}")

    def append(self, name: str, line: str) -> list[str]:
        """Append a line to a file, sync it, and return the lines that are in it then."""
        path = f"{MOUNT}/{name}"
        return self.sh(f"echo {line} >> {path} && sync {path} && cat {path}").split("\n")[:-1]

    def fill(self, name: str, mebibytes: int) -> FillResult:
        """Write files of 4 MiB, each synced, until the volume refuses, or that many MiB are written."""
        path, errors, count = f"{MOUNT}/{name}", "/tmp/refused", -(-mebibytes // _PIECE)
        write = f"head -c {_PIECE}M /dev/urandom > {path}-$i && sync {path}-$i"
        script = f"i=0; : > {errors}; while [ $i -lt {count} ] && {{ {write}; }} 2> {errors}; do i=$((i+1)); done"
        written, _, refusal = self.sh(f"{script}; echo $i; cat {errors}").partition("\n")
        return FillResult(int(written) * _PIECE, refusal.strip())

    def refuses_writes(self) -> str:
        """What the volume says to an attempt to write on it. Raises `StorageFailure` when it takes it, and
        `VolumeFailed` when it does not say anything in time."""
        return self._refuses(f"touch {MOUNT}/forbidden")

    def refuses_device_writes(self) -> str:
        """The same for the raw block volume."""
        return self._refuses(f"dd if=/dev/zero of={DEVICE} bs=4096 count=1 oflag=direct conv=notrunc,fsync status=none")

    def write_refused(self, signature: Signature) -> Condition[str]:
        """The volume refuses a write in those words."""

        def ask() -> str:
            try:
                refusal = self.refuses_writes()
            except VolumeFailed:
                raise
            except StorageFailure as taken:
                raise NotYet(str(taken)) from taken
            if line := signature.line_in(refusal):
                return seen(signature, line)
            raise NotYet(refusal)

        return Condition(f"pod {self.name}: a write refused with {signature.text!r}", ask, within=REFUSED)

    def start_write(self, name: str, mebibytes: int) -> BackgroundWrite:
        """Begin to write a file as `write` does, and do not wait for it."""
        path = f"{MOUNT}/{name}"
        return BackgroundWrite(self, path, _synced(path, mebibytes))

    def lock(self, name: str) -> FileLock:
        """The lock of a file, to be held or to be asked for."""
        return FileLock(self, f"{MOUNT}/{name}")

    def _refuses(self, write: str) -> str:
        try:
            self.sh(write)
        except VolumeFailed as error:
            if error.status is None:
                raise
            return error.output
        raise StorageFailure(f"{self.name} may write on its volume")


class Volumes:
    """A namespace for claims and pods; whatever is in it goes with it.

    `storage_class` is that of its claims, and `snapshot_class` (by default of the same name) that of its snapshots;
    `claims` is what its claims have unless they say otherwise (see `Claim`).
    """

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        storage_class: str,
        namespace: str = "volumes",
        snapshot_class: str | None = None,
        **claims: Any,
    ) -> None:
        self.namespace = namespace
        self._kube = kube
        self._image = image
        self._snapshot_class = snapshot_class or storage_class
        self._claims = {"storage_class": storage_class, **claims}

    def deploy(self) -> None:
        """Apply the namespace."""
        self._kube.apply([namespace_manifest(self.namespace)])

    @condition("namespace {self.namespace}", within=BOUND)
    def ready(self, *, since: float = 0.0) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Nothing of this workload runs outside the cluster."""

    def claim(self, name: str, **spec: Any) -> Claim:
        """Apply a claim (see `Claim`) and wait until it is bound."""
        claim = self.apply_claim(name, **spec)
        claim.bound.wait()
        return claim

    def apply_claim(self, name: str, **spec: Any) -> Claim:
        """Apply a claim without waiting for it."""
        wanted = ClaimSpec(name, self.namespace, **{**self._claims, **spec})
        self._kube.apply([wanted.manifest()])
        return Claim(self._kube, wanted)

    def statistics(self, claim: Claim, node: str, *, used: int) -> Object:
        """Wait until the kubelet of a node knows of at least `used` bytes on the claim's volume; returns what it knows
        (see `Kube.volume_stats`)."""

        @condition(f"the kubelet to know of {used} bytes of claim {claim.name}", within=STATISTICS_KNOWN, every=5)
        def known() -> Object:
            wanted = {"name": claim.name, "namespace": claim.namespace}
            found = [volume for volume in self._kube.volume_stats(node) if volume["pvcRef"] == wanted]
            if not found or value_of(found[0], "usedBytes", default=0) < used:
                raise NotYet(f"the kubelet knows {found}")
            return found[0]

        return known.wait()

    def delete_claim(self, claim: Claim) -> None:
        """Delete the claim and wait until its volume is gone as well."""
        found = self._kube.get("PersistentVolumeClaim", claim.name, namespace=self.namespace)
        volume = value_of(found, "spec", "volumeName")
        self._kube.delete("PersistentVolumeClaim", claim.name, namespace=self.namespace)

        @condition(f"claim {claim.name} and its volume gone", within=POD_GONE)
        @retry_while_api_unavailable()
        def gone() -> None:
            if left := self._kube.get("PersistentVolumeClaim", claim.name, namespace=self.namespace):
                raise NotYet(still_there(left))
            if volume and (left := self._kube.get("PersistentVolume", volume)):
                raise NotYet(still_there(left))

        gone.wait()

    def snapshot(self, name: str, claim: Claim) -> Snapshot:
        """Take a snapshot and wait until it can be used."""
        snapshot = self.apply_snapshot(name, claim)
        self._usable(snapshot).wait()
        return snapshot

    def apply_snapshot(self, name: str, claim: Claim, *, snapshot_class: str = "") -> Snapshot:
        """Ask for a snapshot without waiting for it; `snapshot_class` where it is to be another than the others'."""
        snapshot = Snapshot(name, claim, snapshot_class or self._snapshot_class)
        self._kube.apply([snapshot.manifest()])
        return snapshot

    def snapshot_object(self, snapshot: Snapshot) -> VolumeSnapshot:
        """The snapshot as an object of the API, ready to use or not."""
        return VolumeSnapshot(self._kube, snapshot.name, self.namespace)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Delete the snapshot and wait until it is gone, with its content in the storage; others stay as they are."""
        found = self._kube.get("VolumeSnapshot", snapshot.name, namespace=self.namespace)
        self.snapshot_object(snapshot).delete()
        if found is None:
            return
        uid = found["metadata"]["uid"]

        @condition(f"snapshot {snapshot.name} gone", within=POD_GONE)
        @retry_while_api_unavailable()
        def gone() -> None:
            left = self._kube.get("VolumeSnapshot", snapshot.name, namespace=self.namespace)
            if left and value_of(left, "metadata", "uid") == uid:
                raise NotYet(still_there(left))
            contents = [
                title_of(content)
                for content in self._kube.list("VolumeSnapshotContent")
                if value_of(content, "spec", "volumeSnapshotRef", "uid") == uid
            ]
            if contents:
                raise NotYet(f"contents: {', '.join(contents)}")

        gone.wait()

    def pod(self, name: str, claim: Claim, **spec: Any) -> Pod:
        """Start a pod on the claim's volume (see `PodSpec`) and wait until it is Ready."""
        pod = self.apply_pod(name, claim, **spec)
        pod.ready.wait()
        return pod

    def apply_pod(self, name: str, claim: Claim, **spec: Any) -> Pod:
        """Start a pod without waiting for it."""
        self._kube.apply([PodSpec(name, claim.spec, self._image, **spec).manifest()])
        return Pod(self._kube, name, claim.namespace)

    def move(self, pod: Pod, claim: Claim, node: str) -> Pod:
        """Delete the pod, and start it anew on another node with the same volume."""
        pod.delete()
        return self.pod(pod.name, claim, node=node)

    @condition("snapshot {snapshot.name} ready to use", within=SNAPSHOT_READY)
    @retry_while_api_unavailable()
    def _usable(self, snapshot: Snapshot) -> None:
        found = self._kube.get("VolumeSnapshot", snapshot.name, namespace=self.namespace)
        if not value_of(found, "status", "readyToUse"):
            raise NotYet(value_of(found, "status", "error", "message") or "not ready to use")


def _synced(path: str, mebibytes: int) -> str:
    """A shell script that writes so many random MiB into a file, syncs it, and prints the SHA-256 of what it wrote."""
    return f"{_hashed(f'head -c {mebibytes}M /dev/urandom | tee {path}')} && sync {path}"


def _hashed(command: str) -> str:
    """A shell script that prints the SHA-256 of what `command` prints, and ends with another status than 0 if that does
    (of a pipeline, a shell only knows how its last part has ended)."""
    return f"failed=$(mktemp) && {{ {command} && rm $failed; }} | sha256sum && test ! -e $failed"


def image_of(volume: Object) -> str:
    """`POOL/IMAGE` of a PersistentVolume."""
    attributes = _attributes(volume)
    return f"{attributes['pool']}/{attributes['imageName']}"


def _attributes(volume: Object) -> dict[str, str]:
    return volume["spec"]["csi"]["volumeAttributes"]


def namespace_manifest(name: str) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
