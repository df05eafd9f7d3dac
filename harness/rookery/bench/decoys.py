"""Decoys: what looks like the harness's own and is somebody else's. A run, a kill and a sweep must leave each as it is.

A decoy tells its state as text by what it is about; two states that are equal are the same byte for byte, with owner
and mode. All that there is of decoys bears the id of its set, so that its removal takes nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rookery.errors import InfrastructureError
from rookery.machine import loop
from rookery.machine.docker import docker, docker_output
from rookery.machine.kind_nodes import KIND_CLUSTER_LABEL
from rookery.machine.leases import LEASE_LABEL
from rookery.machine.run import CommandFailed

LABEL = "io.rookery.decoy"
ROLE_LABEL = "io.x-k8s.kind.role"
NOBODY = 65534
_EMPTY_TAR = "\0" * 10240  # tar's end, and nothing before it
_LOOP_NUMBERS = 40  # so far above the first of the harness: a saved cluster needs the very numbers that it had
_CONTENT_BYTES = 1024**2

State = dict[str, str]


class Decoy(Protocol):
    """Something of somebody else's."""

    def make(self) -> None:
        """Make it, or make it anew."""

    def state(self) -> State:
        """What it is now, by what that is about; empty where it is gone."""

    def remove(self) -> None:
        """Remove it, whether it is complete or not."""


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each part that is not what it was."""
    lines = []
    for about in sorted(before.keys() | now.keys()):
        if about not in now:
            lines.append(f"{about}: gone")
        elif about not in before:
            lines.append(f"{about}: new ({now[about]})")
        elif before[about] != now[about]:
            lines.append(f"{about}: {before[about]} before, {now[about]} now")
    return lines


def state_of(path: Path, *, times: bool = True) -> State:
    """Of a file or folder with all that is in it: kind and mode, owner, time, and content or what a link leads to."""
    found: State = {}
    with suppress(FileNotFoundError):
        status = path.lstat()
        about = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}" + (f" {status.st_mtime_ns}" if times else "")
        if path.is_symlink():
            found[str(path)] = f"{about} {os.readlink(path)}"
        elif path.is_dir():
            found[str(path)] = about
            for entry in path.iterdir():
                found |= state_of(entry, times=times)
        else:
            found[str(path)] = f"{about} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


@dataclass(frozen=True)
class Folder:
    """A folder with these files, of an odd owner and mode; nothing else may be where it is made."""

    path: Path
    files: Mapping[str, str]
    mode: int = 0o640  # of its files

    def make(self) -> None:
        self.remove()
        self.path.mkdir(parents=True)
        for name, content in self.files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
            _own_oddly(file, self.mode)
        (self.path / "link").symlink_to(next(iter(self.files)))
        _own_oddly(self.path, 0o751)

    def state(self) -> State:
        return state_of(self.path)

    def remove(self) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)


@dataclass
class LoopDevice:
    """A loop device over a file with content, called like the disk of a node."""

    file: Path
    number: int = -1

    def make(self) -> None:
        self.remove()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(random.Random(str(self.file)).randbytes(_CONTENT_BYTES))
        _own_oddly(self.file, 0o644)
        taken = loop.attached()
        first = max([loop.FIRST_NUMBER + _LOOP_NUMBERS, *taken])
        for number in range(first, first + _LOOP_NUMBERS):
            if number not in taken and loop.attach(number, self.file):
                self.number = number
                return
        raise InfrastructureError(f"no loop device from {first} on is free", hint="losetup -a")

    def state(self) -> State:
        attached = loop.attached().get(self.number)
        found = state_of(self.file)
        if attached is not None:
            content = hashlib.sha256(loop.device(self.number).read_bytes()).hexdigest()
            found[str(loop.device(self.number))] = f"{attached} {loop.sequence(self.number)} {content}"
        return found

    def remove(self) -> None:
        for number, file in loop.attached().items():
            if file.removesuffix(" (deleted)") == str(self.file.resolve()):
                loop.detach(number)
        if self.number >= 0:
            loop.remove(self.number)
        self.file.unlink(missing_ok=True)


@dataclass
class Container:
    """A container that was made and never started; `labels` beside the one of its set.

    Where another container has its name, it is called `name` with `otherwise` behind it.
    """

    name: str
    image: str
    set_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""
    id: str = ""

    def make(self) -> None:
        self.remove()
        # With a volume of its own, which `docker rm -v` would take along.
        labels = [f"--label={key}={value}" for key, value in {**self.labels, LABEL: self.set_id}.items()]
        options = ["--network=none", "-v=/data", *labels, self.image, "true"]
        try:
            created = docker("create", "--name", self.name, *options)
        except CommandFailed:
            if not self.otherwise:
                raise
            created = docker("create", "--name", f"{self.name}{self.otherwise}", *options)
        self.id = created.stdout.strip()

    def state(self) -> State:
        if self.id not in docker_output("ps", "-aq", "--no-trunc").split():
            return {}
        (about,) = json.loads(docker_output("container", "inspect", self.id))
        prefix = f"container {about['Name'].removeprefix('/')}"
        found = {f"{prefix} {key}": json.dumps(value, sort_keys=True) for key, value in about.items()}
        volumes = docker_output("volume", "ls", "-q").split()
        for volume in [mount["Name"] for mount in about["Mounts"] if mount["Type"] == "volume"]:
            found[f"{prefix} volume"] = volume if volume in volumes else "gone"
        return found

    def remove(self) -> None:
        if self.id:
            docker("rm", "-f", "-v", self.id, check=False)
            self.id = ""


@dataclass
class Kubeconfig:
    """A user's kubeconfig, alone in its folder: what a lock or a draft leaves beside it is seen as well. A run that has
    it as `--kubeconfig` writes to it, so its times are not compared.

    With `entry_of` it has an entry as `kind create cluster` makes it for a cluster of that name, with another server.
    """

    path: Path
    entry_of: str = ""

    def make(self) -> None:
        self._folder.make()

    def state(self) -> State:
        return state_of(self.path.parent, times=False)

    def remove(self) -> None:
        self._folder.remove()

    @property
    def _folder(self) -> Folder:
        return Folder(self.path.parent, {self.path.name: kubeconfig_text(self.entry_of)})


def kubeconfig_text(entry_of: str = "") -> str:
    """What reading YAML and writing it again would not keep: comments, quotes, order, empty lines, the last line.

    No context is the current one, as that is what is left of it when a cluster goes, with kind as well.
    """
    own = f"kind-{entry_of}"
    cluster = f'- name: {own}\n  cluster: {{server: "https://127.0.0.1:1"}}\n' if entry_of else ""
    user = f"- name: {own}\n  user: {{}}\n" if entry_of else ""
    context = f"- context: {{cluster: {own}, user: {own}}}\n  name: {own}\n" if entry_of else ""
    return f"""\
