"""What is on a disk, or in its file: written so that it can be recognised, and compared byte for byte.

A disk that is attached is written through its device: what the kernel has read of the device before, it would not read
again from the file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import struct
from pathlib import Path

from rookery.machine.disks import LoopDisk
from rookery.machine.run import run

_CHUNK = 1 << 20


def digest(path: Path) -> str:
    """SHA-256 over all that is not zero in a file, each piece with its place; equal for equal contents.

    A sparse file of gigabytes costs no more than what is in it: holes are not read, and zeros that were written count
    as the holes they might be.
    """
    total = hashlib.sha256()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        total.update(struct.pack(">Q", size))
        position = _next_data(file.fileno(), 0)
        while position is not None and position < size:
            file.seek(position)
            chunk = file.read(_CHUNK)
            if chunk.count(0) != len(chunk):
                total.update(struct.pack(">Q", position) + chunk)
            position = _next_data(file.fileno(), position + len(chunk))
    return total.hexdigest()


def _next_data(descriptor: int, start: int) -> int | None:
    """Where the next chunk begins that is no hole; whole chunks, so that equal contents are cut up alike."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) // _CHUNK * _CHUNK
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def overwrite(disk: LoopDisk, *, at: int, size: int = _CHUNK) -> None:
    """Random bytes at that place of a disk of the harness's own, synced."""
    _write(Path(disk.device), at, secrets.token_bytes(size))


def partition(disk: LoopDisk) -> None:
    """An empty partition over all of a disk of the harness's own, in a GUID partition table, synced.

    The kernel is not told: what reads the table is the disk's user.
    """
    argv = ["sfdisk", "--quiet", "--label", "gpt", "--wipe", "always", "--no-reread", "--no-tell-kernel", disk.device]
    run(argv, stdin='type=linux, name="somebody\'s data"\n', timeout=30)


def _write(path: Path, position: int, piece: bytes) -> None:
    with path.open("r+b") as disk:
        disk.seek(position)
        disk.write(piece)
        disk.flush()
        os.fsync(disk.fileno())
