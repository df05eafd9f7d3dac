"""A history whose verdict is kept, checked again: the same, by another checker's, and where neither can be read."""

import json

import pytest
from rookery.history.rechecked import recheck
from stories import Story


@pytest.fixture
def told():
    """Row 3 was acknowledged half a second before the fault, and is lost."""
    return (
        Story().acked(1, 2).acked(3, at=99.5).in_flight(9).fault().read("QUORUM", [1, 2], 150).read("ALL", [1, 2], 160)
    )


@pytest.fixture
def kept(told, tmp_path):
    """The file, and the verdict of then as report.json has it."""
    path = tmp_path / "history.jsonl"
    lines = sorted(told.operations, key=lambda each: each.time_ns)
    path.write_text("".join(each.to_json() + "\n" for each in lines), encoding="utf-8")
    return path, json.loads(json.dumps(told.check().as_dict()))


def test_the_same_checker_finds_the_same(kept):
    path, verdict = kept
    found = recheck(path, verdict, rpo_seconds=None)
    assert (found.before, found.now, found.differences, found.same) == ("invalid", "invalid", [], True)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"lost": []}, "lost: only now: 3"),
        ({"phantom": [77]}, "phantom: only then: 77"),
        ({"torn": {"2": "rubbish"}}, "torn: only then: 2"),
        ({"acknowledged": 4}, "acknowledged: 4 then, 3 now"),
        ({"reasons": []}, "reasons: none then, acknowledged rows missing at QUORUM"),
    ],
)
def test_what_another_checker_found_is_reported(kept, changed, difference):
    path, verdict = kept
    found = recheck(path, {**verdict, **changed}, rpo_seconds=None)
    assert not found.same
    assert any(each.startswith(difference) for each in found.differences), found.differences


def test_a_row_that_may_be_lost_by_another_promise_is_reported_with_the_verdict(kept):
    path, verdict = kept
    found = recheck(path, verdict, rpo_seconds=1)
    assert (found.before, found.now) == ("invalid", "valid")
    assert "lost: row 3: not allowed then, allowed now" in found.differences


def test_a_field_that_the_old_checker_did_not_have_is_no_difference(kept):
    path, verdict = kept
    del verdict["seed_missing"], verdict["unacknowledged"]
    assert recheck(path, verdict, rpo_seconds=None).same


@pytest.mark.parametrize("text", ["", "no JSON\n", '{"process": 0}\n', "\x00" * 100])
def test_a_history_that_is_refused_today_differs(kept, text):
    path, verdict = kept
    path.write_text(text, encoding="utf-8")
    found = recheck(path, verdict, rpo_seconds=None)
    assert not found.same


@pytest.mark.parametrize("verdict", [{"verdict": "invalid", "lost": 7}, {"verdict": "invalid", "lost": [{"no": 1}]}])
def test_a_verdict_of_another_layout_differs(kept, verdict):
    found = recheck(kept[0], verdict, rpo_seconds=None)
    assert found.now == "invalid"
    assert any("cannot be read" in each for each in found.differences)
