"""What a cluster has to say for itself, gathered into a folder of bounded size.

Gathering comes before each node kill and each teardown, often from a cluster in trouble, so it never raises: what
could not be had is named in `errors.txt`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rookery.errors import RookeryError
from rookery.kube.client import Kube
from rookery.kube.objects import Object, items_of, value_of
from rookery.report.logs import newest

ERRORS = "errors.txt"
COLLECT_SECONDS = 90.0
_LOGS_IN_PARALLEL = 8  # an answer takes 24 ms, most of it waiting: 102 logs take 2.4 s one by one, so 1.0 s
_OBJECTS = ("Node", "Pod", "PersistentVolumeClaim", "PersistentVolume", "VolumeAttachment")
_OBJECTS_SHARE = 0.3  # of the budget at most, so that a cluster of many objects still leaves room for its logs
_BYTES_A_LINE = 80  # cautious: more lines are asked for than will fit, and the oldest bytes are cut off here
_MAX_LINES = 50_000
_ERRORS_BYTES = 32 * 1024


def collect(
    kube: Kube,
    dest: Path,
    *,
    namespaces: Collection[str] | None = None,
    budget_bytes: int,
    within: float = COLLECT_SECONDS,
) -> list[Path]:
    """Write objects, events and the logs of every container (also of its run before the last restart) below `dest`.

    Only of `namespaces`, or of all. At most `budget_bytes` in all; of what is too long the newest bytes are kept. After
    `within` seconds nothing more is begun. Never raises for what the cluster or the disk does: see `errors.txt`.
    """
    bundle = _Bundle(dest, budget_bytes, deadline=time.monotonic() + within)
    pods = bundle.attempt("list of pods", lambda: _pods(kube, namespaces)) or []
    for kind in _OBJECTS:
        objects = pods if kind == "Pod" else bundle.attempt(f"list of {kind}", partial(kube.list, kind))
        bundle.write_objects(f"objects/{kind}.jsonl", objects or [])
    of_all = bundle.attempt("list of Event", partial(kube.list, "Event", api_version="v1")) or []
    for namespace, events in by_namespace(of_all).items():
        if namespaces is None or namespace in namespaces:
            bundle.write_objects(f"objects/events-{namespace}.jsonl", events)
    bundle.write_logs(kube, [source for pod in pods for source in _log_sources(pod)])
    return bundle.finish()


def by_namespace(events: Iterable[Object]) -> dict[str, list[Object]]:
    """The events of each namespace, the oldest first: also of those that have no pod, such as a claim's that could not
    be provisioned. Those of nodes are in `default`."""
    found: dict[str, list[Object]] = {}
    for event in sorted(events, key=last_seen):
        found.setdefault(value_of(event, "metadata", "namespace", default="default"), []).append(event)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _LogSource:
    namespace: str
    pod: str
    container: str
    previous: bool

    @property
    def file_name(self) -> str:
        before = ".previous" if self.previous else ""
        return f"logs/{self.namespace}/{self.pod}/{self.container}{before}.log"


@dataclass
class _Bundle:
    dest: Path
    budget_bytes: int
    deadline: float
    files: list[Path] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    used: int = 0

    @property
    def left(self) -> int:
        return max(self.budget_bytes - self.errors_bytes - self.used, 0)

    @property
    def errors_bytes(self) -> int:
        """Set aside for the account of what is missing."""
        return min(_ERRORS_BYTES, self.budget_bytes // 20)

    def attempt(self, what: str, ask: Callable[[], list[Object]]) -> list[Object] | None:
        if time.monotonic() > self.deadline:
            self.errors.append(f"{what}: left out, out of time")
            return None
        try:
            return ask()
        except RookeryError as error:
            self.errors.append(f"{what}: {error.message}")
            return None

    def write_objects(self, name: str, objects: list[Object]) -> None:
        """One object a line, so that a file whose beginning was cut off can still be read."""
        share = int(self.budget_bytes * _OBJECTS_SHARE) // (len(_OBJECTS) + 1)
        lines = [json.dumps(_without_managed_fields(each), sort_keys=True) + "\n" for each in objects]
        self.write(name, "".join(lines).encode(), share)

    def write_logs(self, kube: Kube, sources: list[_LogSource]) -> None:
        """Some at a time; each log may use its share of what those before left over."""
        with ThreadPoolExecutor(_LOGS_IN_PARALLEL) as pool:
            for position in range(0, len(sources), _LOGS_IN_PARALLEL):
                some, share = sources[position : position + _LOGS_IN_PARALLEL], self.left // (len(sources) - position)
                if share == 0:
                    self.errors += [f"{source.file_name}: left out, the budget is used up" for source in some]
                elif time.monotonic() > self.deadline:
                    self.errors += [f"{source.file_name}: left out, out of time" for source in some]
                else:
                    asked = [(source.file_name, pool.submit(_log, kube, source, share)) for source in some]
                    for name, log in asked:
                        self._write_log(name, log, share)

    def _write_log(self, name: str, log: Future[bytes], share: int) -> None:
        try:
            self.write(name, log.result(), share)
        except RookeryError as error:
            self.errors.append(f"{name}: {error.message}")

    def write(self, name: str, data: bytes, share: int) -> None:
        path = self.dest / name
        kept = newest(data, min(share, self.left))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(kept)
        except OSError as error:
            self.errors.append(f"{name}: {error}")
            return
        self.used += len(kept)
        self.files.append(path)

    def finish(self) -> list[Path]:
        if self.errors:
            path = self.dest / ERRORS
            try:
                self.dest.mkdir(parents=True, exist_ok=True)
                path.write_bytes(newest("\n".join(self.errors).encode() + b"\n", self.errors_bytes))
            except OSError:
                return self.files  # the disk itself is what failed; there is no place to say so
            self.files.append(path)
        return self.files


def _log(kube: Kube, source: _LogSource, share: int) -> bytes:
    """At least its newest `share` bytes, as far as lines are not very short."""
    text = kube.logs(
        source.pod,
        namespace=source.namespace,
        container=source.container,
        previous=source.previous,
        tail_lines=min(share // _BYTES_A_LINE + 1, _MAX_LINES),
    )
    return text.encode()


def _pods(kube: Kube, namespaces: Collection[str] | None) -> list[Object]:
    if namespaces is None:
        return kube.list("Pod")
    return [pod for namespace in namespaces for pod in kube.list("Pod", namespace=namespace)]


def _without_managed_fields(found: Object) -> Object:
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return {**found, "metadata": metadata}


def last_seen(event: Object) -> str:
    """When it was seen last, as the API writes it; empty where it does not say."""
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _log_sources(pod: Object) -> list[_LogSource]:
    metadata = pod["metadata"]
    sources = []
    for each in items_of(pod, "status", "initContainerStatuses") + items_of(pod, "status", "containerStatuses"):
        if not each.get("containerID"):
            continue  # never started: asking for its log is an error
        runs = [False, True] if value_of(each, "restartCount", default=0) > 0 else [False]
        sources += [_LogSource(metadata["namespace"], metadata["name"], each["name"], run) for run in runs]
    return sources
