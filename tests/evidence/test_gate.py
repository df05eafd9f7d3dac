"""What fails a scenario that would pass: lines as Ceph and Go write them, and what excuses them."""

import math

import pytest
from rookery.evidence.cluster_log import entries, entry
from rookery.evidence.gate import (
    Finding,
    Gate,
    Rules,
    UnexpectedEvidence,
    Window,
    of_cluster_log,
    of_crashes,
    of_log,
    require,
    rules,
    windows_of,
)
from rookery.faults import ALL

BEGIN = 1_795_949_900.0  # 2026-11-29T10:58:20Z


def line(text, level="WRN", at="2026-11-29T10:58:29.307562+0000", number=274):
    return f"cluster {at} mon.a (mon.0) {number} : cluster [{level}] {text}"


DOWN = line("Health check failed: 1 osds down (OSD_DOWN)")
SCRUB = line("1.f scrub 1 errors", "ERR")


def test_an_entry_is_read_with_its_time_and_its_code():
    found = entry(DOWN)
    assert (found.who, found.number, found.level, found.code) == ("mon.a", 274, "WRN", "OSD_DOWN")
    assert found.at == pytest.approx(BEGIN + 9.307562)
    assert entry(line("Health check cleared: OSD_DOWN (was: 1 osds down)", "INF")).cleared == "OSD_DOWN"


@pytest.mark.parametrize(
    "text",
    ["", "debug 2026-11-29 osd.0 boot", "cluster [WRN]", line("x", at="2026-13-99T99:99:99.1+0000"), "\x00" * 5000],
)
def test_another_line_is_no_entry(text):
    assert entry(text) is None


def test_an_entry_that_every_mon_has_is_one():
    assert len(list(entries([f"{DOWN}\n{DOWN}", DOWN, line("other")]))) == 2


def test_warnings_and_errors_are_findings_if_they_are_newer_than_the_scenario():
    log = "\n".join([DOWN, SCRUB, line("osd.1 boot", "INF"), line("old", at="2026-11-29T10:58:19.000000+0000")])
    assert [each.text for each in of_cluster_log([log], since=BEGIN)] == [
        "[WRN] Health check failed: 1 osds down (OSD_DOWN)",
        "[ERR] 1.f scrub 1 errors",
    ]


def test_what_a_mon_reports_again_is_no_finding():
    again = ["Health detail: HEALTH_WARN 1 osds down", "[WRN] OSD_DOWN: 1 osds down", "    osd.1 is down"]
    assert of_cluster_log([line(each) for each in again], since=BEGIN) == []


@pytest.mark.parametrize(
    "text",
    [
        "/src/osd/PG.cc: 42: FAILED ceph_assert(x)",
        "*** Caught signal (Aborted) **",
        "panic: runtime error: invalid memory address or nil pointer dereference",
        'E1129 10:58:29.3 1 runtime.go:79] Observed a panic: "invalid memory address"',
        "fatal error: concurrent map writes",
    ],
)
def test_a_program_that_ends_because_it_is_wrong_is_a_finding(text):
    (found,) = of_log("osd.0", f"before\n{text}\nafter")
    assert found.text == text
    assert Gate().unexpected([found], [Window("node kill", 0)]) == [found]


@pytest.mark.parametrize("text", ["no panic: all is well", "ceph_assert is a macro", "x" * 1_000_000, "\udcff\x00"])
def test_other_lines_are_none(text):
    assert of_log("osd.0", text) == []


def unexpected(log, *, windows=(), **expected):
    found = of_cluster_log(log, since=BEGIN)
    return [each.code or each.text for each in Gate(**expected).unexpected(found, windows)]


