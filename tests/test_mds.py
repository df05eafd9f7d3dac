"""Metadata servers under load: everything that went wrong with one is told, and nothing of before."""

from types import SimpleNamespace

import pytest

from harness.rook import mds
from harness.rook.mds import MdsWatch, raised, unix_time
from harness.rook.status import Health, HealthCheck
from harness.waiting import NotYet

NOW = unix_time("2026-11-24T10:00:00.000000+0000")
MIB = 1 << 20


def entry(stamp, message):
    return {"stamp": stamp, "message": message, "channel": "cluster", "priority": "[WRN]"}


OVERSIZED = entry(
    "2026-11-24T10:00:01.250000+0000", "Health check failed: 1 MDSs report oversized cache (MDS_CACHE_OVERSIZED)"
)
LAGGY = "mds.beacon.source-a MDS connection to Monitors appears to be laggy; 16s since last acked beacon"


class Rook:
    """Two filesystems, each served by one MDS with a standby; all is well."""

    def __init__(self):
        self.kube, self.spec = self, SimpleNamespace(namespace="rook-ceph")
        self.state, self.cache, self.log, self.checks, self.said = "active", 100 * MIB, [], (), {}

    def ceph(self, *args):
        match args:
            case ("fs", "status", name):
                served = {"rank": 0, "name": f"{name}-a", "state": self.state}
                return {"mdsmap": [served, {"rank": "0-s", "name": f"{name}-b", "state": "standby-replay"}]}
            case ("tell", _, "cache", "status"):
                return {"pool": {"items": 20_000, "bytes": self.cache}}
            case ("tell", _, "config", "get", name):
                return {name: str(4096 * MIB)}
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
    return MdsWatch(rook, ["source", "target"])


def test_servers_that_fare_well(watch):
    assert watch.troubles() == []
    assert [server["name"] for server in watch.as_notes()] == ["source-a", "target-a"]
    assert {server["cache"] for server in watch.as_notes()} == {100 * MIB}


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"state": "active(laggy)"}, "mds.source-a is active(laggy)"),
        ({"cache": 4097 * MIB}, "mds.target-a has"),
        ({"log": [OVERSIZED]}, "oversized cache"),
        ({"checks": (HealthCheck("MDS_SLOW_REQUEST", "HEALTH_WARN", "1 MDSs", False),)}, "MDS_SLOW_REQUEST"),
        ({"said": {"rook-ceph-mds-source-b": f"before\n{LAGGY}"}}, "laggy; 16s"),
    ],
    ids=["laggy now", "too much in its cache now", "oversized for a while", "slow now", "laggy for a while"],
)
def test_whatever_went_wrong_is_told(rook, watch, trouble, told):
    vars(rook).update(trouble)

    assert any(told in line for line in watch.troubles()), watch.troubles()


def test_other_warnings_are_no_trouble_of_an_mds(rook, watch):
    rook.checks = (HealthCheck("POOL_APP_NOT_ENABLED", "HEALTH_WARN", "1 pool", False),)
    rook.log = [entry("2026-11-24T10:00:01.000000+0000", "Health check failed: 1 osds down (OSD_DOWN)")]

    assert watch.troubles() == []


def test_what_was_before_does_not_count():
    assert raised([OVERSIZED], since=NOW)
    assert not raised([OVERSIZED], since=NOW + 2)


@pytest.mark.parametrize("ranks", [[{"name": "source-b", "state": "standby"}], [{"rank": 0, "state": "failed"}]])
def test_a_filesystem_that_nobody_serves_is_waited_for(rook, watch, ranks):
    rook.ceph = lambda *args: {"mdsmap": ranks}
    with pytest.raises(NotYet, match="nobody serves source"):
        watch.servers()
