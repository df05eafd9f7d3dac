"""What became of a cluster, as lanes: what is drawn, what is left out, and lines that nobody should have written."""

import json

import pytest
from rookery.report import happened, pages

BEGAN = 1_795_949_900.0
HOSTILE = "</script><script>alert(1)</script>\"'&\x00\x1b[2J"


def event(after, kind, name, state, **more):
    return json.dumps({"at": BEGAN + after, "kind": kind, "name": name, "state": state, **more})


@pytest.fixture
def lanes(tmp_path):
    def read(*lines, until=100.0):
        path = tmp_path / happened.FILE
        head = json.dumps({"schema": "rookery.events/1", "began": BEGAN})
        path.write_bytes("\n".join([head, *lines]).encode("utf-8", "surrogatepass"))
        found = happened.read(path)
        return found, {lane["name"]: lane["spans"] for lane in happened.drawn(found, BEGAN, until)}

    return read


def test_states_follow_each_other_to_the_end(lanes):
    _, drawn = lanes(event(20, "OSD", "osd.1", "down", text="failed"), event(50, "OSD", "osd.1", "up"))
    assert drawn["osd.1"] == [[20.0, 50.0, "down", "bad", "failed"], [50.0, 100.0, "up", "good", ""]]


def test_a_pod_that_did_not_change_has_no_lane_and_a_node_has_one(lanes):
    found, drawn = lanes(
        event(1, "pod", "ns/calm", "Ready"),
        event(1, "pod", "ns/killed", "Ready"),
        event(1, "node", "worker", "Ready"),
        event(30, "pod", "ns/killed", "gone"),
    )
    assert list(drawn) == ["worker", "ns/killed"]
    assert drawn["ns/killed"] == [[1.0, 30.0, "Ready", "good", ""]], "what is gone is not drawn"
    assert [(each.name, each.state) for each in found.changes] == [("ns/killed", "gone")]


def test_what_ceph_was_at_the_beginning_has_a_lane_and_is_no_change(lanes):
    found, drawn = lanes(event(0, "OSD", "osd.0", "up"), event(3, "mon", "mon.a", "electing"))
    assert drawn["osd.0"] == [[0.0, 100.0, "up", "good", ""]]
    assert [(each.name, each.state) for each in found.changes] == [("mon.a", "electing")]


@pytest.mark.parametrize(
    ("state", "quality"),
    [
        ("2 pgs: 2 active+clean", "good"),
        ("2 pgs: 1 active+clean, 1 active+clean+scrubbing+deep", "good"),
        ("3 pgs: 1 peering, 2 active+undersized+degraded", "some"),
        ("3 pgs: 1 down, 2 active+clean", "bad"),
        ("0 pgs: ", "some"),
    ],
)
def test_pgs_are_as_good_as_the_worst(lanes, state, quality):
    _, drawn = lanes(event(1, "PGs", "PGs", state))
    assert drawn["PGs"][0][3] == quality


def lost(after):
    return event(after, "watch", "API server", "does not answer")


def found_again(after):
    return event(after, "watch", "API server", "answers")


def test_of_a_time_that_nobody_watched_nothing_is_drawn(lanes):
    node = event(1, "node", "worker", "Ready")
    _, drawn = lanes(node, lost(20), found_again(40), lost(70))
    assert [span[:3] for span in drawn["worker"]] == [[1.0, 20.0, "Ready"], [40.0, 70.0, "Ready"]]
    assert list(drawn) == ["worker"]


def test_what_was_reported_afterwards_of_that_time_is_drawn(lanes):
    mon = (event(1, "mon", "mon.a", "in quorum"), event(30, "mon", "mon.a", "electing"))
    _, drawn = lanes(mon[0], lost(20), mon[1], found_again(40))
    assert [span[:3] for span in drawn["mon.a"]] == [[1.0, 20.0, "in quorum"], [30.0, 100.0, "electing"]]


