"""Histories told by hand, by kind, and what an honest checker says of each.

Unless one says otherwise: rows 1, 2 and 3 are acknowledged at 50, row 9 is on its way when the fault comes at 100, all
nodes are dead at 101; the table is read at QUORUM at 150 and at ALL at 160.
"""

import json
import re

import pytest
from msgspec.structs import replace
from rookery.errors import UsageError
from rookery.history.checkers import NS, check_writes
from rookery.history.operations import History, Operation
from stories import Story


def base():
    return Story().acked(1, 2, 3).in_flight(9).fault()


def whole(story, keys=(1, 2, 3), **more):
    return story.read("QUORUM", keys, 150, **more).read("ALL", keys, 160, **more)


def twice():
    """Row 4 is acknowledged right before the first fault, and read after it; the second fault is at 300."""
    story = whole(base().acked(4, at=99), (1, 2, 3, 4))
    return story.write(10, 299.9, "info", took=5).fault(300)


def after_both(story, keys):
    return story.read("QUORUM", keys, 350).read("ALL", keys, 360)


def stalled(acked_at, *, asked_at=84.95):
    """Row 4 is acknowledged then, and from `asked_at` on every writer waits until the fault comes."""
    story = Story().acked(1, 2, 3).acked(4, at=acked_at).acked(5, at=84.5)
    for key in range(10, 18):
        story.write(key, asked_at, "info", took=16)
    return story.fault()


def timing_out():
    """As it is with real clients: each gives up after 5 s and asks again half a second later."""
    story = Story().acked(1, 2, 3).acked(4, at=75).acked(5, at=80)
    for turn in range(4):
        story.write(10 + turn, 80.1 + turn * 5.5, "info", took=5)
    return story.fault()


VALID = {
    "a partition, and nothing is missing": (
        whole(Story().acked(1, 2, 3).in_flight(9).fault(name="partition", loses_unsynced=False)),
        15,
    ),
    "a kill takes what was younger than the window, and a partition before it has nothing to do with that": (
        after_both(
            Story()
            .acked(1, 2, 3)
            .acked(4, at=95)
            .fault(97, name="partition", loses_unsynced=False)
            .in_flight(9)
            .fault(),
            (1, 2, 3),
        ),
        15,
    ),
    "all is there": (whole(base()), None),
    "an unknown write is there": (whole(base(), (1, 2, 3, 9)), None),
    "an unknown write is there later only": (
        base().read("QUORUM", (1, 2, 3), 150).read("ALL", (1, 2, 3, 9), 160),
        None,
    ),
    "acknowledged while it was read": (
        base().write(5, 150.5).read("QUORUM", (1, 2, 3), 150).read("ALL", (1, 2, 3, 5), 160),
        None,
    ),
    "a read at ONE promises nothing": (whole(base().read("ONE", (), 140).read("ONE", (), 170)), None),
    "the clock did not move while it was read": (whole(base(), took=0), None),
    "lost within the window": (whole(base().acked(4, at=90)), 15),
    "lost while the nodes died, with a window": (whole(base().acked(4, at=100.5)), 15),
    "lost by the first fault, and still lost after the second": (
        after_both(whole(base().acked(4, at=90)).write(10, 299.9, "info", took=5).fault(300), (1, 2, 3)),
        15,
    ),
    "lost by the second fault, within its window": (after_both(twice().acked(5, at=299), (1, 2, 3, 4)), 15),
    "acknowledged before a stall": (whole(stalled(80)), 15),
    "acknowledged before a stall in which clients timed out": (whole(timing_out()), 15),
    "the questions to docker come before the first signal": (
        whole(Story().acked(1, 2, 3).in_flight(9).acked(4, at=100.3).fault(signal=100.5)),
        15,
    ),
    "lost within the window to the nanosecond": (
        whole(base().write(4, 84.5, took=0.5).write(5, 99.5, took=0.5), (1, 2, 3, 5)),
        15,
    ),
    "lost, and begun at the moment all nodes were dead, with a window": (whole(base().write(4, 101)), 15),
    "acknowledged as the fault began, and nothing before": (
        whole(Story().write(1, 99.5, took=0.5).in_flight(9).fault(), (1,)),
        None,
    ),
    "acknowledged before a stall that the second fault ended": (
        after_both(whole(base()).acked(4, at=170).write(10, 172, "info", took=140).fault(300), (1, 2, 3)),
        15,
    ),
    "a stall since the moment all nodes were dead": (
        after_both(whole(base()).acked(4, at=170).write(10, 101, "info", took=250).fault(300), (1, 2, 3)),
        15,
    ),
    "a stall since the first moment": (
        whole(Story().acked(1, 2, 3).acked(4, at=60).write(9, 0, "info", took=120).fault()),
        15,
    ),
    "acknowledged before a stall, and the next answer came during the fault": (
        whole(base().acked(4, at=80).write(5, 80.5, took=20), (1, 2, 3, 5)),
        15,
    ),
    "a client asks again after two seconds and no more": (
        whole(
            Story().acked(1, 2, 3).acked(4, at=66).write(9, 80, "info", took=5).write(10, 87, "info", took=20).fault()
        ),
        15,
    ),
    "written as the read ended that found it": (
        base().write(5, 151).read("QUORUM", (1, 2, 3, 5), 150).read("ALL", (1, 2, 3, 5), 160),
        None,
    ),
    "read at QUORUM from the moment all nodes were dead": (
        base().read("QUORUM", (1, 2, 3), 101).read("ALL", (1, 2, 3), 160),
        None,
    ),
    "gone in a read that ended as the fault began": (
        whole(base().write(8, 55, "info").read("QUORUM", (1, 2, 3, 8), 60).read("QUORUM", (1, 2, 3), 99)),
        None,
    ),
    "the seed was read from the moment all nodes were dead": (
        whole(base().seed((0, 1)).seed_read("ALL", (0, 1), 101)),
        None,
    ),
    "all of the seed is there": (whole(base().seed((0, 1)).seed_read("ALL", (0, 1), 170)), None),
    "what is read of the seed before the fault is no matter": (
        whole(base().seed((0, 1)).seed_read("ALL", (0,), 60).seed_read("ALL", (0, 1), 170)),
        None,
    ),
}

