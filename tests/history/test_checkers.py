"""Verdicts over small histories. Seconds are the unit; the fault comes at 100 and all nodes are dead at 101."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.history.checkers import NS, Row, Verdict, check_writes
from rookery.history.operations import History
from stories import Story


@pytest.fixture
def story():
    """Rows 1 to 3 acknowledged, row 9 on its way at the fault."""
    return Story().acked(1, 2, 3).in_flight(9).fault()


def keys(rows):
    return [row.key for row in rows]


def test_every_acknowledged_row_is_there(story):
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3], at=160).check()

    assert (report.verdict, report.reasons) == (Verdict.VALID, [])
    assert (report.acknowledged, report.in_flight_at_fault) == (3, [9])
    assert report.missing_at_quorum == report.lost == report.came_back == []


def test_nothing_at_all_is_unknown():
    assert Story().check().verdict is Verdict.UNKNOWN


def test_no_acknowledged_write_is_unknown():
    report = Story().in_flight(9).fault().read("QUORUM", [], at=150).read("ALL", [], at=160).check()

    assert report.verdict is Verdict.UNKNOWN
    assert "acknowledged" in report.reasons[0]


def test_without_a_fault_it_is_unknown():
    report = Story().acked(1).read("QUORUM", [1], at=150).read("ALL", [1], at=160).check()

    assert report.verdict is Verdict.UNKNOWN
    assert "fault" in report.reasons[0]


def test_no_write_in_flight_is_unknown_however_well_all_looks():
    report = Story().acked(1).fault().read("QUORUM", [1], at=150).read("ALL", [1], at=160).check()

    assert report.verdict is Verdict.UNKNOWN
    assert "in flight" in report.reasons[0]


@pytest.mark.parametrize(("made", "not_made"), [("QUORUM", "ALL"), ("ALL", "QUORUM")])
def test_a_read_that_was_not_made_is_unknown(story, made, not_made):
    report = story.read(made, [1, 2, 3], at=150).check()

    assert report.verdict is Verdict.UNKNOWN
    assert not_made in report.reasons[0]


def test_reads_before_the_fault_and_reads_that_failed_prove_nothing(story):
    story.read("QUORUM", [1, 2, 3], at=60).read("ALL", [1, 2, 3], at=70)
    report = story.read("QUORUM", [1, 2, 3], at=150, outcome="fail").read("ALL", [], at=160, outcome=None).check()

    assert report.verdict is Verdict.UNKNOWN
    assert len(report.reasons) == 2


def test_a_lost_row_is_named(story):
    report = story.read("QUORUM", [1, 3], at=150).read("ALL", [1, 3], at=160).check()

    assert report.verdict is Verdict.INVALID
    assert keys(report.missing_at_quorum) == keys(report.lost) == [2]
    assert report.came_back == []
    assert report.lost[0].seconds_before_fault == pytest.approx(49.99)
    assert report.lost[0].acked_ns == pytest.approx(50.01 * NS)
    assert "lost" in report.reasons[1]
    assert "row 2: acknowledged 49.990 s before the fault, not back, NOT ALLOWED" in report.describe()


@pytest.mark.parametrize(
    ("age", "allowed", "came_back_s", "told"),
    [
        (0.5, True, None, "0.500 s before the fault, not back"),
        (0.0, True, 59.96, "0.000 s before the fault, back after 60.0 s"),
        (-0.1, True, None, "during the fault, not back"),
        (None, False, 3.0, "after the fault, back after 3.0 s, NOT ALLOWED"),
    ],
)
def test_a_row_reports_when_it_was_acknowledged_and_what_became_of_it(age, allowed, came_back_s, told):
    assert str(Row(7, 0, age, allowed, came_back_s)) == f"row 7: acknowledged {told}"


def test_a_fault_is_no_excuse_for_a_row_that_was_read_after_it(story):
    """It was within the window of the fault, which has not taken it."""
    story.acked(4, at=99).read("QUORUM", [1, 2, 3, 4], at=150).read("ALL", [1, 2, 3], at=151)
    (lost,) = story.check(window=15).lost
    assert (lost.key, lost.allowed, lost.seconds_before_fault) == (4, False, None)


def test_rows_that_may_be_lost_have_no_verdict_before_both_reads_were_made():
    report = Story().acked(1, at=99).in_flight(9).fault().read("ALL", [], at=160).check(window=15)

    assert report.verdict is Verdict.UNKNOWN
    (reason,) = report.reasons
    assert "QUORUM" in reason


def test_missing_until_the_third_replica_came_is_not_lost(story):
    report = story.read("QUORUM", [1], at=150).read("QUORUM", [1, 3], at=155).read("ALL", [1, 2, 3], at=160).check()

    assert report.verdict is Verdict.INVALID  # an acknowledgement at QUORUM is a promise to readers at QUORUM
    assert report.lost == []
    assert {row.key: row.came_back_s for row in report.came_back} == pytest.approx({2: 60, 3: 55})


@pytest.mark.parametrize(
    ("acked_at", "verdict"),
    [(84.97, Verdict.INVALID), (84.995, Verdict.VALID), (99.9, Verdict.VALID), (100.5, Verdict.VALID)],
)
def test_the_window_reaches_back_from_the_beginning_of_the_fault(story, acked_at, verdict):
    story.acked(4, at=acked_at).acked(5, at=99.98)  # so nobody was waiting in vain
    report = story.read("QUORUM", [1, 2, 3, 5], at=150).read("ALL", [1, 2, 3, 5], at=160).check(window=15)

    assert (keys(report.lost), report.verdict) == ([4], verdict)


def test_a_row_acknowledged_after_the_fault_is_in_no_window(story):
    story.acked(4, at=120)
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3], at=160).check(window=15)

    assert report.verdict is Verdict.INVALID
    assert report.lost[0].seconds_before_fault is None


@pytest.mark.parametrize(("window", "verdict"), [(15, Verdict.VALID), (None, Verdict.INVALID)])
def test_an_answer_that_its_client_came_to_late_was_given_before_the_nodes_were_dead(story, window, verdict):
    story.write(4, 100.9, took=0.2)
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3], at=160).check(window)

    assert (keys(report.lost), report.verdict) == ([4], verdict)
    assert report.lost[0].seconds_before_fault == pytest.approx(-1.1)


def test_a_row_acknowledged_during_a_read_need_not_be_in_it(story):
    story.acked(4, at=150.5)
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3, 4], at=160).check()

    assert report.verdict is Verdict.VALID


def test_an_unacknowledged_row_may_be_there(story):
    report = story.read("QUORUM", [1, 2, 3, 9], at=150).read("ALL", [1, 2, 3, 9], at=160).check()

    assert (report.verdict, report.unacknowledged) == (Verdict.VALID, [9])


def test_a_failed_row_must_not_be_there(story):
    story.write(5, 60, "fail")
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3, 5], at=160).check()

    assert (report.verdict, report.refuted) == (Verdict.INVALID, [5])


def test_a_row_nobody_wrote_is_a_phantom(story):
    story.acked(7, at=170)  # written, but only after it was read
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3, 7, 77], at=160).check()

    assert (report.verdict, report.phantom) == (Verdict.INVALID, [7, 77])


def test_a_row_that_was_seen_must_stay(story):
    report = story.read("QUORUM", [1, 2, 3, 9], at=150).read("ALL", [1, 2, 3], at=160).check()

    assert (report.verdict, report.vanished) == (Verdict.INVALID, [9])


@pytest.mark.parametrize(("second", "vanished"), [(150.0, []), (150.9, []), (151.0, [9])])
def test_a_row_of_one_read_need_not_be_in_another_that_began_before_that_was_over(story, second, vanished):
    story.read("QUORUM", [1, 2, 3, 9], at=150).read("QUORUM", [1, 2, 3], at=second).read("ALL", [1, 2, 3, 9], at=160)
    assert story.check().vanished == vanished


def test_a_row_that_the_second_fault_may_take_has_not_vanished():
    """Two reads between which a fault may have lost something are not compared with each other."""
    story = Story().acked(1).in_flight(9).fault().read("QUORUM", [1], at=120).read("ALL", [1], at=130)
    story.write(4, 198).write(5, 198.9, "info", took=5).read("QUORUM", [1, 4], at=199, took=0.5).fault(at=200)
    story.write(6, 299.9, "info", took=5).fault(at=300)
    report = story.read("QUORUM", [1], at=350).read("ALL", [1], at=360).check(window=15)
    assert report.vanished == []


def test_a_row_missing_after_a_fault_that_loses_nothing_reports_how_long_before_it(story):
    story = Story().acked(1, 2).in_flight(9).fault(name="node partition", loses_unsynced=False)
    report = story.read("QUORUM", [1], at=150).read("ALL", [1], at=160).check(window=60)
    (lost,) = report.lost
    assert (lost.allowed, lost.seconds_before_fault) == (False, pytest.approx(49.99))


def test_nobody_waited_in_vain_before_the_last_answer():
    """It came at 95, to another client than the one that has waited since 90 and was told nothing."""
    story = Story().write(1, 94.9, took=0.1).write(9, 90, "info", took=20).fault()
    report = story.read("QUORUM", [1], at=150).read("ALL", [1], at=160).check(window=15)
    assert report.held_back_s == pytest.approx(5)


def test_a_stall_too_short_to_matter_is_not_reported(story):
    report = story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3], at=160).check(window=15)
    assert 0 < report.held_back_s < 1
    assert "nothing was acknowledged" not in report.describe()


def test_invalid_goes_before_unknown(story):
    report = story.read("QUORUM", [1], at=150).check()

    assert report.verdict is Verdict.INVALID
    assert any("ALL" in reason for reason in report.reasons)


def test_a_second_fault_is_checked_by_the_reads_after_it(story):
    story.read("QUORUM", [1, 2, 3], at=150).read("ALL", [1, 2, 3], at=160)
    story.acked(4, at=199).write(5, 199.9, "info", took=5).fault(at=200)
    assert story.check().verdict is Verdict.UNKNOWN

    report = story.read("QUORUM", [1, 2, 3], at=250).read("ALL", [1, 2, 3, 4], at=260).check(window=15)

    assert (report.verdict, report.in_flight_at_fault) == (Verdict.VALID, [5])
    assert {row.key: row.came_back_s for row in report.came_back} == pytest.approx({4: 60})


def test_the_window_is_that_of_the_next_fault_only(story):
    """Row 1 was on disk long before the first fault: the second one is no excuse for losing it."""
    story.write(5, 104.9, "info", took=5).fault(at=105)
    report = story.read("QUORUM", [2, 3], at=150).read("ALL", [2, 3], at=160).check(window=60)
    assert report.verdict is Verdict.VALID  # 50 s before the first fault
    assert report.lost[0].seconds_before_fault == pytest.approx(49.99)

    assert story.check(window=49).verdict is Verdict.INVALID


def test_the_report_can_be_kept_as_json(story):
    report = story.read("QUORUM", [1], at=150).read("ALL", [1, 2], at=160).check()
    kept = report.as_dict()

    assert kept["verdict"] == "invalid"
    assert [row["key"] for row in kept["came_back"]] == [2]
    assert [row["key"] for row in kept["lost"]] == [3]


@given(st.lists(st.sampled_from(Verdict)))
def test_verdicts_merge_to_the_worst(verdicts):
    merged = Verdict.merge(verdicts)

    if Verdict.INVALID in verdicts:
        assert merged is Verdict.INVALID
    else:
        assert merged is (Verdict.VALID if set(verdicts) == {Verdict.VALID} else Verdict.UNKNOWN)


def test_an_old_history_is_checked_from_its_file_alone(story, tmp_path):
    story.read("QUORUM", [1, 3], at=150).read("ALL", [1, 2, 3], at=160)
    file = tmp_path / "history.jsonl"
    file.write_text("".join(f"{operation.to_json()}\n" for operation in story.history().operations), encoding="utf-8")

    from_file = check_writes(History.load(file), rpo_seconds=None)

    assert replace(from_file, reasons=[]) == replace(story.check(), reasons=[])


def test_no_window_and_one_of_nothing_allow_the_same():
    """A row that was acknowledged while the fault was in progress is no exception to a promise."""
    for window in (None, 0.0):
        story = Story().acked(1, at=99).in_flight(9).fault(at=98.9)
        report = story.read("QUORUM", [], at=150).read("ALL", [], at=160).check(window=window)
        assert report.verdict.value == "invalid", window
