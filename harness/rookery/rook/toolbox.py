"""Ceph's command lines, run in Rook's toolbox pod."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rookery.kube import ExecFailed, Kube, retry_while_api_unavailable
from rookery.kube.conditions import not_ready
from rookery.rook.deployments import labels_of
from rookery.waiting import NotYet

LABELS = labels_of("tools")
COMMAND_SECONDS = 20.0
_CONNECT_SECONDS = 5
_SLACK_SECONDS = 5.0


@dataclass(frozen=True)
class Started:
    """A command that runs in a toolbox pod, as a process group of that number."""

    kube: Kube
    namespace: str
    pod: str
    group: str

    def end(self) -> None:
        """End it, if it still runs."""
        kill = f"kill -- -{self.group} 2>/dev/null || true"
        self.kube.exec(self.pod, ["sh", "-c", kill], namespace=self.namespace)


def ask(kube: Kube, namespace: str, *command: str, timeout: float = COMMAND_SECONDS) -> Any:
    """What `ceph ...` or `rbd ...` answers as JSON, None if it has nothing to say.

    Raises `NotYet` when no toolbox pod is Ready, the API cannot answer, or the command fails or takes longer than
    `timeout` seconds: mons without a quorum and a mgr that is not there yet show themselves as exactly that.
    """
    return _answer(kube, namespace, _argv(command), " ".join(command), timeout)


def ask_program(kube: Kube, namespace: str, program: Path, *arguments: str, timeout: float = COMMAND_SECONDS) -> Any:
    """What a Python program prints as JSON, run in the toolbox, where Ceph's bindings are; raises as `ask` does."""
    return _answer(
        kube, namespace, ["python3", "-c", program.read_text(encoding="utf-8"), *arguments], program.name, timeout
    )


def output_of(kube: Kube, namespace: str, *command: str, timeout: float = COMMAND_SECONDS) -> str:
    """What a command prints that knows no JSON (`rbd create`, `rbd bench`); raises as `ask` does."""
    return _output(kube, namespace, list(command), " ".join(command), timeout)


def start(kube: Kube, namespace: str, *command: str, seconds: float) -> Started:
    """Run a command in the toolbox for at most `seconds`, without waiting for it.

    Raises `NotYet` when no toolbox pod is Ready.
    """
    with retry_while_api_unavailable():
        pod = _ready_pod(kube, namespace)
    # With an input that does not end: `rbd watch` ends with its. In a group of its own, so that nothing stays behind.
    run = f"sleep {seconds:.0f} | {shlex.join(['timeout', f'{seconds:.0f}', *command])}"
    group = kube.exec(
        pod, ["sh", "-c", f"setsid sh -c {shlex.quote(run)} >/dev/null 2>&1 & echo $!"], namespace=namespace
    ).strip()
    return Started(kube, namespace, pod, group)


def _answer(kube: Kube, namespace: str, argv: list[str], what: str, timeout: float) -> Any:
    output = _output(kube, namespace, argv, what, timeout)
    try:
        return json.loads(output) if output.strip() else None
    except ValueError as error:
        raise NotYet(f"{what}: not JSON: {output[:200]!r}") from error


def _output(kube: Kube, namespace: str, argv: list[str], what: str, timeout: float) -> str:
    # A command that hangs (no mgr, no quorum) would outlive our exec, one more of them with every poll.
    ends_itself = ["timeout", "--kill-after=2", f"{timeout:.0f}", *argv]
    with retry_while_api_unavailable():
        pod = _ready_pod(kube, namespace)
        try:
            return kube.exec(pod, ends_itself, namespace=namespace, timeout=timeout + _SLACK_SECONDS)
        except ExecFailed as error:
            raise NotYet(f"{what}: {_last_line(error.output) or error.message}") from error


def _argv(command: tuple[str, ...]) -> list[str]:
    program, *args = command
    # Each program has its own way to be told how long it may look for the mons.
    patience = ["--connect-timeout", str(_CONNECT_SECONDS)] if program == "ceph" else []
    return [program, *patience, *args, "--format", "json"]


def _ready_pod(kube: Kube, namespace: str) -> str:
    pods = kube.list("Pod", namespace=namespace, labels=LABELS)
    reasons = [not_ready(pod) for pod in pods]
    for pod, reason in zip(pods, reasons, strict=True):
        if not reason:
            return pod["metadata"]["name"]
    raise NotYet("; ".join(reasons) or "there is no toolbox pod")


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else ""
