"""Metadata servers under load: everything that went wrong with one is told, and nothing of before."""

from types import SimpleNamespace

import pytest
from fakes import plays_rook_and_kube
from rookery.rook import mds
from rookery.rook.filesystems import Filesystem
from rookery.rook.mds import Cache, MdsWatch, raised
from rookery.rook.stamps import unix_time
from rookery.rook.status import Health, HealthCheck

NOW = unix_time("2026-11-24T10:00:00.000000+0000")
MIB = 1 << 20


def entry(stamp, message):
    return {"stamp": stamp, "message": message, "channel": "cluster", "priority": "[WRN]"}


OVERSIZED = entry(
    "2026-11-24T10:00:01.250000+0000", "Health check failed: 1 MDSs report oversized cache (MDS_CACHE_OVERSIZED)"
)
LAGGY = "mds.beacon.source-a MDS connection to Monitors appears to be laggy; 16s since last acked beacon"


SOURCE, TARGET = Filesystem("source"), Filesystem("target")


@plays_rook_and_kube
class Rook:
    """Two filesystems, each served by one MDS with a standby; all is well."""

    def __init__(self):
        self.kube, self.spec = self, SimpleNamespace(namespace="rook-ceph")
        self.mds, self.cache, self.log, self.checks, self.said = {}, 100 * MIB, [], (), {}

    def ceph(self, *args):
        match args:
            case ("fs", "get", name):
                info = {"name": f"{name}-a", "rank": 0, "state": "up:active", **self.mds}
                return {"mdsmap": {"info": {"gid_4711": info}}}
            case ("tell", "mds.source:0" | "mds.target:0", "cache", "status"):
                return {"pool": {"items": 20_000, "bytes": self.cache}}
            case ("tell", _, "config", "get", name):
                return {name: str(200 * MIB)}
            case ("log", "last", *_):
                return self.log
        raise AssertionError(args)

    def health(self):
        return Health("HEALTH_OK", self.checks)

    def list(self, kind, *, namespace, labels):
        name = labels.rpartition("rook_file_system=")[2]
        return [{"metadata": {"name": f"rook-ceph-mds-{name}-{each}"}} for each in "ab"]

    def logs(self, pod, *, namespace, container, since):
        assert (container, since) == ("mds", NOW)
        return self.said.get(pod, "")


@pytest.fixture
def rook():
    return Rook()


@pytest.fixture
def watch(rook, monkeypatch):
    monkeypatch.setattr(mds.time, "time", lambda: NOW)
    return MdsWatch(rook, [SOURCE, TARGET])


def test_servers_that_fare_well(rook, watch):
    assert watch.problems.now() == []
    assert watch.caches.now() == [Cache("source", 100 * MIB, 200 * MIB), Cache("target", 100 * MIB, 200 * MIB)]
    rook.cache = 210 * MIB  # it aims at the limit, and is told to give up something
    assert watch.problems.now() == []


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ({"mds": {"laggy_since": "2026-11-24"}}, "laggy=True"),
        ({"mds": {"state": "up:replay"}}, "up:replay"),
        ({"cache": 301 * MIB}, "oversized"),
        ({"log": [OVERSIZED]}, "oversized cache"),
        ({"checks": (HealthCheck("MDS_SLOW_REQUEST", "HEALTH_WARN", "1 MDSs", False),)}, "MDS_SLOW_REQUEST"),
        ({"said": {"rook-ceph-mds-source-b": f"before\n{LAGGY}"}}, "laggy; 16s"),
    ],
    ids=["laggy", "not active", "too much in its cache", "oversized for a while", "slow", "laggy for a while"],
)
def test_whatever_went_wrong_is_reported(rook, watch, problem, line):
    vars(rook).update(problem)

    assert any(line in each for each in watch.problems.now()), watch.problems.now()


def test_other_warnings_are_no_problem_of_an_mds(rook, watch):
    rook.checks = (HealthCheck("MDS_TRIM", "HEALTH_WARN", "1 MDSs behind on trimming", False),)
    rook.log = [entry("2026-11-24T10:00:01.000000+0000", "Health check failed: 1 osds down (OSD_DOWN)")]

    assert watch.problems.now() == []


def test_what_was_before_does_not_count():
    assert raised([OVERSIZED], since=NOW)
    assert not raised([OVERSIZED], since=NOW + 2)
