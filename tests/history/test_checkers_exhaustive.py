"""The checker beside another that looks at everything, slowly, over small histories; and over generated ones."""

from collections import namedtuple
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rookery.errors import UsageError
from rookery.history.checkers import check_writes
from rookery.history.generated import SECOND, WRONG, right, wrong
from rookery.history.operations import NEMESIS, History, Operation, format_keys, parse_keys

SAMPLES = 100  # of each kind; `rookery bench history` takes 10,000

Pair = namedtuple("Pair", "begin end outcome key asked found torn")


def pairs_of(operations, f):
    for number, begin in enumerate(operations):
        if (begin.type, begin.f) == ("invoke", f):
            end = next((each for each in operations[number + 1 :] if each.process == begin.process), None)
            found = parse_keys(end.value or "") if end and f.startswith("read") and end.type == "ok" else set()
            torn = set(end.torn or ()) if end else set()
            yield Pair(
                begin.time_ns, end.time_ns if end else None, end.type if end else "info",
                begin.key, begin.value, found | torn, torn,
            )  # fmt: skip


class Exhaustive:
    """Says of a history what the rules say, one rule after the other, each over everything."""

    def __init__(self, operations, window_s):
        self.window_s = window_s
        self.writes = list(pairs_of(operations, "write"))
        self.acked = [w for w in self.writes if w.outcome == "ok"]
        self.attempts = list(pairs_of(operations, "read"))
        self.reads = sorted((r for r in self.attempts if r.outcome == "ok"), key=lambda r: r.end)
        self.faults = [self._fault(operations, c) for c in pairs_of(operations, "fault")]
        self.losing = [c for c in self.faults if c.torn]
        self.strong = [r for r in self.reads if r.asked in ("QUORUM", "ALL") and self.undisturbed(r)]
        self.seed_reads = [r for r in pairs_of(operations, "read-seed") if r.outcome == "ok"]
        self.seed = set()
        for each in operations:
            if (each.f, each.type) == ("seed", "invoke"):
                self.seed |= parse_keys(each.value)

    @staticmethod
    def _fault(operations, fault):
        """The pair, begun when it started; what it has for torn says whether it loses what was not synced."""
        told = [o.fault for o in operations if o.f == "fault" and o.time_ns == fault.end and o.fault]
        if not told or fault.outcome != "ok":
            return fault
        return fault._replace(begin=told[0].get("started_ns", fault.begin), torn=told[0]["loses_unsynced"])

    def undisturbed(self, read):
        return all(c.outcome != "ok" or read.end < c.begin or c.end <= read.begin for c in self.faults)

    def verdict(self):
        wrong_ever = (
            any(r.torn for r in [*self.reads, *self.seed_reads])
            or any(w.key in r.found and w.outcome == "fail" for r in self.reads for w in self.writes)
            or any(not any(w.key == k and w.begin <= r.end for w in self.writes) for r in self.reads for k in r.found)
        )
        checked = bool(self.acked and self.faults and all(c.outcome == "ok" for c in self.faults))
        if wrong_ever or (checked and self.broken()):
            return "invalid"
        return "valid" if checked and not self.open() else "unknown"

    def life(self, number):
        """The reads between that fault and the next one."""
        begin = self.faults[number].end if number >= 0 else 0
        end = self.faults[number + 1].begin if number + 1 < len(self.faults) else float("inf")
        return [r for r in self.strong if begin <= r.begin and r.end < end]

    def broken(self):
        for one in self.strong:
            for other in self.strong:
                between = any(one.end < c.begin and c.end <= other.begin for c in self.losing)
                if one.end <= other.begin and one.found - other.found and not between:
                    return True  # it came and went
        for number in range(len(self.faults)):
            reads = self.life(number)
            early = [r for r in reads if r.asked == "QUORUM"][:1]
            final = [r for r in reads if r.asked == "ALL"][-1:]
            for read in early + final:
                for write in self.acked:
                    if write.end <= read.begin and write.key not in read.found and not self.excused(write, read):
                        return True
        after = [r for r in self.seed_reads if r.asked in ("QUORUM", "ALL") and self.undisturbed(r)]
        return any(self.seed - r.found for r in after if any(c.end <= r.begin for c in self.faults))

    def excused(self, write, read):
        known = [r.begin for r in self.strong if write.key in r.found and r.end <= read.begin]
        takers = [n for n, c in enumerate(self.losing) if c.end >= max([write.begin, *known])]
        if self.window_s is None or not takers:
            return False
        number = takers[0]
        born = self.losing[number - 1].end if number else 0
        until = self.silent_since(number, born) if number == 0 or write.end > born else self.losing[number].begin
        return (until - write.end) / SECOND <= self.window_s

    def silent_since(self, number, born):
        fault = self.losing[number].begin
        waits = [
            (w.begin, min(fault, w.end or fault))
            for w in self.writes
            if born <= w.begin < fault and ((w.outcome == "info") or w.end > fault)
        ]
        since, before = fault, None
        while since != before:
            before = since
            since = min([since, *(begin for begin, end in waits if end + 2 * SECOND >= since)])
        return max([since, born, *(w.end for w in self.acked if w.end <= fault)])

    def open(self):
        last = self.faults[-1]
        reads = self.life(len(self.faults) - 1)
        early = [r for r in reads if r.asked == "QUORUM"]
        final = [r for r in reads if r.asked == "ALL"]
        if not early or not final:
            return True
        if any(r.asked == "ALL" and last.end <= r.begin <= early[0].end for r in self.attempts):
            return True
        flying = [
            w
            for w in self.writes
            if w.begin <= last.end
            and (w.end is None or w.end > last.end or (w.outcome == "info" and w.end >= last.begin))
        ]
        older = [w for w in self.acked if w.end <= last.begin]
        seed_read = any(r.asked == "ALL" and r.begin >= last.end for r in self.seed_reads)
        return (
            not flying or not any(w.key in r.found for w in older for r in reads) or bool(self.seed and not seed_read)
        )


