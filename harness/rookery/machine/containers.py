"""Killing containers so that they are dead, whatever filesystems they served to themselves."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from rookery.errors import DeadlineExceeded
from rookery.machine.docker import docker, docker_output
from rookery.machine.locks import machine_lock
from rookery.machine.run import CommandFailed, run
from rookery.waiting import NotYet, wait_for_machine

KILL_SECONDS = 40
STUCK_SECONDS = 3  # nodes were dead within 1.5 s wherever nothing was stuck
_VAR = PurePosixPath("/var")
_FUSE_CONTROL = Path("/sys/fs/fuse/connections")


def kill(names: Sequence[str]) -> None:
    """SIGKILL to every process of these containers at once; returns when all are dead.

    If a FUSE server is the last process to leave a mount namespace in which the filesystem on its own file is mounted,
    the kernel unmounts that in the server's name, writes back what is cached, and waits for the server: for ever (seen
    with Linux 6.18, once in some 30 kills). Then the containers' FUSE connections are aborted, which is what the end of
    a server does anyway.

    Raises `CommandFailed` if the engine refuses, `DeadlineExceeded` if one lives on.
    """
    connections = _fuse_connections(names)
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(docker, "kill", *names, timeout=KILL_SECONDS)
        try:
            wait_for_machine(lambda: _all_dead(names, killing), what="the kill", within=STUCK_SECONDS, every=0.05)
        except DeadlineExceeded:
            abort(connections)
            with suppress(CommandFailed):  # the engine has given up on what was stuck until now
                killing.result()
    wait_for_machine(lambda: _all_dead(names), what="every container to be dead", within=KILL_SECONDS, every=0.05)


def abort(connections: Collection[int]) -> None:
    """Abort FUSE connections by their numbers: every request that waits for their servers fails.

    https://docs.kernel.org/filesystems/fuse.html#control-filesystem
    """
    if not (connections and _FUSE_CONTROL.is_dir()):
        return
    with machine_lock("fusectl"):  # nobody unmounts it under another
        mounted = _FUSE_CONTROL.is_mount()  # by every distribution's init, but not in a container
        if not mounted:
            run(["mount", "-t", "fusectl", "fusectl", str(_FUSE_CONTROL)], timeout=10)
        try:
            for connection in connections:
                with suppress(OSError):  # gone by now
                    (_FUSE_CONTROL / str(connection) / "abort").write_text("1", encoding="utf-8")
        finally:
            if not mounted:
                run(["umount", str(_FUSE_CONTROL)], timeout=10, check=False)


def _fuse_connections(names: Sequence[str]) -> set[int]:
    """The connections of all FUSE filesystems that were mounted in these containers and did not come from the machine.

    Of the mounts, not of the files: a server that does not answer would not let a file be asked. What came from the
    machine is told by where the engine has put it: where the harness runs in a container itself, it does not see all of
    the machine's mounts.
    """
    found: set[int] = set()
    for line in docker_output("inspect", "-f", "{{.State.Pid}} {{json .Mounts}}", *names).splitlines():
        pid, _, mounts = line.partition(" ")
        given = [PurePosixPath(mount["Destination"]) for mount in json.loads(mounts) or []]
        with suppress(OSError):  # dead by itself
            found |= _mounted_connections(pid, given)
    return found - _mounted_connections("self")


def _mounted_connections(pid: str, given: Sequence[PurePosixPath] = ()) -> set[int]:
    """A connection's number is the minor one of its filesystem's device; see proc_pid_mountinfo(5). Not of what is
    mounted where something was `given`, or below it: but for a node's own /var, on which the node mounts its volumes.
    """
    mounts = (line.partition(" - ") for line in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines())
    own = [mount.split() for mount, _, filesystem in mounts if filesystem.startswith(("fuse ", "fuse."))]
    return {int(fields[2].partition(":")[2]) for fields in own if not _came_with(PurePosixPath(fields[4]), given)}


def _came_with(place: PurePosixPath, given: Sequence[PurePosixPath]) -> bool:
    return any(place == each or (each in place.parents and each != _VAR) for each in given)


def _all_dead(names: Sequence[str], killing: Future[Any] | None = None) -> None:
    states = docker_output("inspect", "-f", "{{.Name}} {{.State.Running}}", *names).splitlines()
    alive = [state.split()[0].lstrip("/") for state in states if state.endswith(" true")]
    if alive and killing is not None and killing.done():
        killing.result()  # which raises, if the engine refused
    if alive:
        raise NotYet(f"{', '.join(alive)} still running")
