"""Freezing containers: every process of all of them stops at one instant, and goes on later where it was.

The cgroup freezer is written to directly. `docker pause` waits until every task is known to be frozen, and gives up and
thaws where one waits for a FUSE server in the kernel: the server, frozen, never answers. Such a task runs nothing all
the same, so here the proof is another one: what the containers' processors did meanwhile.

https://docs.kernel.org/admin-guide/cgroup-v1/freezer-subsystem.html
https://docs.kernel.org/admin-guide/cgroup-v2.html (cgroup.freeze)
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rookery.errors import InfrastructureError
from rookery.machine.docker import docker_output
from rookery.waiting import NotYet, wait_for_machine

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
STOPPED_SECONDS = 2.0  # in which every processor of the containers is to be seen idle; 0.1 s in fact
LOOK_EVERY = 0.05
_MAY_NOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)  # to a control group
IDLE_NS = 1_000_000  # between two looks, and all the time that it lasts: the kernel's own accounting is not to the ns


@dataclass(frozen=True)
class _Control:
    """How one container is frozen: the file to write to, the two words, and where its processor time is told."""

    name: str
    file: Path
    freeze: str
    thaw: str
    usage: Path

    def write(self, word: str) -> None:
        self.file.write_text(word, encoding="utf-8")

    def processor_ns(self) -> int:
        """Nanoseconds of processor time since the container was made."""
        text = self.usage.read_text(encoding="utf-8")
        if text.startswith("usage_usec"):
            return int(text.split()[1]) * 1000
        return int(text)


@dataclass
class Freeze:
    """When it was; nanoseconds of `time.monotonic_ns()`."""

    started_ns: int  # right before the first container was told to stop
    stopped_ns: int  # when all were seen to stand still
    thawed_ns: int = 0  # when they were let go

    @property
    def seconds(self) -> float:
        """From the first signal until they were let go."""
        return (self.thawed_ns - self.started_ns) / 1e9


@contextmanager
def frozen(names: Sequence[str]) -> Iterator[Freeze]:
    """While it lasts, no process of these containers runs; they stop together, and are let go together.

    What they had handed to the kernel before (a write to a disk) the kernel may still finish.

    Raises `InfrastructureError` if a container is off or ends, this machine has no freezer or none that may be used, or
    a processor of theirs was seen at work meanwhile: then what was copied is no single instant.
    """
    controls = [_control_of(*found) for found in _running(names)]
    started_ns = time.monotonic_ns()
    try:
        with _groups_reached():
            for control in controls:
                control.write(control.freeze)
            before = _stopped(controls)
        freeze = Freeze(started_ns, time.monotonic_ns())
        yield freeze
        with _groups_reached():
            after = [control.processor_ns() for control in controls]
    finally:
        _thaw_all(controls)
    freeze.thawed_ns = time.monotonic_ns()
    worked = [
        f"{control.name} for {(end - begin) / 1e6:.1f} ms"
        for control, begin, end in zip(controls, before, after, strict=True)
        if end - begin > IDLE_NS
    ]
    if worked:
        raise InfrastructureError(
            f"frozen containers were at work: {', '.join(worked)}",
            hint="run it again; if it stays so, --no-snapshots, and tell which kernel it is: uname -r",
        )


def missing() -> str | None:
    """Why nothing can be frozen here; None where it can."""
    v1, v2 = CGROUPS / "freezer", CGROUPS / "cgroup.controllers"
    root = v1 if v1.is_dir() else CGROUPS if v2.is_file() else None
    if root is None:
        return f"no control groups under {CGROUPS}"
    return None if os.access(root, os.W_OK) else f"{root} cannot be written to"


def freeze(names: Sequence[str], *, inside: str = "") -> None:
    """Stop every process of these containers, until `thaw`; of one container that runs `inside` them, by its id.

    Raises `InfrastructureError` as `frozen` does.
    """
    controls = _controls(names, inside)
    with _groups_reached():
        for control in controls:
            control.write(control.freeze)


class FreezeProof:
    """What `freeze` stopped does nothing any more, as two looks tell, of which the earlier is kept."""

    def __init__(self, names: Sequence[str], *, inside: str = "") -> None:
        self._controls = _controls(names, inside)
        self._idle = _Idle(self._controls)

    def seen(self) -> str:
        """How it was seen; raises `NotYet` at the first look, and as long as it works or is not frozen."""
        with _groups_reached():
            states = [control.file.read_text(encoding="utf-8").strip() for control in self._controls]
            self._idle()
        for control, state in zip(self._controls, states, strict=True):
            if state == control.thaw:
                raise NotYet(f"{control.name} is {state}")
        names = ", ".join(control.name for control in self._controls)
        return f"{names}: frozen, no processor time in {self._idle.seconds:.2g} s"


class _Idle:
    """Condition: these containers have used no processor time since it was asked last; what they have used in all."""

    def __init__(self, controls: Sequence[_Control]) -> None:
        self._controls = controls
        self._used: list[int] = []  # ns
        self._looked_ns = 0
        self.seconds = 0.0  # between the last two looks

    def __call__(self) -> list[int]:
        before, self._used = self._used, [control.processor_ns() for control in self._controls]
        looked_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
        if not before:
            raise NotYet("looked at once")
        self.seconds = (self._looked_ns - looked_ns) / 1e9
        used = zip(self._controls, before, self._used, strict=True)
        if at_work := [control.name for control, begin, end in used if end - begin > IDLE_NS]:
            raise NotYet(f"{', '.join(at_work)} still at work")
        return self._used


def _controls(names: Sequence[str], inside: str) -> list[_Control]:
    controls = [_control_of(*found) for found in _running(names)]
    return [_inside(control, inside) for control in controls] if inside else controls


def _inside(control: _Control, container_id: str) -> _Control:
    """That of a container which runs in the container."""
    own = control.file.parent
    found = next((path for path in own.rglob(f"*{container_id}*") if path.is_dir()), None)
    if found is None:
        raise InfrastructureError(
            f"{control.name} runs no container {container_id[:12]}",
            hint=f"docker exec {control.name} crictl ps: has it ended meanwhile?",
        )
    return replace(
        control,
        name=f"{container_id[:12]} on {control.name}",
        file=found / control.file.name,
        usage=control.usage.parent / found.relative_to(own) / control.usage.name,
    )


def thaw(names: Sequence[str]) -> None:
    """Let containers go that somebody, or a killed run, has left frozen, and what was frozen inside them by itself:
    until then not even SIGKILL ends them. Idempotent."""
    controls = []
    for found in _running(names, required=False):
        with suppress(InfrastructureError):  # it ended just now, or there is no freezer: nothing is frozen
            controls.append(_control_of(*found))
    _thaw_all(controls)
    _thaw_all([each for control in controls for each in _frozen_inside(control)])


def _frozen_inside(control: _Control) -> list[_Control]:
    found = []
    for file in control.file.parent.rglob(control.file.name):
        with suppress(OSError):  # a container that ended meanwhile
            if file != control.file and file.read_text(encoding="utf-8").strip() != control.thaw:
                found.append(replace(control, name=str(file.parent), file=file))
    return found


@contextmanager
def _groups_reached() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"containers cannot be frozen: {error}",
            hint="run where docker's control groups under /sys/fs/cgroup can be written to; do all nodes still run?",
        ) from error


def _thaw_all(controls: Sequence[_Control]) -> None:
    """All of them, whatever becomes of one."""
    failed = []
    for control in controls:
        try:
            control.write(control.thaw)
        except FileNotFoundError:  # it is dead
            continue
        except OSError as error:
            if error.errno in _MAY_NOT_WRITE:  # so nobody here has frozen it
                continue
            failed.append(f"{control.name}: {error}")
    if failed:
        raise InfrastructureError(f"cannot be thawed: {'; '.join(failed)}", hint="docker restart NAME; rookery sweep")


def _stopped(controls: Sequence[_Control]) -> list[int]:
    """What their processors have done by the time when all of them stand still."""
    what = "frozen containers to stand still"
    return wait_for_machine(_Idle(controls), what=what, within=STOPPED_SECONDS, every=LOOK_EVERY)


def _running(names: Sequence[str], *, required: bool = True) -> list[tuple[str, str, int]]:
    """Name, id and first process of each container that runs."""
    found = []
    for container in json.loads(docker_output("inspect", *names, timeout=60)):
        name, state = container["Name"].removeprefix("/"), container["State"]
        if state["Running"]:
            found.append((name, container["Id"], state["Pid"]))
        elif required:
            raise InfrastructureError(
                f"{name} is off: there is nothing to freeze",
                hint=f"docker logs {name}; did anything else on this machine stop it?",
            )
    return found


def _control_of(name: str, container_id: str, pid: int) -> _Control:
    try:
        lines = [line.split(":", 2) for line in (PROC / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise InfrastructureError(
            f"{name} has ended: {error}", hint=f"docker logs {name}; did anything else on this machine stop it?"
        ) from error
    paths = {controller: path for _, controllers, path in lines for controller in controllers.split(",")}
    try:
        if "freezer" in paths:
            return _Control(
                name,
                _folder(CGROUPS / "freezer", paths["freezer"], container_id) / "freezer.state",
                "FROZEN",
                "THAWED",
                _folder(CGROUPS / "cpuacct", paths["cpuacct"], container_id) / "cpuacct.usage",
            )
        folder = _folder(CGROUPS, paths[""], container_id)
        return _Control(name, folder / "cgroup.freeze", "1", "0", folder / "cpu.stat")
    except (KeyError, ValueError) as error:
        raise InfrastructureError(
            f"{name} cannot be frozen: its control group is not to be seen from here ({error})",
            hint="run where docker's own control groups are under /sys/fs/cgroup",
        ) from error


def _folder(root: Path, path: str, container_id: str) -> Path:
    """The group of the whole container: its first process may be in one of the groups that its systemd has made."""
    parts = path.strip("/").split("/")
    own = next(index for index, part in enumerate(parts) if container_id in part) if container_id in path else -1
    if own < 0:
        raise ValueError(path)
    folder = root.joinpath(*parts[: own + 1])
    if not folder.is_dir():
        raise ValueError(str(folder))
    return folder