# Kept by hand; ask the platform team before you change it.
kind: Config
apiVersion: v1

preferences:   {{}}
clusters:
{cluster}- name: production   # do not touch
  cluster:
    server: https://production.example:6443
    extensions:
    - name: notes
      extension: {{since: 2024-01-01, mode: 0644, yes: "no", number: '0123'}}
- {{name: kind-of-old, cluster: {{server: "https://127.0.0.1:2"}}}}
users:
{user}- name: "production"
  user:
    token: >-
      not a
      real one
contexts:
{context}- context: {{cluster: production, user: production, namespace: "null"}}
  name: production

current-context: {own if entry_of else '""'}
# the end, without a newline"""


class Decoys:
    """A set of decoys and what each was when it was made; use as a context manager, which removes all of it."""

    def __init__(self, set_id: str) -> None:
        self.set_id = set_id
        self.image = f"rookery-decoy:{set_id}"
        self._there: list[tuple[Decoy, State]] = []
        self._ends = ExitStack()

    def __enter__(self) -> Decoys:
        # Removed last, with whatever an interrupt has left between making a container and knowing it.
        self._ends.callback(_remove_all, self.set_id, self.image)
        try:
            label = f"LABEL {LABEL}={self.set_id}"
            docker("import", "--change", label, "-", self.image, stdin=_EMPTY_TAR)
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()  # which goes on when one cannot be removed, and raises then

    def add(self, decoys: Iterable[Decoy]) -> None:
        """Make these as well."""
        for decoy in decoys:
            self._ends.callback(decoy.remove)  # first: an interrupt may leave it half made
            decoy.make()
            self._there.append((decoy, decoy.state()))

    def changed(self) -> list[str]:
        """A line for each part of each that is not what it was, and one for each that is gone."""
        lines: list[str] = []
        for decoy, before in self._there:
            now = decoy.state()
            lines += differences(before, now) if now else [f"{next(iter(before))}: gone, all of it"] if before else []
        return lines

    def renew(self) -> None:
        """Make those anew that have changed."""
        for decoy, before in list(self._there):
            if decoy.state() != before:
                self.replace(decoy)

    def remove(self, decoys: Iterable[Decoy]) -> None:
        """Remove these before the others."""
        for decoy in decoys:
            self._there = [(each, state) for each, state in self._there if each is not decoy]
            decoy.remove()

    def replace(self, decoy: Decoy) -> None:
        """Make one of them anew, as it is meant to be by now."""
        decoy.make()
        self._there = [(each, each.state() if each is decoy else state) for each, state in self._there]


def like_a_run(cluster: str, set_id: str, *, own: Path, state: Path, image: str) -> list[Decoy]:
    """What may lie beside a run of that cluster from its begin: folders beside its own in the state folder, a loop
    device over a file called like a disk (in `own`, the user's own folder), containers with names that resemble its
    own, one of which has a lease's label."""
    worker = f"{cluster}-worker"
    files = {"notes.txt": "mine\n", f"nodes/{worker}/var/data": "also mine\n", f"{worker}.img": "\0" * 99}
    return [
        Folder(state / "clusters" / f"{cluster}-{set_id}", files),
        Folder(state / f"{cluster}-{set_id}", files, mode=0o600),
        LoopDevice(own / "disks" / f"{worker}.img"),
        Container(f"{worker}-{set_id}", image, set_id),
        Container(f"{cluster}-browser-{set_id}", image, set_id, {LEASE_LABEL: set_id}),  # of another state folder's run
        # Of a cluster whose name begins with ours.
        Container(f"{cluster}-{set_id}-worker", image, set_id, _of_kind(f"{cluster}-{set_id}", "worker")),
    ]


def cluster_of_same_name(cluster: str, set_id: str, *, image: str) -> list[Decoy]:
    """Nodes as kind would have made them; with other names where those are taken."""
    roles = ("control-plane", "worker")
    return [
        Container(f"{cluster}-{role}", image, set_id, _of_kind(cluster, role), otherwise=f"-of-others-{set_id}")
        for role in roles
    ]


def _of_kind(cluster: str, role: str) -> dict[str, str]:
    return {KIND_CLUSTER_LABEL: cluster, ROLE_LABEL: role}


def _own_oddly(path: Path, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def _remove_all(set_id: str, image: str) -> None:
    find = ("ps", "-aq", "--filter", f"label={LABEL}={set_id}")
    if containers := docker_output(*find).split():
        docker("rm", "-f", "-v", *containers, check=False)
    docker("image", "rm", image, check=False)
    if left := docker_output(*find).split():
        raise InfrastructureError("decoys cannot be removed", hint=f"docker rm -f -v {' '.join(left)}")
