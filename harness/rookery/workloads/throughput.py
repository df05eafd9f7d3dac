"""The same load by two programs: fio on a volume, and `rbd bench` on an image of the pool, which knows of no driver.

Both have the same size of requests, as many of them in flight, the same order and the same part of the volume.

| | fio | rbd bench |
| --- | --- | --- |
| in order, `depth` at once | `--rw=write`, `--rw=read` | `--io-pattern full-seq` (`seq`: so many streams) |
| random, with repetitions | `--rw=randwrite --norandommap` | `--io-pattern rand` |
| all stored in the end, and timed | `--end_fsync=1` | always (a flush) |
| each write stored before it counts | `--sync=dsync` | an image with `rbd_cache` off |

fio's `fsync=1` is not used: with libaio the fsync is one more request in the queue, beside the writes, and need not
cover the one before it. With O_DSYNC a write is over when it is on stable storage, and `depth` of them are on
their way at any time. That is what a write without librbd's cache is: over when all replicas have it. With its cache,
`rbd bench` would count writes that are nowhere yet, as the `rbd` command takes it into use from the first byte on.

https://fio.readthedocs.io/en/latest/fio_doc.html
https://github.com/ceph/ceph/blob/v18.2.7/src/tools/rbd/action/Bench.cc
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rookery.errors import InfrastructureError

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Load:
    """Requests of `block` bytes, `total` bytes in all, within the first `span` bytes, `depth` of them in flight.

    `random_access` they go anywhere in the span, else from its start to its end. `sync_writes`: a write is over
    when it is on stable storage; else all of them are in the end.
    """

    name: str
    write: bool
    block: int
    total: int
    span: int
    random_access: bool = False
    sync_writes: bool = False
    depth: int = 16

    @property
    def requests(self) -> int:
        """How many there are."""
        return self.total // self.block

    def fio(self, path: str) -> list[str]:
        """fio's command line for a file or a device. A file that is read has to be there in full."""
        kind = ("rand" if self.random_access else "") + ("write" if self.write else "read")
        options = [f"--filename={path}", f"--rw={kind}", f"--bs={self.block}", f"--iodepth={self.depth}"]
        options += [f"--size={self.span}", f"--io_size={self.total}", "--ioengine=libaio", "--direct=1"]
        if self.random_access:
            options += ["--norandommap", "--randrepeat=0"]
        if self.sync_writes:
            options += ["--sync=dsync"]
        elif self.write:
            options += ["--end_fsync=1"]
        if not self.write:
            options += ["--readonly", "--allow_file_create=0"]
        return ["fio", "--name=load", *options, "--output-format=json"]

    def rbd_bench(self, image: str) -> list[str]:
        """The command line of `rbd bench` for `POOL/IMAGE`; whether librbd caches is the image's own setting."""
        options = ["--io-type", "write" if self.write else "read"]
        options += ["--io-pattern", "rand" if self.random_access else "full-seq"]
        options += ["--io-size", str(self.block), "--io-total", str(self.total), "--io-threads", str(self.depth)]
        return ["rbd", "bench", *options, image]

    def parse_fio(self, output: str) -> float:
        """Requests per second, by fio's JSON. Raises `InfrastructureError` unless it did what it was told to."""
        text = output[output.find("\n{") + 1 :]  # warnings stand before it
        try:
            (job,) = json.JSONDecoder().raw_decode(text)[0]["jobs"]
            side = job["write" if self.write else "read"]
            error, done, seconds = job["error"], side["io_bytes"], side["runtime"] / 1000
        except (ValueError, KeyError, TypeError) as wrong:
            raise InfrastructureError(
                f"{self.name}: not what fio prints: {output.strip()[-500:]!r}", hint="does the image have fio 3?"
            ) from wrong
        if error or done != self.total or not seconds:
            did = f"{done} of {self.total} bytes in {seconds} s"
            raise InfrastructureError(
                f"{self.name}: fio did {did}, error {error}",
                hint="the pod's events and the node's dmesg: is the volume full, or gone?",
            )
        return self.requests / seconds

    def parse_rbd_bench(self, output: str) -> float:
        """Requests per second, by what `rbd bench` sums up in the end, of rounded bytes. Raises as `parse_fio`."""
        ops, rate = (re.search(rf"\b{name}:\s*([0-9.e+]+)", output) for name in ("ops", "ops/sec"))
        if not ops or not rate:
            raise InfrastructureError(
                f"{self.name}: not what rbd bench prints: {output.strip()[-500:]!r}",
                hint="which Ceph is it? rbd --version in the toolbox",
            )
        if int(ops[1]) != self.requests:
            raise InfrastructureError(
                f"{self.name}: rbd bench did {ops[1]} of {self.requests} requests",
                hint="ceph status in the toolbox: is the pool full?",
            )
        return float(rate[1])
