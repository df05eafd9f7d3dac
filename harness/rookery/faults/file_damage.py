"""A file on a volume is as an unclean end leaves it: its first block is zeros, or it has no content at all.

A filesystem has a file's name and size on the disk before its content, or its name before its size; and a disk may say
too early that it has written.
"""

from __future__ import annotations

from rookery.faults.fault import Fault
from rookery.kube import ExecFailed
from rookery.waiting import NotYet

_BYTES = 4096


class FileDamage(Fault):
    name = "file damage"
    does = "Overwrites the first 4 KiB of a file on a pod's volume with zeros, or empties it, and syncs it."
    needs = "a pod with `sh`, `dd`, `head`, `tr` and `truncate`."
    loses = "what was in that block, or in that file."
    heals = False

    def __init__(self, pod: str, *, namespace: str, path: str, empty: bool = False) -> None:
        super().__init__(f"{namespace}/{pod}:{path}")
        self._pod, self._namespace, self._path, self._empty = pod, namespace, path, empty

    def act(self) -> None:
        zeros = f"dd if=/dev/zero of={self._path} bs={_BYTES} count=1 conv=notrunc,fsync"
        nothing = f"truncate -s 0 {self._path} && sync {self._path}"
        self._sh(f"test -s {self._path} && {nothing if self._empty else zeros}")

    def effective(self) -> str:
        if self._empty:
            if left := int(self._sh(f"head -c {_BYTES} {self._path} | wc -c")):
                raise NotYet(f"it has {left} bytes or more")
            return f"{self._path} is empty"
        if left := int(self._sh(f"head -c {_BYTES} {self._path} | tr -d '\\0' | wc -c")):
            raise NotYet(f"{left} bytes of the first {_BYTES} are no zeros")
        return f"the first {_BYTES} bytes of {self._path} are zeros"

    def check_healed(self) -> None:
        raise NotYet("nobody knows what was in it")

    def _sh(self, script: str) -> str:
        try:
            return self.cluster.kube.exec(self._pod, ["sh", "-c", script], namespace=self._namespace)
        except ExecFailed as error:
            raise NotYet(error.message) from error