INVALID = {
    "a partition takes a young row, which the window of a kill does not allow it": (
        whole(Story().acked(1, 2, 3).acked(4, at=99).in_flight(9).fault(name="partition", loses_unsynced=False)),
        15,
    ),
    "a partition after a kill takes what the kill has left": (
        after_both(
            whole(base().acked(4, at=290), (1, 2, 3))
            .write(10, 299.9, "info", took=5)
            .fault(300, name="partition", loses_unsynced=False),
            (1, 2, 3),
        ),
        15,
    ),
    "lost": (whole(base(), (1, 3)), None),
    "all lost": (whole(base(), ()), None),
    "missing at QUORUM": (base().read("QUORUM", (1,), 150).read("ALL", (1, 2, 3), 160), None),
    "lost at ALL": (base().read("QUORUM", (1, 2, 3), 150).read("ALL", (1, 2), 160), None),
    "lost after the first of two faults, and there after the second": (
        after_both(whole(base(), (1, 3)).write(10, 299.9, "info", took=5).fault(300), (1, 2, 3)),
        None,
    ),
    "missing at QUORUM after the first of two faults, and there later": (
        after_both(
            base().read("QUORUM", (1,), 150).read("ALL", (1, 2, 3), 160).write(10, 299.9, "info", took=5).fault(300),
            (1, 2, 3),
        ),
        None,
    ),
    "lost at ALL after the first of two faults, and there later": (
        after_both(
            whole(base().acked(4, at=155)).write(10, 299.9, "info", took=5).fault(300),
            (1, 2, 3, 4),
        ),
        None,
    ),
    "acknowledged as the read began that has it not": (
        base().write(4, 149, took=1).read("QUORUM", (1, 2, 3), 150).read("ALL", (1, 2, 3, 4), 160),
        None,
    ),
    "acknowledged after a read at ALL, and not in the last": (
        whole(base().acked(4, at=165)).read("ALL", (1, 2, 3), 170).read("QUORUM", (1, 2, 3), 180),
        None,
    ),
    "answered as the fault began": (
        whole(base().write(4, 84.5, took=0.5).write(5, 99.5, took=0.5), (1, 2, 3, 5)),
        14.95,
    ),
    "refused as the fault began": (whole(base().acked(4, at=80).write(5, 80.5, "fail", took=19.5)), 15),
    "a client gave up long before the fault": (whole(base().write(8, 60, "info", took=5).acked(4, at=70)), 15),
    "a client waits since before the first of two faults": (
        after_both(
            whole(Story().acked(1, 2, 3).write(9, 99.9, "info", took=250).fault())
            .acked(4, at=170)
            .write(10, 299.9, "info", took=5)
            .fault(300),
            (1, 2, 3),
        ),
        15,
    ),
    "lost outside the window": (whole(base().acked(4, at=84.5)), 15),
    "lost while the nodes died": (whole(base().acked(4, at=100.5)), None),
    "acknowledged after the fault, and lost": (whole(base().acked(4, at=140)), 15),
    "survived the first fault, lost by the second": (after_both(twice(), (1, 2, 3)), 15),
    "survived the first fault, lost by the second after a stall": (
        after_both(whole(base().acked(4, at=99), (1, 2, 3, 4)).write(10, 162, "info", took=140).fault(300), (1, 2, 3)),
        70,
    ),
    "acknowledged as all nodes were dead, survived, lost by the second fault after a stall": (
        after_both(
            whole(base().write(4, 100.5, took=0.5), (1, 2, 3, 4)).write(10, 162, "info", took=140).fault(300), (1, 2, 3)
        ),
        70,
    ),
    "acknowledged too long before a stall": (whole(stalled(69)), 15),
    "nobody waited while nothing was acknowledged": (whole(stalled(80, asked_at=99.9)), 15),
    "one client waits for ever, and others are answered": (
        whole(base().write(20, 10, None).acked(4, at=80).acked(5, at=99.5), (1, 2, 3, 5)),
        15,
    ),
    "torn": (whole(base(), (1, 3), torn={2: "wrong from byte 128 on"}), None),
    "empty": (whole(base(), (1, 3), torn={2: "0 bytes"}), None),
    "torn within the window": (whole(base().acked(4, at=99), (1, 2, 3), torn={4: "0 bytes"}), 15),
    "a row of an unknown write is torn": (whole(base(), (1, 2, 3), torn={9: "0 bytes"}), None),
    "torn at ONE": (whole(base().read("ONE", (1, 3), 140, torn={2: "0 bytes"})), None),
    "torn before the fault": (whole(base().read("QUORUM", (1, 3), 60, torn={2: "0 bytes"})), None),
    "torn, and no write was acknowledged": (
        Story().in_flight(9).fault().read("ALL", (), 150, torn={9: "no value"}),
        None,
    ),
    "a key that is never written": (whole(base(), (1, 2, 3), torn={-5: "not a key that is ever written"}), None),
    "a row nobody wrote": (whole(base(), (1, 2, 3, 77)), None),
    "read before it was written": (
        base().read("QUORUM", (1, 2, 3, 5), 150).acked(5, at=155).read("ALL", (1, 2, 3, 5), 160),
        None,
    ),
    "a failed write is there": (whole(base().write(7, 60, "fail"), (1, 2, 3, 7)), None),
    "a failed write is there before the fault": (whole(base().write(7, 60, "fail").read("ALL", (1, 7), 70)), None),
    "came and went": (base().read("QUORUM", (1, 2, 3, 9), 150).read("ALL", (1, 2, 3), 160), None),
    "came in the second read, and went": (
        base().read("QUORUM", (1, 2, 3), 150).read("QUORUM", (1, 2, 3, 9), 155).read("ALL", (1, 2, 3), 160),
        None,
    ),
    "came in one of two reads at once, and went": (
        base().read("QUORUM", (1, 2, 3, 9), 150).read("QUORUM", (1, 2, 3), 150.5).read("ALL", (1, 2, 3), 160),
        None,
    ),
    "came and went before the fault": (
        whole(base().write(8, 55, "info").read("QUORUM", (1, 2, 3, 8), 60).read("QUORUM", (1, 2, 3), 70)),
        None,
    ),
    "only the first page was read": (whole(Story().acked(*range(2000)).in_flight(5000).fault(), range(1000)), None),
    "a row of the seed is gone": (whole(base().seed((0, 1)).seed_read("ALL", (0,), 170)), None),
    "a row of the seed is gone at QUORUM": (
        whole(base().seed((0, 1)).seed_read("QUORUM", (0,), 165).seed_read("ALL", (0, 1), 170)),
        15,
    ),
    "a row of the seed is torn": (whole(base().seed((0, 1)).seed_read("ALL", (0,), 170, torn={1: "0 bytes"})), None),
}

