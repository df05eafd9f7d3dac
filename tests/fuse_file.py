"""A FUSE filesystem that is one file of zeros, mounted over the file named on the command line.

What qemu-storage-daemon's FUSE export is to the kernel, without qemu: the tests of the sweep kill it. The protocol is
that of include/uapi/linux/fuse.h; only what a loop device and mount(2) ask for is answered.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

SIZE = 8 << 20
INIT, GETATTR, OPEN, READ, RELEASE, FLUSH = 26, 3, 14, 15, 18, 25
HEADER = struct.Struct("<IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, padding


def attributes() -> bytes:
    return struct.pack(
        "<QQQQQQIIIIIIIIII", 1, SIZE, SIZE // 512, 0, 0, 0, 0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0
    )


def answer(opcode: int, body: bytes) -> bytes | None:
    """The reply's body, or None for what this filesystem does not know."""
    if opcode == INIT:
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 12, 10, 65536, 1, 0, 0, 0)
    if opcode == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + attributes()  # to be remembered for no time at all
    if opcode == OPEN:
        return struct.pack("<QII", 1, 0, 0)
    if opcode == READ:
        _, _, size = struct.unpack_from("<QQI", body)
        return bytes(size)
    if opcode in (RELEASE, FLUSH):
        return b""
    return None


def serve(fuse: int) -> None:
    while True:
        request = os.read(fuse, 1 << 17)
        _, opcode, unique, *_ = HEADER.unpack_from(request)
        reply = answer(opcode, request[HEADER.size :])
        error = 0 if reply is not None else -errno.ENOSYS
        reply = reply or b""
        os.write(fuse, struct.pack("<IiQ", 16 + len(reply), error, unique) + reply)


def main(path: str) -> None:
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode={stat.S_IFREG:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"fuse_file", os.fsencode(path), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    serve(fuse)


if __name__ == "__main__":
    main(sys.argv[1])
