import ast
import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import rookery
from hypothesis import given
from hypothesis import strategies as st
from rookery.errors import UsageError
from rookery.paths import state_dir
from rookery.report import disk_space
from rookery.report.logs import bound_logs, fair_share
from rookery.report.results import MOST_WAITS, OWN, Results, last_results
from rookery.report.stored import OTHER_VERSIONS
from rookery.waiting import Wait


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def run(tmp_path):
    return tmp_path / "20261124T080312Z"


@pytest.fixture
def results(run, clock):
    with Results(run, "node_kill", clock=clock) as results:
        yield results


def timings(results):
    return json.loads(results.path("timings.json").read_text(encoding="utf-8"))


def report(results):
    return json.loads(results.path("report.json").read_text(encoding="utf-8"))


def test_the_folder_has_the_name_of_the_scenario(tmp_path, run, results):
    assert results.folder == run / "node_kill"
    with Results(run, "nodes[a/b]") as other:
        assert other.folder == run / "nodes[a_b]"


def test_a_budget_is_compared_with_what_counts_of_the_time(results, clock):
    clock.now += 10
    with results.uncounted():
        clock.now += 300
        with results.uncounted():  # counted out once
            clock.now += 100
    with suppress(OSError), results.uncounted():
        clock.now += 50
        raise OSError("no room")
    clock.now += 100
    assert results.compare(110) == 110
    assert timings(results)["over_budget"] is False
    clock.now += 1
    assert results.compare(110) == 111
    found = timings(results)
    assert (found["budget_s"], found["counted_s"], found["over_budget"]) == (110, 111, True)
    clock.now += 1000  # its end is no part of it
    results.finish("passed")
    assert (timings(results)["counted_s"], timings(results)["total_s"]) == (111, 1561)


def test_without_a_budget_nothing_is_over_it(results, clock):
    clock.now += 10
    assert results.compare(None) == 10
    assert timings(results)["over_budget"] is None


def test_a_scenario_that_runs_twice_has_two_folders(run, results):
    with Results(run, "node_kill") as other:
        assert other.folder != results.folder


def test_timings_are_there_from_the_start_and_have_exactly_these_fields(results):
    begin = timings(results)

    assert list(begin) == [
        "schema", "scenario", "started", "outcome", "total_s", "uncounted_s", "least_free_mib", "in_progress",
        "phases", "waits",
    ]  # fmt: skip
    assert (begin["scenario"], begin["outcome"], begin["phases"]) == ("node_kill", "running", [])


def test_a_phase_is_logged_and_written_as_it_ends(results, clock, logged):
    clock.now += 5
    with results.phase("CephCluster Ready"):
        clock.now += 96.24
        begun = [{"name": "CephCluster Ready", "start_s": 5.0}]
        assert (timings(results)["phases"], timings(results)["in_progress"]) == (
            [],
            {"stage": "setup", "phases": begun},
        )
    assert timings(results)["in_progress"]["phases"] == []

    assert logged.messages == ["CephCluster Ready in 96.2 s"]
    assert timings(results)["phases"] == [{"name": "CephCluster Ready", "start_s": 5.0, "seconds": 96.2}]
    assert timings(results)["total_s"] == 101.2


def test_a_phase_that_failed_is_in_progress_no_more_and_a_scenario_that_ended_has_none(results):
    with suppress(OSError), results.calling(), results.phase("OSDs up"):
        assert timings(results)["in_progress"]["stage"] == "call"
        raise OSError("no room")
    assert timings(results)["in_progress"] == {"stage": "teardown", "phases": []}
    results.finish("failed")
    assert "in_progress" not in timings(results)


def test_whoever_listens_hears_of_each_change_until_it_does_no_more(results):
    heard = []
    with results.subscribe(lambda: heard.append(list(timings(results)["in_progress"]["phases"]))):
        with results.phase("OSDs up"):
            results.record(driver="userspace")
        assert [len(each) for each in heard] == [1, 1, 0]
    results.record(driver="kernel")
    assert len(heard) == 3


def test_threads_that_write_at_once_lose_nothing(results):
    together = threading.Barrier(8)

    def write(number):
        together.wait()
        for turn in range(20):
            results.record(**{f"n{number}_{turn}": turn})
            results.add_phase(f"{number}.{turn}", 0.0, 1.0)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len([name for name in report(results) if "_" in name and name[0] == "n"]) == 160
    assert len(timings(results)["phases"]) == 160


def test_a_wait_is_noted_with_when_it_began(results, clock):
    clock.now += 30
    results.waited(Wait("OSDs up", 12.34, 60, "met"))
    told = {"name": "OSDs up", "start_s": 17.7, "seconds": 12.3, "within": 60, "ended": "met"}
    assert timings(results)["waits"] == [told]


def test_a_wait_without_a_deadline_is_json_for_everybody(results):
    results.waited(Wait("as at its baseline", 12.0, float("inf"), "broken off"))
    assert timings(results)["waits"][0]["within"] is None


