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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.waiting import NotYet, wait_for_machine

_SET_FD = 0x4C00
_CLR_FD = 0x4C01
_SET_STATUS64 = 0x4C04
_GET_STATUS64 = 0x4C05
_BLKFLSBUF = 0x1261  # include/uapi/linux/fs.h
_CTL_ADD = 0x4C80
_CTL_REMOVE = 0x4C81
_LOOP_INFO64_BYTES = 232
_OFFSET_AT = 24  # of struct loop_info64: lo_offset
_BEYOND = 1 << 62  # bytes; no file is as long
_FILE = struct.Struct("=QQQ")  # of struct loop_info64: lo_device, lo_inode, lo_rdevice

_SYS_BLOCK = Path("/sys/block")
_CONTROL = Path("/dev/loop-control")

# Ours begin here: snap and `losetup -f` (which the userspace CSI driver's nodes call as well) take the lowest free
# number, so that a disk which is detached for a while still finds its own number free.
FIRST_NUMBER = 64


class FileId(NamedTuple):
    """What a file is whatever it is called: a path means another file in each mount namespace, and after a rename."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileId | None:
        """That of the file at this path; None if there is none."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        return cls(found.st_dev, found.st_ino)

    @classmethod
    def on_record(cls, details: Mapping[str, str]) -> FileId | None:
        """That which `details` were of; None where it was not known yet."""
        return cls(int(details["device"]), int(details["inode"])) if "inode" in details else None

    @property
    def details(self) -> dict[str, str]:
        """As a lease has it."""
        return {"device": str(self.device), "inode": str(self.inode)}


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
            found[int(directory.name[len("loop") :])] = (
                (directory / "loop/backing_file").read_text(encoding="utf-8").rstrip("\n")
            )
        except OSError:  # free, or freed while it was read
            continue
    return dict(sorted(found.items()))


def device_number(number: int) -> tuple[int, int]:
    """Major and minor number; the minor is not the loop's number where the kernel was told `loop.max_part`."""
    major, minor = (_SYS_BLOCK / f"loop{number}" / "dev").read_text(encoding="utf-8").strip().split(":")
    return int(major), int(minor)


def sequence(number: int) -> int:
    """The kernel's number of this very attachment: another one with each, over all disks; 0 if the device is not there.

    Since Linux 5.15: https://docs.kernel.org/admin-guide/abi-testing.html (/sys/block/<disk>/diskseq)
    """
    try:
        return int((_SYS_BLOCK / f"loop{number}" / "diskseq").read_text(encoding="utf-8"))
    except OSError:
        return 0


def ensure_node(number: int) -> Path:
    """Make the loop device and its node in /dev where they are missing, and return the node."""
    if not exists(number):
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
        raise InfrastructureError(
            f"cannot attach {backing_file} to {node}: {error.strerror}", hint="rookery doctor; losetup -a; dmesg | tail"
        ) from error
    return True


def write_back(number: int, *, within: float = 10) -> None:
    """Have everything that was written to the device in its backing file, which can be read then; not necessarily on
    the disk under that.

    Nobody may be writing. Raises `InfrastructureError` if requests are in flight for longer than `within` seconds.
    """

    def done() -> None:
        reads, writes = (_SYS_BLOCK / f"loop{number}" / "inflight").read_text(encoding="utf-8").split()
        if int(reads) or int(writes):
            raise NotYet(f"{reads} reads and {writes} writes in flight")

    with _opened(ensure_node(number), os.O_RDONLY) as loop:
        fcntl.ioctl(loop, _BLKFLSBUF)
    wait_for_machine(done, what=f"{device(number)} to be written back", within=within, every=0.01)


def is_file(file: FileId) -> Callable[[int], bool]:
    """For `detach`: whether an open loop device is attached to that very file."""

    def same(descriptor: int) -> bool:
        lo_device, inode, _ = _file_of(descriptor)
        return (lo_device, inode) == file

    return same


def server_died(descriptor: int) -> bool:
    """For `detach`: whether the backing file lies on a FUSE filesystem whose server has died: no one can use the device
    again."""
    try:
        _file_of(descriptor)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def tear_away(number: int, only_if: Callable[[int], bool]) -> bool:
    """Have the device be of no size, whoever has it open; its file stays as it is. Whether it was what `only_if` asks.

    The kernel does the same to a disk that is pulled out (blk_mark_disk_dead in block/genhd.c): whoever reads gets
    nothing, whoever writes an error. A detach would only come with the last close, and there is no device mapper
    everywhere; so the part of the file that the device shows begins where no file reaches.
    """
    return _show_from(number, _BEYOND, only_if)


def restore_size(number: int, only_if: Callable[[int], bool]) -> bool:
    """Take `tear_away` back; idempotent."""
    return _show_from(number, 0, only_if)


