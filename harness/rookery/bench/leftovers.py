"""What is on this machine of the kinds that a run makes, as the machine itself tells it and no lease: what is there
after a run, and was not there before it, is left.

| kind | known by |
| --- | --- |
| container, network | the engine's id |
| volume | the engine's name |
| loop device | its number, the path of its file, and the sequence number of the attachment |
| mount | where it is, of what, and how many lie there |
| route, link | destination, gateway and device; the name |
| state | the path of a file, or of a folder that is not one of the state folder's own |
| unfinished | the path of what a process was making in the cache |
| temporary | the path |
| kubeconfig | file, part and name |
| process | pid and start; see `survivors` |
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from rookery.errors import DeadlineExceeded
from rookery.machine import loop
from rookery.machine.docker import docker_output
from rookery.machine.processes import Process
from rookery.machine.run import output
from rookery.paths import state_dir
from rookery.waiting import NotYet, wait_for

_MOUNTS = Path("/proc/self/mountinfo")
_DEVICES = (Path("/sys/block"), Path("/dev"))
_DEPTH = 3  # of what is listed of a folder; below that lies the inside of what is left as a whole

# Names of what becomes something else when it is complete: folders in the making, drafts of files, scratch folders.
_UNFINISHED = re.compile(r"\..*|tmp.*|.*\.(partial|tmp|new|module)|v?\d+\.\d+\.\d+\.[a-z0-9_]{8}")
_LASTING = (".lock",)  # in the state folder: removing one would let two processes hold the lock of one name

Entries = dict[str, str]  # of one kind: what it is known by, and how it is told


@dataclass(frozen=True)
class Places:
    """The folders and files of which an inventory tells: those that the run has been given."""

    caches: Sequence[Path]
    temporary: Path
    kubeconfigs: Sequence[Path] = ()


@dataclass(frozen=True)
class Inventory:
    """What was there at one moment, by kind."""

    kinds: Mapping[str, Entries]

    @classmethod
    def taken(cls, places: Places) -> Inventory:
        """Raises `InfrastructureError` if the engine does not answer: not to know is not to find nothing."""
        takers: dict[str, Callable[[], Entries]] = {
            "container": lambda: _of_engine("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}"),
            "network": lambda: _of_engine("network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"),
            "volume": lambda: _of_engine("volume", "ls", "--format", "{{.Name}} {{.Name}}"),
            "loop device": _loop_devices,
            "mount": _mounts,
            "route": _routes,
            "link": _links,
            "state": lambda: _state(state_dir()),
            "unfinished": lambda: _unfinished(places.caches),
            "temporary": lambda: _temporary(places.temporary),
            "kubeconfig": lambda: _entries(places.kubeconfigs),
        }
        return cls({kind: take() for kind, take in takers.items()})

    def added_since(self, before: Inventory) -> list[str]:
        """A line for each thing that is here and was not before."""
        return [
            f"{kind} {text}"
            for kind, found in self.kinds.items()
            for known_by, text in found.items()
            if known_by not in before.kinds.get(kind, {})
        ]


def left(before: Inventory, places: Places, *, within: float) -> list[str]:
    """What is there and was not before, after what was only on its way out has had so many seconds to go."""
    now: list[str] = []

    def gone() -> None:
        now[:] = Inventory.taken(places).added_since(before)
        if now:
            raise NotYet(", ".join(now))

    with suppress(DeadlineExceeded):
        wait_for(gone, what="nothing left", within=within, every=1)
    return now


def survivors(session: int) -> list[tuple[Process, str]]:
    """The living processes of a session (setsid(2)), each with its command line: what a killed leader has left."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # ended while it was read
            if int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[3]) != session:
                continue
            process = Process.of(int(stat.parent.name))
            command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if process is not None:
                found.append((process, command))
    return found


