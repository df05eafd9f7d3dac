"""Faults that are orders to Ceph: what is ordered, what proves it, and in which order it is taken back."""

from types import SimpleNamespace

import pytest
from fakes import plays_rook
from rookery.errors import Unknown, UsageError
from rookery.faults import ClientBlocklisting, ClientEviction, FullRatio, PoolQuota, fault
from rookery.rook.filesystems import Filesystem, Mounted
from rookery.rook.status import Health
from rookery.waiting import Condition, NotYet

CLIENT = "10.244.1.9:0/4711"
SESSION = {
    "id": 4305,
    "entity": {"addr": {"addr": "10.244.1.9:0", "nonce": 4711}},
    "state": "open",
    "client_metadata": {"hostname": "worker", "mount_point": "/staging", "root": "/volumes/csi/v"},
}
EVICTION = (Filesystem(), Mounted.parse(SESSION))
FULL = {"OSD_FULL": {"severity": "HEALTH_ERR", "summary": {"message": "3 full osd(s)"}}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays_rook
class Ceph:
    """It does what it is ordered, unless it is `deaf`."""

    kube = None

    def __init__(self, *, deaf=False):
        self.deaf, self.ordered, self.listed = deaf, [], set()
        self.sessions = [SESSION]
        self.quota, self.ratios = 0, {"nearfull": 0.85, "backfillfull": 0.9, "full": 0.95}

    def answer_to(self, *command):
        return Condition("an answer", lambda: self._obey(command[1:]), within=0)

    def ceph(self, *words):
        assert words == ("tell", "mds.myfs:0", "session", "ls")
        return self.sessions

    def _obey(self, words):
        self.ordered.append(" ".join(words))
        if self.deaf:
            return ""
        if "evict" in words:
            self.sessions = []
            self.listed.add(CLIENT)
        elif words[:2] == ("osd", "blocklist"):
            {"add": self.listed.add, "rm": self.listed.discard}[words[2]](words[3])
        elif words[2] == "set-quota":
            self.quota = int(words[5])
        return ""

    @property
    def blocklist(self):
        return Condition("the blocklist", lambda: frozenset(self.listed), within=0)

    def ask(self, prefix, **more):
        if prefix == "osd pool ls":
            return [{"pool_name": "limited", "quota_max_bytes": self.quota}, {"pool_name": "a", "quota_max_bytes": 7}]
        return {f"{name}_ratio": value for name, value in self.ratios.items()}

    def health(self):
        full = not self.deaf and any("set-full-ratio 0.00003" in each for each in self.ordered[-3:])
        return Health.parse({"status": "HEALTH_ERR" if full else "HEALTH_OK", "checks": FULL if full else {}})


def cluster(ceph):
    return SimpleNamespace(rook=ceph, has_rook=ceph is not None)


def test_a_client_is_on_the_blocklist_and_off_it():
    ceph = Ceph()
    it = ClientBlocklisting(CLIENT)
    assert it.inject(cluster(ceph)).proof == f"{CLIENT} is on the blocklist"
    with pytest.raises(NotYet, match="still on the blocklist"):
        it.healed.now()
    it.heal()
    it.healed.now()
    assert ceph.ordered == [f"osd blocklist add {CLIENT} 3600", f"osd blocklist rm {CLIENT}"]


def test_a_client_is_evicted_and_may_come_back():
    ceph = Ceph()
    it = ClientEviction(*EVICTION)
    told = it.inject(cluster(ceph))
    assert told.proof == f"session 4305 has ended, and {CLIENT} is on the blocklist"
    assert told.targets == (f"worker: {CLIENT}",)
    with pytest.raises(NotYet, match="still on the blocklist"):
        it.healed.now()
    it.heal()
    it.healed.now()
    assert ceph.ordered == ["tell mds.myfs:0 client evict id=4305", f"osd blocklist rm {CLIENT}"]


def test_a_client_that_is_not_on_the_blocklist_yet_is_not_evicted():
    ceph = Ceph()
    ceph.answer_to = lambda *command: Condition("an answer", lambda: ceph.sessions.clear(), within=0)
    with pytest.raises(Unknown, match="is not on the blocklist"):
        ClientEviction(*EVICTION).inject(cluster(ceph))


def test_a_pool_has_a_quota_and_then_none():
    ceph = Ceph()
    it = PoolQuota("limited", 64)
    assert "quota of 67108864 bytes" in it.inject(cluster(ceph)).proof
    with pytest.raises(NotYet, match="still has a quota"):
        it.healed.now()
    it.heal()
    it.healed.now()
    assert ceph.ordered[-1] == "osd pool set-quota limited max_bytes 0"


def test_ratios_are_never_above_the_next_one_neither_down_nor_up():
    ceph = Ceph()
    it = FullRatio()
    assert it.inject(cluster(ceph)).proof == "3 full osd(s)"
    with pytest.raises(NotYet, match="full osd"):
        it.healed.now()
    it.heal()
    it.healed.now()
    assert ceph.ordered == [
        "osd set-nearfull-ratio 0.000010",
        "osd set-backfillfull-ratio 0.000020",
        "osd set-full-ratio 0.000030",
        "osd set-full-ratio 0.950000",
        "osd set-backfillfull-ratio 0.900000",
        "osd set-nearfull-ratio 0.850000",
    ]


@pytest.mark.parametrize(
    "it",
    [ClientBlocklisting(CLIENT), ClientEviction(*EVICTION), PoolQuota("limited", 64), FullRatio()],
    ids=lambda it: it.name,
)
def test_what_ceph_did_not_take_was_no_fault(it):
    with pytest.raises(Unknown, match="did not take effect"):
        it.inject(cluster(Ceph(deaf=True)))


@pytest.mark.parametrize(
    "it",
    [ClientBlocklisting(CLIENT), ClientEviction(*EVICTION), PoolQuota("limited", 64), FullRatio()],
    ids=lambda it: it.name,
)
def test_without_rook_there_is_nobody_to_order(it):
    with pytest.raises(UsageError, match="there is no Rook"):
        it.inject(cluster(None))
