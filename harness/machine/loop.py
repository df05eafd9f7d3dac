"""The kernel's loop devices, through its own interfaces (sysfs and ioctl), each called by its number.

Loop devices belong to the whole machine: no namespace hides them, and anybody may take a free number at any time.

https://docs.kernel.org/admin-guide/devices.html (major 7), loop(4); include/uapi/linux/loop.h has the numbers below.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from harness.errors import DeadlineExceeded, InfrastructureError
from harness.waiting import NotYet, wait_for_machine

_SET_FD = 0x4C00
_CLR_FD = 0x4C01
_GET_STATUS64 = 0x4C05
_BLKFLSBUF = 0x1261  # include/uapi/linux/fs.h
_CTL_ADD = 0x4C80
_CTL_REMOVE = 0x4C81
_LOOP_INFO64_BYTES = 232
_RDEVICE = struct.Struct("=16xQ")  # of struct loop_info64

_SYS_BLOCK = Path("/sys/block")
_CONTROL = Path("/dev/loop-control")

# Ours begin here: snap and `losetup -f` (which the userspace CSI driver's nodes call as well) take the lowest free
# number, so that a disk which is detached for a while still finds its own number free.
FIRST_NUMBER = 64


def device(number: int) -> Path:
    """`/dev/loop<number>`"""
    return Path(f"/dev/loop{number}")


def supported() -> bool:
    """Whether loop devices can be made here."""
    return _CONTROL.exists() and os.access(_CONTROL, os.R_OK | os.W_OK)


def attached() -> dict[int, str]:
    """Number of each loop device that has a backing file, and that file's path as the kernel tells it.

    " (deleted)" follows the path of a file that was unlinked; "/" is one whose mount is gone.
    """
    found = {}
    for directory in _SYS_BLOCK.glob("loop*"):
        try:
            found[int(directory.name[len("loop") :])] = (directory / "loop/backing_file").read_text().rstrip("\n")
        except OSError:  # free, or freed while it was read
            continue
    return dict(sorted(found.items()))


def device_number(number: int) -> tuple[int, int]:
    """Major and minor number; the minor is not the loop's number where the kernel was told `loop.max_part`."""
    major, minor = (_SYS_BLOCK / f"loop{number}" / "dev").read_text().strip().split(":")
    return int(major), int(minor)


def sequence(number: int) -> int:
    """The kernel's number of this very attachment: another one with each, over all disks; 0 if the device is not there.

    Since Linux 5.15: https://docs.kernel.org/admin-guide/abi-testing.html (/sys/block/<disk>/diskseq)
    """
    try:
        return int((_SYS_BLOCK / f"loop{number}" / "diskseq").read_text())
    except OSError:
        return 0


def ensure_node(number: int) -> Path:
    """Make the loop device and its node in /dev where they are missing, and return the node."""
    if not (_SYS_BLOCK / f"loop{number}").exists():
        _control(_CTL_ADD, number, (errno.EEXIST,))
    node = device(number)
    if not node.exists():  # no devtmpfs, as in a container: /dev is a copy
        with contextlib.suppress(FileExistsError):  # the kernel or udev was faster
            os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(*device_number(number)))
    return node


def attach(number: int, backing_file: Path) -> bool:
    """Give the device of that number its backing file; False if somebody else has the number.

    Raises `InfrastructureError` if the kernel refuses for another reason.
    """
    node = ensure_node(number)
    try:
        with _opened(backing_file, os.O_RDWR) as file, _opened(node, os.O_RDWR) as loop:
            fcntl.ioctl(loop, _SET_FD, file)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise InfrastructureError(f"cannot attach {backing_file} to {node}: {error.strerror}") from error
    return True


def write_back(number: int, *, within: float = 10) -> None:
    """Have everything that was written to the device in its backing file, which can be read then; not necessarily on
    the disk under that.

    Nobody may be writing. Raises `InfrastructureError` if requests are under way for longer than `within` seconds.
    """

    def done() -> None:
        reads, writes = (_SYS_BLOCK / f"loop{number}" / "inflight").read_text().split()
        if int(reads) or int(writes):
            raise NotYet(f"{reads} reads and {writes} writes under way")

    with _opened(ensure_node(number), os.O_RDONLY) as loop:
        fcntl.ioctl(loop, _BLKFLSBUF)
    wait_for_machine(done, what=f"{device(number)} to be written back", within=within, every=0.01)


def detach(number: int, *, within: float = 10) -> None:
    """Take the backing file away, and see that it is gone: of a device that is held open, the kernel only promises to
    take it away at the last close.

    Idempotent. Raises `InfrastructureError` if something holds the device for longer than `within` seconds.
    """
    before = attached().get(number)
    if before is None:
        return
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            fcntl.ioctl(loop, _CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:  # ENXIO: free by now
            raise InfrastructureError(f"cannot detach {device(number)}: {error.strerror}") from error

    def gone() -> None:
        if attached().get(number) == before:
            raise NotYet("still attached, so something has it open")

    try:
        wait_for_machine(gone, what=f"{device(number)} ({before}) to be detached", within=within, every=0.02)
    except DeadlineExceeded as error:
        raise InfrastructureError(
            str(error), cure=f"end what holds it: grep -l loop{number} /proc/*/mountinfo; fuser -v {device(number)}"
        ) from error


def remove(number: int) -> None:
    """Remove a free device that was made for its number, and its node, so that /sys/block is as it was before.

    Devices below `FIRST_NUMBER` are the machine's own and stay, and so does one that somebody uses. Idempotent.
    """
    if number < FIRST_NUMBER or number in attached():
        return

    def removed() -> None:
        if (_SYS_BLOCK / f"loop{number}").exists() and not _control(_CTL_REMOVE, number, (errno.ENODEV, errno.EBUSY)):
            raise NotYet("in use")

    # The kernel still calls a device busy for a moment after it lost its backing file.
    with contextlib.suppress(DeadlineExceeded):
        wait_for_machine(removed, what=f"{device(number)} to be removed", within=2, every=0.02)
        device(number).unlink(missing_ok=True)


def served_by_the_dead(number: int) -> bool:
    """Whether the backing file lies on a FUSE filesystem whose server has died: no one can use the device again."""
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            fcntl.ioctl(loop, _GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def stacked_on(number: int) -> list[int]:
    """The loop devices whose file is this device's node: the kubelet attaches one to each raw block volume, as a lock.

    A node that was killed leaves both, and the upper one holds the lower one open.
    """
    below = os.makedev(*device_number(number))
    return [other for other in attached() if other != number and _backing_device(other) == below]


def _backing_device(number: int) -> int | None:
    """What the backing file is the node of, by device number; None if it is no such file, or can no longer be asked."""
    status = bytearray(_LOOP_INFO64_BYTES)
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            fcntl.ioctl(loop, _GET_STATUS64, status)
    except OSError:
        return None
    return _RDEVICE.unpack_from(status)[0] or None


def _control(request: int, number: int, tolerated: tuple[int, ...]) -> bool:
    """Whether the loop driver did it; False if it did not for a reason that is tolerated."""
    try:
        with _opened(_CONTROL, os.O_RDWR) as control:
            fcntl.ioctl(control, request, number)
    except OSError as error:
        if error.errno in tolerated:
            return False
        raise InfrastructureError(
            f"the kernel's loop driver refuses number {number}: {error.strerror}",
            cure="rookery doctor; as root: modprobe loop",
        ) from error
    return True


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