def test_of_many_waits_the_longest_are_kept_and_the_others_counted(results):
    for seconds in range(MOST_WAITS + 20):
        results.waited(Wait("it", seconds, 900, "met"))
    found = timings(results)
    assert (len(found["waits"]), found["waits_left_out"]) == (MOST_WAITS, 20)
    assert min(each["seconds"] for each in found["waits"]) == 20


def test_a_phase_measured_elsewhere(results, logged):
    results.add_phase("every row readable", 200.04, 99.96)

    assert logged.messages == ["every row readable in 100.0 s"]
    assert timings(results)["phases"] == [{"name": "every row readable", "start_s": 200.0, "seconds": 100.0}]


def test_when_the_scenario_was_called_is_there_however_it_ended(results, clock):
    clock.now += 50
    with suppress(AssertionError), results.calling():
        clock.now += 20.04
        assert "call" not in timings(results)
        raise AssertionError
    assert timings(results)["call"] == {"start_s": 50.0, "seconds": 20.0}
    clock.now += 5
    results.finish("failed")
    assert timings(results)["call"] == {"start_s": 50.0, "seconds": 20.0}


def test_a_phase_that_breaks_was_not_reached_and_the_innermost_is_named(results, clock, logged):
    def deploy():
        with results.phase("deploy"), results.phase("HEALTH_OK"):
            clock.now += 3
            raise TimeoutError("2 of 3 OSDs")

    with pytest.raises(TimeoutError):
        deploy()

    assert timings(results)["phases"] == []
    failed = {"name": "HEALTH_OK", "start_s": 0.0, "seconds": 3.0, "error": "TimeoutError: 2 of 3 OSDs"}
    assert report(results)["failed_phase"] == failed
    assert logged.messages == ["HEALTH_OK: failed after 3.0 s", "deploy: failed after 3.0 s"]


def test_the_end_of_the_context_settles_the_outcome(tmp_path):
    with Results(tmp_path, "good") as good:
        pass
    with pytest.raises(ValueError, match="lost"), Results(tmp_path, "bad") as bad:
        raise ValueError("lost")
    with Results(tmp_path, "broken") as broken:
        broken.finish("infrastructure")

    assert [timings(each)["outcome"] for each in (good, bad, broken)] == ["passed", "failed", "infrastructure"]
    assert report(bad)["outcome"] == "failed"


def test_notes_add_up(results):
    results.record(driver="rbd.userspace.csi.rookery.io", images={"ceph": "built"})
    results.record(verdict="valid")

    kept = report(results)
    assert (kept["driver"], kept["verdict"], kept["images"]) == (
        "rbd.userspace.csi.rookery.io",
        "valid",
        {"ceph": "built"},
    )
    assert kept["scenario"] == "node_kill"


def test_a_note_that_cannot_be_written_leaves_the_last_report_whole(results):
    results.record(verdict="valid")
    with pytest.raises(TypeError):
        results.note(bad={("a", "tuple"): "is no key of JSON"})

    results.record(driver="rbd.csi.ceph.com")
    assert report(results)["verdict"] == "valid"


def test_the_least_room_is_kept_and_reported_where_it_was_next_to_none():
    now = [disk_space.MARGIN * 4]
    sampler = disk_space.DiskSpaceSampler(lambda path: now[0])
    try:
        assert sampler.disk_space_is_short() == ""
        now[0] = disk_space.MARGIN - 1
        assert sampler.disk_space_is_short() == f"{state_dir()}: 255 MiB free at the least"
        now[0] = disk_space.MARGIN * 4  # what filled it is gone again, as with a cluster that was removed
        assert (sampler.least_mib, sampler.disk_space_is_short() != "") == (255, True)
    finally:
        sampler.stop()


def test_the_room_is_looked_at_while_a_scenario_runs(monkeypatch):
    looked = threading.Event()
    monkeypatch.setattr(disk_space, "SAMPLE_EVERY", 0.01)
    answers = iter([1 << 40])

    def free(path):
        found = next(answers, None)
        if found is None:
            looked.set()
        return found or 1 << 40

    sampler = disk_space.DiskSpaceSampler(free)
    try:
        assert looked.wait(timeout=10)
    finally:
        sampler.stop()


@given(st.lists(st.integers(min_value=0, max_value=1000), max_size=20), st.integers(min_value=0, max_value=5000))
def test_fair_shares_fit_and_waste_nothing(sizes, limit):
    share = fair_share(sizes, limit)
    kept = [min(size, share) for size in sizes]

    assert sum(kept) <= limit
    if sum(sizes) > limit:
        assert sum(kept) > limit - len(sizes)  # one byte more for each large file would be too much
    else:
        assert kept == sizes


def lines(count):
    return "".join(f"line {number}\n" for number in range(count))


def test_large_logs_keep_their_ends_and_small_ones_all(tmp_path):
    quiet, chatty = tmp_path / "before" / "quiet.log", tmp_path / "after" / "chatty.log"
    for file, text in ((quiet, "last words\n"), (chatty, lines(10_000))):
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
    size = chatty.stat().st_size

    dropped = bound_logs(tmp_path, limit=2000)

    assert quiet.read_text(encoding="utf-8") == "last words\n"
    marker, _, kept = chatty.read_text(encoding="utf-8").partition("\n")
    assert lines(10_000).endswith("\n" + kept)
    assert len(kept) > 1800
    assert marker == f"[{size - len(kept)} older bytes dropped]"
    assert dropped == size - len(kept)
    assert quiet.stat().st_size + chatty.stat().st_size <= 2000