UNKNOWN = {
    "a fault without a proof that it took effect": (whole(Story().acked(1, 2, 3).in_flight(9).fault(proof="")), None),
    "nothing": (Story(), None),
    "only a fault": (Story().fault(), None),
    "no write was acknowledged": (whole(Story().in_flight(9).write(8, 99.5, "info").fault(), ()), None),
    "every write failed": (whole(Story().write(1, 50, "fail").in_flight(9).fault(), ()), None),
    "no read": (base(), None),
    "no read at ALL": (base().read("QUORUM", (1, 2, 3), 150), None),
    "no read at QUORUM": (base().read("ALL", (1, 2, 3), 150), None),
    "reads that failed": (base().read("QUORUM", (1, 2), 150, outcome="fail").read("ALL", (), 160, outcome=None), None),
    "reads from before the fault": (base().read("QUORUM", (1, 2, 3), 60).read("ALL", (1, 2, 3), 70), None),
    "reads that a fault came upon": (base().read("QUORUM", (1, 2, 3), 99.5).read("ALL", (1, 2, 3), 100.5), None),
    "nothing in flight": (whole(Story().acked(1, 2, 3).fault()), None),
    "refused while the nodes died is not in flight": (
        whole(Story().acked(1, 2).write(9, 100.2, "fail").fault(), (1, 2)),
        None,
    ),
    "never fault": (whole(Story().acked(1, 2, 3)), None),
    "a fault that failed": (whole(Story().acked(1, 2, 3).in_flight(9).fault(outcome="info")), None),
    "a fault that nobody saw to its end": (whole(Story().acked(1, 2, 3).in_flight(9).fault(outcome=None)), None),
    "the second of two faults was not seen to its end": (
        after_both(whole(base()).fault(300, outcome="info"), (1, 2, 3)),
        None,
    ),
    "a row is gone, and nobody knows of which fault": (
        after_both(whole(base()).fault(300, outcome="info"), (1,)),
        None,
    ),
    "acknowledged after the last read": (whole(Story().in_flight(9).fault(), ()).acked(20, 21, at=200), None),
    "acknowledged after the fault": (whole(Story().in_flight(9).fault().acked(1, at=140), (1,)), None),
    "all that was acknowledged may be lost, and is": (whole(Story().acked(1, 2, at=99).in_flight(9).fault(), ()), 15),
    "QUORUM after ALL": (base().read("ALL", (1, 2, 3), 150).read("QUORUM", (1, 2, 3), 160), None),
    "QUORUM after an ALL that failed half-way": (whole(base().read("ALL", (), 140, outcome="fail")), None),
    "QUORUM while ALL was read": (base().read("ALL", (1, 2, 3), 149.5).read("QUORUM", (1, 2, 3), 150), None),
    "ALL from the moment all nodes were dead": (whole(base().read("ALL", (1, 2, 3), 101)), None),
    "ALL begun as QUORUM ended": (base().read("QUORUM", (1, 2, 3), 150).read("ALL", (1, 2, 3), 151), None),
    "the seed was not read": (whole(base().seed((0, 1))), None),
    "the seed was read at QUORUM only": (whole(base().seed((0, 1)).seed_read("QUORUM", (0, 1), 170)), None),
    "the seed was read before the fault only": (whole(base().seed((0, 1)).seed_read("ALL", (0, 1), 60)), None),
}


