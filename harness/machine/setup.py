"""`rookery setup`: brings this machine to where `rookery doctor` says ok, as far as a program can.

Every step looks first and does nothing if there is nothing to do. An engine that works is never touched.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.errors import DeadlineExceeded, InfrastructureError
from harness.machine import docker, runc_without_caps
from harness.machine.doctor import INOTIFY_LIMITS, capability_bounding_set
from harness.machine.kind import install_kind, kind_binary
from harness.machine.processes import Process
from harness.machine.run import run
from harness.paths import state_dir
from harness.waiting import NotYet, minutes, wait_for_machine

__all__ = ["install_kind", "kind_binary", "setup", "stop_engine"]

Say = Callable[[str], None]

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
}
_ENGINE_PACKAGE = "docker.io"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def setup(build_kind: Callable[[Path], None], say: Say) -> None:
    """Packages, the docker engine, kernel modules and limits, kind; `say` gets a line for each thing done or found.

    `build_kind` is called with the path at which to put a kind program if no release of it can be downloaded.
    Raises `InfrastructureError` whose cure is what to type, where this program may or can not do it.
    """
    _require_root()
    _install_packages(say)
    _ensure_engine(say)
    _load_modules(say)
    _raise_inotify_limits(say)
    install_kind(build_kind, say)


def stop_engine(say: Say) -> None:
    """Stop the engine that `setup` started; another one is left alone. Raises `InfrastructureError` if it won't go."""
    engine = _our_engine()
    if engine is None:
        say("docker engine: none that was started by setup")
        return
    try:
        engine.end(signal.SIGTERM, within=minutes(1))  # it stops every container first, ten seconds each at most
    except DeadlineExceeded as error:
        raise InfrastructureError(str(error), cure=f"kill -9 {engine.pid}") from error
    say("docker engine: stopped")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise InfrastructureError("set-up needs root", cure='sudo "$(command -v rookery)" setup')


def _install_packages(say: Say) -> None:
    missing = [package for program, package in _PACKAGES.items() if not _which(program)]
    if docker.engine_info() is None and not _which("dockerd"):
        missing.append(_ENGINE_PACKAGE)
    if not missing:
        return
    if not _which("apt-get"):
        _refuse_other_distribution([package for package in missing if package != "mmdebstrap"], say)
        return
    say(f"packages: installing {' '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], timeout=minutes(5), env=quiet)
    run(["apt-get", "install", "-qy", "--no-install-recommends", *missing], timeout=minutes(15), env=quiet)


def _refuse_other_distribution(missing: list[str], say: Say) -> None:
    """mmdebstrap may be missing: it is for building images, which where it does not exist are pulled."""
    if missing:
        raise InfrastructureError(
            f"this is neither Debian nor Ubuntu, and it lacks what these contain there: {' '.join(missing)}",
            cure="install those (the engine: https://docs.docker.com/engine/install/), then: rookery setup",
        )
    say("packages: no mmdebstrap here, so images can be pulled but not built")


def _ensure_engine(say: Say) -> None:
    wrapper_needed = bool(runc_without_caps.lacking_capabilities())
    if wrapper_needed:
        _install_runtime(say)
    engine = docker.engine_info()
    if engine is None:
        if _has_systemd():
            _start_by_systemd(wrapper_needed)
        else:
            _start_dockerd(wrapper_needed, say)
        engine = _wait_for_engine()
    lacking = runc_without_caps.lacking_capabilities()
    if capability_bounding_set(lacking, engine).state != "ok":
        raise InfrastructureError(
            f"the docker engine cannot start privileged containers, because this machine lacks {', '.join(lacking)}",
            cure=f"put into {DAEMON_SETTINGS} {json.dumps(_daemon_settings())} and restart the engine",
        )
    say(f"docker engine: {engine['ServerVersion']}")


def _install_runtime(say: Say) -> None:
    program = _runtime_program()
    if RUNTIME_PATH.exists() and RUNTIME_PATH.read_text() == program:
        return
    RUNTIME_PATH.parent.mkdir(parents=True, exist_ok=True)
    temporary = RUNTIME_PATH.with_suffix(".new")
    temporary.write_text(program)
    temporary.chmod(0o755)
    temporary.replace(RUNTIME_PATH)  # the engine may be calling the old one right now
    say(f"OCI runtime: installed as {RUNTIME_PATH}")


def _runtime_program() -> str:
    """The wrapper, to be run by an interpreter that stays when our virtual environment goes, and starts quickly."""
    system = Path("/usr/bin/python3")
    interpreter = system if system.exists() else Path(sys.base_prefix) / "bin/python3"
    _, _, body = Path(runc_without_caps.__file__).read_text().partition("\n")
    return f"#!{interpreter} -IS\n{body}"


def _daemon_settings() -> dict[str, object]:
    """What the configuration file must say for the wrapper to be used."""
    return {"default-runtime": RUNTIME_NAME, "runtimes": {RUNTIME_NAME: {"path": str(RUNTIME_PATH)}}}


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # sd_booted(3)


def _start_by_systemd(wrapper_needed: bool) -> None:
    if wrapper_needed and not DAEMON_SETTINGS.exists():
        DAEMON_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        DAEMON_SETTINGS.write_text(json.dumps(_daemon_settings(), indent=2) + "\n")
    run(["systemctl", "enable", "--now", "docker"], timeout=minutes(2))


def _start_dockerd(wrapper_needed: bool, say: Say) -> None:
    """Start the engine as a daemon of its own that outlives us. It writes its pid file itself, so that there is no
    moment at which it runs and nothing says that it is ours."""
    dockerd = _which("dockerd")
    if dockerd is None:
        raise InfrastructureError("no docker engine answers, and there is no dockerd to start", cure="rookery setup")
    if _our_engine() is None:
        _pid_file().unlink(missing_ok=True)  # of a dead one, or dockerd would refuse if its number is in use again
    state_dir().mkdir(parents=True, exist_ok=True)
    argv = [dockerd, *_dockerd_options(wrapper_needed)]
    say(f"docker engine: starting {shlex.join(argv)}, log in {_log_file()}")
    with _log_file().open("ab") as log:
        # Not by run(): a daemon does not end. Its session is its own, so that Ctrl-C in ours does not reach it.
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PATH": _search_path()},
        )


