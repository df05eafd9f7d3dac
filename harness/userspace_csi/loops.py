"""Loop devices, by ioctl: the errors that matter here (EBUSY, ENXIO) are lost in losetup's texts.

https://man7.org/linux/man-pages/man4/loop.4.html
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from .errors import DriverError, FailedPrecondition, Unavailable
from .state import LoopRef
from .waiting import Deadline, retry

_MAJOR = 7
_CONTROL = os.makedev(10, 237)
_CLR_FD, _GET_STATUS64, _SET_CAPACITY, _CONFIGURE = 0x4C01, 0x4C05, 0x4C07, 0x4C0A
_CTL_GET_FREE = 0x4C82
_READ_ONLY, _DIRECT_IO = 1, 16  # of lo_flags
_SECTOR = 512  # bytes; sysfs counts in these, whatever the device's blocks are
_SPARE_NODES = 4
_SPARES = ".rookery-loops"  # in /dev: it lives as long as the node files that it is about
# struct loop_info64: device, inode, rdevice, offset, sizelimit; number, encryption, flags; names and key; init[2]
_INFO64 = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIG_HEAD = struct.Struct("=II")  # struct loop_config: fd, block_size; then loop_info64 and eight reserved words


class Loops:
    """The loop devices of this kernel, through the node's /dev.

    A node's /dev holds only the devices of that node, so the node file of the number in use is made when it is missing
    (and one made for an attachment goes with it: on a node that plays its role in a container nothing else would).
    """

    def __init__(self, sys_block: Path = Path("/sys/block"), dev: Path = Path("/dev")) -> None:
        self._sys_block = sys_block
        self._dev = dev
        self._spares = self._spares_on_record()  # numbers whose node files were made for the kubelet
        self._spares_guard = threading.Lock()

    def device(self, loop: LoopRef) -> Path:
        """The device's node file."""
        return self._dev / f"loop{loop.number}"

    def is_attached(self, loop: LoopRef) -> bool:
        """Whether this very attachment still stands."""
        return self._attachment(loop.number) == loop

    def find(self, image: Path) -> LoopRef | None:
        """The device attached to `image`, a living FUSE file, if there is one.

        The path alone does not tell: nodes that share a kernel may have the same path. The FUSE mount's device number
        does.
        """
        wanted = os.stat(image)
        for entry in self._sys_block.glob("loop*/loop/backing_file"):
            with suppress(OSError):
                if entry.read_text(encoding="utf-8").rstrip("\n") != str(image):
                    continue
                number = int(entry.parent.parent.name.removeprefix("loop"))
                if self._backing(number) == (wanted.st_dev, wanted.st_ino):
                    return self._attachment(number)
        return None

    def attach(self, image: Path, deadline: Deadline, *, read_only: bool = False) -> LoopRef:
        """Attach a free device to `image`; the one it has already, if there is one. Raises `Unavailable`."""
        if existing := self.find(image):
            return replace(existing, made_node=self._make_node(existing.number))
        backing = os.open(image, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        # Without direct I/O the kernel has one request at a time in flight for the device, through another page cache:
        # sequential reads then reach 180 MiB/s instead of 450. For a file that cannot have it, it does without.
        flags = _DIRECT_IO | (_READ_ONLY if read_only else 0)
        try:
            return retry(
                lambda: self._attach_once(backing, image, flags), on=(Unavailable,), deadline=deadline, every=0.05
            )
        finally:
            os.close(backing)

    def size(self, loop: LoopRef) -> int:
        """The device's size in bytes."""
        return int((self._sys_block / f"loop{loop.number}/size").read_text(encoding="utf-8")) * _SECTOR

    def expand(self, loop: LoopRef, image: Path, size: int) -> None:
        """Make the file at least `size` bytes long, and the device as long as the file, while both are in use.

        Truncating a FUSE export of qemu resizes the image behind it (`fuse_setattr`), and tells the kernel the new size
        at once, which asking for the file's attributes would do only when the old ones have expired.
        https://gitlab.com/qemu-project/qemu/-/blob/v10.0.0/block/export/fuse.c
        """
        file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_size < size:
                # By descriptor: truncating by path would set the file's times as well, which the export refuses.
                os.ftruncate(file, size)
        except OSError as error:
            raise DriverError(f"{image} cannot be grown to {size} bytes: {error}") from error
        finally:
            os.close(file)
        with self._open(loop.number) as device:
            fcntl.ioctl(device, _SET_CAPACITY)

    def stacked_on(self, loop: LoopRef) -> list[LoopRef]:
        """Loop devices whose file is this device's node: the kubelet attaches one to each raw block volume, as a lock.

        https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/volume/util/volumepathhandler/volume_path_handler.go
        """
        found = []
        for number in self._numbers():
            attached = self._attachment(number)
            if attached is not None and self._below(number) == loop.number:
                found.append(attached)
        return found

    def provide_nodes(self) -> None:
        """Make the node files of the devices that are next to be taken.

        The kubelet takes a free device by its number for each raw block volume, and does not make its node file. In a
        /dev that is the node's own, as in a container, nobody else would. Devices that are taken stay out of it.
        """
        numbers = self._numbers()
        free = (n for n in range(max(numbers, default=-1) + 1 + _SPARE_NODES) if self._attachment(n) is None)
        with self._spares_guard:
            missing = {number for number in islice(free, _SPARE_NODES) if not (self._dev / f"loop{number}").exists()}
            # On record before they are there: a driver that is killed in between leaves none that nobody removes.
            self._record_spares(self._spares | missing)
            self._record_spares(self._spares - {number for number in missing if not self._make_node(number)})

    def withdraw_nodes(self) -> None:
        """Remove the node files that `provide_nodes` has made, but for those that the kubelet uses."""
        with self._spares_guard:
            unused = {number for number in self._spares if self._below(number) is None}
            for number in unused:
                (self._dev / f"loop{number}").unlink(missing_ok=True)
            self._record_spares(self._spares - unused)

    def release(self, loop: LoopRef) -> None:
        """Detach, at once or, if something still has the device open, as soon as it closes it."""
        if not self.is_attached(loop):
            return
        with self._open(loop.number) as device, _passing(errno.ENXIO):
            fcntl.ioctl(device, _CLR_FD)
        if loop.made_node:
            self.device(loop).unlink(missing_ok=True)

    def detach(self, loop: LoopRef, deadline: Deadline) -> None:
        """Detach, and see that it is so. Raises `FailedPrecondition` if something keeps the device open."""

        def gone() -> None:
            self.release(loop)
            if self.is_attached(loop):
                raise FailedPrecondition(f"{self.device(loop)} is still in use")

        retry(gone, on=(FailedPrecondition,), deadline=deadline, every=0.05)

    def _attach_once(self, backing: int, image: Path, flags: int) -> LoopRef:
        number = self._free_number()
        with self._spares_guard:
            made_node = self._make_node(number) or number in self._spares
            self._record_spares(self._spares - {number})
        try:
            self._configure(number, backing, image, flags)
        except BaseException:
            if made_node:
                (self._dev / f"loop{number}").unlink(missing_ok=True)
            raise
        attached = self._attachment(number)
        if attached is None:
            raise DriverError(f"loop{number} was detached as soon as it was attached")
        return replace(attached, made_node=made_node)

    def _configure(self, number: int, backing: int, image: Path, flags: int) -> None:
        # LOOP_CONFIGURE sets everything at once: no other process ever sees the device half made.
        info = _INFO64.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, str(image).encode()[:63], b"", b"", 0, 0)
        with self._open(number, os.O_RDWR) as device:
            try:
                fcntl.ioctl(device, _CONFIGURE, _CONFIG_HEAD.pack(backing, 0) + info + bytes(64))
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise Unavailable(f"loop{number} was taken by another process") from error
                raise DriverError(f"loop{number} cannot be attached to {image}: {error}") from error

    def _free_number(self) -> int:
        control = self._dev / "loop-control"
        with suppress(FileExistsError):
            os.mknod(control, stat.S_IFCHR | 0o600, _CONTROL)
        descriptor = os.open(control, os.O_RDWR | os.O_CLOEXEC)
        try:
            return fcntl.ioctl(descriptor, _CTL_GET_FREE)
        finally:
            os.close(descriptor)

    def _numbers(self) -> list[int]:
        return sorted(int(entry.name.removeprefix("loop")) for entry in self._sys_block.glob("loop[0-9]*"))

    def _below(self, number: int) -> int | None:
        """The number of the loop device that this one's file is the node of, if it is such a file.

        By its path first: other devices of the machine are not opened. That is the kubelet's path of a raw block volume
        or, when that is unmounted, the node's name; "/" when the node was killed with all its mounts.
        """
        try:
            path = (self._sys_block / f"loop{number}/loop/backing_file").read_text(encoding="utf-8").rstrip("\n")
            if path != "/" and "/volumeDevices/" not in path and not re.fullmatch(r"loop\d+", Path(path).name):
                return None
            below = self._status(number)[2]
        except OSError:
            return None
        return os.minor(below) if os.major(below) == _MAJOR else None

    def _attachment(self, number: int) -> LoopRef | None:
        block = self._sys_block / f"loop{number}"
        try:
            (block / "loop/backing_file").read_text(encoding="utf-8")
            return LoopRef(number, int((block / "diskseq").read_text(encoding="utf-8")))
        except OSError:
            return None

    def _backing(self, number: int) -> tuple[int, int]:
        """Device and inode number of the file behind a device; ENOTCONN if that is a dead FUSE file."""
        device_number, inode, *_ = self._status(number)
        return device_number, inode

    def _status(self, number: int) -> tuple[int, ...]:
        """The first fields of struct loop_info64."""
        status = bytearray(_INFO64.size)
        with self._open(number) as device:
            fcntl.ioctl(device, _GET_STATUS64, status)
        return _INFO64.unpack(status)[:5]

    @contextmanager
    def _open(self, number: int, mode: int = os.O_RDONLY) -> Iterator[int]:
        """A descriptor of the device; its node file is there at least for as long."""
        node = self._dev / f"loop{number}"
        made = self._make_node(number)
        try:
            descriptor = os.open(node, mode | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        finally:
            if made:
                node.unlink(missing_ok=True)

    def _spares_on_record(self) -> set[int]:
        """Those that an earlier life of the driver has made in this life of the node."""
        try:
            return set(json.loads((self._dev / _SPARES).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return set()

    def _record_spares(self, numbers: set[int]) -> None:
        if numbers == self._spares:
            return
        draft = self._dev / f"{_SPARES}.new"
        draft.write_text(json.dumps(sorted(numbers)), encoding="utf-8")
        draft.replace(self._dev / _SPARES)
        self._spares = numbers

    def _make_node(self, number: int) -> bool:
        try:
            os.mknod(self._dev / f"loop{number}", stat.S_IFBLK | 0o600, os.makedev(_MAJOR, number))
        except FileExistsError:
            return False
        return True


@contextmanager
def _passing(number: int) -> Iterator[None]:
    """Let one error number pass."""
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise
