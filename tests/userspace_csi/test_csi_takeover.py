"""The userspace CSI driver: whose watch or lock stands in the way of exporting an image."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from userspace_csi.takeover import Blocklist, Client, ImageUse, Locker, examine

OLD = Client(4123, "10.244.1.1:0/3212345")
OTHER = Client(4200, "10.244.2.1:0/99")
NO_ENTRIES = Blocklist()

CLIENTS = st.builds(lambda number: Client(number, f"10.0.0.{number}:0/{number}"), st.integers(1, 6))
USES = st.builds(
    ImageUse,
    watchers=st.lists(CLIENTS, unique=True).map(tuple),
    lockers=st.lists(st.builds(Locker, CLIENTS, st.just("auto 1")), max_size=1).map(tuple),
)
BLOCKLISTS = st.builds(Blocklist, st.frozensets(CLIENTS.map(lambda client: client.address)))


def test_nobody_has_it_open() -> None:
    verdict = examine(ImageUse(), ours=[OLD.id], blocklist=NO_ENTRIES)
    assert (verdict.others, verdict.dead, verdict.broken) == ((), (), ())


def test_our_own_dead_exporter_is_fenced_and_its_lock_broken() -> None:
    lock = Locker(OLD, "auto 94")
    verdict = examine(ImageUse(watchers=(OLD,), lockers=(lock,)), ours=[OLD.id], blocklist=NO_ENTRIES)
    assert (verdict.others, verdict.dead, verdict.broken) == ((), (OLD,), (lock,))


def test_a_dead_exporter_that_never_wrote_is_fenced_for_its_watch() -> None:
    assert examine(ImageUse(watchers=(OLD,)), ours=[OLD.id], blocklist=NO_ENTRIES).dead == (OLD,)


def test_another_client_stands_in_the_way_even_beside_our_own() -> None:
    verdict = examine(ImageUse(watchers=(OLD, OTHER)), ours=[OLD.id], blocklist=NO_ENTRIES)
    assert verdict.others == (OTHER,)


def test_the_same_host_is_not_the_same_client() -> None:
    reborn = Client(4300, "10.244.1.1:0/777")
    assert examine(ImageUse(watchers=(reborn,)), ours=[OLD.id], blocklist=NO_ENTRIES).others == (reborn,)


def test_a_blocklisted_client_does_not_count() -> None:
    for address in (OTHER.address, "10.244.2.1:0/0"):
        assert examine(ImageUse(watchers=(OTHER,)), ours=[], blocklist=Blocklist(frozenset([address]))).others == ()
    other_nonce = Blocklist(frozenset(["10.244.2.1:0/98"]))
    assert examine(ImageUse(watchers=(OTHER,)), ours=[], blocklist=other_nonce).others == (OTHER,)


def test_who_holds_the_lock_without_a_watch_is_fenced_by_who_comes_to_write() -> None:
    """A node that was cut off, and may come back."""
    lock = Locker(OTHER, "auto 1")
    verdict = examine(ImageUse(lockers=(lock,)), ours=[], blocklist=NO_ENTRIES)
    assert (verdict.others, verdict.dead, verdict.broken) == ((), (OTHER,), (lock,))
    reading = examine(ImageUse(lockers=(lock,)), ours=[], blocklist=NO_ENTRIES, reading=True)
    assert (reading.others, reading.dead, reading.broken) == ((), (), ())


def test_a_reader_minds_only_who_has_written() -> None:
    """qemu watches an image also for reading; the lock is taken with the first write."""
    lock = Locker(OTHER, "auto 1")
    idle, writing = ImageUse(watchers=(OTHER,)), ImageUse(watchers=(OTHER, OLD), lockers=(lock,))
    assert examine(idle, ours=[], blocklist=NO_ENTRIES, reading=True).others == ()
    assert examine(writing, ours=[], blocklist=NO_ENTRIES, reading=True).others == (OTHER,)
    assert examine(ImageUse(lockers=(lock,)), ours=[], blocklist=NO_ENTRIES, reading=True).others == ()
    blocked = Blocklist(frozenset([OTHER.address]))
    assert examine(writing, ours=[], blocklist=blocked, reading=True).others == ()


@given(USES, st.sets(st.integers(1, 6)), BLOCKLISTS)
def test_no_other_living_client_is_ever_fenced_or_passed_over(
    use: ImageUse, ours: set[int], blocklist: Blocklist
) -> None:
    verdict = examine(use, ours=ours, blocklist=blocklist)
    assert all(client.id in ours or client not in use.watchers for client in verdict.dead)
    assert all(locker.client in verdict.dead for locker in verdict.broken)
    for watcher in use.watchers:
        if watcher.id not in ours and not blocklist.covers(watcher):
            assert watcher in verdict.others


def test_the_blocklist_is_read_as_ceph_18_prints_it():
    printed = '\n[{"addr":"10.244.1.4:0/366409271","until":"2026-11-25T08:55:32.400676+0000"}][]'

    assert Blocklist.parse(printed).addresses == {"10.244.1.4:0/366409271"}
    assert Blocklist.parse("").addresses == frozenset()
