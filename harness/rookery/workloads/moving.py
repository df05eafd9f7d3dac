"""Moving many small files from one volume to another, pod to pod by rsync, as an operator does between two storages."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.waiting import NotYet, minutes, wait_for
from rookery.workloads import small_files
from rookery.workloads.volumes import MOUNT, Pod, VolumeFailed

TREE = f"{MOUNT}/tree"
PORT = 8730
MODULE = "volume"
FILES_MADE = minutes(10)
FILES_READ = minutes(5)
FILES_MOVED = minutes(15)
DAEMON_ANSWERS = 30.0  # seconds
NAMED = 10  # differences that a report names

_DAEMON = f"""cat > /tmp/rsyncd.conf <<END
port = {PORT}
use chroot = no
uid = 0
gid = 0
[{MODULE}]
path = {MOUNT}
read only = no
END
exec rsync --daemon --config=/tmp/rsyncd.conf </dev/null >/dev/null 2>&1"""

_PROGRAM = Path(small_files.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class TransferResult:
    """What rsync says it has done, and how long it took."""

    files: int
    bytes: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Files per second: what small files are counted by."""
        return self.files / self.seconds


def make_files(pod: Pod, count: int, *, seed: int) -> None:
    """Write `count` files under 4 KB on the pod's volume; which ones is `small_files.expected(count, seed)`.

    The pod's image needs python3. Raises `VolumeFailed`.
    """
    pod.sh(_run("make", TREE, str(count), str(seed)), timeout=FILES_MADE)


def checksums(pod: Pod) -> dict[str, str]:
    """The SHA-256 of each file there is on the pod's volume, by path. Raises `VolumeFailed`."""
    lines = pod.sh(_run("sums", TREE), timeout=FILES_READ).splitlines()
    return {path: checksum for checksum, _, path in (line.partition(" ") for line in lines)}


def serve(pod: Pod) -> str:
    """Start an rsync daemon that takes files onto the pod's volume, and return its URL. The image needs rsync."""
    pod.sh(_DAEMON)

    def answers() -> None:
        try:
            listing = pod.sh(f"rsync --contimeout=2 rsync://127.0.0.1:{PORT}/")
        except VolumeFailed as error:
            raise NotYet(error.output.strip()) from error
        if MODULE not in listing:
            raise NotYet(f"it serves {listing!r}")

    wait_for(answers, what=f"the rsync daemon in {pod.name}", within=DAEMON_ANSWERS)
    return f"rsync://{pod.address}:{PORT}/{MODULE}"


def move(pod: Pod, url: str) -> TransferResult:
    """Copy all files of the pod's volume to a daemon's (see `serve`), and wait until rsync is done.

    Raises `VolumeFailed` with what rsync said.
    """
    options = ["--archive", "--stats", "--no-human-readable", "--contimeout=10", "--timeout=120"]
    begin = time.monotonic()
    output = pod.sh(shlex.join(["rsync", *options, f"{TREE}/", f"{url}/{Path(TREE).name}/"]), timeout=FILES_MOVED)
    return moved(output, time.monotonic() - begin)


def moved(stats: str, seconds: float) -> TransferResult:
    """Of what `rsync --stats` prints. Raises `InfrastructureError` if it is not that."""
    files = re.search(r"Number of (?:regular )?files transferred: ([\d,]+)", stats)
    size = re.search(r"Total transferred file size: ([\d,]+)", stats)
    if not files or not size:
        raise InfrastructureError(
            f"rsync said something else: {stats[-1000:]}",
            hint="does the image have rsync 3, and nothing that prints before it?",
        )
    return TransferResult(int(files[1].replace(",", "")), int(size[1].replace(",", "")), seconds)


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """How what was found differs from what was wanted, files named; empty if it does not."""
    kinds = {
        "missing": sorted(wanted.keys() - found.keys()),
        "not asked for": sorted(found.keys() - wanted.keys()),
        "of another content": sorted(path for path in wanted.keys() & found.keys() if wanted[path] != found[path]),
    }
    return "; ".join(f"{len(paths)} {kind}: {_named(paths)}" for kind, paths in kinds.items() if paths)


def _named(paths: list[str]) -> str:
    return ", ".join(paths[:NAMED]) + (", ..." if len(paths) > NAMED else "")


def _run(*arguments: str) -> str:
    return shlex.join(["python3", "-c", _PROGRAM, *arguments])