def verdict_of(operations, window_s):
    try:
        return check_writes(History(operations), rpo_seconds=window_s).verdict.value
    except UsageError:
        return "refused"


@st.composite
def small_histories(draw):
    """Whatever three clients and a fault may do, in any order, and a store that answers anything."""
    operations, open_, now, keys, processes = [], {}, 0, 0, 0

    def add(process, type_, f, key=None, value=None, torn=None, fault=None):
        operations.append(Operation(process, type_, f, key, value, now, 0.0, torn=torn, fault=fault))
        return operations[-1]

    for step in draw(st.lists(st.integers(0, 99), min_size=4, max_size=24)):
        now += draw(st.sampled_from((0, 1, 1, SECOND, 3 * SECOND)))
        if step < 12:
            if NEMESIS in open_:
                told = {"loses_unsynced": draw(st.sampled_from((True, True, False))), "proof": "seen"}
                add(NEMESIS, draw(st.sampled_from(("ok", "ok", "ok", "info"))), "fault", fault=told)
                del open_[NEMESIS]
            else:
                open_[NEMESIS] = add(NEMESIS, "invoke", "fault", value="any")
            continue
        clients = [process for process in open_ if process != NEMESIS]
        if clients and (step % 3 or len(clients) == 3):
            begin = open_.pop(clients[step % len(clients)])
            outcome = draw(st.sampled_from(("ok", "ok", "ok", "info", "fail")))
            if begin.f == "read" and outcome == "ok":
                there = {key for key in range(keys + 1) if draw(st.integers(0, 9)) < (9 if key < keys else 1)}
                torn = {key for key in there if draw(st.integers(0, 49)) == 7}
                add(
                    begin.process, "ok", "read", None, format_keys(there - torn), dict.fromkeys(torn, "0 bytes") or None
                )
            else:
                add(begin.process, outcome, begin.f, begin.key)
        elif step % 2:
            open_[processes] = add(processes, "invoke", "write", keys)
            keys, processes = keys + 1, processes + 1
        else:
            consistency = draw(st.sampled_from(("QUORUM", "ALL", "ALL", "ONE")))
            open_[processes] = add(processes, "invoke", "read", None, consistency)
            processes += 1
    return operations


windows = st.sampled_from((None, 0.0, 1.0, 3.0))


@settings(max_examples=200, deadline=None)
@given(small_histories(), windows)
def test_it_agrees_with_an_exhaustive_checker_on_whatever_may_happen(operations, window_s):
    assert verdict_of(operations, window_s) == Exhaustive(operations, window_s).verdict()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 2**32), max_size=3), st.sampled_from((None, 1.0, 2.0, 15.0)))
def test_it_agrees_with_an_exhaustive_checker_on_what_is_nearly_right(seed, edits, window_s):
    """A right history with a few of its reads' rows, outcomes and times changed."""
    operations = right(Random(seed)).operations
    for edit in edits:
        rng = Random(edit)
        number = rng.randrange(len(operations))
        each = operations[number]
        if each.f == "read" and each.type == "ok":
            found = parse_keys(each.value)
            each.value = format_keys(found ^ {rng.randrange(max(found, default=0) + 2)})
        elif each.f == "write" and each.type != "invoke":
            each.type = rng.choice(("ok", "info", "fail"))
        elif each.f == "write":
            pause = rng.randrange(20) * SECOND
            later = [replace(o, time_ns=o.time_ns + pause) for o in operations[number:]]
            operations[number:] = [
                replace(o, fault={**o.fault, "started_ns": o.fault["started_ns"] + pause}) if o.fault else o
                for o in later
            ]
    assert verdict_of(operations, window_s) == Exhaustive(operations, window_s).verdict()


def test_right_histories_pass():
    for seed in range(SAMPLES * 5):
        sample = right(Random(seed))
        report = check_writes(History(sample.operations), rpo_seconds=sample.window_s)
        assert report.verdict.value == "valid", f"seed {seed}: {report.describe()}"


@pytest.mark.parametrize("name", WRONG)
def test_wrong_histories_are_found(name):
    expected, _ = WRONG[name]
    for seed in range(SAMPLES):
        sample = wrong(name, Random(seed))
        assert verdict_of(sample.operations, sample.window_s) == expected, f"seed {seed}"
