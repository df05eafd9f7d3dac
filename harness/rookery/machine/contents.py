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
import uuid
import zlib
from pathlib import Path

SECTOR = 512
_ENTRIES = 128
_ENTRY_BYTES = 128
_TABLE_SECTORS = _ENTRIES * _ENTRY_BYTES // SECTOR
_FIRST_USABLE = 2 + _TABLE_SECTORS
_LINUX_DATA = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
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


def scribble(path: Path, *, at: int, size: int = _CHUNK) -> None:
    """Random bytes at that place of a disk, synced."""
    _write(path, {at: secrets.token_bytes(size)})


def partition(path: Path) -> None:
    """An empty partition over all of a disk, in a GUID partition table; its device or file, synced.

    Programs that do so are missing on some machines, and the table is a few numbers:
    https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
    """
    with path.open("rb") as file:
        sectors = file.seek(0, os.SEEK_END) // SECTOR
    last = sectors - 1
    entry = struct.pack(
        "<16s16sQQQ72s",
        _LINUX_DATA.bytes_le,
        uuid.uuid4().bytes_le,
        2048,
        last - _TABLE_SECTORS - 1,
        0,
        "somebody's data".encode("utf-16-le"),
    )
    table = entry.ljust(_ENTRIES * _ENTRY_BYTES, b"\0")
    disk = uuid.uuid4()
    _write(
        path,
        {
            0: _protective_mbr(sectors),
            SECTOR: _header(disk, here=1, other=last, table_at=2, table=table, last=last),
            2 * SECTOR: table,
            (last - _TABLE_SECTORS) * SECTOR: table,
            last * SECTOR: _header(disk, here=last, other=1, table_at=last - _TABLE_SECTORS, table=table, last=last),
        },
    )


def _protective_mbr(sectors: int) -> bytes:
    """Tells programs that know no GUID partition table that the whole disk is taken."""
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"


def _header(disk: uuid.UUID, *, here: int, other: int, table_at: int, table: bytes, last: int) -> bytes:
    def packed(checksum: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x00010000,
            92,
            checksum,
            0,
            here,
            other,
            _FIRST_USABLE,
            last - _TABLE_SECTORS - 1,
            disk.bytes_le,
            table_at,
            _ENTRIES,
            _ENTRY_BYTES,
            zlib.crc32(table),
        )

    return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")


def _write(path: Path, pieces: dict[int, bytes]) -> None:
    with path.open("r+b") as disk:
        for position, piece in pieces.items():
            disk.seek(position)
            disk.write(piece)
        disk.flush()
        os.fsync(disk.fileno())
