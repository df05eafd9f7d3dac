"""Stand-ins that obey the rules of what they stand for, for tests of more than one file."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from playing import plays
from rookery.cluster.kind_cluster import KindCluster
from rookery.kube import Kube
from rookery.rook import CephSpec, Rook
from rookery.rook.rendering import Rendering
from rookery.storage.cluster import StorageCluster

BOOTED = datetime.datetime(2026, 11, 24, 8, tzinfo=datetime.timezone.utc).timestamp()


plays_kube, plays_rook, plays_rook_and_kube = plays(Kube), plays(Rook), plays(Rook, Kube)
plays_cluster, plays_nodes = plays(StorageCluster), plays(KindCluster)


class Clock:
    """Time that passes in `time.sleep` alone; `unix_time` is in seconds."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "monotonic_ns", lambda: int(self.now * 1e9))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def unix_time(self) -> float:
        return BOOTED + self.now


def timestamp(at: float) -> str:
    """Unix time as Kubernetes has it, with a Lease's microseconds."""
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class FakeNode:
    """A node with a mon (`a`, `b`, ...), an OSD and pods; the last thing that each of them has made known."""

    mon: str
    osd: int
    heartbeat: float
    pods_started: float = BOOTED
    mon_runs: bool = True
    in_quorum: bool = True
    osd_runs: bool = True
    osd_up: bool = True
    booted_in: int = 10  # epoch of the OSD map


