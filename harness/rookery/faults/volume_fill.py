"""A volume is full: a file takes all that was free, and whoever writes gets ENOSPC.

Of a volume and never of a node's own filesystem, which is this machine's.
"""

from __future__ import annotations

from rookery.errors import UsageError
from rookery.faults.fault import Fault
from rookery.kube import ExecFailed
from rookery.waiting import NotYet

FILE = ".rookery-fill"


class VolumeFill(Fault):
    name = "volume fill"
    does = "A file takes all the room of a mounted volume; healed, it is gone."
    needs = "a pod with `sh`, `df`, `fallocate` and `dd` that has a volume with a filesystem."
    loses = "nothing that was written; what comes after is refused."
    not_drawn = "only a scenario has a pod whose volume may be full."

    def __init__(self, pod: str, *, namespace: str, path: str) -> None:
        super().__init__(f"{namespace}/{pod}:{path}")
        self._pod, self._namespace, self._path = pod, namespace, path

    def prepare(self) -> None:
        """Raises `UsageError` where it has no filesystem of its own: that would be the node's, this machine's."""
        mounted = self._sh(f"df --output=target {self._path} | tail -n 1").strip()
        if mounted != self._path:
            raise UsageError(
                f"{self._path} in pod {self._namespace}/{self._pod} is no mounted volume, but in {mounted}",
                hint="the mountPath of a volume of that pod",
            )

    def act(self) -> None:
        # The second takes what is too small, or too scattered, for the first, to the last block.
        fill = f"{self._path}/{FILE}"
        self._sh(
            f"free=$(df --output=avail -B1 {self._path} | tail -n 1); fallocate -l $free {fill} 2>/dev/null; "
            f"dd if=/dev/zero of={fill}-rest bs=4096 status=none 2>/dev/null; sync {fill}-rest; true"
        )

    def effective(self) -> str:
        probe = f"{self._path}/{FILE}-probe"
        try:
            self._sh(f"LC_ALL=C; export LC_ALL; head -c 65536 /dev/zero >{probe} && sync {probe}")
        except ExecFailed as error:
            if "No space left" in error.output or "quota exceeded" in error.output:
                return f"64 KiB more: {error.output.strip().splitlines()[-1]}"
            raise
        raise NotYet("64 KiB more could be written")

    def undo(self) -> None:
        self._sh(f"rm -f {self._path}/{FILE} {self._path}/{FILE}-rest {self._path}/{FILE}-probe")

    def check_healed(self) -> None:
        free = int(self._sh(f"df --output=avail -B1 {self._path} | tail -n 1"))
        if free < 1 << 20:
            raise NotYet(f"{free} bytes are free")

    def _sh(self, script: str) -> str:
        return self.cluster.kube.exec(self._pod, ["sh", "-c", script], namespace=self._namespace)