@pytest.mark.parametrize(
    ("verdict", "story", "window"),
    [
        pytest.param(verdict, *told, id=f"{verdict}: {name}")
        for verdict, kinds in (("valid", VALID), ("invalid", INVALID), ("unknown", UNKNOWN))
        for name, told in kinds.items()
    ],
)
def test_what_is_reported_of(verdict, story, window):
    report = story.check(window)
    assert report.verdict.value == verdict, report.describe()


def told(**changes):
    return {"loses_unsynced": True, "proof": "seen dead", **changes}


def after(*lines):
    """A right history that goes on with these lines: process, type, function, when, and what else there is."""
    history = whole(base()).history()
    for process, type_, f, at, more in lines:
        history.operations.append(Operation(process, type_, f, time_ns=int(at * NS), at=at, **more))
    return history


def with_line(number, **changes):
    """A right history whose line of that number is another."""
    history = whole(base()).history()
    history.operations[number - 1] = replace(history.operations[number - 1], **changes)
    return history


def two_runs(later):
    """Two runs of one machine or, with another clock, of two boots."""
    first, second = whole(base()).history().operations, whole(base()).history().operations
    return History([*first, *(replace(each, time_ns=each.time_ns + later * NS) for each in second)])


RIGHT_LINES = 14  # of a right history
WRITE_4, END_4 = (70, "invoke", "write", 200, {"key": 4}), (70, "ok", "write", 201, {"key": 4})