def _dockerd_options(wrapper_needed: bool) -> list[str]:
    """dockerd refuses to start with an option that its configuration file has as well; the file's owner wins."""
    configured = json.loads(DAEMON_SETTINGS.read_text()) if DAEMON_SETTINGS.exists() else {}
    options = {"pidfile": _pid_file(), "storage-driver": "overlay2"}
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
        log = _log_file()
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        cure = f"see {log}" if log.exists() else "journalctl -u docker"
        raise InfrastructureError(f"{error}\n{tail}".rstrip(), cure=cure) from error


def _our_engine() -> Process | None:
    """The dockerd that we started, if it runs: its pid file is ours, and its command line names that file."""
    try:
        engine = Process.of(int(_pid_file().read_text()))
        if engine is None:
            return None
        argv = Path(f"/proc/{engine.pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return engine if f"--pidfile={_pid_file()}".encode() in argv else None


def _pid_file() -> Path:
    return state_dir() / "dockerd.pid"


def _log_file() -> Path:
    return state_dir() / "dockerd.log"


def _load_modules(say: Say) -> None:
    for module, node in {"loop": "/dev/loop-control", "fuse": "/dev/fuse"}.items():
        if not Path(node).exists() and (modprobe := _which("modprobe")):
            done = run([modprobe, module], timeout=30, check=False)
            say(f"kernel module {module}: {done.stderr.strip() or 'loaded'}")


def _raise_inotify_limits(say: Say) -> None:
    for name, wanted in INOTIFY_LIMITS.items():
        path = Path("/proc/sys/fs/inotify") / name
        if int(path.read_text()) >= wanted:
            continue
        try:
            path.write_text(str(wanted))
        except OSError as error:  # read-only in a container: the limit is that of the machine around it
            say(f"fs.inotify.{name}: {error.strerror}; outside of this container: sysctl -w fs.inotify.{name}={wanted}")
        else:
            say(f"fs.inotify.{name}: raised to {wanted}")


def _which(program: str) -> str | None:
    return shutil.which(program, path=_search_path())


def _search_path() -> str:
    """PATH with the folders of system programs, which a user's PATH may lack."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), _SYSTEM_PATH]))
