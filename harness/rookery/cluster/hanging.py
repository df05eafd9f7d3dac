"""What hangs in a node, and on what.

A task in uninterruptible sleep is no finding about storage by itself: under load, with the machine's own disk busy or
its kernel at something else, any program may be seen in it. It is one when it waits for a volume: a file that it has
open lies on one, it was told to work on one, or it waits for a FUSE server, as all of those in nodes serve volumes.

Nothing here touches a volume, and so cannot hang on one: mounts are told by their numbers (proc_pid_fdinfo(5)), not by
looking at files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from rookery.machine.docker import docker_output

LOOK_SECONDS = 30

# Of every task, as it is often not the first one of a process that hangs. cmdline needs a lock of the process's memory,
# which may be what hangs; stat on an open device looks at its node in /dev only.
_LOOK = r"""
echo = node
sed 's/^/mount /' /proc/1/mountinfo
while read -r _ _ _ _ place _; do
  case $place in */volumeDevices/*) [ ! -b "$place" ] || stat -c 'block %t:%T' "$place" ;; esac
done < /proc/1/mountinfo
for stat in /proc/[0-9]*/task/[0-9]*/stat; do
  { read -r line < "$stat"; } 2>/dev/null || continue
  case ${line##*) } in D*) ;; *) continue ;; esac
  task=${stat%/stat} process=${stat%/task/*}
  echo "= ${process#/proc/}"
  { echo "comm $(cat "$task/comm")"
    echo "waits $(cat "$task/wchan")"
    echo "argv $(timeout -s KILL 2 cat "$process/cmdline" | tr '\0\n' '  ')"
    grep -h '^mnt_id:' "$process"/fdinfo/* | sort -u
    find "$process/fd" -lname '/dev/*' -exec stat -L -c 'block %t:%T' {} + | sort -u
    sed 's/^/mount /' "$process/mountinfo"
  } 2>/dev/null || true
done
"""
_OF_CSI = ("/kubernetes.io~csi/", "/kubernetes.io/csi/")
_IN_MEMORY = ("tmpfs", "devtmpfs")  # of which a raw block volume is a file
_MAPPED = re.compile(r"/dev/(rbd|nbd)\d+(p\d+)?")
_NO_DEVICE = "block 0:0"


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo."""

    number: str
    device: str
    place: str
    type: str
    source: str

    @classmethod
    def parse(cls, line: str) -> Mount:
        """See proc_pid_mountinfo(5)."""
        place, _, filesystem = line.partition(" - ")
        (number, _, device, _, where, *_), (kind, source, *_) = place.split(), filesystem.split()
        return cls(number, device, where, kind, source)

    @property
    def is_of_volume(self) -> bool:
        return any(part in self.place for part in _OF_CSI) or self.type.partition(".")[0] == "fuse"


@dataclass
class _Looked:
    """What was seen of one task, or of the node itself."""

    comm: str = ""
    waits: str = ""
    argv: str = ""
    open_on: set[str] = field(default_factory=set)  # numbers of mounts
    blocks: set[str] = field(default_factory=set)
    mounts: list[Mount] = field(default_factory=list)


@dataclass(frozen=True)
class Hanging:
    """A task in uninterruptible sleep, and the volume that it waits for; empty if it is none."""

    node: str
    pid: str
    command: str
    waits: str
    volume: str

    def __str__(self) -> str:
        on = f" on {self.volume}" if self.volume else ""
        return f"{self.node}: {self.pid} {self.command} ({self.waits or 'waiting'}){on}"


def hanging(names: Iterable[str], devices: Collection[str] = ()) -> list[Hanging]:
    """The nodes' tasks in uninterruptible sleep; one reading, so ask again before concluding that one hangs.

    `devices` are those of volumes ("/dev/loop70"), mounted or not.
    """
    return [found for name in names for found in _in_node(name, devices)]


def _in_node(name: str, devices: Collection[str]) -> Iterator[Hanging]:
    output = docker_output("exec", name, "sh", "-c", _LOOK, timeout=LOOK_SECONDS)
    parts = [part.splitlines() for part in re.split(r"^= ", output, flags=re.MULTILINE) if part]
    looked = [(lines[0].strip(), _looked(lines[1:])) for lines in parts]
    node = next((seen for of, seen in looked if of == "node"), _Looked())
    for pid, seen in looked:
        if pid != "node":
            yield Hanging(name, pid, seen.comm, seen.waits, _volume(seen, node, devices))


def _looked(lines: Iterable[str]) -> _Looked:
    seen = _Looked()
    for line in lines:
        key, _, value = line.partition(" ")
        if key in ("comm", "waits", "argv"):
            setattr(seen, key, value.strip())
        elif key == "block" and line != _NO_DEVICE:
            seen.blocks.add(value)
        elif key == "mount":
            seen.mounts.append(Mount.parse(value))
        elif line.startswith("mnt_id:"):
            seen.open_on.add(line.partition(":")[2].strip())
    return seen


def _volume(seen: _Looked, node: _Looked, devices: Collection[str]) -> str:
    """What the task waits for of the node's volumes."""
    volumes = [mount for mount in node.mounts if mount.is_of_volume]
    numbers = {mount.device for mount in volumes if mount.type not in _IN_MEMORY}
    for mount in seen.mounts:
        if mount.number in seen.open_on and mount.device in numbers:
            return mount.place
    if block := seen.blocks & node.blocks:
        return f"device {min(block)}"
    sources = {*devices, *(mount.source for mount in volumes if mount.source.startswith("/dev/"))}
    for word in seen.argv.split():
        if word in sources or _MAPPED.fullmatch(word):
            return word
        if place := next((m.place for m in volumes if word == m.place or word.startswith(f"{m.place}/")), ""):
            return place
    if "fuse" in seen.waits or seen.waits == "request_wait_answer":
        return "a FUSE server"
    return ""