REFUSED = {
    "a key acknowledged, then written again": (
        after((70, "invoke", "write", 200, {"key": 2}), (70, "info", "write", 201, {"key": 2})),
        "15: key 2 is written a second time",
    ),
    "acknowledged twice": (after(WRITE_4, END_4, END_4), "17: process 70 ends a write"),
    "failed, and acknowledged": (after(WRITE_4, (70, "fail", "write", 201, {"key": 4}), END_4), "17: process 70 ends"),
    "ended as another key": (after(WRITE_4, (70, "ok", "write", 201, {"key": 5})), "16: process 70 ends"),
    "ended as another function": (
        after(WRITE_4, (70, "ok", "read", 201, {"value": "1"})),
        "16: process 70 ends a read",
    ),
    "ended and never begun": (after(END_4), "15: process 70 ends a write"),
    "two at once": (after(WRITE_4, (70, "invoke", "write", 201, {"key": 5})), "16: process 70 begins a write, and has"),
    "a read while it writes": (after(WRITE_4, (70, "invoke", "read", 201, {"value": "ALL"})), "16: process 70 begins"),
    "two faults at once": (
        after((-1, "invoke", "fault", 200, {}), (-1, "invoke", "fault", 201, {})),
        "16: process -1 begins a fault",
    ),
    "ended before it began": (after(WRITE_4, (70, "ok", "write", 20, {"key": 4})), "16: its clock"),
    "a clock set back": (with_line(6, time_ns=int(49 * NS)), "6: its clock"),
    "two runs after each other": (two_runs(300), "15: .* a second time"),
    "two runs of two boots": (two_runs(0), "15: its clock"),
    "a type nobody knows": (with_line(3, type="okay"), "3: 'okay' is no type"),
    "a function nobody knows": (with_line(3, f="cas"), "3: 'cas' is nothing that"),
    "a process that is none": (with_line(3, process=-2), "3: -2 is no process"),
    "a process that is no number": (with_line(3, process=True), "3: True is no process"),
    "a client that injects a fault": (after((70, "invoke", "fault", 200, {})), "15: a fault of process 70"),
    "a nemesis that writes": (after((-1, "invoke", "write", 200, {"key": 4})), "15: a write of process -1"),
    "a time that is none": (with_line(3, time_ns=1.5), "3: 1.5 is no time"),
    "a time of day that is none": (with_line(3, at="noon"), "3: 'noon' is no time in seconds"),
    "a fault that is no object": (with_line(3, fault=7), "3: 7 is nothing that is told of a fault"),
    "a write without a key": (after((70, "invoke", "write", 200, {})), "15: a write of key None"),
    "a negative key": (after((70, "invoke", "write", 200, {"key": -1})), "15: a write of key -1"),
    "a key that no column holds": (
        after((70, "invoke", "write", 200, {"key": 2**31})),
        "15: a write of key 2147483648",
    ),
    "a negative key is read": (with_line(12, value="-1"), "12: '-1' is no run of keys"),
    "damaged keys are read": (with_line(12, value="1-"), "12: '1-' is no run of keys"),
    "keys in no order are read": (with_line(12, value="3,1-2"), "12: '1-2' is no run of keys"),
    "more keys than there can be": (with_line(12, value="0-99999999"), "12: '0-99999999' is no run of keys"),
    "a read that says nothing": (with_line(12, value=None), "12: a read without its value"),
    "a read that was asked for nothing": (with_line(11, value=None), "12: a read without its value"),
    "both right and torn": (with_line(12, torn={2: "0 bytes"}), r"12: rows that are both right and torn: \[2\]"),
    "a fault that started before its recording": (with_line(9, fault=told(started_ns=5)), "9: the fault started at 5"),
    "a fault that started at no time": (with_line(9, fault=told(started_ns="soon")), "9: the fault started at 'soon'"),
    "a fault of which nothing is told": (with_line(9, fault=None), "9: {} is nothing that is told of a fault"),
    "a fault that may lose something": (with_line(9, fault=told(loses_unsynced="maybe")), "9: .* nothing that is told"),
    "a fault without a name": (with_line(8, value=None), "9: a fault without its value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_run_can_have_written_is_refused(name, tmp_path):
    history, told = REFUSED[name]
    with pytest.raises(UsageError, match=f"operation {told}") as refused:
        check_writes(history, rpo_seconds=None)
    assert refused.value.hint

    file = tmp_path / "history.jsonl"
    file.write_text("".join(operation.to_json() + "\n" for operation in history.operations), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"history\.jsonl:{told}"):
        History.load(file)


def lines_of(story):
    return [operation.to_json() + "\n" for operation in story.history().operations]


@pytest.mark.parametrize("rest", ['{"process": 99, "type": "inv', "\0\0\0\0", "{", '{"process": 99}'])
def test_a_torn_last_line_was_not_heard_of(tmp_path, rest):
    file = tmp_path / "history.jsonl"
    file.write_text("".join(lines_of(whole(base()))) + rest, encoding="utf-8")

    history = History.load(file)
    assert (check_writes(history, rpo_seconds=None).verdict.value, history.torn) == ("valid", rest)


@pytest.mark.parametrize("place", [1, 4, RIGHT_LINES])
@pytest.mark.parametrize("more", [0, 2500])  # so that it comes in another of the pieces in which a file is parsed
@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:20] + "\n",
        lambda line: "\n",
        lambda line: "\0\n",
        lambda line: line.rstrip() * 2 + "\n",
        lambda line: f"[{line.rstrip()}]\n",
        lambda line: line.replace("process", "proces"),
    ],
)
def test_a_damaged_line_is_named_wherever_it_is(tmp_path, place, more, damage):
    first = Story().acked(*range(100, 100 + more), at=10)
    lines = [*lines_of(first), *lines_of(whole(base()))]
    number = len(lines) - RIGHT_LINES + place
    lines[number - 1] = damage(lines[number - 1])
    file = tmp_path / "history.jsonl"
    file.write_text("".join(lines), encoding="utf-8")

    with pytest.raises(UsageError, match=rf"history\.jsonl:{number}: not an operation"):
        History.load(file)


