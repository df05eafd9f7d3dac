"""`rookery setup`: brings this machine to where `rookery doctor` says ok, as far as a program can.

Every step looks first and does nothing if there is nothing to do. An engine that works is never touched, nothing that
is installed is removed, and no engine is started beside another one. What is changed is written down before it is, for
`rookery setup --undo`.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rookery.errors import DeadlineExceeded, InfrastructureError
from rookery.machine import capacity, docker, host_engine, other_engines, packages, runc_without_caps
from rookery.machine.doctor import INOTIFY_LIMITS, capability_bounding_set
from rookery.machine.kind import VERSION, install_kind, installed, kind_binary
from rookery.machine.processes import Process
from rookery.machine.run import run
from rookery.machine.setup_record import Change, Changes, of_this_boot
from rookery.paths import make_state_dir, state_dir
from rookery.waiting import NotYet, minutes, wait_for_machine

log = logging.getLogger(__name__)

# https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
DAEMON_SETTINGS = Path("/etc/docker/daemon.json")
RUNTIME_NAME = "rookery"
RUNTIME_PATH = Path("/usr/local/lib/rookery/runc-without-caps")

# What a run calls, and the Debian and Ubuntu package it comes in.
_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "losetup": "util-linux",
    "rsync": "rsync",
    "sfdisk": "fdisk",
}
ENGINE_PACKAGE = "docker.io"
_INOTIFY = Path("/proc/sys/fs/inotify")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def setup(build_kind: Callable[[Path], None], *, dry_run: bool = False) -> None:
    """Packages, the docker engine, kernel modules and limits, kind; each thing done or found is logged.

    `build_kind` is called with the path at which to put a kind program if no release of it can be downloaded. With
    `dry_run` each thing that would be done is logged, and none is.
    Raises `InfrastructureError` whose hint is what to type, where this program may or can not do it.
    """
    require_root()
    host_engine.require_fit()
    if docker.engine_info() is None:
        other_engines.refuse_to_start(our_engine())
    changes = Changes(dry_run=dry_run)
    _install_packages(changes)
    _ensure_engine(changes)
    _load_modules(changes)
    _raise_inotify_limits(changes)
    _install_kind(build_kind, changes)
    if dry_run and not changes.any:
        log.info("nothing would be changed")


def stop_engine() -> None:
    """Stop the engine that `setup` started; another one is left alone. Raises `InfrastructureError` if it won't go."""
    engine = our_engine()
    if engine is None:
        log.info("docker engine: none that was started by setup")
        return
    try:
        engine.end(signal.SIGTERM, within=minutes(1))  # it stops every container first, ten seconds each at most
    except DeadlineExceeded as error:
        raise InfrastructureError(error.message, hint=f"kill -9 {engine.pid}") from error
    log.info("docker engine: stopped")


def require_root() -> None:
    capacity.require_linux()
    if os.geteuid() != 0:
        raise InfrastructureError("set-up needs root", hint='sudo "$(command -v rookery)" setup')


def _install_packages(changes: Changes) -> None:
    missing = [package for program, package in _PACKAGES.items() if not _which(program)]
    if docker.engine_info() is None and not _which("dockerd"):
        other_engines.refuse_to_install()
        missing.append(ENGINE_PACKAGE)
    if not missing:
        return
    if not _which("apt-get"):
        _refuse_other_distribution([package for package in missing if package != "mmdebstrap"])
        return
    if not changes.dry_run:
        packages.update()
    try:
        new = packages.new_with(missing)
    except InfrastructureError as error:
        if not changes.dry_run:
            raise
        log.warning("packages: %s\n(set-up itself has the lists of packages brought up to date first)", error.message)
        return
    what = f"packages: installing {' '.join(missing)}"
    if needed := sorted(set(new) - set(missing)):
        what += f", and what they need: {' '.join(needed)}"
    changes.make(what, lambda: packages.install(missing), [Change("package", package) for package in new])


