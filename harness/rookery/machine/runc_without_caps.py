#!/usr/bin/env python3
"""An OCI runtime for hosts that cannot grant every capability: takes those out of the container's spec, then is runc.

`docker run --privileged` asks for all capabilities there are, and runc fails if one of them is not in the bounding
set of the host (a virtual machine or a container that was itself started with fewer). This wrapper drops from the
spec exactly those that the bounding set lacks; where it lacks none, it changes nothing.

Registered with the engine as a runtime (`dockerd --add-runtime`). It is copied out of the package when it is
installed, hence nothing but the standard library here. The interface it stands in for:
https://github.com/opencontainers/runc (commands `create`, `run` and `exec`), capabilities(7).
"""

from __future__ import annotations

import json
import os
import shutil
import sys

# By bit number: include/uapi/linux/capability.h
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

# Options before the command that take the next word as their value.
_GLOBAL_OPTIONS_WITH_VALUE = {"log", "log-format", "root", "criu", "rootless"}

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def lacking_capabilities() -> list[str]:
    """Capabilities that the kernel knows and that are not in the bounding set of this process."""
    with open("/proc/self/status", encoding="utf-8") as status:
        bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as last:
        known = CAPABILITIES[: int(last.read()) + 1]
    return [name for bit, name in enumerate(known) if not bounding >> bit & 1]


def process_file(arguments: list[str]) -> str | None:
    """The file in which these arguments of runc describe the process to be started; None if they start none."""
    command, rest = _split_command(arguments)
    if command in ("create", "run"):
        return os.path.join(_option(rest, "bundle", "b") or ".", "config.json")
    if command == "exec":
        return _option(rest, "process", "p")
    return None


def drop_capabilities(path: str, lacking: list[str]) -> None:
    """Take the lacking capabilities out of that file: a whole spec, whose `process` counts, or the process alone."""
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    sets = spec.get("process", spec).get("capabilities") or {}
    for name, capabilities in sets.items():
        sets[name] = [capability for capability in capabilities or [] if capability not in lacking]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec, file)


def main(arguments: list[str]) -> None:
    """Never returns: becomes runc."""
    lacking = lacking_capabilities()
    path = process_file(arguments) if lacking else None
    if path is not None:
        drop_capabilities(path, lacking)
    runc = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:{_SEARCH_PATH}")
    if runc is None:
        sys.exit("runc_without_caps: there is no runc on PATH")
    os.execv(runc, ["runc", *arguments])


def _split_command(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The command, and what follows it; before it stand global options, some of them with a value of their own."""
    words = iter(enumerate(arguments))
    for index, word in words:
        if not word.startswith("-"):
            return word, arguments[index + 1 :]
        if word.lstrip("-") in _GLOBAL_OPTIONS_WITH_VALUE:
            next(words, None)
    return None, []


def _option(arguments: list[str], *names: str) -> str | None:
    """The value of `--name value`, `--name=value` and the same with one dash."""
    for index, word in enumerate(arguments):
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in names:
            return value if equals else next(iter(arguments[index + 1 :]), None)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
