"""A pod that writes files on a volume and knows their checksums: the smallest workload there is."""

from __future__ import annotations

from collections.abc import Callable

from rookery.kube import Kube
from rookery.kube.conditions import bound, not_started
from rookery.kube.symptoms import event_shown
from rookery.signatures import Signature
from rookery.waiting import NotYet, minutes, wait_for
from rookery.workloads.volumes import MOUNT, POD_READY, Claim, Object, Pod, PodSpec, image_of, namespace_manifest

# Seconds. After the power cut of a node its volume may be mounted before its OSD is up (20 s earlier as a rule), and
# what is read from that one waits for it. A client that had the mon of that node asks another one only after 30 s
# without an answer (mon_client_ping_timeout), and learns then where the OSDs are.
READABLE = minutes(2)

POD = "writer"
CLAIM = "data"

_SYNCED = "/tmp/synced"  # the number of the last line that was
_APPEND = f"i=0; while true; do i=$((i+1)); echo $i >> {MOUNT}/log && sync {MOUNT}/log && echo $i > {_SYNCED}; done"


class Files:
    """A claim and one pod that mounts it; `image` needs a shell and coreutils."""

    def __init__(
        self,
        kube: Kube,
        *,
        image: str,
        namespace: str = "files",
        storage_class: str = "rook-ceph-block",
        access_mode: str = "ReadWriteOnce",
    ) -> None:
        self.namespace = namespace
        self._kube = kube
        self._image = image
        self._claim = Claim(CLAIM, namespace, storage_class=storage_class, access_mode=access_mode)
        self._pod = Pod(kube, POD, namespace)

    def deploy(self) -> None:
        """Apply namespace, claim and pod; does not wait."""
        self._kube.apply([namespace_manifest(self.namespace), self._claim.manifest(), self._pod_manifest()])

    def ready(self, within: float, *, since: float = 0.0) -> None:
        """Wait for the claim to be bound and the pod to be Ready, which the mount comes before."""
        wait_for(self.bound, what=f"claim {CLAIM} Bound", within=within)
        wait_for(self.restarted(since=since), what=f"pod {POD} Ready", within=within)

    def close(self) -> None:
        """Nothing of this workload runs outside the cluster."""

    @property
    def node(self) -> str:
        """The node the pod runs on."""
        return self._pod.node

    @property
    def pod(self) -> Pod:
        """The pod, for what any pod on a volume can do."""
        return self._pod

    @property
    def uid(self) -> str:
        """The pod's identity: another one means that the pod was made anew."""
        return self._pod.existing()["metadata"]["uid"]

    @property
    def volume(self) -> Object:
        """The PersistentVolume behind the claim. Raises `NotYet` while the claim is not bound."""
        name = self.bound()
        volume = self._kube.get("PersistentVolume", name)
        if volume is None:
            raise NotYet(f"there is no PersistentVolume {name}")
        return volume

    @property
    def image(self) -> str:
        """`POOL/IMAGE` behind the claim. Raises `NotYet` while the claim is not bound."""
        return image_of(self.volume)

    def mounted(self) -> None:
        """Condition: the pod's container runs, which the mount of its volume comes before."""
        if reason := not_started(self._pod.existing(), since=0):
            raise NotYet(reason)

    def names(self) -> list[str]:
        """The files on the volume, without what mkfs makes."""
        return [name for name in self._pod.sh(f"ls {MOUNT}").split() if name != "lost+found"]

    def pod_says(self, signature: Signature, *, since: float = 0.0) -> Callable[[], str]:
        """Condition: an event of the pod says it."""
        return self._pod.says(signature, since=since)

    def claim_says(self, signature: Signature, *, since: float = 0.0) -> Callable[[], str]:
        """Condition: an event of the claim says it."""
        return event_shown(self._kube, self.namespace, signature, of=CLAIM, since=since)

    def bound(self) -> str:
        """Condition: the claim is bound; its value is the name of the PersistentVolume."""
        return bound(self._kube, CLAIM, self.namespace)()

    @property
    def claim_uid(self) -> str:
        """The claim's identity."""
        claim = self._kube.get("PersistentVolumeClaim", CLAIM, namespace=self.namespace)
        if claim is None:
            raise NotYet(f"there is no claim {CLAIM}")
        return claim["metadata"]["uid"]

    def write(self, name: str, mebibytes: int) -> str:
        """Write a file of random bytes, sync it, and return its SHA-256."""
        return self._pod.write(name, mebibytes)

    def checksum(self, name: str) -> str:
        """SHA-256 of a file, read from the volume: what the page cache has of it is dropped first."""
        return self._pod.checksum(name)

    def start_appending(self) -> None:
        """Begin to append numbered lines to one file, each synced before the next."""
        self._pod.sh(f"rm -f {_SYNCED}; nohup sh -c '{_APPEND}' >/tmp/append.err 2>&1 &")

    def appended_beyond(self, line: int) -> int:
        """Condition: a line after `line` was synced; its number."""
        return self._pod.counted_beyond(line, _SYNCED)

    def lines(self, *, of: Pod | None = None) -> list[int]:
        """The numbers in the file, as this pod or another one of the volume reads them."""
        return [int(line) for line in (of or self._pod).sh(f"cat {MOUNT}/log", timeout=READABLE).split()]

    def restarted(self, *, since: float) -> Callable[[], None]:
        """Condition: the pod's container was started after `since` (Unix seconds), and is Ready."""
        return self._pod.restarted(since=since)

    def beside(self, name: str, node: str) -> Pod:
        """Start another pod on the same volume and wait until it is Ready; the claim has to allow it."""
        self._kube.apply([PodSpec(name, self._claim, self._image, node=node).manifest()])
        pod = Pod(self._kube, name, self.namespace)
        wait_for(pod.ready, what=f"pod {name} Ready on {node}", within=POD_READY)
        return pod

    def move(self, node: str) -> None:
        """Delete the pod, and start it anew on another node with the same volume."""
        self._pod.delete()
        self._kube.apply([self._pod_manifest(node)])
        wait_for(self._pod.ready, what=f"pod {POD} Ready on {node}", within=POD_READY)

    def _pod_manifest(self, node: str = "") -> Object:
        return PodSpec(POD, self._claim, self._image, node=node).manifest()
