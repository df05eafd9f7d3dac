"""Compare, undo, compare again: when that ends, with what, and what it says."""

import time
from types import SimpleNamespace

import pytest
from playing import plays
from rookery.errors import InfrastructureError, in_words
from rookery.kube import ApiUnavailable
from rookery.storage.baseline import cleaning as cleaning_module
from rookery.storage.baseline.cleaning import Cleaning, MeasuredCluster, converge, listed
from rookery.storage.baseline.fingerprint import API, CEPH, NODES, Fingerprint, Item
from rookery.waiting import NotYet


def picture(*names, gone=False, **rest):
    kind = "PersistentVolumeClaim" if gone else "ConfigMap"
    return Fingerprint({(API, kind, name): Item(1) for name in names}, **rest)


@plays(MeasuredCluster)
class Cluster:
    """Looks like `looks`, one after another, and like the last from then on; each look takes a second."""

    def __init__(self, clock, looks):
        self.clock, self.looks = clock, list(looks)
        self.did = []

    def measure(self):
        self.clock.now += 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def undo(self, baseline, now, differences):
        self.did.append([each.name for each in differences])
        return [f"{each.name} undone" for each in differences]

    def accept_warnings(self):
        self.did.append("mute")


@pytest.fixture
def after(monkeypatch):
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)

    def after(*looks, baseline=None):
        cluster = Cluster(clock, looks)
        return converge(cluster, picture() if baseline is None else baseline), cluster.did

    return after


def test_a_clean_cluster_is_looked_at_once(after):
    cleaning, did = after(picture())
    assert (cleaning.clean, cleaning.seconds, did) == (True, 1, [])
    assert str(cleaning) == "clean in 1.0 s"


def test_what_differs_is_undone_and_looked_at_again(after):
    cleaning, did = after(picture("a", "b"), picture("b"), picture())
    assert cleaning == Cleaning(4.0, undone=("a undone", "b undone"))
    assert did == [["a", "b"], ["b"]]
    assert str(cleaning) == "clean in 4.0 s; undone: a undone; b undone"


def test_what_does_not_converge_in_ten_seconds_is_reported(after):
    cleaning, _ = after(picture("a"))
    assert not cleaning.clean
    assert cleaning_module.CONVERGED <= cleaning.seconds < cleaning_module.CONVERGED + 2
    assert str(cleaning).endswith("ConfigMap a was not there (tried: a undone)")


def test_what_is_on_its_way_has_longer(after):
    cleaning, did = after(*[picture(unhealthy=("1 osds down",))] * 15, picture())
    assert cleaning.clean
    assert cleaning_module.CONVERGED < cleaning.seconds < cleaning_module.UNHEALTHY_FOR
    assert set(did) == {"mute"}
    cleaning, _ = after(picture(unhealthy=("1 osds down",)))
    assert cleaning.left == ("1 osds down",)
    assert cleaning.seconds >= cleaning_module.UNHEALTHY_FOR


def test_what_cannot_come_right_ends_it_at_once(after):
    cleaning, did = after(picture(), baseline=picture("data", gone=True))
    assert (cleaning.clean, cleaning.seconds, did) == (False, 1, [])


def test_of_many_differences_the_first_are_reported():
    assert listed(["a", "b"]) == "a; b"
    assert listed([str(number) for number in range(12)]).endswith("8; 9; and 2 more")


@pytest.fixture
def parts(monkeypatch):
    """What each part of a cluster answers, or raises; `storage` is the system that has Ceph's."""
    answers = {part: Fingerprint({(part, "a", "b"): Item(1)}) for part in (API, CEPH, NODES)}

    def collecting(part):
        def collect(*_, **__):
            if isinstance(answers[part], Exception):
                raise answers[part]
            return answers[part]

        return collect

    for name, part in (("api", API), ("node", NODES)):
        monkeypatch.setattr(cleaning_module, name, SimpleNamespace(collect=collecting(part)))
    storage = SimpleNamespace(namespaces=("rook-ceph",), parts=lambda: {CEPH: collecting(CEPH)})
    return SimpleNamespace(answers=answers, storage=storage)


@pytest.mark.parametrize(("deployed", "found"), [(True, {API, CEPH, NODES}), (False, {API, NODES})])
def test_a_fingerprint_has_all_parts_that_there_are(parts, deployed, found):
    fingerprint = MeasuredCluster(
        None, ["worker"], "/var/lib/kubelet", parts.storage if deployed else None
    ).fingerprint()
    assert {part for part, _, _ in fingerprint.items} == found


@pytest.mark.parametrize(("part", "error"), [(API, ApiUnavailable("refused")), (CEPH, NotYet("no quorum"))])
def test_a_part_that_does_not_answer_is_unread_and_no_baseline(parts, part, error):
    parts.answers[part] = error
    measured = MeasuredCluster(None, ["worker"], "/var/lib/kubelet", parts.storage)
    found = measured.measure()
    assert found.unread == {part}
    assert in_words(error) in found.unhealthy[0]
    with pytest.raises(NotYet, match=f"{part} cannot be read"):
        measured.fingerprint()


def test_a_part_that_fails_is_nothing_to_wait_for(parts):
    parts.answers[NODES] = InfrastructureError("docker is gone", hint="h")
    with pytest.raises(InfrastructureError, match="docker is gone"):
        MeasuredCluster(None, ["worker"], "/var/lib/kubelet", parts.storage).measure()


def test_accepted_warnings_are_muted_by_asking_for_health():
    asked = []

    def healthy():
        asked.append("health")
        raise NotYet("muted")

    MeasuredCluster(None, [], "", SimpleNamespace(accept_warnings=healthy)).accept_warnings()
    MeasuredCluster(None, [], "").accept_warnings()
    assert asked == ["health"]
