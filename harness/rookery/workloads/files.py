"""A pod that writes files on a volume and knows their checksums: the smallest workload there is."""

from __future__ import annotations

from rookery.kube import Kube
from rookery.kube.objects import Object
from rookery.waiting import Condition, all_of, minutes
from rookery.workloads.volumes import MOUNT, Claim, ClaimSpec, Pod, PodSpec, namespace_manifest

# Seconds. After the kill of a node its volume may be mounted before its OSD is up (20 s earlier as a rule), and
# what is read from that one waits for it. A client that had the mon of that node asks another one only after 30 s
# without an answer (mon_client_ping_timeout), and learns then where the OSDs are.
READABLE = minutes(2)
READY = minutes(3)

POD = "writer"
CLAIM = "data"

_SYNCED = "/tmp/synced"  # the number of the last line that was
_GAP = "/tmp/longest-gap"  # the milliseconds of the longest time between two of them
_APPEND = (
    "i=0; last=$(date +%s%3N); longest=0; while true; do i=$((i+1)); "
    f"echo $i >> {MOUNT}/log && sync {MOUNT}/log && echo $i > {_SYNCED} || continue; "
    "now=$(date +%s%3N); gap=$((now-last)); last=$now; "
    f"[ $gap -le $longest ] || {{ longest=$gap; echo $gap > {_GAP}; }}; done"
)


class Files:
    """A claim and one pod that mounts it; `image` needs a shell and coreutils."""

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        namespace: str = "files",
        storage_class: str,
        access_mode: str = "ReadWriteOnce",
    ) -> None:
        self.namespace = namespace
        self._kube = kube
        self._image = image
        self.claim = Claim(kube, ClaimSpec(CLAIM, namespace, storage_class=storage_class, access_mode=access_mode))
        self.pod = Pod(kube, POD, namespace)

    def deploy(self) -> None:
        """Apply namespace, claim and pod; does not wait."""
        self._kube.apply([namespace_manifest(self.namespace), self.claim.spec.manifest(), self._pod_manifest()])

    @property
    def ready(self) -> Condition[None]:
        """The claim is bound and the pod Ready, which the mount comes before."""
        return all_of(f"files in {self.namespace} Ready", self.claim.bound, self.pod.ready, within=READY)

    def close(self) -> None:
        """Nothing of this workload runs outside the cluster."""

    @property
    def node(self) -> str:
        """The node the pod runs on."""
        return self.pod.node

    @property
    def uid(self) -> str:
        """The pod's identity: another one means that the pod was made anew."""
        return self.pod.existing()["metadata"]["uid"]

    def names(self) -> list[str]:
        """The files on the volume, without what mkfs makes."""
        return [name for name in self.pod.sh(f"ls {MOUNT}").split() if name != "lost+found"]

    def write(self, name: str, mebibytes: int) -> str:
        """Write a file of random bytes, sync it, and return its SHA-256."""
        return self.pod.write(name, mebibytes)

    def checksum(self, name: str) -> str:
        """SHA-256 of a file, read from the volume: what the page cache has of it is dropped first."""
        return self.pod.checksum(name)

    def start_appending(self) -> None:
        """Begin to append numbered lines to one file, each synced before the next."""
        self.pod.sh(f"rm -f {_SYNCED}; nohup sh -c '{_APPEND}' >/tmp/append.err 2>&1 &")

    def lines_above(self, line: int) -> Condition[int]:
        """A line after `line` was synced; its number."""
        return self.pod.counter_above(line, _SYNCED)

    def longest_gap(self) -> float:
        """The seconds of the longest time between two lines that were synced, so far."""
        return int(self.pod.sh(f"cat {_GAP}")) / 1000

    def lines(self, *, of: Pod | None = None) -> list[int]:
        """The numbers in the file, as this pod or another one of the volume reads them."""
        return [int(line) for line in (of or self.pod).sh(f"cat {MOUNT}/log", timeout=READABLE).split()]

    def add_pod(self, name: str, node: str) -> Pod:
        """Start another pod on the same volume and wait until it is Ready; the claim has to allow it."""
        self._kube.apply([PodSpec(name, self.claim.spec, self._image, node=node).manifest()])
        pod = Pod(self._kube, name, self.namespace)
        pod.ready.wait()
        return pod

    def move(self, node: str) -> None:
        """Delete the pod, and start it anew on another node with the same volume."""
        self.pod.delete()
        self._kube.apply([self._pod_manifest(node)])
        self.pod.ready.wait()

    def _pod_manifest(self, node: str = "") -> Object:
        return PodSpec(POD, self.claim.spec, self._image, node=node).manifest()
