"""`rookery setup --undo`: takes back what set-up has changed, where it is still as set-up left it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from rookery.errors import InfrastructureError, in_words
from rookery.machine import docker, packages, setup, setup_record
from rookery.machine.leases import Lease
from rookery.machine.processes import boot_id
from rookery.machine.run import run
from rookery.machine.setup_record import Change
from rookery.waiting import minutes

log = logging.getLogger(__name__)


def undo(*, dry_run: bool = False) -> None:
    """Everything that is on record, the engine first; each is logged. Images, and the cache, stay.

    With `dry_run` what would be taken back is logged, and nothing is. Raises `InfrastructureError` while clusters of
    the harness, or containers in an engine that would go, are there; and at the end, if something could not be undone.
    """
    setup.require_root()
    changes = setup_record.recorded()
    if not changes and not setup.our_engine():
        log.info("nothing to take back: no change of set-up's is on record")
        return
    _refuse_while_in_use(changes)
    if setup.our_engine():
        if dry_run:
            log.info("would undo: the docker engine that set-up started")
        else:
            setup.stop_engine()
            setup.log_file().unlink(missing_ok=True)
    failures = []
    for kind, (what, take_back) in _UNDO.items():
        of_kind = [each for each in changes[::-1] if each.kind == kind and each.boot in ("", boot_id())]
        names = " ".join(each.name for each in of_kind)
        if not of_kind:
            continue
        if dry_run:
            log.info("would undo: %s %s", what, names)
            continue
        try:
            take_back(of_kind)
        except (InfrastructureError, OSError) as error:
            failures.append(f"{what} {names}: {in_words(error)}")
            continue
        for change in of_kind:
            setup_record.forget(change)
    for change in changes:
        if not dry_run and change.boot not in ("", boot_id()):  # it has gone with its boot
            setup_record.forget(change)
    if failures:
        raise InfrastructureError("\n".join(failures), hint="see each reason, then: rookery setup --undo")
    if not dry_run:
        log.info("undone: what set-up has changed; images in docker and the cache are as they were")


def _refuse_while_in_use(changes: Sequence[Change]) -> None:
    if leases := [lease.name for lease in Lease.all()]:
        raise InfrastructureError(
            f"there are clusters, or what is left of them: {', '.join(leases)}",
            hint="wait for runs to end, then: rookery sweep --all; rookery setup --undo",
        )
    engine_goes = any(change.kind in ("active", "enabled") or change.name == setup.ENGINE_PACKAGE for change in changes)
    if (engine_goes or setup.our_engine()) and (containers := _containers()):
        raise InfrastructureError(
            f"the docker engine that set-up brought runs containers: {', '.join(containers)}",
            hint=f"docker stop {' '.join(containers)}",
        )


def _containers() -> list[str]:
    try:
        return docker.docker_output("ps", "--format", "{{.Names}}").split()
    except InfrastructureError:
        return []  # an engine that does not answer


def _lower_limits(changes: Sequence[Change]) -> None:
    for change in changes:
        path = Path(change.name)
        now = path.read_text(encoding="utf-8").strip()
        if now == change.before:  # it may not be written to in a container
            continue
        if now != change.after:
            log.info("%s: left as it is, as others have changed it since", path)
            continue
        path.write_text(change.before, encoding="utf-8")
        log.info("%s: %s again", path, change.before)


def _unload_modules(changes: Sequence[Change]) -> None:
    for change in changes:
        done = run(["modprobe", "-r", change.name], timeout=30, check=False)
        log.info("kernel module %s: %s", change.name, "unloaded" if done.returncode == 0 else "in use, so it stays")


def _stop_units(changes: Sequence[Change]) -> None:
    for change in changes:  # its socket first, which would start it again
        run(["systemctl", "stop", f"{change.name}.socket"], timeout=minutes(2), check=False)
        run(["systemctl", "stop", change.name], timeout=minutes(2))
        log.info("%s: stopped", change.name)


def _disable_units(changes: Sequence[Change]) -> None:
    for change in changes:
        run(["systemctl", "disable", change.name], timeout=minutes(2))
        log.info("%s: disabled", change.name)


def _remove_packages(changes: Sequence[Change]) -> None:
    there = packages.installed([change.name for change in changes])
    going = packages.removable(sorted(there)) if there else []
    if going:
        log.info("packages: removing %s", " ".join(going))
        packages.remove(going)
    if staying := sorted(there - set(going)):
        log.info("packages: %s stay, as others that were installed since need them", " ".join(staying))


def _remove_files(changes: Sequence[Change]) -> None:
    in_use: Path | None = None
    for change in changes:
        path = Path(change.name)
        if not path.exists():
            continue
        if change.after and path.read_text(encoding="utf-8") != change.after:
            log.info("%s: left as it is, as others have changed it since", path)
            continue
        if path == setup.RUNTIME_PATH and setup.RUNTIME_NAME in (docker.engine_info() or {}).get("Runtimes", {}):
            in_use = path
            continue
        path.unlink()
        with contextlib.suppress(OSError):  # it has others' files in it
            if path.parent == setup.RUNTIME_PATH.parent:
                path.parent.rmdir()
        log.info("%s: removed", path)
    if in_use:
        raise InfrastructureError(
            f"an engine that set-up did not start has {in_use} among its runtimes",
            hint="take it out of /etc/docker/daemon.json, restart docker, then: rookery setup --undo",
        )


# In the order in which they are taken back: nothing may use what goes.
_UNDO: dict[str, tuple[str, Callable[[Sequence[Change]], None]]] = {
    "limit": ("limits raised:", _lower_limits),
    "module": ("kernel modules loaded:", _unload_modules),
    "active": ("units started:", _stop_units),
    "enabled": ("units enabled:", _disable_units),
    "package": ("packages installed:", _remove_packages),
    "file": ("files written:", _remove_files),
}