def _refuse_other_distribution(missing: list[str]) -> None:
    """mmdebstrap may be missing: it is for building images, which where it does not exist are pulled."""
    if missing:
        raise InfrastructureError(
            f"this is neither Debian nor Ubuntu, and it lacks what these contain there: {' '.join(missing)}",
            hint="install those (the engine: https://docs.docker.com/engine/install/), then: rookery setup",
        )
    log.warning("packages: no mmdebstrap here, so images can be pulled but not built")


def _ensure_engine(changes: Changes) -> None:
    wrapper_needed = bool(runc_without_caps.lacking_capabilities())
    if wrapper_needed:
        _install_runtime(changes)
    engine = docker.engine_info()
    if engine is None:
        if _has_systemd():
            _start_by_systemd(wrapper_needed, changes)
        elif our_engine() is None:  # or it runs, and is about to answer
            _start_dockerd(wrapper_needed, changes)
        if changes.dry_run:
            return
        engine = _wait_for_engine()
        host_engine.require_fit()
    lacking = runc_without_caps.lacking_capabilities()
    if capability_bounding_set(lacking, engine).state != "ok":
        raise InfrastructureError(
            f"the docker engine cannot start privileged containers, because this machine lacks {', '.join(lacking)}",
            hint=f"put into {DAEMON_SETTINGS} {json.dumps(_daemon_settings())} and restart the engine",
        )
    log.info("docker engine: %s", engine["ServerVersion"])


def _install_runtime(changes: Changes) -> None:
    program = _runtime_program()
    if RUNTIME_PATH.exists() and RUNTIME_PATH.read_text(encoding="utf-8") == program:
        return

    def install() -> None:
        RUNTIME_PATH.parent.mkdir(parents=True, exist_ok=True)
        temporary = RUNTIME_PATH.with_suffix(".new")
        temporary.write_text(program, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.replace(RUNTIME_PATH)  # the engine may be calling the old one right now

    changes.make(f"OCI runtime: installing it as {RUNTIME_PATH}", install, [Change("file", str(RUNTIME_PATH))])


def _runtime_program() -> str:
    """The wrapper, to be run by an interpreter that stays when our virtual environment goes, and starts quickly."""
    system = Path("/usr/bin/python3")
    interpreter = system if system.exists() else Path(sys.base_prefix) / "bin/python3"
    _, _, body = Path(runc_without_caps.__file__).read_text(encoding="utf-8").partition("\n")
    return f"#!{interpreter} -IS\n{body}"


def _daemon_settings() -> dict[str, object]:
    """What the configuration file must say for the wrapper to be used."""
    return {"default-runtime": RUNTIME_NAME, "runtimes": {RUNTIME_NAME: {"path": str(RUNTIME_PATH)}}}


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # sd_booted(3)


def _start_by_systemd(wrapper_needed: bool, changes: Changes) -> None:
    if wrapper_needed and not DAEMON_SETTINGS.exists():
        text = json.dumps(_daemon_settings(), indent=2) + "\n"

        def write() -> None:
            DAEMON_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
            DAEMON_SETTINGS.write_text(text, encoding="utf-8")

        changes.make(
            f"docker engine: writing {DAEMON_SETTINGS}", write, [Change("file", str(DAEMON_SETTINGS), "", text)]
        )
    changes.make(
        "docker engine: systemctl enable --now docker",
        lambda: run(["systemctl", "enable", "--now", "docker"], timeout=minutes(2)),
        [*_unit_as_it_is("is-enabled", Change), *_unit_as_it_is("is-active", of_this_boot)],
    )


def _unit_as_it_is(question: str, change: Callable[[str, str, str], Change]) -> list[Change]:
    """What starting it for good changes of it."""
    before = run(["systemctl", question, "docker"], timeout=30, check=False).stdout.strip()
    kind = question.removeprefix("is-")
    return [] if before == kind else [change(kind, "docker", before)]


def _start_dockerd(wrapper_needed: bool, changes: Changes) -> None:
    """Start the engine as a daemon of its own that outlives us. It writes its pid file itself, so that there is no
    moment at which it runs and nothing says that it is ours."""
    dockerd = _which("dockerd")
    if dockerd is None and not changes.dry_run:
        raise InfrastructureError("no docker engine answers, and there is no dockerd to start", hint="rookery setup")
    argv = [dockerd or "dockerd", *_dockerd_options(wrapper_needed)]

    def start() -> None:
        pid_file().unlink(missing_ok=True)  # of a dead one, or dockerd would refuse if its number is in use again
        make_state_dir()
        with log_file().open("ab") as output:
            # Not by run(): a daemon does not end. Its session is its own, so that Ctrl-C in ours does not reach it.
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PATH": _search_path()},
            )

    changes.make(f"docker engine: starting {shlex.join(argv)}, log in {log_file()}", start)


