"""Client programs of Ceph that outlive the driver's pod: transient services of the node's systemd.

Such a program (`qemu-storage-daemon`, `ceph-fuse`) serves a FUSE mount. It needs the libraries of the driver's image,
but must not end with the driver's container. So it is a service of the node that joins the container's mount namespace:

- Its cgroup is systemd's. The kubelet and containerd end what is in the container's cgroup, and it is not.
- Its mount namespace is the container's, which exists for as long as a process is in it, with the image's root
  filesystem: containerd unmounts and removes only its own sight of it.
- What it mounts lies below the kubelet's folder, a mount that all driver pods share with the node (mountPropagation
  Bidirectional). The mount therefore appears on the node, and from there in each later driver pod; when the program
  ends, it goes everywhere.
- Its network and PID namespaces are the node's, as are those of the pod (hostNetwork, hostPID): its connections to Ceph
  do not depend on a pod's.

After a node start nothing of it is left: transient units live in /run, and mounts end with the node's namespaces.
https://www.freedesktop.org/software/systemd/man/latest/systemd-run.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from .commands import Completed, run
from .errors import DriverError, Unavailable

Run = Callable[..., Completed]

_ON_THE_NODE = ("nsenter", "--target", "1", "--mount", "--uts", "--ipc", "--net", "--pid", "--")
_ASK = 10.0  # seconds for systemctl to answer a question
_STOP = 30.0  # seconds for it to stop a unit; longer than TimeoutStopSec, unless that is another one

_PROPERTIES = {
    "Type": "exec",  # these programs cannot notify; that one is ready shows in its mount
    "Restart": "no",  # a filesystem on a dead server cannot be revived under its users: NodeStage starts it anew
    "KillMode": "control-group",
    "TimeoutStopSec": "15",  # while Ceph is down it cannot flush; by then the filesystem has been unmounted and synced
    "OOMScoreAdjust": "-999",  # as for the kubelet's own daemons: its death takes a filesystem with it
    "LimitNOFILE": "65536",  # one socket and more for each OSD
    # No stop job at shutdown: the filesystem on top has to be unmounted first, and what is left is killed last.
    "DefaultDependencies": "no",
    "CollectMode": "inactive-or-failed",  # a failed unit would keep its name
}


class Units:
    """The services of this node whose names begin with `prefix`, one a volume, told apart by the volume's slug."""

    def __init__(
        self, prefix: str, *, pid: int | None = None, run: Run = run, properties: Mapping[str, str] | None = None
    ) -> None:
        self._prefix = prefix
        self._pid = os.getpid() if pid is None else pid  # with hostPID: the number that the node knows it by
        self._run = run
        self._properties = {**_PROPERTIES, **(properties or {})}

    def is_running(self, slug: str) -> bool:
        """Whether the service lives; `Unavailable` if systemd does not say clearly that it does or does not.

        What is taken for dead is fenced: no answer must not look like "inactive".
        """
        done = self._systemctl("is-active", slug)
        answer = done.stdout.strip()
        if answer in ("active", "inactive", "failed"):
            return answer == "active"
        raise Unavailable(f"{self.name(slug)}: {answer or done.stderr.strip() or 'systemd does not answer'}")

    def start(self, slug: str, description: str, program: Sequence[str]) -> None:
        """Start the program, in the mounts of the driver's container. Raises `CommandFailed`."""
        launch = [
            *_ON_THE_NODE,
            "systemd-run",
            "--quiet",
            f"--unit={self.name(slug)}",
            f"--description={description}",
            *(f"--property={name}={value}" for name, value in self._properties.items()),
            "--",
            *("nsenter", "--target", str(self._pid), "--mount", "--"),
            *program,
        ]
        self._run(launch, timeout=_ASK)

    def stop(self, slug: str, *, timeout: float = _STOP) -> None:
        """Have the service ended, if there is one. Raises `DriverError` if it is not, in `timeout` seconds."""
        done = self._systemctl("stop", slug, timeout=timeout)
        if self.is_running(slug):
            raise DriverError(f"{self.name(slug)} cannot be stopped: {done.stderr.strip()}")
        self._systemctl("reset-failed", slug)

    def kill(self, slug: str) -> None:
        """End it without letting it do anything more. Raises as `stop` does."""
        self._run([*_ON_THE_NODE, "systemctl", "kill", "--signal=KILL", self.name(slug)], timeout=_ASK, check=False)
        self.stop(slug)

    def last_log_lines(self, slug: str) -> str:
        """What it has printed last."""
        name = f"--unit={self.name(slug)}"
        argv = [*_ON_THE_NODE, "journalctl", name, "--lines=10", "--output=cat", "--no-pager"]
        return self._run(argv, timeout=_ASK, check=False).stdout.strip()

    def name(self, slug: str) -> str:
        """What systemd knows the service of that volume by."""
        return f"{self._prefix}-{slug}.service"

    def _systemctl(self, verb: str, slug: str, *, timeout: float = _ASK) -> Completed:
        # Without check: a unit that is not loaded is no error here, for none of the verbs.
        return self._run([*_ON_THE_NODE, "systemctl", verb, self.name(slug)], timeout=timeout, check=False)