def test_two_damaged_lines_are_not_taken_for_one(tmp_path):
    """Half of one and half of the next are whole together."""
    lines = lines_of(whole(base()))
    lines[3] = lines[3].replace(', "time_ns"', '\n"time_ns"', 1)
    file = tmp_path / "history.jsonl"
    file.write_text("".join(lines), encoding="utf-8")

    with pytest.raises(UsageError, match=r"history\.jsonl:4: not an operation"):
        History.load(file)


def test_an_empty_file_proves_nothing(tmp_path):
    (tmp_path / "history.jsonl").touch()
    history = History.load(tmp_path / "history.jsonl")
    assert check_writes(history, rpo_seconds=None).verdict.value == "unknown"


def test_only_monotonic_time_counts():
    """The time of day of half the lines is another time zone's."""
    history = whole(base()).history()
    for operation in history.operations[::2]:
        operation.at -= 7200
    assert check_writes(history, rpo_seconds=None).verdict.value == "valid"


def test_a_fault_of_clients_that_went_on_is_checked_as_of_then():
    """What was begun while the nodes stood still and ended later is of another life."""
    story = Story().acked(1, 2).write(9, 99.9, "ok", took=30).read("QUORUM", (), 99.5, outcome=None)
    history = story.read("QUORUM", (1, 2), 150).read("ALL", (1, 2), 160).history()

    report = check_writes(history.as_of_fault(100 * NS, 101 * NS), rpo_seconds=None)
    assert (report.verdict.value, report.in_flight_at_fault) == ("valid", [9])