@plays_kube
@dataclass
class FakeCeph:
    """A cluster of three nodes with Rook's Ceph on them, as `Kube` shows it.

    The API and the mons show what each part has made known last: a kill alone changes nothing of it, until mons that
    are a majority notice what is gone. Once a node is on again its parts come back one after the other, each at its
    time: its heartbeat, its mon (an election, if the mons that run are a majority), its OSD (a new epoch), its PGs, its
    pods. PGs are clean once before they peer again. What is `stuck` never comes back.
    """

    clock: Clock
    nodes: dict[str, FakeNode] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    fsid: str = "5f1e2f4e-0000-4000-8000-00000000cafe"
    epoch: int = 40
    election: int = 14
    pg_state: str = "active+clean"
    pgs_reported_in: int = 40
    health: str = "HEALTH_OK"
    asked: list[str] = field(default_factory=list)
    other_pods: list[dict] = field(default_factory=list)
    _due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    HEARTBEAT, MON, OSD, PEERING, CLEAN, REPEERING, ALL_CLEAN, PODS, HEALTHY = 3, 5, 9, 12, 16, 18, 21, 24, 30

    def __post_init__(self) -> None:
        self.nodes = {f"worker{number}": FakeNode("abc"[number], number, self.clock.unix_time) for number in range(3)}

    @property
    def rook(self) -> Rook:
        disks = {name: [f"/dev/loop{node.osd}"] for name, node in self.nodes.items()}
        return Rook(self, Rendering("1.18.8", Path("nowhere"), CephSpec(image="ceph", disks=disks)))

    def kill(self, names: Collection[str]) -> None:
        for name in names:
            self.nodes[name].mon_runs = self.nodes[name].osd_runs = False
        self.later(1, self._notice_osds)
        self.later(1, self._elect)

    def start(self, names: Collection[str]) -> None:
        """Turn nodes on again."""
        for name in names:
            for after, what in [
                (self.HEARTBEAT, self._heartbeat),
                (self.MON, self._mon_back),
                (self.OSD, self._osd_back),
                (self.PODS, self._pods_back),
            ]:
                self.later(after + self.nodes[name].osd, lambda what=what, name=name: what(name))
        self.health = "HEALTH_WARN"
        for after, state in [
            (self.PEERING, "peering"),
            (self.CLEAN, "active+clean"),
            (self.REPEERING, "peering"),
            (self.ALL_CLEAN, "active+clean"),
        ]:
            self.later(after, lambda state=state: self._pgs_report(state))
        self.later(self.HEALTHY, self._get_well)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self._due.append((self.clock.now + seconds, what))

    def _heartbeat(self, name: str) -> None:
        if f"heartbeat of {name}" not in self.stuck:
            self.nodes[name].heartbeat = self.clock.unix_time

    def _mon_back(self, name: str) -> None:
        self.nodes[name].mon_runs = f"mon.{self.nodes[name].mon}" not in self.stuck
        self._elect()

    def _elect(self) -> None:
        running = [node for node in self.nodes.values() if node.mon_runs]
        if len(running) > len(self.nodes) / 2 and "election" not in self.stuck:
            self.election += 2
            for node in self.nodes.values():
                node.in_quorum = node.mon_runs

    def _osd_back(self, name: str) -> None:
        node = self.nodes[name]
        if f"boot of osd.{node.osd}" in self.stuck:
            return
        self.epoch += 1
        node.osd_up = node.osd_runs = f"osd.{node.osd}" not in self.stuck
        if node.osd_up:
            node.booted_in = self.epoch

    def _notice_osds(self) -> None:
        """The OSDs that run tell the mons of those that do not."""
        if any(node.osd_runs for node in self.nodes.values()):
            self.epoch += 1
            for node in self.nodes.values():
                node.osd_up = node.osd_runs

    def _pgs_report(self, state: str) -> None:
        if "PG reports" not in self.stuck:
            self.pgs_reported_in = self.epoch
            self.pg_state = "peering" if "PGs" in self.stuck else state

    def _pods_back(self, name: str) -> None:
        if f"pods of {name}" not in self.stuck:
            self.nodes[name].pods_started = self.clock.unix_time

    def _get_well(self) -> None:
        if "health" not in self.stuck:
            self.health = "HEALTH_OK"

    def _catch_up(self) -> None:
        self._due.sort(key=lambda due: due[0])
        while self._due and self._due[0][0] <= self.clock.now:
            self._due.pop(0)[1]()

    def list(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", api_version: str = ""
    ) -> list[dict]:
        self._catch_up()
        if kind == "Node":
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            return [{"metadata": {"name": name}, "status": ready} for name in self.nodes]
        if kind == "Lease":
            assert (namespace, api_version) == ("kube-node-lease", "coordination.k8s.io/v1")
            return [
                {"metadata": {"name": name}, "spec": {"renewTime": timestamp(node.heartbeat)}}
                for name, node in self.nodes.items()
            ]
        assert kind == "Pod", kind
        if labels == "app=rook-ceph-tools":
            return [pod("tools", "rook-ceph", self.clock.unix_time)]
        osds = [pod(f"osd-{node.osd}", "rook-ceph", node.pods_started) for node in self.nodes.values()]
        proxies = [pod(f"kube-proxy-{name}", "kube-system", node.pods_started) for name, node in self.nodes.items()]
        pods = [*osds, *proxies, *self.other_pods]
        ended = ("Succeeded", "Failed")
        assert fields in ("", ",".join(f"status.phase!={phase}" for phase in ended)), fields
        return [
            pod
            for pod in pods
            if namespace in ("", pod["metadata"]["namespace"]) and not (fields and pod["status"].get("phase") in ended)
        ]

    def exec(self, pod: str, argv: list[str], *, namespace: str, timeout: float) -> str:
        self._catch_up()
        command = json.loads(argv[-1])
        self.asked.append(command["prefix"])
        return json.dumps(
            {
                "osd dump": self._osd_dump,
                "quorum_status": self._quorum_status,
                "pg dump": self._pg_dump,
                "health": lambda: {"status": self.health, "checks": {}},
            }[command["prefix"]]()
        )

    def _osd_dump(self) -> dict:
        osds = [
            {"osd": node.osd, "up": int(node.osd_up), "in": 1, "up_from": node.booted_in}
            for node in self.nodes.values()
        ]
        return {"epoch": self.epoch, "fsid": self.fsid, "osds": osds}

    def _quorum_status(self) -> dict:
        names = [node.mon for node in self.nodes.values() if node.in_quorum]
        mons = [{"name": node.mon} for node in self.nodes.values()]
        return {"election_epoch": self.election, "quorum_names": names, "monmap": {"mons": mons}}

    def _pg_dump(self) -> dict:
        pgs = [{"pgid": f"1.{n}", "state": "active+clean", "reported_epoch": self.pgs_reported_in} for n in range(4)]
        pgs[0]["state"] = self.pg_state
        return {"pg_ready": True, "pg_stats": pgs}


def pod(name: str, namespace: str, started: float, *, ready: bool = True, phase: str = "Running") -> dict:
    """A pod of one container, as the API has it."""
    state = {"running": {"startedAt": timestamp(int(started)).replace(".000000", "")}}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "main", "state": state}],
        },
    }