def test_a_fault_explains_what_it_does_until_the_cluster_should_have_recovered():
    assert unexpected([DOWN, SCRUB]) == ["OSD_DOWN", "[ERR] 1.f scrub 1 errors"]
    assert unexpected([DOWN, SCRUB], windows=[Window("node kill", BEGIN)]) == ["[ERR] 1.f scrub 1 errors"]
    assert unexpected([DOWN], windows=[Window("node kill", BEGIN, BEGIN + 5)]) == ["OSD_DOWN"]
    assert unexpected([DOWN], windows=[Window("node kill", BEGIN + 10)]) == ["OSD_DOWN"]
    assert unexpected([DOWN], windows=[Window("service deletion", BEGIN)]) == ["OSD_DOWN"]


def test_the_window_of_a_fault_ends_some_time_after_it_was_healed():
    healed, open_ = windows_of([{"name": "a", "at": 100.0, "healed_at": 110.0}, {"name": "b", "at": 100.0}])
    assert (healed.begin, healed.end, open_.end) == (99.0, 350.0, math.inf)


def test_a_scenario_expects_checks_and_texts():
    full = line("Health check failed: 1 pool(s) full (POOL_FULL)")
    assert unexpected([full, SCRUB]) == ["POOL_FULL", "[ERR] 1.f scrub 1 errors"]
    assert unexpected([full, SCRUB], codes=["POOL_FULL"], texts=["scrub … errors"]) == []


def test_a_crash_of_an_osd_that_lost_its_disk_is_explained_and_no_other():
    found = of_crashes([(BEGIN + 1, who, "an_id") for who in ("osd.1", "mgr.a")], since=BEGIN)
    assert [each.who for each in Gate().unexpected(found, [Window("disk loss", BEGIN)])] == ["mgr.a"]
    assert len(Gate().unexpected(found, [Window("node kill", BEGIN)])) == 2
    assert of_crashes([(BEGIN - 1, "osd.1", "an_id")], since=BEGIN) == []


def test_scrub_that_is_put_off_is_allowed():
    """A line of a run with Ceph 18.2.7, on a machine with other work."""
    told = (
        "osd.0 ep: 65 scrubber::ReplicaReservations pg[2.1b]:  timeout on replica reservations "
        "(since 2026-11-29 14:15:31.338760419)"
    )
    assert unexpected([line(told)]) == []


def test_each_text_is_reported_once_and_in_its_order():
    late = line("Health check update: 2 osds down (OSD_DOWN)", at="2026-11-29T10:59:00.0+0000", number=300)
    assert unexpected([late, DOWN, SCRUB]) == ["OSD_DOWN", "[ERR] 1.f scrub 1 errors"]


def test_some_are_reported_and_the_rest_is_counted():
    with pytest.raises(UnexpectedEvidence, match=r"expects \(30\):\n") as error:
        require([Finding(None, "osd.0", f"line {number} " + "x" * 1_000_000) for number in range(30)])
    assert "and 10 more" in str(error.value)
    assert len(str(error.value)) < 10_000
    require([])


def test_the_rules_that_come_along_have_reasons_and_name_faults_that_there_are():
    names = {fault.name for fault in ALL}
    assert rules().allowed
    for each in rules().explained:
        assert set(each.faults) <= names


@pytest.mark.parametrize(
    "data",
    [
        {"allowed": [{"code": "OSD_DOWN", "reason": " "}]},
        {"allowed": [{"reason": "anything goes"}]},
        {"explained": [{"faults": ["node kill"], "codes": ["OSD_DOWN"]}]},
    ],
)
def test_an_entry_without_a_reason_or_a_limit_is_refused(data):
    with pytest.raises(ValueError, match=r"no reason|allows anything"):
        Rules.parse(data)


def test_with_code_and_text_both_have_to_be_there():
    found = Gate(Rules.parse({"allowed": [{"code": "PG_AVAILABILITY", "text": "peering", "reason": "new pools"}]}))
    peering = Finding(1, "mon.a", "[WRN] Health check failed: 1 pg peering (PG_AVAILABILITY)", "PG_AVAILABILITY")
    inactive = Finding(1, "mon.a", "[WRN] Health check failed: 1 pg inactive (PG_AVAILABILITY)", "PG_AVAILABILITY")
    assert found.unexpected([peering, inactive], []) == [inactive]
