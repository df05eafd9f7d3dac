"""What a watch, or an entry of Ceph's cluster log, means: which thing is in which state from then on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rookery.evidence.cluster_log import Entry
from rookery.kube.conditions import unix_time
from rookery.kube.objects import Object, is_true, items_of, value_of

LONGEST = 500  # characters of a text
GONE = "gone"

# Events of Kubernetes that are told though they are no warnings. Of a mount that succeeded there is one for a raw block
# device only: GenerateMapVolumeFunc and GenerateMountVolumeFunc of
# https://github.com/kubernetes/kubernetes/blob/v1.32.0/pkg/volume/util/operationexecutor/operation_generator.go
VOLUME_REASONS = (
    "SuccessfulAttachVolume",
    "SuccessfulMountVolume",
    "VolumeResizeSuccessful",
    "FileSystemResizeSuccessful",
)


@dataclass(frozen=True)
class Happening:
    """From `at` (Unix seconds) on, a thing (its kind and name) is in that state; `text` says more of it."""

    at: float
    kind: str
    name: str
    state: str
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        found = {"at": round(self.at, 3), "kind": self.kind, "name": self.name, "state": self.state}
        return {**found, "text": self.text[:LONGEST]} if self.text else found


def of_node(node: Object, at: float) -> Happening:
    conditions = {str(each.get("type")): str(each.get("status")) for each in items_of(node, "status", "conditions")}
    state = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    taints = sorted(str(each.get("key", "")) for each in items_of(node, "spec", "taints"))
    return Happening(at, "node", node["metadata"]["name"], state, ", ".join(taints))


def of_pod(pod: Object, at: float) -> Happening:
    restarts = sum(value_of(each, "restartCount", default=0) for each in _containers(pod))
    name = f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
    parts = [f"{restarts} restarts"] if restarts else []
    if node := value_of(pod, "spec", "nodeName"):
        parts.append(f"on {node}")
    return Happening(at, "pod", name, _state_of(pod), ", ".join(parts))


def _containers(pod: Object) -> list[Object]:
    return items_of(pod, "status", "initContainerStatuses") + items_of(pod, "status", "containerStatuses")


def _state_of(pod: Object) -> str:
    """As `kubectl get pods` has it, as far as it matters."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    phase = str(value_of(pod, "status", "phase", default="Unknown"))
    if phase == "Succeeded" or (phase == "Running" and is_true(pod, "Ready")):
        return "Ready" if phase == "Running" else phase
    waiting = [reason for each in _containers(pod) if (reason := value_of(each, "state", "waiting", "reason"))]
    return str(waiting[0]) if waiting else f"{phase}, not Ready" if phase == "Running" else phase


def of_attachment(attachment: Object, at: float) -> Happening:
    volume = value_of(attachment, "spec", "source", "persistentVolumeName", default="?")
    name = f"{volume} on {value_of(attachment, 'spec', 'nodeName', default='?')}"
    error = value_of(attachment, "status", "attachError", "message") or value_of(
        attachment, "status", "detachError", "message", default=""
    )
    if attachment["metadata"].get("deletionTimestamp"):
        return Happening(at, "volume", name, "detaching", error)
    attached = value_of(attachment, "status", "attached", default=False)
    return Happening(at, "volume", name, "attached" if attached else "attaching", error)


def of_event(event: Object, since: float) -> Happening | None:
    """A warning, or what happened to a volume, that is newer than `since`."""
    reason = str(event.get("reason", ""))
    series = value_of(event, "series", "lastObservedTime")
    at = unix_time(series or event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp"))
    if at < since or (event.get("type") != "Warning" and reason not in VOLUME_REASONS):
        return None
    about = event.get("involvedObject") or {}
    name = "/".join(str(about[each]) for each in ("kind", "namespace", "name") if about.get(each))
    return Happening(at, "event", name, reason, str(event.get("message", "")))


_OSD_UP = re.compile(r"osd\.(\d+) .*\bboot$")
_OSD_DOWN = re.compile(r"osd\.(\d+) (?:marked (?:itself )?(?:immediately )?down|failed \()")
_OSD_OUT = re.compile(r"(?:Marking )?osd\.(\d+) (?:marked )?out\b|Client .* marked osd\.(\d+) out")
_ELECTION = re.compile(r"mon\.(\S+) calling monitor election")
_QUORUM = re.compile(r"mon\.(\S+) is new leader, mons (\S+) in quorum")
_PGS = re.compile(r"pgmap v\d+: (\d+ pgs: [^;]*)")
_OSDMAP = re.compile(r"osdmap e(\d+): (.+)")


class Ceph:
    """What its cluster log has told so far; only changes are happenings."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}
        self._failed: set[str] = set()
        self._mons: set[str] = set()
        self._epoch = ""  # of the newest OSD map that was told

    def began_with(self, lanes: Mapping[tuple[str, str], tuple[str, str]], at: float) -> Iterator[Happening]:
        """What its parts were at the beginning, by another's word: of those of which the log has told nothing yet."""
        for (kind, name), (state, text) in lanes.items():
            if (kind, name) in self._states:
                continue
            self._states[kind, name] = state
            if kind == "mon":
                self._mons.add(name.removeprefix("mon."))
            elif kind == "health" and state != "HEALTH_OK":
                self._failed.update(state.split(", "))
            elif kind == "OSD map" and not self._epoch and (found := _OSDMAP.match(text)):
                self._epoch = found[1]
            yield Happening(at, kind, name, state, text)

    def of(self, entry: Entry) -> Iterator[Happening]:
        for kind, name, state in self._states_in(entry):
            if self._states.get((kind, name)) != state:
                self._states[kind, name] = state
                yield Happening(entry.at, kind, name, state, self._text(kind, entry))

    def _text(self, kind: str, entry: Entry) -> str:
        if kind == "OSD" and self._epoch:
            return f"newest OSD map e{self._epoch}: {entry.text}"
        return "" if kind == "PGs" else entry.text

    def lost(self) -> None:
        """Nobody hears it from now on: when its PGs are told next, that is news, though they be the same."""
        self._states.pop(("PGs", "PGs"), None)

    def _states_in(self, entry: Entry) -> Iterator[tuple[str, str, str]]:
        text = entry.text
        if found := _OSD_UP.match(text):
            yield "OSD", f"osd.{found[1]}", "up"
        elif found := _OSD_DOWN.match(text):
            yield "OSD", f"osd.{found[1]}", "down"
        elif found := _OSD_OUT.match(text):
            yield "OSD", f"osd.{found[1] or found[2]}", "out"
        elif found := _ELECTION.match(text):
            self._mons.add(found[1])
            yield "mon", f"mon.{found[1]}", "electing"
        elif found := _QUORUM.match(text):
            names = found[2].split(",")
            self._mons.update(names)
            for name in sorted(self._mons):
                yield "mon", f"mon.{name}", "in quorum" if name in names else "out of quorum"
        elif found := _PGS.match(text):
            yield "PGs", "PGs", found[1].strip()
        elif found := _OSDMAP.match(text):
            self._epoch = found[1]
            yield "OSD map", "OSD map", found[2]
        elif code := entry.code or entry.cleared:
            (self._failed.discard if entry.cleared else self._failed.add)(code)
            yield "health", "health", ", ".join(sorted(self._failed)) or "HEALTH_OK"
        elif text.startswith("Cluster is now healthy"):
            self._failed.clear()
            yield "health", "health", "HEALTH_OK"
