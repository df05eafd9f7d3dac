"""What Ceph says of itself, parsed, and whether that is the state after a fault or still the one from before.

After a node kill the mons serve the old maps until the daemons report again: "3 osds: 3 up", "active+clean", for ten
seconds and more. Every check here can therefore be asked for evidence newer than a `CephBaseline` from before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rookery.rook.stamps import unix_time
from rookery.waiting import NotYet

CLEAN = "active+clean"
# AES keys are what kernels before 7.0 can use (Ceph 19.2.6, 20.2.4 and later have AES256K and warn about AES), and all
# that Rook makes and rotates before 1.19.9 and 1.20.5; they are on clients, then on daemons and their tickets:
# https://rook.io/docs/rook/latest-release/Storage-Configuration/Advanced/cephx-key-rotation/
ACCEPTED_WARNINGS = frozenset(
    {
        "AUTH_EMERGENCY_CIPHERS_SET",
        "AUTH_INSECURE_CLIENT_KEY_TYPE",
        "AUTH_INSECURE_KEYS_ALLOWED",
        "AUTH_INSECURE_KEYS_CREATABLE",
        "AUTH_INSECURE_ROTATING_SERVICE_KEY_TYPE",
        "AUTH_INSECURE_SERVICE_KEY_TYPE",
        "AUTH_INSECURE_SERVICE_TICKETS",
    }
)


@dataclass(frozen=True)
class Osd:
    """An OSD in the OSD map; `up_from` is the epoch in which it last booted."""

    id: int
    uuid: str
    up: bool
    in_cluster: bool
    up_from: int
    host: str = ""


@dataclass(frozen=True)
class OsdMap:
    """`ceph osd dump`."""

    epoch: int
    fsid: str
    osds: tuple[Osd, ...]

    @classmethod
    def parse(cls, dump: Mapping[str, Any], hosts: Mapping[int, str] | None = None) -> OsdMap:
        osds = [
            Osd(
                id=osd["osd"],
                uuid=osd.get("uuid", ""),
                up=osd["up"] == 1,
                in_cluster=osd["in"] == 1,
                up_from=osd["up_from"],
                host=(hosts or {}).get(osd["osd"], ""),
            )
            for osd in dump["osds"]
        ]
        return cls(dump["epoch"], dump["fsid"], tuple(osds))


@dataclass(frozen=True)
class Pg:
    """A placement group; `reported_epoch` is that of the OSD map its primary had when it last reported.

    `became_active` is when it last did, in Unix seconds by its OSD's clock; 0 if it never was, or nobody told.
    """

    id: str
    state: str
    reported_epoch: int
    became_active: float = 0.0

    @property
    def active(self) -> bool:
        """Whether it serves reads and writes, as far as its primary has reported lately."""
        return "active" in self.state.split("+") and "stale" not in self.state.split("+")


@dataclass(frozen=True)
class Placed:
    """Where an object is: its placement group, and the OSDs that have it, the primary first."""

    pg: str
    osds: tuple[int, ...]


@dataclass(frozen=True)
class Quorum:
    """`ceph quorum_status`: which mons agree with each other, and since which election."""

    names: tuple[str, ...]
    leader: str
    election_epoch: int
    mons: tuple[str, ...]

    @classmethod
    def parse(cls, status: Mapping[str, Any]) -> Quorum:
        return cls(
            names=tuple(status["quorum_names"]),
            leader=status.get("quorum_leader_name", ""),
            election_epoch=status["election_epoch"],
            mons=tuple(mon["name"] for mon in status["monmap"]["mons"]),
        )


@dataclass(frozen=True)
class HealthCheck:
    """One of the reasons for a health that is not HEALTH_OK."""

    code: str
    severity: str
    summary: str
    muted: bool


@dataclass(frozen=True)
class Health:
    """`ceph health`; `status` leaves out the checks that are muted."""

    status: str
    checks: tuple[HealthCheck, ...]

    @classmethod
    def parse(cls, health: Mapping[str, Any]) -> Health:
        checks = [
            HealthCheck(code, check["severity"], check["summary"]["message"], bool(check.get("muted")))
            for code, check in health.get("checks", {}).items()
        ]
        return cls(health["status"], tuple(checks))

    @property
    def ok(self) -> bool:
        return self.status == "HEALTH_OK"

    def __str__(self) -> str:
        reasons = [f"{check.code}: {check.summary}" for check in self.checks if not check.muted]
        return " ".join([self.status, *([f"({'; '.join(reasons)})"] if reasons else [])])


@dataclass(frozen=True)
class CephBaseline:
    """What Ceph was before a fault: a recovery has to keep the identities, and to be newer than the epochs."""

    fsid: str
    osd_ids: frozenset[int]
    osdmap_epoch: int
    election_epoch: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; `from_dict` reads it."""
        return {**vars(self), "osd_ids": sorted(self.osd_ids)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CephBaseline:
        return cls(**{**data, "osd_ids": frozenset(data["osd_ids"])})


def lanes(osdmap: OsdMap, quorum: Quorum, health: Health) -> dict[tuple[str, str], tuple[str, str]]:
    """The state of each mon and OSD, and of all, as Ceph's cluster log would tell them, with the epochs they are of."""
    up, inside = sum(osd.up for osd in osdmap.osds), sum(osd.in_cluster for osd in osdmap.osds)
    counted = f"{len(osdmap.osds)} total, {up} up, {inside} in"
    found = {("OSD map", "OSD map"): (counted, f"osdmap e{osdmap.epoch}: {counted}")}
    for osd in osdmap.osds:
        state = "out" if not osd.in_cluster else "up" if osd.up else "down"
        found["OSD", f"osd.{osd.id}"] = (state, f"since epoch {osd.up_from}, OSD map e{osdmap.epoch}")
    for mon in quorum.mons:
        state = "in quorum" if mon in quorum.names else "out of quorum"
        found["mon", f"mon.{mon}"] = (state, f"election epoch {quorum.election_epoch}")
    failed = sorted(check.code for check in health.checks if not check.muted)
    found["health", "health"] = (", ".join(failed) or "HEALTH_OK", str(health))
    return found


def crashes_of(listed: Sequence[Mapping[str, Any]] | None) -> list[tuple[float, str, str]]:
    """The crashes of `ceph crash ls`: when (Unix seconds), of whom, and their names there.

    https://docs.ceph.com/en/reef/mgr/crash/
    """
    return [
        (unix_time(each["timestamp"].replace(" ", "T")), each["entity_name"], each["crash_id"]) for each in listed or []
    ]


def pgs_of(dump: Mapping[str, Any]) -> tuple[Pg, ...]:
    """The PGs of `ceph pg dump pgs`. Raises `NotYet` while a mgr that has just started waits for their reports."""
    if not dump.get("pg_ready", True):
        raise NotYet("the mgr has not heard of all PGs yet")
    return tuple(
        Pg(pg["pgid"], pg["state"], int(pg["reported_epoch"]), unix_time(pg.get("last_became_active", "0")))
        for pg in dump["pg_stats"]
    )


def hosts_of(tree: Mapping[str, Any]) -> dict[int, str]:
    """The host of each OSD, of `ceph osd tree`."""
    hosts = [node for node in tree["nodes"] if node["type"] == "host"]
    return {osd: host["name"] for host in hosts for osd in host.get("children", [])}


def check_osds_up(osdmap: OsdMap, count: int, *, booted_after: int = 0) -> OsdMap:
    """`count` OSDs, all up and in, each booted in an epoch after `booted_after`; else `NotYet` with those that lack."""
    stale = [osd.id for osd in osdmap.osds if osd.up and osd.up_from <= booted_after]
    down = [osd.id for osd in osdmap.osds if not osd.up]
    out = [osd.id for osd in osdmap.osds if not osd.in_cluster]
    if down:
        raise NotYet(f"OSDs down: {_ids(down)}")
    if stale:
        raise NotYet(f"OSDs shown as up, but from boots before the fault: {_ids(stale)}")
    if out:
        raise NotYet(f"OSDs out: {_ids(out)}")
    if len(osdmap.osds) != count:
        raise NotYet(f"{len(osdmap.osds)} of {count} OSDs")
    return osdmap


def check_pgs_clean(pgs: Sequence[Pg], *, reported_after: int = 0) -> Sequence[Pg]:
    """All PGs exactly active+clean, by reports of epochs after `reported_after`; else `NotYet` with the states."""
    if not pgs:
        raise NotYet("no PGs")
    states = Counter(pg.state for pg in pgs if pg.state != CLEAN)
    if states:
        listed = ", ".join(f"{count} {state}" for state, count in states.most_common())
        raise NotYet(f"of {len(pgs)} PGs {listed}")
    stale = sum(pg.reported_epoch <= reported_after for pg in pgs)
    if stale:
        raise NotYet(f"{stale} of {len(pgs)} PGs shown as {CLEAN}, but by reports from before the fault")
    return pgs


def check_quorum(quorum: Quorum, count: int, *, elected_after: int = 0) -> Quorum:
    """`count` mons in quorum, by an election after `elected_after`; else `NotYet` with those outside."""
    outside = sorted(set(quorum.mons) - set(quorum.names))
    if outside:
        raise NotYet(f"mons not in quorum: {', '.join(outside)}")
    if len(quorum.names) != count:
        raise NotYet(f"{len(quorum.names)} of {count} mons in quorum")
    if quorum.election_epoch <= elected_after:
        raise NotYet(f"the quorum is still that of election {quorum.election_epoch}, from before the fault")
    return quorum


def check_health(health: Health) -> Health:
    """HEALTH_OK; else `NotYet` with the checks."""
    if not health.ok:
        raise NotYet(str(health))
    return health


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(str(osd) for osd in sorted(ids))
