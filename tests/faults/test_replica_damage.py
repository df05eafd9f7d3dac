"""A copy of an object is damaged: whose, by which tool, and what proves it."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fakes import plays_rook
from playing import plays
from rookery.errors import Unknown, UsageError
from rookery.faults import ReplicaDamage, fault, replica_damage
from rookery.rook.status import Pg, Placed
from rookery.waiting import Condition, NotYet
from rookery.workloads.background_writes import HasShell


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fault, "EFFECT_SEEN", 0.0)


@plays(HasShell)
class Store:
    """Of an OSD that idles: one object of so many bytes, which does not change if it is `read_only`."""

    def __init__(self, size, *, read_only=False):
        self.size, self.read_only, self.did = size, read_only, []

    def sh(self, script):
        self.did.append(script)
        if "set-bytes" in script and not self.read_only:
            self.size = 4096
        return f"noise\n{self.size}\n" if "get-bytes" in script else ""


@plays_rook
class Ceph:
    def __init__(self):
        self.ordered, self.state = [], "active+clean+inconsistent"

    def placed(self, pool, name):
        return Condition("placed", lambda: Placed(f"{pool}.7", (2, 0, 1)), within=0)

    def answer_to(self, *order):
        return Condition("an answer", lambda: self.ordered.append(" ".join(order)), within=0)

    def pgs(self):
        return (Pg("pool.7", self.state, 9), Pg("pool.8", "active+clean", 9))


@pytest.fixture
def ceph():
    return Ceph()


@pytest.fixture
def damaged(monkeypatch, ceph):
    """Injects it into a store."""

    def inject(store):
        @contextmanager
        def idle(rook, kind, name):
            assert (rook, kind) == (ceph, "osd")
            store.did.append(f"osd.{name} idles")
            yield store
            store.did.append("and runs again")

        monkeypatch.setattr(replica_damage, "idle", idle)
        it = ReplicaDamage("pool", "rbd_data.1")
        return it, it.inject(SimpleNamespace(rook=ceph, has_rook=True))

    return inject


def test_the_last_copy_is_cut_short_in_its_own_store(damaged):
    store = Store(4 << 20)
    it, told = damaged(store)
    assert (it.pg, it.osd) == ("pool.7", 1)
    assert (store.did[0], store.did[-1]) == ("osd.1 idles", "and runs again")
    (set_bytes,) = [script for script in store.did if "set-bytes" in script]
    assert "--data-path /var/lib/ceph/osd/ceph-1 --pgid pool.7 rbd_data.1 set-bytes" in set_bytes
    assert told.proof == "of 4194304 bytes osd.1 has 4096, PG pool.7"


def test_its_placement_group_is_asked_to_repair_until_it_is_consistent(damaged, ceph):
    it, _ = damaged(Store(4 << 20))
    it.heal()
    assert ceph.ordered == ["ceph pg repair pool.7"]
    with pytest.raises(NotYet, match=r"PG pool\.7 is active\+clean\+inconsistent"):
        it.healed.now()
    ceph.state = "active+clean"
    it.healed.now()


@pytest.mark.parametrize(
    ("store", "why"),
    [(Store(4096), "nothing to a copy of 4096 bytes"), (Store(8192, read_only=True), "osd.1 has 8192 bytes")],
    ids=["too small", "not written"],
)
def test_what_was_not_damaged_was_no_fault(damaged, store, why):
    with pytest.raises(Unknown, match=why):
        damaged(store)


def test_without_rook_there_is_no_replica():
    with pytest.raises(UsageError, match="there is no Rook"):
        ReplicaDamage("pool", "rbd_data.1").inject(SimpleNamespace(rook=None, has_rook=False))
