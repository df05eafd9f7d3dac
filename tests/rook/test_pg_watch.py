"""How long PGs were not active, by what they say of themselves at each look."""

from dataclasses import replace

import pytest
from rookery.errors import Unknown
from rookery.rook.pg_watch import InactivePeriods, PgWatch
from rookery.rook.status import Pg, pgs_of
from rookery.waiting import Condition, NotYet


def pg(state="active+clean", became_active=0.0, name="1.0"):
    return Pg(name, state, 40, became_active)


def spells(*looks):
    seen = InactivePeriods()
    for now, pgs in looks:
        seen.look(pgs, now)
    return seen


def test_a_pg_that_was_active_at_every_look_and_between_has_no_inactive_period():
    seen = spells((100, [pg(became_active=50)]), (101, [pg(became_active=50)]), (105, [pg(became_active=50)]))
    assert (seen.longest, seen.unseen, seen.looks) == ({}, 4, 3)


@pytest.mark.parametrize("state", ["peering", "stale+active+clean", "undersized+peered", "activating+degraded"])
def test_a_period_ends_when_the_pg_became_active_not_when_that_was_seen(state):
    seen = spells((100, [pg()]), (102, [pg(state)]), (104, [pg(state)]), (110, [pg(became_active=105.5)]))
    assert seen.longest == {"1.0": 5.5}


def test_a_period_that_nobody_saw_counts_from_the_look_before():
    assert spells((100, [pg()]), (109, [pg(became_active=107)])).longest == {"1.0": 7}


def test_a_period_that_has_not_ended_counts_so_far():
    assert spells((100, [pg()]), (103, [pg("peering")])).longest == {"1.0": 3}


def test_a_mgr_that_has_not_heard_of_a_pg_reports_nothing_of_it():
    assert spells((100, [pg()]), (110, [pg("unknown")]), (112, [pg(became_active=50)])).longest == {}


def test_each_pg_is_counted_for_itself_and_one_that_is_made_is_not_late():
    seen = spells((100, [pg(name="1.0")]), (110, [pg("peering", name="1.0"), pg("peering", name="2.0")]))
    assert seen.longest["1.0"] == 10
    assert not seen.longest.get("2.0")


def test_a_watch_looks_until_its_block_ends_and_bears_a_mgr_that_is_away():
    answers = iter([[pg()], NotYet("no mgr"), [pg("peering")], [pg()]])

    def ask():
        answer = next(answers, [pg()])
        if isinstance(answer, Exception):
            raise answer
        return answer

    with PgWatch(ask, every=0.001) as watched:
        wait_for_looks(watched, 3)
    assert watched.as_dict()["looks"] >= 3
    assert list(watched.as_dict()["longest_s"]) == ["1.0"]
    assert watched.longest_inactive > 0


def wait_for_looks(watched, number):
    def looked():
        if watched.as_dict()["looks"] < number:
            raise NotYet("fewer looks")

    Condition("looks", looked, within=10, every=0.001).wait()


def test_a_watch_that_hardly_looked_knows_nothing():
    with pytest.raises(Unknown, match="looked at 0 times"):
        PgWatch(list).longest_inactive  # noqa: B018


def test_a_watch_that_broke_reports_it_unless_its_block_has_failed_anyway():
    def ask():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), PgWatch(ask, every=0.001):
        pass
    with pytest.raises(KeyError), PgWatch(ask, every=0.001):
        raise KeyError


def test_a_pg_reports_when_it_became_active():
    stats = {"pgid": "1.0", "state": "active", "reported_epoch": 1, "last_became_active": "2026-11-24T08:00:01.5+0000"}
    (found,) = pgs_of({"pg_ready": True, "pg_stats": [stats]})
    assert found.became_active == 1795507201.5
    assert found.active
    assert not replace(found, state="stale+active").active


def test_a_pg_that_was_never_active_reports_it_in_plain_seconds():
    stats = {"pgid": "1.0", "state": "creating+peering", "reported_epoch": 9, "last_became_active": "0.000000"}
    (found,) = pgs_of({"pg_ready": True, "pg_stats": [stats]})
    assert found.became_active == 0
    assert not found.active