def size(number: int) -> int:
    """Bytes that the device shows; 0 of one that is not there."""
    try:
        return int((_SYS_BLOCK / f"loop{number}" / "size").read_text(encoding="utf-8")) * 512
    except OSError:
        return 0


def _show_from(number: int, offset: int, only_if: Callable[[int], bool]) -> bool:
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            if not _answer(loop, only_if):
                return False
            status = bytearray(_LOOP_INFO64_BYTES)
            fcntl.ioctl(loop, _GET_STATUS64, status)
            struct.pack_into("=Q", status, _OFFSET_AT, offset)
            fcntl.ioctl(loop, _SET_STATUS64, bytes(status))
    except OSError as error:
        raise InfrastructureError(
            f"the kernel does not let {device(number)} show another part: {error}",
            hint=f"losetup {device(number)}; dmesg | tail",
        ) from error
    return True


def detach(number: int, only_if: Callable[[int], bool] | None = None, *, within: float = 10) -> bool:
    """Take the backing file away, and see that it is gone: of a device that is held open, the kernel only promises to
    take it away at the last close.

    `only_if` is asked with the very descriptor that is detached then: a number may be somebody else's at any time.
    Whether it was attached (and to what was asked for). Idempotent. Raises `InfrastructureError` if something holds the
    device for longer than `within` seconds.
    """
    before = attached().get(number)
    if before is None:
        return False
    attachment = sequence(number)
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            if only_if is not None and not _answer(loop, only_if):
                return False
            fcntl.ioctl(loop, _CLR_FD)
    except OSError as error:
        if error.errno == errno.ENXIO:  # free by now
            return False
        raise InfrastructureError(
            f"cannot detach {device(number)}: {error.strerror}",
            hint=f"losetup {device(number)}; dmesg | tail; then: rookery sweep",
        ) from error

    def gone() -> None:
        if attached().get(number) == before and sequence(number) == attachment:
            raise NotYet("still attached, so something has it open")

    try:
        wait_for_machine(gone, what=f"{device(number)} ({before}) to be detached", within=within, every=0.02)
    except DeadlineExceeded as error:
        raise InfrastructureError(
            error.message, hint=f"end what holds it: grep -l loop{number} /proc/*/mountinfo; fuser -v {device(number)}"
        ) from error
    return True


def remove(number: int) -> None:
    """Remove a free device that was made for its number, and its node, so that /sys/block is as it was before.

    Devices below `FIRST_NUMBER` are the machine's own and stay, and so does one that somebody uses. Idempotent.
    """
    if number < FIRST_NUMBER or number in attached():
        return

    def removed() -> None:
        if exists(number) and not _control(_CTL_REMOVE, number, (errno.ENODEV, errno.EBUSY)):
            raise NotYet("in use")

    # The kernel still calls a device busy for a moment after it lost its backing file.
    with contextlib.suppress(DeadlineExceeded):
        wait_for_machine(removed, what=f"{device(number)} to be removed", within=2, every=0.02)
        device(number).unlink(missing_ok=True)


def exists(number: int) -> bool:
    """Whether the kernel has a device of that number, attached or not."""
    return (_SYS_BLOCK / f"loop{number}").exists()


def holds(number: int, file: FileId | None) -> bool:
    """Whether the device is attached to that very file."""
    return file is not None and number in attached() and _asked(number, is_file(file))


def is_stale(number: int) -> bool:
    """Whether the device is attached to a file that nobody serves any more; see `server_died`."""
    return _asked(number, server_died)


def stacked_on(number: int) -> list[int]:
    """The loop devices whose file is this device's node: the kubelet attaches one to each raw block volume, as a lock.

    A node that was killed leaves both, and the upper one holds the lower one open.
    """
    above = is_node_of(number)
    return [other for other in attached() if other != number and _asked(other, above)]


def is_node_of(number: int) -> Callable[[int], bool]:
    """For `detach`: whether an open loop device is attached to the node of the one of that number."""
    below = os.makedev(*device_number(number))
    return lambda descriptor: _file_of(descriptor)[2] == below


def _asked(number: int, question: Callable[[int], bool]) -> bool:
    """The answer of a device; False if it can no longer be asked."""
    try:
        with _opened(ensure_node(number), os.O_RDONLY) as loop:
            return _answer(loop, question)
    except OSError:
        return False


def _answer(descriptor: int, question: Callable[[int], bool]) -> bool:
    try:
        return question(descriptor)
    except OSError:  # free by now, or its file cannot be asked
        return False


def _file_of(descriptor: int) -> tuple[int, int, int]:
    """Of the backing file: the device it is on, its inode, and what device it is the node of (0: of none)."""
    status = bytearray(_LOOP_INFO64_BYTES)
    fcntl.ioctl(descriptor, _GET_STATUS64, status)
    return _FILE.unpack_from(status)


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
            hint="rookery doctor; as root: modprobe loop",
        ) from error
    return True


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