def _of_engine(*command: str) -> Entries:
    """What a command of docker lists, a line each: what it is known by, and its name."""
    found = {}
    for line in docker_output(*command).splitlines():
        known_by, _, name = line.partition(" ")
        found[known_by] = name if name == known_by or not name else f"{name} ({known_by[:12]})"
    return found


def _loop_devices() -> Entries:
    """Those attached, and the free ones whose numbers are made on demand: `losetup -f` leaves some of the others."""
    attached = loop.attached()
    found = {f"{n} {file} {loop.sequence(n)}": f"{loop.device(n)} ({file})" for n, file in attached.items()}
    names = (path.name.removeprefix("loop") for folder in _DEVICES for path in folder.glob("loop*"))
    numbers = {int(name) for name in names if name.isdigit()}
    free = sorted(n for n in numbers - attached.keys() if n >= loop.FIRST_NUMBER)
    return found | {f"{n} free": f"{loop.device(n)} (free)" for n in free}


def _mounts() -> Entries:
    """See proc_pid_mountinfo(5); mounts stack, so each is known by how many there are as well."""
    found, seen = {}, Counter[str]()
    for line in _MOUNTS.read_text(encoding="utf-8").splitlines():
        mount, _, filesystem = line.partition(" - ")
        _, _, _, root, place, *_ = mount.split(" ")
        kind, source, *_ = filesystem.split(" ")
        about = f"{place} ({kind} {source} {root})"
        seen[about] += 1
        found[f"{about} {seen[about]}"] = about
    return found


def _routes() -> Entries:
    found = {}
    for family in ("-4", "-6"):
        for route in json.loads(output(["ip", "-j", family, "route", "show"], timeout=10) or "[]"):
            parts = [("", route["dst"]), ("via ", route.get("gateway")), ("dev ", route.get("dev"))]
            about = " ".join(f"{word}{value}" for word, value in parts if value)
            found[f"{family} {about}"] = about
    return found


def _links() -> Entries:
    links = json.loads(output(["ip", "-j", "link", "show"], timeout=10) or "[]")
    return {link["ifname"]: link["ifname"] for link in links}


def _state(folder: Path) -> Entries:
    """Files, and folders within the folders that are the state folder's own, which stay when they are empty."""
    return {
        str(path): str(path)
        for path in _listed(folder)
        if path.suffix not in _LASTING and not (path.parent == folder and path.is_dir() and not path.is_symlink())
    }


def _unfinished(caches: Sequence[Path]) -> Entries:
    return {str(path): str(path) for cache in caches for path in _listed(cache) if _is_unfinished(path, cache)}


def _is_unfinished(path: Path, cache: Path) -> bool:
    """By its name, or by what is missing of it: a snapshot and an archive are none without what is written last.

    What lies within a store or a snapshot is a node's, and may have any name.
    """
    place, *below = path.relative_to(cache).parts
    if len(below) > (2 if place == "snapshots" else 1):
        return False
    if _UNFINISHED.fullmatch(path.name):
        return True
    if place == "snapshots" and len(below) == 2:
        return not (path / "snapshot.json").exists()
    return place == "images" and path.suffix == ".tar" and not path.with_suffix(".json").exists()


def _temporary(folder: Path) -> Entries:
    """Not pytest's own folders, of which it keeps the last three runs' itself."""
    return {str(path): str(path) for path in _listed(folder, depth=1) if not path.name.startswith("pytest-of-")}


def _listed(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """What lies in a folder, so deep; nothing of a folder that is not there, or goes while it is read."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(os.scandir(folder), key=lambda each: each.name):
            yield Path(entry.path)
            if depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from _listed(Path(entry.path), depth - 1)


def _entries(files: Sequence[Path]) -> Entries:
    found = {}
    for file in files:
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # none, or a user's own that is no kubeconfig
            config = yaml.safe_load(file.read_text(encoding="utf-8"))
            for part in ("clusters", "users", "contexts"):
                for each in (config.get(part) if isinstance(config, dict) else None) or []:
                    about = f"{file}: {part} {each.get('name')}"
                    found[about] = about
    return found
