"""Names as the cluster's own DNS has them, asked from inside a pod."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rookery.kube.client import Kube
from rookery.kube.conditions import not_ready
from rookery.kube.errors import ExecFailed, retry_while_api_unavailable
from rookery.signatures import NO_SUCH_NAME
from rookery.waiting import NotYet, condition, minutes

_PROGRAM = Path(__file__).with_name("dns_query.py")
ANSWERED = minutes(3)
_EXEC_SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """What the name server says: a response code ("NOERROR", "NXDOMAIN"), and the addresses of a name that exists."""

    code: str
    addresses: frozenset[str]


class Resolver:
    """Asks from a Ready pod with these labels, whose image has to have `python3`, such as Rook's toolbox."""

    def __init__(self, kube: Kube, *, namespace: str, labels: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._labels = labels

    @retry_while_api_unavailable()
    def lookup(self, name: str) -> Answer:
        """Condition: the name server answers for `name`, be it that there is no such name.

        `NotYet` while it does not, or says that it cannot (SERVFAIL), as CoreDNS does until it has read the Services.
        """
        try:
            argv = ["python3", "-c", _PROGRAM.read_text(), name]
            output = self._kube.exec(self._pod(), argv, namespace=self._namespace, timeout=_EXEC_SECONDS)
        except ExecFailed as error:
            raise NotYet(error.message) from error
        answer = json.loads(output)
        if answer["code"] not in ("NOERROR", NO_SUCH_NAME.text):
            raise NotYet(f"{name}: the name server says {answer['code']}")
        return Answer(answer["code"], frozenset(answer["addresses"]))

    @condition("DNS to say that there is no {name}", within=ANSWERED)
    def no_such_name(self, name: str) -> None:
        """The name server says that `name` does not exist (NXDOMAIN)."""
        answer = self.lookup(name)
        if answer.code != NO_SUCH_NAME.text:
            raise NotYet(f"{name} is {sorted(answer.addresses)}")

    def _pod(self) -> str:
        pods = self._kube.list("Pod", namespace=self._namespace, labels=self._labels)
        reasons = [not_ready(pod) for pod in pods]
        for pod, reason in zip(pods, reasons, strict=True):
            if not reason:
                return pod["metadata"]["name"]
        raise NotYet("; ".join(reasons) or f"there is no pod with {self._labels}")