def _dockerd_options(wrapper_needed: bool) -> list[str]:
    """dockerd refuses to start with an option that its configuration file has as well; the file's owner wins."""
    configured = json.loads(DAEMON_SETTINGS.read_text(encoding="utf-8")) if DAEMON_SETTINGS.exists() else {}
    options = {"pidfile": pid_file(), "storage-driver": "overlay2"}
    if wrapper_needed:
        options |= {"add-runtime": f"{RUNTIME_NAME}={RUNTIME_PATH}", "default-runtime": RUNTIME_NAME}
    file_has = {"add-runtime": "runtimes"}  # where the file has another name for it
    return [f"--{name}={value}" for name, value in options.items() if file_has.get(name, name) not in configured]


def _wait_for_engine() -> dict[str, object]:
    def answers() -> dict[str, object]:
        info = docker.engine_info()
        if info is None:
            raise NotYet("no answer")
        return info

    try:
        return wait_for_machine(answers, what="the docker engine to answer", within=minutes(1))
    except DeadlineExceeded as error:
        own = log_file()
        tail = own.read_text(encoding="utf-8", errors="replace")[-2000:] if own.exists() else ""
        hint = f"see {own}" if own.exists() else "journalctl -u docker"
        raise InfrastructureError(f"{error.message}\n{tail}".rstrip(), hint=hint) from error


def our_engine() -> Process | None:
    """The dockerd that we started, if it runs: its pid file is ours, and its command line names that file."""
    try:
        engine = Process.of(int(pid_file().read_text(encoding="utf-8")))
        if engine is None:
            return None
        argv = Path(f"/proc/{engine.pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return engine if f"--pidfile={pid_file()}".encode() in argv else None


def pid_file() -> Path:
    return state_dir() / "dockerd.pid"


def log_file() -> Path:
    return state_dir() / "dockerd.log"


def _load_modules(changes: Changes) -> None:
    for module, node in {"loop": "/dev/loop-control", "fuse": "/dev/fuse"}.items():
        if Path(node).exists() or not (modprobe := _which("modprobe")):
            continue

        def load(argv: Sequence[str] = (modprobe, module)) -> None:
            if message := run(argv, timeout=30, check=False).stderr.strip():
                log.warning("%s", message)

        changes.make(f"kernel module {module}: loading it", load, [of_this_boot("module", module)])


def _raise_inotify_limits(changes: Changes) -> None:
    for name, wanted in INOTIFY_LIMITS.items():
        path = _INOTIFY / name
        before = path.read_text(encoding="utf-8").strip()
        if int(before) >= wanted:
            continue

        def write(path: Path = path, wanted: int = wanted) -> None:
            try:
                path.write_text(str(wanted), encoding="utf-8")
            except OSError as error:  # read-only in a container: the limit is that of the machine around it
                sysctl = f"sysctl -w fs.inotify.{path.name}={wanted}"
                log.warning("fs.inotify.%s: %s; outside of this container: %s", path.name, error.strerror, sysctl)

        what = f"fs.inotify.{name}: raising it from {before} to {wanted}"
        changes.make(what, write, [of_this_boot("limit", str(path), before, str(wanted))])


def _install_kind(build_kind: Callable[[Path], None], changes: Changes) -> None:
    try:
        kind_binary()
    except InfrastructureError:
        changes.make(
            f"kind: installing {VERSION} as {installed()}",
            lambda: install_kind(build_kind),
            [Change("file", str(installed()))],
        )


def _which(program: str) -> str | None:
    return shutil.which(program, path=_search_path())


def _search_path() -> str:
    """PATH with the folders of system programs, which a user's PATH may lack."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), _SYSTEM_PATH]))