def test_a_line_longer_than_the_share_keeps_its_end(tmp_path):
    (tmp_path / "core.log").write_bytes(b"x" * 5000 + b"end")
    bound_logs(tmp_path, limit=500)

    kept = (tmp_path / "core.log").read_bytes()
    assert kept.endswith(b"xxend")
    assert len(kept) <= 500


def test_logs_within_the_limit_are_left_alone_and_links_are_not_followed(tmp_path):
    outside, logs = tmp_path / "outside", tmp_path / "logs"
    outside.write_text(lines(1000), encoding="utf-8")
    logs.mkdir()
    (logs / "link").symlink_to(outside)
    (logs / "small.log").write_text("small\n", encoding="utf-8")

    assert bound_logs(logs, limit=100) == 0
    assert outside.read_text(encoding="utf-8") == lines(1000)


def test_a_run_without_logs_has_nothing_to_bound(tmp_path):
    assert bound_logs(tmp_path / "nothing") == 0


def ran(root, day, scenario, outcome):
    folder = root / f"202611{day}T090000Z" / scenario
    folder.mkdir(parents=True)
    started = f"2026-11-{day}T09:00:00+00:00"
    timings = {"scenario": scenario, "started": started, "outcome": outcome, "total_s": 12.5, "uncounted_s": 2.5}
    (folder / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
    return folder


def test_the_last_result_of_each_scenario_whatever_else_lies_there(tmp_path):
    newest, *_ = [ran(tmp_path, day, "node_kill[batch]", outcome) for day, outcome in ((24, "passed"), (23, "failed"))]
    for name, text in (("torn", "{"), ("other", "[]"), ("empty", "{}"), ("wrong", '{"total_s": null}')):
        (tmp_path / "20261125T090000Z" / name).mkdir(parents=True)
        (tmp_path / "20261125T090000Z" / name / "timings.json").write_text(text, encoding="utf-8")
    (tmp_path / "20261125T090000Z" / "without").mkdir()
    (tmp_path / "some-folder").mkdir()
    (tmp_path / "a-file").touch()
    (tmp_path / "latest").symlink_to("20261123T090000Z")  # whatever it names is no other run
    (last,) = last_results(tmp_path).values()
    assert (last.outcome, last.seconds, last.started) == ("passed", 10.0, "2026-11-24T09:00:00+00:00")
    assert last.folder == newest
    assert last_results(tmp_path / "not-there") == {}


def test_what_was_just_run_is_the_last_result(tmp_path, run, results):
    with Results(run, "just_now"):
        pass
    last = last_results(tmp_path)
    assert (last["just_now"].outcome, last["node_kill"].outcome) == ("passed", "running")


@pytest.mark.parametrize("outcome", ["running", "interrupted"])
def test_a_run_without_a_verdict_does_not_take_the_place_of_one(tmp_path, outcome):
    ran(tmp_path, 23, "disks", "failed")
    ran(tmp_path, 24, "disks", outcome)
    ran(tmp_path, 24, "pools", outcome)
    ran(tmp_path, 25, "status", outcome)
    ran(tmp_path, 26, "status", "passed")
    last = last_results(tmp_path)
    assert {name: found.outcome for name, found in last.items()} == {
        "disks": "failed",
        "pools": outcome,  # there is nothing better to tell
        "status": "passed",
    }


def test_the_line_that_showed_a_symptom_is_noted_once(results):
    for line in ("image a is still being used", "image a is still being used", "image b is still being used"):
        results.saw("'… is still being used' (event: the pod)", line)
    report = json.loads(results.path("report.json").read_text(encoding="utf-8"))
    assert [seen["line"] for seen in report["symptoms"]] == [
        "image a is still being used",
        "image b is still being used",
    ]
    assert {seen["symptom"] for seen in report["symptoms"]} == {"'… is still being used' (event: the pod)"}


@pytest.mark.parametrize("name", sorted(OWN))
def test_scenario_cannot_replace_what_rookery_records(results, name):
    results.record(driver="rbd.csi.ceph.com")
    before = results.path("report.json").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=f"{name}=…\\): that name is Rookery's own"):
        results.note(address="10.0.0.1", **{name: ["anything"]})
    assert results.path("report.json").read_text(encoding="utf-8") == before


def test_names_that_rookery_records_are_its_own():
    """What a scenario notes under one of them would be taken for Rookery's."""
    harness = Path(rookery.__file__).parent
    recorded = {
        keyword.arg
        for path in harness.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "record"
        for keyword in call.keywords
        if keyword.arg
    }
    assert recorded <= OWN
    by_other_words = {"schema", "scenario", "started", "storage", "driver", "undone", *OTHER_VERSIONS.values()}
    assert OWN - recorded <= by_other_words
