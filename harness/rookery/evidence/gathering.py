"""What there is to be held against expectations, of a cluster that runs: newer than a moment, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rookery.cluster import nodes
from rookery.evidence.gate import Finding, of_cluster_log, of_log
from rookery.kube import ApiUnavailable, Kube, KubeError
from rookery.kube.objects import Object, items_of, value_of

MAX_IN_FLIGHT = 8  # logs; an answer takes 24 ms, most of it waiting
PANICS = r"^panic: |Observed a panic|^fatal error: "  # of a kubelet
MON = "mon"  # the container


@dataclass(frozen=True)
class _Log:
    namespace: str
    pod: str
    container: str
    previous: bool


def findings(kube: Kube, namespaces: Iterable[str], node_names: Iterable[str], *, since: float) -> list[Finding]:
    """Warnings and errors of Ceph's cluster log, asserts and panics in the logs of these namespaces, and kubelets'
    panics.

    Raises `ApiUnavailable` while the API does not answer.
    """
    since = math.ceil(since)  # the API knows whole seconds, and would round down
    pods = [pod for namespace in namespaces for pod in kube.list("Pod", namespace=namespace)]
    sources = [log for pod in pods for log in _logs_of(pod)]
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        texts = list(pool.map(lambda log: _text(kube, log, since), sources))
        panics = list(pool.map(lambda name: nodes.kubelet_lines(name, PANICS, since), node_names))
    found = of_cluster_log(
        (text for log, text in zip(sources, texts, strict=True) if log.container == MON), since=since
    )
    for log, text in zip(sources, texts, strict=True):
        found += of_log(f"{log.pod}, {log.container}", text)
    for name, lines in zip(node_names, panics, strict=True):
        found += [Finding(None, f"kubelet of {name}", line) for line in lines]
    return found


def _logs_of(pod: Object) -> Iterator[_Log]:
    """Of each container that has run, also what it said before its last restart."""
    metadata = pod["metadata"]
    for status in items_of(pod, "status", "containerStatuses"):
        if status.get("containerID"):
            for previous in (False, True)[: 1 + (value_of(status, "restartCount", default=0) > 0)]:
                yield _Log(metadata["namespace"], metadata["name"], status["name"], previous)


def _text(kube: Kube, log: _Log, since: float) -> str:
    """Nothing where the pod went meanwhile, or its node does not answer for it."""
    try:
        return kube.logs(log.pod, namespace=log.namespace, container=log.container, previous=log.previous, since=since)
    except ApiUnavailable:
        raise
    except KubeError:
        return ""
