"""Small files whose content follows from their number, so that both sides of a copy can be held against what was meant.

It is run as a program in pods as well (`python3 -c <this file> make FOLDER COUNT SEED`, `... sums FOLDER`), so it
imports nothing of the harness and keeps to what Python 3.9 knows.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LARGEST = 4095  # bytes: "under 4 KB"
IN_A_FOLDER = 250
MAX_IN_FLIGHT = 8  # operations in flight: a network filesystem makes each of them wait


def path_of(number: int) -> str:
    """Where the file of that number lies in the tree."""
    return f"{number // IN_A_FOLDER:04}/{number:07}"


def content_of(number: int, seed: int) -> bytes:
    """1 to `LARGEST` bytes that look random, other ones for each number and seed."""
    name = f"{seed}/{number}".encode()
    size = int.from_bytes(hashlib.sha256(name).digest()[:4], "big") % LARGEST + 1
    return hashlib.shake_128(name).digest(size)


def expected(count: int, seed: int) -> dict[str, str]:
    """The SHA-256 of each file by its path, without any file being there."""
    return {path_of(n): hashlib.sha256(content_of(n, seed)).hexdigest() for n in range(count)}


def make(folder: Path, count: int, seed: int) -> None:
    """Write the files."""
    for number in range(0, count, IN_A_FOLDER):
        (folder / path_of(number)).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        for _ in pool.map(lambda n: (folder / path_of(n)).write_bytes(content_of(n, seed)), range(count)):
            pass


def sums(folder: Path) -> Iterator[tuple[str, str]]:
    """The path and SHA-256 of each file that is there, in the order of the paths."""

    def read(path: Path) -> tuple[str, str]:
        return str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()

    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        yield from pool.map(read, sorted(path for path in folder.rglob("*") if not path.is_dir()))


if __name__ == "__main__":
    command, folder, *numbers = sys.argv[1:]
    if command == "make":
        make(Path(folder), *map(int, numbers))
    else:
        for path, checksum in sums(Path(folder)):
            print(checksum, path)