def test_ceph_does_not_answer_until_it_reports_its_pgs(lanes):
    before = (event(1, "health", "health", "HEALTH_OK"), event(1, "PGs", "PGs", "1 pgs: 1 active+clean"))
    _, drawn = lanes(*before, lost(20), found_again(40), event(60, "PGs", "PGs", "1 pgs: 1 active+clean"))
    assert [span[:2] for span in drawn["health"]] == [[1.0, 20.0], [60.0, 100.0]]
    assert [span[:2] for span in drawn["PGs"]] == [[1.0, 20.0], [60.0, 100.0]]


@pytest.mark.parametrize("ends", [(), (found_again(10),), (lost(20), found_again(15))])
def test_a_watch_that_ends_before_it_was_lost_is_no_gap(lanes, ends):
    _, drawn = lanes(event(1, "node", "worker", "Ready"), *ends)
    assert sum(span[1] - span[0] for span in drawn["worker"]) == 99.0


def test_events_are_points_of_one_lane(lanes):
    _, drawn = lanes(event(7, "event", "Pod/ns/a", "FailedMount", text="no driver"))
    assert drawn["warnings, events"] == [[7.0, 7.0, "Pod/ns/a: FailedMount", "some", "no driver"]]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        '{"at": "x", "kind": "OSD", "name": "o", "state": "up"}',
        '{"at": 1e300}',
        "\ud800",
        '{"at": 1795949901, "kind": "OSD", "name": ["o"], "state": "up"}',
        "x" * 1_000_000,
    ],
)
def test_a_line_that_is_none_of_it_is_passed_over(lanes, line):
    found, drawn = lanes(line, event(1, "OSD", "osd.1", "up"))
    assert list(drawn) == ["osd.1"]
    assert len(found.changes) == 1


def test_lanes_are_bounded(lanes):
    found, drawn = lanes(*(event(after, "pod", f"p{n}", str(after)) for n in range(200) for after in (1, 50)))
    assert (len(drawn), found.left_out) == (happened.MOST_LANES, 200 - happened.MOST_LANES)


def test_a_run_without_it_has_a_page_without_it(tmp_path):
    assert happened.read(tmp_path / happened.FILE).lanes == {}


def test_hostile_names_stay_text_on_the_page(lanes, tmp_path):
    lanes(event(1, "pod", HOSTILE, "Ready"), event(20, "pod", HOSTILE, HOSTILE, text=HOSTILE * 1000))
    timings = {"scenario": "it", "started": "2026-11-29T10:58:20+00:00", "outcome": "passed", "total_s": 60.0}
    (tmp_path / "timings.json").write_text(json.dumps({**timings, "uncounted_s": 0.0, "phases": []}), encoding="utf-8")
    report = {"scenario": "it", "started": timings["started"], "unexpected": [HOSTILE], "watcher": {"error": HOSTILE}}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    page = pages.scenario(tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 3
    assert "1 change" in page


def test_when_a_fault_was_healed_is_on_the_page(tmp_path):
    (tmp_path / "history.jsonl").write_text(
        json.dumps({"process": -1, "type": "invoke", "f": "fault", "time_ns": 5, "at": BEGAN, "value": "node kill"})
        + "\n"
        + json.dumps({"process": -1, "type": "ok", "f": "fault", "time_ns": 10**9, "at": BEGAN + 1, "fault": {}}),
        encoding="utf-8",
    )
    timings = {"scenario": "it", "started": "2026-11-29T10:58:20+00:00", "outcome": "passed", "total_s": 60.0}
    (tmp_path / "timings.json").write_text(json.dumps({**timings, "uncounted_s": 0.0, "phases": []}), encoding="utf-8")
    faults = [{"name": "node kill", "at": BEGAN + 0.1, "healed_at": BEGAN + 12.5}]
    (tmp_path / "report.json").write_text(
        json.dumps({"started": timings["started"], "faults": faults}), encoding="utf-8"
    )
    assert "12.500 s" in pages.scenario(tmp_path).read_text(encoding="utf-8")