def frozen_while_written(found):
    """Of one client row 4 is acknowledged between the first node's standing still and the last one's, and row 5 begun;
    row 6 is begun when all stand still. Both are answered later."""
    story = Story().acked(1, 2).in_flight(9).write(4, 100.2, took=0.1).write(5, 100.4, took=30).write(6, 101.5, took=30)
    history = story.read("QUORUM", found, 150).read("ALL", found, 160).history()
    first, second = (each.process for each in history.operations if each.key in (4, 5) and each.type == "invoke")
    for operation in history.operations:
        operation.process = first if operation.process == second else operation.process
    return check_writes(history.as_of_fault(100 * NS, 101 * NS), rpo_seconds=None)


def test_what_was_written_while_nodes_came_to_a_stand_may_have_been_saved():
    report = frozen_while_written((1, 2, 4, 5))
    assert (report.verdict.value, report.in_flight_at_fault) == ("valid", [5, 9])
    assert frozen_while_written((1, 2, 4)).verdict.value == "valid"
    assert frozen_while_written((1, 2, 5)).reasons[0] == "acknowledged rows missing at QUORUM: 4"
    assert frozen_while_written((1, 2, 4, 6)).reasons == ["rows nobody wrote: 6"]


def test_the_witness_is_reported():
    report = (
        whole(base().seed((0, 1)), (1, 3), torn={2: "0 bytes of 512"})
        .seed_read("ALL", (1,), 170, torn={0: "no value"})
        .check()
    )

    assert report.torn == {2: "0 bytes of 512"}
    assert "rows whose value is not what was written: 2" in report.reasons
    assert report.describe().splitlines()[-2:] == ["row 2: 0 bytes of 512", "row 0 of the seed: no value"]
    assert report.as_dict()["torn"] == {2: "0 bytes of 512"}


def test_a_stall_is_reported():
    report = whole(stalled(80)).check(15)
    assert report.held_back_s == pytest.approx(15.05)
    assert "nothing was acknowledged in the last 15.1 s before the fault" in report.describe()
    assert whole(base()).check(15).held_back_s == pytest.approx(0.1)
    assert "the last 1.0 s" in whole(Story().acked(1, 2, 3).write(9, 99, "info", took=5).fault()).check(15).describe()


def test_a_value_that_is_long_is_nowhere_in_a_history():
    assert max(map(len, lines_of(whole(base())))) < 200
    assert Operation.from_json(lines_of(base())[0]).value is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "done"}, "'done' is no type of an operation"),
        ({"f": "delete"}, "'delete' is nothing that a process does"),
        ({"process": 1.0}, "1.0 is no process"),
        ({"process": True}, "True is no process"),
        ({"process": -2}, "-2 is no process"),
        ({"time_ns": "1"}, "'1' is no time in nanoseconds"),
        ({"value": 7}, "7 is no text"),
        ({"key": "7"}, "a write of key '7'"),
    ],
)
def test_what_the_typed_reader_refuses_is_reported_in_words(tmp_path, change, told):
    path = tmp_path / "history.jsonl"
    line = {"process": 0, "type": "invoke", "f": "write", "key": 7, "time_ns": 1, "at": 1.0, **change}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(told)):
        History.load(path)


@pytest.mark.parametrize("name", ["type", "f", "node"])
@pytest.mark.parametrize("value", [["a list"], {"an": "object"}, 7, True])
def test_what_is_no_text_where_one_has_to_be_is_no_operation(tmp_path, name, value):
    path = tmp_path / "history.jsonl"
    line = {"process": 0, "type": "invoke", "f": "write", "key": 7, "time_ns": 1, "at": 1.0, name: value}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="1: not an operation of a history"):
        History.load(path)


def test_a_text_that_is_no_utf_8_is_an_operation_all_the_same(tmp_path):
    path = tmp_path / "history.jsonl"
    begun = Operation(0, "invoke", "write", 7, None, 1, 1.0)
    path.write_bytes(
        f"{begun.to_json()}\n".encode()
        + Operation(0, "info", "write", 7, None, 2, 1.0, "\udcff").to_json().encode()
        + b"\n"
    )
    assert [each.error for each in History.load(path).operations] == [None, "\udcff"]
