"""A lock on a file of a volume (flock(2)), as one pod has it or is refused it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rookery.errors import StorageFailure
from rookery.kube.symptoms import seen
from rookery.signatures import Signature
from rookery.waiting import Condition, NotYet, condition, minutes

if TYPE_CHECKING:
    from rookery.workloads.volumes import Pod

GRANTED = minutes(1)


class FileLock:
    """The lock of one file, as a pod asks for it. A database holds such a lock for as long as it runs."""

    def __init__(self, pod: Pod, path: str) -> None:
        self._pod, self._path = pod, path

    def __str__(self) -> str:
        return f"{self._path} in pod {self._pod.name}"

    def hold(self) -> None:
        """Take it and keep it until the pod ends. Raises `StorageFailure` where somebody else has it."""
        self._pod.sh(f"nohup flock --nonblock {self._path} sleep infinity >/dev/null 2>&1 & sleep 1; kill -0 $!")

    @condition("the lock of {self}", within=GRANTED, every=1.0)
    def granted(self) -> None:
        """The pod gets it at once, and lets it go."""
        try:
            self._ask()
        except StorageFailure as refusal:
            raise NotYet(str(refusal)) from refusal

    def refused(self, signature: Signature) -> Condition[str]:
        """The pod does not get it, in those words."""

        def ask() -> str:
            try:
                self._ask()
            except StorageFailure as refusal:
                if line := signature.line_in(str(refusal)):
                    return seen(signature, line)
                raise NotYet(str(refusal)) from refusal
            raise NotYet(f"{self} was granted")

        return Condition(f"the lock of {self} refused with {signature.text!r}", ask, within=GRANTED)

    def _ask(self) -> None:
        self._pod.sh(f"flock --verbose --nonblock {self._path} true")
