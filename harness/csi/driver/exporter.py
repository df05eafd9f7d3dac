"""The process that serves an RBD image as a FUSE file, and outlives the driver's pod.

`qemu-storage-daemon` needs the programs and libraries of the driver's image, but must not end with the driver's
container. So it is a transient systemd service of the node that joins the container's mount namespace:

- Its cgroup is systemd's. The kubelet and containerd end what is in the container's cgroup, and it is not.
- Its mount namespace is the container's, which exists for as long as a process is in it, with the image's root
  filesystem: containerd unmounts and removes only its own sight of it.
- The FUSE file lies below the kubelet's folder, a mount that all driver pods share with the node (mountPropagation
  Bidirectional). The mount therefore appears on the node, and from there in each later driver pod; when the exporter
  ends, it goes everywhere.
- Its network and PID namespaces are the node's, as are those of the pod (hostNetwork, hostPID): librbd's connections
  do not depend on a pod's.

After a node start nothing of it is left: transient units live in /run, and mounts end with the node's namespaces.
https://www.freedesktop.org/software/systemd/man/latest/systemd-run.html
https://www.qemu.org/docs/master/tools/qemu-storage-daemon.html
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .clusters import Credentials
from .commands import Done, run
from .errors import DriverError, Unavailable
from .mounts import Mounts
from .volumes import VolumeId
from .waiting import Deadline, retry

Run = Callable[..., Done]

_ON_THE_NODE = ("nsenter", "--target", "1", "--mount", "--uts", "--ipc", "--net", "--pid", "--")
_ASK = 10.0  # seconds for systemctl to answer a question
_STOP = 30.0  # seconds for it to stop a unit; longer than TimeoutStopSec

_PROPERTIES = {
    "Type": "exec",  # qemu cannot notify; that it is ready shows in the mount
    "Restart": "no",  # a filesystem on a dead file cannot be revived under its users: NodeStage starts it anew
    "KillMode": "control-group",
    "TimeoutStopSec": "15",  # while Ceph is down it cannot flush; by then the filesystem has been unmounted and synced
    "OOMScoreAdjust": "-999",  # as for the kubelet's own daemons: its death takes a filesystem with it
    "LimitNOFILE": "65536",  # one socket and more for each OSD
    # No stop job at shutdown: the filesystem on top has to be unmounted first, and what is left is killed last.
    "DefaultDependencies": "no",
    "CollectMode": "inactive-or-failed",  # a failed unit would keep its name
}


@dataclass(frozen=True)
class Source:
    """An RBD image, and how to reach it."""

    volume: VolumeId
    monitors: Sequence[str]
    credentials: Credentials
    read_only: bool = False  # then librbd never takes its lock, and any number of nodes may serve it


class ExporterFailed(DriverError):
    """The exporter ended instead of serving; the text has its last words."""


class Exporter:
    """The exporters of this node, one systemd service a volume.

    `secrets_dir` is a tmpfs of the pod, so that no key is ever written to a disk.
    """

    def __init__(
        self, mounts: Mounts, *, secrets_dir: Path, pid: int | None = None, run: Run = run, ask_every: float = 0.1
    ) -> None:
        self._mounts = mounts
        self._secrets_dir = secrets_dir
        self._pid = os.getpid() if pid is None else pid  # with hostPID: the number that the node knows it by
        self._run = run
        self._ask_every = ask_every

    def is_running(self, volume: VolumeId) -> bool:
        """Whether the volume's exporter lives; `Unavailable` if systemd does not say clearly that it does or does not.

        What is taken for dead is fenced: no answer must not look like "inactive".
        """
        done = self._systemctl("is-active", volume)
        answer = done.stdout.strip()
        if answer in ("active", "inactive", "failed"):
            return answer == "active"
        raise Unavailable(
            f"the exporter of {volume.spec}: {answer or done.stderr.strip() or 'systemd does not answer'}"
        )

    def start(self, source: Source, image: Path, deadline: Deadline) -> None:
        """Serve the image at the file `image`; returns when it is there.

        Raises `ExporterFailed`, or `Unavailable` when it is not there in time; then no exporter is left.
        """
        self.stop(source.volume, image)  # before the file is touched, on which a dead exporter may still be mounted
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch(mode=0o600)
        with self._configuration(source) as configuration:
            self._run(self._launch(source, image, configuration), timeout=_ASK)
            try:
                retry(
                    lambda: self._require_mounted(source.volume, image),
                    on=(Unavailable,),
                    deadline=deadline,
                    every=self._ask_every,
                )
            except BaseException:
                self.stop(source.volume, image)
                raise

    def stop(self, volume: VolumeId, image: Path) -> None:
        """End the volume's exporter, if there is one, and take away what it may have left mounted.

        Raises `DriverError` if it cannot be ended.
        """
        done = self._systemctl("stop", volume, timeout=_STOP)
        if self.is_running(volume):
            raise DriverError(f"the exporter of {volume.spec} cannot be stopped: {done.stderr.strip()}")
        self._systemctl("reset-failed", volume)
        self._mounts.unmount_lazily(image)

    def _require_mounted(self, volume: VolumeId, image: Path) -> None:
        if self._mounts.at(image) is not None and os.stat(image).st_size > 0:
            return
        if not self.is_running(volume):
            raise ExporterFailed(f"the exporter of {volume.spec} ended: {self._last_words(volume)}")
        raise Unavailable(f"the exporter of {volume.spec} does not serve yet")

    def _launch(self, source: Source, image: Path, configuration: Path) -> list[str]:
        volume = source.volume
        blockdev = {
            "driver": "rbd",
            "node-name": "image",
            "pool": volume.pool,
            "image": volume.image,
            "conf": str(configuration),
            "user": source.credentials.user,
            "read-only": source.read_only,
            # What the filesystem discards, the loop device punches out of the file, and this out of the image.
            "discard": "unmap",
            # librbd's write-back cache, which honours flushes: what fsync has confirmed is on the OSDs
            "cache": {"direct": False, "no-flush": False},
        }
        export = {
            "type": "fuse",
            "id": "export",
            "node-name": "image",
            "mountpoint": str(image),
            "writable": not source.read_only,
            "allow-other": "off",
        }
        daemon = ["qemu-storage-daemon", "--blockdev", json.dumps(blockdev), "--export", json.dumps(export)]
        return [
            *_ON_THE_NODE,
            "systemd-run",
            "--quiet",
            f"--unit={_unit(volume)}",
            f"--description=RBD image {volume.spec}",
            *(f"--property={name}={value}" for name, value in _PROPERTIES.items()),
            "--",
            *("nsenter", "--target", str(self._pid), "--mount", "--"),
            *daemon,
        ]

    @contextmanager
    def _configuration(self, source: Source) -> Iterator[Path]:
        """A ceph.conf and a keyring for as long as the exporter reads them, which is until it serves."""
        folder = self._secrets_dir / source.volume.slug
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            keyring, configuration = folder / "keyring", folder / "ceph.conf"
            keyring.touch(mode=0o600)
            keyring.write_text(f"[client.{source.credentials.user}]\n\tkey = {source.credentials.key}\n")
            # No time-outs here, unlike the driver's own connections: I/O waits for Ceph, as on any disk.
            configuration.write_text(f"[global]\nmon_host = {','.join(source.monitors)}\nkeyring = {keyring}\n")
            yield configuration
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _last_words(self, volume: VolumeId) -> str:
        argv = [*_ON_THE_NODE, "journalctl", f"--unit={_unit(volume)}", "--lines=10", "--output=cat", "--no-pager"]
        return self._run(argv, timeout=_ASK, check=False).stdout.strip()

    def _systemctl(self, verb: str, volume: VolumeId, *, timeout: float = _ASK) -> Done:
        # Without check: a unit that is not loaded is no error here, for none of the verbs.
        return self._run([*_ON_THE_NODE, "systemctl", verb, _unit(volume)], timeout=timeout, check=False)


def _unit(volume: VolumeId) -> str:
    return f"rookery-rbd-{volume.slug}.service"
