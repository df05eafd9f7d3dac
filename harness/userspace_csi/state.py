"""What this node did for each volume, written down so that it survives the driver and the node."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from .takeover import Client
from .volumes import VolumeId

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeBoot:
    """One life of the node.

    A container that plays a node shares the kernel's boot id with its host and keeps it through a node kill; the start
    time of its PID 1 is new with each start.
    """

    boot_id: str
    init_started: int  # clock ticks since the kernel's boot

    @classmethod
    def current(cls, proc: Path = Path("/proc")) -> NodeBoot:
        """Needs the node's PID namespace (`hostPID`)."""
        stat = (proc / "1/stat").read_text(encoding="utf-8")
        # Field 22 of proc_pid_stat(5), counted after the command name, which may itself hold spaces and parentheses.
        started = int(stat.rpartition(")")[2].split()[19])
        return cls((proc / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip(), started)


@dataclass(frozen=True)
class LoopRef:
    """One attachment of a loop device.

    Numbers are global to the kernel, also among containers that play nodes, and are used again. The kernel's disk
    sequence number is new with each attachment, so a number that went to somebody else is not taken for ours.
    """

    number: int
    diskseq: int
    made_node: bool = field(default=False, compare=False)  # /dev/loop<number> was missing, and goes with the attachment


@dataclass
class VolumeState:
    """One volume on this node."""

    volume: VolumeId
    boot: NodeBoot
    exporter: Client | None = None  # the last exporter's client, as Ceph knows it
    loop: LoopRef | None = None
    block: bool = False  # staged as a raw block volume
    read_only: bool = False
    mount_flags: tuple[str, ...] = ()  # of the staging mount

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> VolumeState:
        """Raises ValueError, KeyError or TypeError for anything that `to_json` did not write."""
        data: dict[str, Any] = json.loads(text)
        return cls(
            volume=VolumeId(**data["volume"]),
            boot=NodeBoot(**data["boot"]),
            exporter=Client(**data["exporter"]) if data["exporter"] else None,
            loop=LoopRef(**data["loop"]) if data["loop"] else None,
            block=bool(data["block"]),
            read_only=bool(data["read_only"]),
            mount_flags=tuple(data["mount_flags"]),
        )


class Record(Protocol):
    """What a node writes down of one volume."""

    @property
    def volume(self) -> Id: ...

    def to_json(self) -> str: ...


class Id(Protocol):
    """The id of a volume of any storage."""

    @property
    def slug(self) -> str: ...


V = TypeVar("V", bound=Id)
R = TypeVar("R", bound=Record)


class Records(Generic[V, R]):
    """`<root>/<volume>/state.json`, one for each volume of this node.

    `root` bears the node's name: the kernel tells the path of a loop device's file to the whole machine, and nodes that
    are containers share a kernel. `new` makes the record of a volume of which nothing is known, in this life of the
    node; `read` is the reverse of its `to_json`.
    """

    def __init__(
        self, root: Path, boot: NodeBoot, *, new: Callable[[V, NodeBoot], R], read: Callable[[str], R]
    ) -> None:
        self._root = root
        self._new = new
        self._parse = read
        self.boot = boot

    def folder(self, volume: V) -> Path:
        """Where the volume's files are; it may not exist."""
        return self._root / volume.slug

    def load(self, volume: V) -> R:
        """What is known of the volume; a new record when nothing is."""
        return self._read(self.folder(volume) / "state.json") or self._new(volume, self.boot)

    def save(self, state: R) -> None:
        """Write the record so that a node kill leaves the old one or the new one, never half of one."""
        folder = self._root / state.volume.slug
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / "state.json.new"
        with draft.open("w", encoding="utf-8") as file:
            file.write(state.to_json())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / "state.json")
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def forget(self, volume: V) -> None:
        """Remove the volume's folder; nothing may be mounted in it any more."""
        shutil.rmtree(self.folder(volume), ignore_errors=True)

    def all(self) -> Iterator[R]:
        """Every volume on record."""
        for path in sorted(self._root.glob("*/state.json")):
            if state := self._read(path):
                yield state

    def _read(self, path: Path) -> R | None:
        try:
            return self._parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read and is taken for missing: %r", path, error)
            return None


class StateStore(Records[VolumeId, VolumeState]):
    """The records of RBD volumes, each beside the volume's FUSE file `image`."""

    def __init__(self, root: Path, boot: NodeBoot) -> None:
        super().__init__(root, boot, new=VolumeState, read=VolumeState.from_json)

    def image(self, volume: VolumeId) -> Path:
        """The file that the exporter is mounted on."""
        return self.folder(volume) / "image"
