"""What the driver can answer instead of a result: each error names its gRPC status code.

Codes are those of the specification ("Error Scheme" and the tables below each RPC); texts that users of ceph-csi
search for are ceph-csi's.
"""

from __future__ import annotations

from collections.abc import Sequence


class DriverError(Exception):
    """An answer that is not OK; `code` is the name of a `grpc.StatusCode`."""

    code = "INTERNAL"


class InvalidArgument(DriverError):
    """A field is missing, or asks for what this driver does not do."""

    code = "INVALID_ARGUMENT"


class NotFound(DriverError):
    """No such volume, or no such node."""

    code = "NOT_FOUND"


class AlreadyExists(DriverError):
    """The volume is there (or staged, or published) in another, incompatible way."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(DriverError):
    """Something else has to be done first."""

    code = "FAILED_PRECONDITION"


class NotSupported(DriverError):
    """Ceph does no such thing with this image, subvolume, or pool."""


class HasSnapshots(FailedPrecondition):
    """The image has snapshots, so it cannot be removed."""


class InvalidToken(DriverError):
    """A list cannot be gone on with from there; the caller has to begin it anew."""

    code = "ABORTED"


class OutOfRange(DriverError):
    """No size within the asked capacity range can be made."""

    code = "OUT_OF_RANGE"


class Unavailable(DriverError):
    """Ceph (or another service) does not answer; asking again may help."""

    code = "UNAVAILABLE"


class Unauthenticated(DriverError):
    """The secrets are missing or Ceph does not accept them."""

    code = "UNAUTHENTICATED"


class ResourceExhausted(DriverError):
    """No room left."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(DriverError):
    """A step did not end in time, and may still be in progress."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(DriverError):
    """The caller has gone away."""

    code = "CANCELLED"


class OperationPending(DriverError):
    """The same volume is being worked on by an earlier call."""

    code = "ABORTED"

    def __init__(self, volume: str) -> None:
        super().__init__(f"an operation with the given Volume ID {volume} already exists")


class PlaceNotFound(DriverError):
    """What has the volumes is not there; the specification knows of no such thing."""


class PoolNotFound(PlaceNotFound):
    """The pool is not there; text and code as ceph-csi has them."""

    def __init__(self, pool: str) -> None:
        super().__init__(f"pool not found: pool ({pool}) not found in Ceph cluster")


class FilesystemNotFound(PlaceNotFound):
    """The CephFS filesystem is not there; likewise."""

    def __init__(self, name: str) -> None:
        super().__init__(f"filesystem not found: filesystem ({name}) not found in Ceph cluster")


class ClonePending(DriverError):
    """The content of a new volume is still being copied; the caller asks again until it is there."""

    code = "ABORTED"


class AttemptHeld(DriverError):
    """The half of a copy that an earlier attempt has left is still held; nothing is known of the copy until it is gone.

    Not a refusal: after one (a final error, isCSIFinalError of external-snapshotter and checkError of
    external-provisioner) a sidecar takes it that nothing was made, and would leave that half behind.
    """

    code = "ABORTED"
    MESSAGE = "is what an attempt that was cut short has left"

    def __init__(self, image: str) -> None:
        super().__init__(
            f"image {image} {self.MESSAGE}, and its client still holds it: ask again; Ceph lets go of a dead client "
            "after 30 s"
        )


class ImageInUse(FailedPrecondition):
    """Other living clients have the image open; the text begins as ceph-csi's."""

    def __init__(self, image: str, by: Sequence[object], error: DriverError | None = None) -> None:
        clients = ", ".join(map(str, by)) or "nobody who still watches it"
        super().__init__(f"rbd image {image} is still being used by {clients}" + (f": {error}" if error else ""))
