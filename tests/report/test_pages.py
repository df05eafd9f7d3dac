"""What a page says of a history, of a run whose files are hostile or half there, and how large it grows."""

import base64
import json
import os
import re
import struct
from array import array
from html.parser import HTMLParser

import pytest
import stored_runs
from rookery.report import failures, logbook, pages, rates, recorded, verdicts
from rookery.report.known import catalogue, scan
from rookery.report.logbook import logs_of, moment_of
from rookery.report.stored import OTHER_VERSIONS
from rookery.signatures import DRIVER_NOT_REGISTERED

T0 = 1_795_902_173.0  # 2026-11-28T21:42:53Z
STARTED = "2026-11-28T21:42:43+00:00"
HOSTILE = "</script><script>alert(1)</script>\"'&\x00\ud800"


def line(process, type_, f, at, **more):
    return json.dumps({"process": process, "type": type_, "f": f, "time_ns": int(at * 1e9), "at": T0 + at - 5, **more})


HISTORY = [
    line(0, "invoke", "write", 5, key=0),
    line(1, "invoke", "write", 5.1, key=1),
    line(0, "ok", "write", 5.5, key=0, node="10.244.1.6"),
    line(0, "invoke", "write", 5.6, key=2),
    line(-1, "invoke", "fault", 6, value="node kill"),
    line(1, "info", "write", 6.2, key=1, error="OperationTimedOut"),
    line(2, "invoke", "write", 6.3, key=3),  # the client that was process 1
    line(-1, "ok", "fault", 6.5, fault={"started_ns": 6_100_000_000, "proof": "every node was seen dead"}),
    line(2, "fail", "write", 6.6, key=3, error="NoHostAvailable"),
]


@pytest.fixture
def history(tmp_path):
    def write(lines=HISTORY, end=""):
        path = tmp_path / "history.jsonl"
        path.write_text("\n".join(lines) + "\n" + end, encoding="utf-8")
        return recorded.read(path)

    return write


@pytest.fixture
def scenario(tmp_path):
    """The page of a scenario with these notes."""

    def page(lines=(), phases=(), waits=(), **report):
        folder = tmp_path / "20261128T214000Z" / "it"
        folder.mkdir(parents=True, exist_ok=True)
        if lines:
            (folder / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        timings = {"scenario": "it", "started": STARTED, "outcome": "passed", "total_s": 60.0, "uncounted_s": 0.0}
        (folder / "timings.json").write_text(
            json.dumps({**timings, "phases": list(phases), "waits": list(waits)}), encoding="utf-8"
        )
        (folder / "report.json").write_text(
            json.dumps({"scenario": "it", "started": STARTED, **report}), encoding="utf-8"
        )
        return pages.scenario(folder).read_text(encoding="utf-8")

    return page


class Parsed(HTMLParser):
    """The elements that were opened, those that were not closed, and the texts in scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "br", "i"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "i":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def data_of(page):
    return json.loads(Parsed(page).scripts[0])


def test_an_operation_is_drawn_from_its_invocation_to_its_end_in_the_lane_of_its_client(history):
    found = history()
    rows = [
        (round(began * recorded.TICK, 3), round(took * recorded.TICK, 3), lane, recorded.OUTCOMES[kind % 4], key)
        for began, took, lane, kind, key in zip(found.began, found.took, found.lane, found.kind, found.key, strict=True)
    ]
    assert rows == [
        (0.0, 0.5, 0, "ok", 0),
        (0.1, 1.1, 1, "info", 1),
        (0.6, 1.0, 0, "open", 2),  # to the end of the history
        (1.3, 0.3, 1, "fail", 3),  # by the client whose last outcome nobody knows
    ]
    assert found.lanes == 2
    assert found.errors[found.error[1]] == "OperationTimedOut"
    assert found.nodes[found.node[0]] == "10.244.1.6"
    assert found.ended == pytest.approx(T0 + 1.6)


def test_a_fault_begins_with_its_first_signal_and_is_in_effect_when_it_was_verified(history):
    (fault,) = history().faults
    assert (fault.name, fault.healed) == ("node kill", None)
    assert (fault.at, fault.effect) == (pytest.approx(T0 + 1.1), pytest.approx(T0 + 1.5))


@pytest.mark.parametrize(("last", "proof"), [([], "the run ended first"), (["info"], "docker is gone")])
def test_a_fault_without_proof_reports_it(history, last, proof):
    lines = [
        line(-1, "invoke", "fault", 6, value="node kill"),
        *(line(-1, each, "fault", 7, error=proof) for each in last),
    ]
    (fault,) = history(lines).faults
    assert fault.effect is None
    assert proof in fault.proof


NOTED = {"name": "pod delete", "at": T0 + 20, "healed_at": T0 + 29.5, "proof": "its container is another"}


def test_a_fault_of_a_scenario_without_a_history_is_drawn_and_reported_as_report_json_has_it(scenario):
    page = scenario(faults=[NOTED, {"name": "node kill", "at": T0 + 40}])
    assert data_of(page)["faults"] == [
        {"name": "pod delete", "proof": "its container is another", "at": 30.0, "effect": None, "healed": 39.5},
        {"name": "node kill", "proof": "none: it was not verified", "at": 50.0, "effect": None, "healed": None},
    ]
    assert '<td class="n">30.000 s</td><td class="n">not recorded</td><td class="n">39.500 s</td>' in page


@pytest.mark.parametrize(("name", "noted"), OTHER_VERSIONS.items())
def test_a_change_of_versions_is_over_when_it_was_done(scenario, name, noted):
    history = [
        line(-1, "invoke", "fault", 6, value=name),
        line(-1, "ok", "fault", 7, fault={"started_ns": 6_000_000_000}),
    ]
    versions = {"from": {"rook": "1.17.8"}, "to": {"rook": "1.18.8"}, "at": T0 + 1}
    begun = data_of(scenario(history, **{noted: versions}))["faults"]
    assert [(each["name"], each["healed"]) for each in begun] == [(name, None)]
    over = data_of(scenario(history, **{noted: {**versions, "done_at": T0 + 200}}))["faults"]
    assert [(each["name"], each["healed"]) for each in over] == [(name, 210.0)]
    unknown = data_of(scenario(history, **{noted: {**versions, "at": None, "done_at": T0 + 200}}))["faults"]
    assert [each["healed"] for each in unknown] == [None]


def test_an_upgrade_without_clients_is_drawn(scenario):
    page = scenario(upgrade={"from": {"rook": "1.17.8"}, "to": {"rook": "1.18.8"}, "at": T0 + 1, "done_at": T0 + 200})
    assert [(each["name"], each["at"], each["healed"], each["proof"]) for each in data_of(page)["faults"]] == [
        ("upgrade", 11.0, 210.0, "rook 1.18.8")
    ]


def test_an_upgrade_that_is_rolled_back_is_over_when_that_begins(scenario):
    history = [
        each
        for at, name in ((6, "upgrade"), (8, "roll back"))
        for each in (line(-1, "invoke", "fault", at, value=name), line(-1, "ok", "fault", at + 1, fault={}))
    ]
    versions = {"from": {"rook": "1.17.8"}, "to": {"rook": "1.18.8"}}
    noted = {
        "upgrade": {**versions, "at": T0 + 1},
        "roll_back": {**versions, "at": T0 + 3, "done_at": T0 + 40},
    }
    drawn = [(each["name"], each["at"], each["healed"]) for each in data_of(scenario(history, **noted))["faults"]]
    assert drawn == [("upgrade", 11.0, 13.0), ("roll back", 13.0, 50.0)]


def test_a_fault_that_a_history_has_is_not_reported_twice(scenario):
    page = scenario(HISTORY, faults=[{**NOTED, "name": "node kill", "at": T0 + 1.1}])
    assert [(each["name"], each["proof"], each["healed"]) for each in data_of(page)["faults"]] == [
        ("node kill", "every node was seen dead", 39.5)
    ]


def test_what_is_no_operation_is_counted_and_the_rest_is_drawn(history):
    found = history([HISTORY[0], "{torn", "[]", "7", HISTORY[2]], end='{"process": 0, "ty')
    assert (len(found), found.skipped) == (1, 4)


def test_more_clients_than_can_be_drawn_apart_share_a_lane(history):
    begun = [line(process, "invoke", "write", 5, key=process) for process in range(300)]
    found = history([*begun, line(0, "ok", "write", 9, key=0)])
    assert (len(found), found.lanes, max(found.lane)) == (300, 200, 199)


def test_more_errors_than_a_byte_counts_are_all_reported(history):
    begun = [line(process, "invoke", "write", 5, key=process) for process in range(300)]
    found = history(
        [*begun, *(line(process, "fail", "write", 6, key=process, error=f"e{process}") for process in range(300))]
    )
    assert [found.errors[number] for number in found.error] == [f"e{process}" for process in range(300)]


def test_rates_are_of_what_ended_in_each_second(history):
    busy = rates.rates(history())
    assert busy.ended["ok"] == array("f", [1, 0])
    assert busy.ended["fail"] == array("f", [0, 1])
    assert busy.ended["info"] == array("f", [0, 1])
    assert busy.median[0] == pytest.approx(0.5)
    assert busy.median[1] != busy.median[1], "nothing was acknowledged, so nothing took any time"


def test_a_page_has_the_columns_that_its_script_reads(scenario):
    (history,) = data_of(scenario(HISTORY))["histories"]
    operations = history["operations"]
    raw = base64.b64decode(operations["began"]["data"])
    assert operations["began"]["type"] == "Uint32Array"
    assert struct.unpack("<4I", raw) == (0, 10_000, 60_000, 130_000)


def test_each_workload_has_its_own_clients_rates_and_table_and_faults_are_those_of_the_first(scenario, tmp_path):
    other = tmp_path / "20261128T214000Z" / "it" / "history-postgresql.jsonl"
    other.parent.mkdir(parents=True)
    written = [line(0, "invoke", "write", 6, key=0), line(0, "fail", "write", 6.2, key=0, error="no such table")]
    faults = [each for each in HISTORY if '"fault"' in each]
    other.write_text("\n".join([*written, *faults]) + "\n", encoding="utf-8")
    page = scenario(HISTORY, histories={"history.jsonl": "cassandra"})
    first, second = data_of(page)["histories"]
    assert (first["of"], first["lanes"], second["of"], second["lanes"]) == ("cassandra", 2, "postgresql", 1)
    assert (first["since"], second["since"]) == (10.0, 11.0)
    assert bytes_of(second["operations"]["kind"]) == 1
    assert [each["name"] for each in data_of(page)["faults"]] == ["node kill"]
    assert "<tr><td>postgresql</td><td>write</td>" in page
    assert "<tr><td>cassandra</td><td>write</td>" in page
    assert '<td>postgresql</td><td class="n">0</td><td>write</td><td class="n">0</td><td>fail</td>' in page
    other.unlink()
    assert "<th>workload</th>" not in scenario(HISTORY)


def test_what_failed_of_one_workload_leaves_room_for_what_failed_of_another(scenario, tmp_path):
    def failed(number, begin):
        return [
            each
            for n in range(number)
            for each in (
                line(0, "invoke", "write", begin + n / 100, key=n),
                line(0, "fail", "write", begin + n / 100 + 0.001, key=n),
            )
        ]

    other = tmp_path / "20261128T214000Z" / "it" / "history-postgresql.jsonl"
    other.parent.mkdir(parents=True)
    other.write_text("\n".join(failed(1, 5.5)) + "\n", encoding="utf-8")
    page = scenario(failed(pages.NOTABLE + 1, 5))
    assert '<td>postgresql</td><td class="n">0</td><td>write</td><td class="n">0</td><td>fail</td>' in page


def test_of_many_operations_that_did_not_end_as_ok_the_worst_are_listed_and_all_are_counted(scenario):
    lines = [line(process, "invoke", "write", 5 + process / 1000, key=process) for process in range(pages.NOTABLE + 50)]
    lines += [line(process, "info", "write", 6, key=process) for process in range(20)]
    lines += [line(process, "fail", "write", 7, key=process) for process in range(200, 220)]
    lines += [line(230, "ok", "write", 8, key=230)]
    page = scenario(lines)
    assert f"249 that did not end as ok, the first {pages.NOTABLE} of them" in page
    table = page[page.index("did not end as ok") :]
    assert re.findall(r"<td>(fail|info|open)</td>", table) == ["fail"] * 20 + ["info"] * 20 + ["open"] * 160
    assert "3 that did not end as ok</summary>" in scenario(HISTORY)


def test_the_phase_that_failed_is_drawn_as_well(scenario):
    page = scenario(
        phases=[{"name": "nodes Ready", "start_s": 0.0, "seconds": 1.0}],
        failed_phase={"name": "OSDs up", "start_s": 2.0, "seconds": 9.0, "error": "E: not within 9 s"},
    )
    assert [(each["name"], each["start_s"]) for each in data_of(page)["phases"]] == [
        ("nodes Ready", 0.0),
        ("OSDs up: failed", 2.0),
    ]


def wait(name, seconds, ended="met", within=60.0):
    return {"name": name, "start_s": 1.0, "seconds": seconds, "within": within, "ended": ended}


def test_the_longest_waits_and_those_close_to_their_deadline_are_listed_and_all_are_drawn(scenario):
    waits = [wait(f"long {number}", 40.0) for number in range(pages.LONGEST_WAITS)]
    waits += [wait("short", 9.0), wait("close", 9.0, within=10.0), wait("quiet", 9.0, "stayed", 9.0)]
    waits += [wait("endless", 50.0, within=None)]
    page = scenario(waits=waits)
    table = page[page.index("<h2>Waits") : page.index("<h2>What it ran on")]
    assert [name for name in ("long 13", "short", "close", "quiet") if f"<td>{name}</td>" in table] == [
        "long 13",
        "close",
    ]
    assert '<td class="n">9.0 s</td><td class="n">10 s</td><td class="n"><span class="over">90%</span></td>' in table
    assert '<td class="n">50.0 s</td><td class="n">no limit</td><td class="n"></td>' in table
    assert '<span class="">67%</span>' in table
    assert "The longest of 19." in table
    assert data_of(page)["waits"][-2] == ["quiet", 1.0, 9.0, 9.0, "stayed"]


def test_hostile_text_stays_text(scenario):
    texts = [HOSTILE, "x" * 1_000_000]
    lines = [*HISTORY[:-1], line(2, "fail", "write", 6.6, key=3, error=HOSTILE, node=HOSTILE)]
    failed = {"when": "call", "outcome": "failed", "type": HOSTILE, "where": HOSTILE, "after_phase": HOSTILE}
    page = scenario(
        lines,
        [{"name": HOSTILE, "start_s": 0.0, "seconds": 1.0}],
        title=HOSTILE,
        test=HOSTILE,
        images={HOSTILE: HOSTILE},
        symptoms=[{"symptom": text, "line": text} for text in texts],
        failures=[{**failed, "reason": HOSTILE, "after_s": 1.0}],
        verdict={"verdict": "unknown", "reasons": [HOSTILE]},
    )
    parsed = Parsed(page)
    assert parsed.open == []
    assert parsed.tags.count("script") == 3, "the data, uPlot, and the timeline"
    assert HOSTILE[:20] in data_of(page)["histories"][0]["errors"][2]
    assert "<script>alert" not in page


def test_a_folder_with_nothing_readable_has_a_page(tmp_path):
    folder = tmp_path / "run" / "it"
    folder.mkdir(parents=True)
    for name in ("timings.json", "report.json", "history.jsonl"):
        (folder / name).write_bytes(b"\xff\x00{")
    assert "It has not come to its end" in pages.scenario(folder).read_text(encoding="utf-8")
    assert Parsed(pages.run(folder.parent).read_text(encoding="utf-8")).open == []


def test_a_page_that_is_made_while_a_scenario_runs_reads_nothing_that_is_large(tmp_path, monkeypatch):
    found = stored_runs.files()
    found["timings.json"]["outcome"] = "running"
    folder = stored_runs.write(tmp_path, found)
    (folder / "logs/pod.log").write_text("2026-11-28T21:42:53Z up\n", encoding="utf-8")
    (folder / ".report.json.7").write_text("{", encoding="utf-8")
    page = pages.scenario(folder, meanwhile=True).read_text(encoding="utf-8")
    (history,) = data_of(page)["histories"]
    assert len(recorded.read(folder / "history.jsonl")) == bytes_of(history["operations"]["kind"])
    assert (data_of(page)["logs"]["files"], "pod.log" in page, ".report.json.7" in page) == ([], False, False)
    assert "OSDs up: not ended" in [each["name"] for each in data_of(page)["phases"]]
    monkeypatch.setattr(pages, "LARGEST_MEANWHILE", 10)
    page = pages.scenario(folder, meanwhile=True).read_text(encoding="utf-8")
    assert data_of(page)["histories"] == []
    assert "nor of the operations of clients, which were many" in page
    assert "pod.log" in pages.scenario(folder).read_text(encoding="utf-8")


def bytes_of(column):
    return len(base64.b64decode(column["data"]))


def test_the_page_of_a_run_shows_the_versions_that_were_used_and_those_that_were_asked_for(tmp_path):
    found = stored_runs.files()
    for name, rook in (("it", "1.18.8"), ("other", "1.17.9")):
        found["report.json"] |= {"rook": rook, "images": {f"of-{name}": "built"}}
        folder = stored_runs.write(tmp_path, found, scenario=name)
    page = pages.run(folder.parent).read_text(encoding="utf-8")
    assert "<tr><th>used</th><td>rook</td><td>1.17.9, 1.18.8</td></tr>" in page
    assert "<tr><th>used</th><td>ceph</td><td>quay.io/ceph/ceph:v18.2.7</td></tr>" in page
    assert "<tr><th>asked for</th><td>rook</td><td>1.18.8</td></tr>" in page
    assert "<code>of-it</code></td><td>built</td>" in page


@pytest.mark.parametrize(
    ("outcomes", "more", "told"),
    [
        (["passed", "failed", "passed"], {}, "flaky: it ended otherwise in 2 of 3 earlier runs"),
        (["failed", "interrupted", "infrastructure", "running", "skipped"], {}, None),
        (["passed"], {"rook": "1.17.9"}, None),
        (["passed"], {"kernel": "6.9"}, None),
        (["passed"], {"commit": "older"}, None),
        (["passed"], {"changed": True}, None),
        (["passed"], {}, "flaky: it ended otherwise in 1 of 1 earlier run of the same kind and commit"),
    ],
)
def test_a_scenario_is_flaky_that_ended_otherwise_in_a_run_of_the_same_kind_and_commit(tmp_path, outcomes, more, told):
    def write(run, outcome, *, rook="1.18.8", kernel="6.1", commit="abc", changed=False):
        found = stored_runs.files()
        found["timings.json"]["outcome"] = outcome
        found["report.json"]["rook"] = found["run.json"]["settings"]["rook"] = rook
        found["run.json"] |= {"machine": {"kernel": kernel}, "harness": {"commit": commit, "changed": changed}}
        return stored_runs.write(tmp_path, found, run=run).parent

    for number, outcome in enumerate(outcomes):
        write(f"2026112{number}T000000Z", outcome, **more)
    now = write("20261129T000000Z", "failed", changed=more.get("changed", False))
    (tmp_path / "latest").symlink_to(now.name)
    page = pages.run(now).read_text(encoding="utf-8")
    assert (told in page) if told else ("flaky" not in page)
    assert "flaky" not in pages.run(now, meanwhile=True).read_text(encoding="utf-8")


def test_no_page_asks_the_network_for_anything(scenario):
    page = scenario(HISTORY)
    assert 'src="' not in page
    assert "@import" not in page
    assert "url(" not in page


@pytest.fixture
def earlier(tmp_path):
    """Makes an earlier run of the scenario `it`, on some day of the month before."""

    def run(day, phases, *, outcome="passed", kernel="6.1", commit="abc", **report):
        folder = tmp_path / f"202610{day}T000000Z" / "it"
        folder.mkdir(parents=True)
        told = [{"name": name, "start_s": 0.0, "seconds": seconds} for name, seconds in phases]
        timings = {"scenario": "it", "started": f"2026-10-{day}T00:00:00+00:00", "outcome": outcome, "phases": told}
        (folder / "timings.json").write_text(
            json.dumps({**timings, "total_s": 1.0, "uncounted_s": 0.0}), encoding="utf-8"
        )
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
        run_json = {"machine": {"kernel": kernel}, "harness": {"commit": commit}}
        (folder.parent / "run.json").write_text(json.dumps(run_json), encoding="utf-8")

    return run


def beside(scenario, tmp_path, *phases, **report):
    """The table of phases of a run whose machine has the kernel 6.1."""
    (tmp_path / "20261128T214000Z").mkdir()
    (tmp_path / "20261128T214000Z/run.json").write_text(
        '{"machine": {"kernel": "6.1"}, "harness": {"commit": "new"}}', encoding="utf-8"
    )
    page = scenario(phases=[{"name": name, "start_s": 0.0, "seconds": seconds} for name, seconds in phases], **report)
    return re.findall(
        r'<td>([^<]*)</td><td class="n">0.0 s</td>.*<td class="n">(.*)</td><td class="faint">(.*)</td>', page
    )


def test_a_phase_stands_beside_the_last_runs_that_passed(scenario, earlier, tmp_path):
    for day, seconds, outcome in ((21, 10.0, "passed"), (22, 30.0, "passed"), (23, 99.0, "failed")):
        earlier(day, [("OSDs up", seconds)], outcome=outcome)
    assert beside(scenario, tmp_path, ("OSDs up", 20.0)) == [("OSDs up", "30.0 s", "30.0, 10.0")]


def test_runs_of_other_versions_and_on_other_machines_are_not_compared_but_those_of_an_older_harness(
    scenario, earlier, tmp_path
):
    earlier(21, [("OSDs up", 10.0)], rook="1.18.8", driver="userspace")
    earlier(22, [("OSDs up", 11.0)], rook="1.17.9", driver="userspace")
    earlier(23, [("OSDs up", 12.0)], rook="1.18.8", driver="kernel")
    earlier(24, [("OSDs up", 13.0)], rook="1.18.8", driver="userspace", kernel="6.9")
    found = beside(scenario, tmp_path, ("OSDs up", 20.0), rook="1.18.8", driver="userspace")
    assert found == [("OSDs up", "10.0 s", "10.0")]


def test_a_phase_that_comes_twice_is_compared_with_the_one_in_its_place(scenario, earlier, tmp_path):
    earlier(21, [("logs gathered", 5.0), ("OSDs up", 9.0), ("logs gathered", 1.0)])
    assert beside(scenario, tmp_path, ("logs gathered", 5.0), ("logs gathered", 2.0), ("logs gathered", 3.0)) == [
        ("logs gathered", "5.0 s", "5.0"),
        ("logs gathered", "1.0 s", "1.0"),
        ("logs gathered", "", ""),
    ]


LOST = {"key": 4711, "seconds_before_fault": 0.8123, "allowed": False, "came_back_s": None}


def test_a_lost_row_is_reported_in_a_sentence():
    told = verdicts.sentences(
        {"verdict": {"verdict": "invalid", "acknowledged": 5000, "lost": [LOST]}, "rpo_seconds": None}, "node kill"
    )
    assert told[0] == "Invalid: no acknowledged row may be lost, and that did not hold."
    assert "Row 4711 was acknowledged 0.8 s before the node kill and is missing at ALL; that is not allowed." in told


def test_a_row_that_came_back_and_one_that_may_be_lost():
    back = {**LOST, "allowed": True, "came_back_s": 12.0, "seconds_before_fault": -0.1}
    told = verdicts.sentences(
        {"verdict": {"verdict": "valid", "missing_at_quorum": [back]}, "rpo_seconds": 10}, "fault"
    )
    assert "Row 4711 was acknowledged during the fault and was missing at QUORUM, and was back 12.0 s after it." in told
    assert verdicts.sentences({}) == []


def test_a_failure_has_the_verdicts_of_all_workloads_by_their_names_but_for_its_own_reason(tmp_path):
    reason = "invalid: acknowledged rows lost: 7"
    failure = {"when": "call", "outcome": "failed", "type": "StorageFailure", "reason": reason, "after_s": 1.0}
    (tmp_path / "report.json").write_text(json.dumps({"failures": [failure]}), encoding="utf-8")
    for name, text in (
        ("verdict.txt", "valid: 20 rows"),
        ("verdict-postgresql.txt", reason),
        ("verdict-etcd.txt", "x"),
    ):
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    lines = [line.strip() for line in failures.block(tmp_path).splitlines() if line.strip().startswith("verdict")]
    assert lines == ["verdict  etcd: x", "verdict  valid: 20 rows"]
    named = {"failures": [failure], "histories": {"history.jsonl": "cassandra", "history-etcd.jsonl": "etcd"}}
    (tmp_path / "report.json").write_text(json.dumps(named), encoding="utf-8")
    assert "  cassandra: valid: 20 rows\n" in failures.block(tmp_path)


def test_the_verdict_on_a_second_workload_has_its_name():
    other = {"of": "postgresql", "verdict": {"verdict": "unknown", "acknowledged": 7}}
    report = {"verdict": {"verdict": "valid"}, "rpo_seconds": 0, "histories": {"history.jsonl": "cassandra"}}
    assert verdicts.sentences(report)[0] == "Valid: no acknowledged row may be lost, and that held."
    unchecked = {**report["histories"], "history-postgresql.jsonl": "postgresql"}
    assert verdicts.sentences({**report, "histories": unchecked})[0].startswith("cassandra: Valid: ")
    lines = verdicts.sentences({**report, "verdicts": [other]})
    assert lines[0] == "cassandra: Valid: no acknowledged row may be lost, and that held."
    assert [line for line in lines if line.startswith("postgresql: Unknown: ")]
    assert "postgresql: 7 rows were acknowledged; 0 writes in flight at the fault." in lines


SOURCE = DRIVER_NOT_REGISTERED.source


@pytest.mark.parametrize(
    "outcome", ["failed", "unknown", "infrastructure", "interrupted", "running", "passed", "skipped"]
)
def test_what_is_known_is_reported_of_whatever_did_not_pass(scenario, tmp_path, outcome):
    folder = with_known(tmp_path)
    scenario(outcome=outcome)
    timings = json.loads((folder / "timings.json").read_text(encoding="utf-8"))
    (folder / "timings.json").write_text(json.dumps({**timings, "outcome": outcome}), encoding="utf-8")
    told = "Known text in the logs: DRIVER_NOT_REGISTERED" in pages.scenario(folder).read_text(encoding="utf-8")
    assert told == (outcome not in ("passed", "skipped"))


def with_known(tmp_path):
    """The folder of the scenario, whose log shows a signature."""
    folder = tmp_path / "20261128T214000Z" / "it"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs/kubelet.journal").write_text(
        DRIVER_NOT_REGISTERED.text.replace("…", "rbd.csi.ceph.com") + "\n", encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    ("url", "symptom"),
    [(SOURCE, None), ("https://example.org/7", str(DRIVER_NOT_REGISTERED))],
    ids=["its source", "a marker"],
)
def test_what_is_known_is_reported_with_the_cause_of_its_report(scenario, tmp_path, url, symptom):
    folder = with_known(tmp_path)
    scenario(bugs=[{"url": url, "symptom": symptom}])
    timings = json.loads((folder / "timings.json").read_text(encoding="utf-8"))
    (folder / "timings.json").write_text(json.dumps({**timings, "outcome": "failed"}), encoding="utf-8")
    causes = {url: "a kubelet finds drivers in its own directory only", "https://example.org/8": "another"}
    page = pages.scenario(folder, causes=causes).read_text(encoding="utf-8")
    assert f"{SOURCE}</a>: a kubelet finds drivers in its own directory only" in page
    assert "another" not in page[page.index("Known text") :].partition("<h2>")[0]


def test_what_is_known_is_found_where_it_stands(tmp_path):
    logs = tmp_path / "logs" / "at-the-end"
    logs.mkdir(parents=True)
    shown = DRIVER_NOT_REGISTERED.text.replace("…", "rbd.csi.ceph.com")
    (logs / "kubelet.journal").write_bytes(b"\xff\nsomething\nMountVolume: " + shown.encode() + b"\n")
    (found,) = scan(tmp_path / "logs")
    assert catalogue()[found["name"]] == DRIVER_NOT_REGISTERED
    assert found["places"] == [{"file": "logs/at-the-end/kubelet.journal", "line": 3, "text": f"MountVolume: {shown}"}]
    assert scan(tmp_path / "none") == []


@pytest.mark.parametrize(("file", "found"), [("events-ns.jsonl", 1), ("PersistentVolume.jsonl", 0)])
def test_what_an_object_is_was_reported_by_nobody(tmp_path, file, found):
    objects = tmp_path / "logs" / "at-the-end" / "objects"
    objects.mkdir(parents=True)
    (objects / file).write_text(DRIVER_NOT_REGISTERED.text.replace("…", "rbd.csi.ceph.com") + "\n", encoding="utf-8")
    assert len(scan(tmp_path / "logs")) == found


def test_what_a_log_reports_of_the_time_before_the_scenario_explains_nothing(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    shown = DRIVER_NOT_REGISTERED.text.replace("…", "rbd.csi.ceph.com")
    log = logs / "kubelet.journal"
    log.write_text(f"2026-11-28T21:42:10Z {shown}\n2026-11-28T21:42:53Z {shown}\n", encoding="utf-8")
    ((place,),) = [each["places"] for each in scan(logs, since=T0)]
    assert place["line"] == 2
    assert scan(logs, since=T0 + 10) == []
    log.write_text(f"{shown}\n", encoding="utf-8")
    assert scan(logs, since=T0 + 10), "of a line without a time nobody knows"


def test_a_log_shows_which_line_is_of_which_moment(tmp_path):
    log = tmp_path / "logs" / "pod.log"
    log.parent.mkdir()
    log.write_text("begin\n2026-11-28T21:42:53.5Z up\nno time\nWARN 2026-11-28 21:42:55,250 down\n", encoding="utf-8")
    (found,) = logs_of(tmp_path)
    assert (found.file, found.lines, found.times) == ("logs/pod.log", [2, 4], [T0 + 0.5, T0 + 2.25])


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-11-28T21:42:53.250000+0000 c-worker kubelet[219]: I1128 20:00:00.000000     219 x.go:1] up", T0 + 0.25),
        ("2026-11-28T21:42:53.250000+00:00 c-worker kernel: loop205: detected capacity change", T0 + 0.25),
        ('I1128 21:42:53.250000       1 x.go:1] "old" at="2026-01-01T00:00:00Z"', T0 + 0.25),
        ("E1128 21:42:53.5  17 x.go:1] it fails", T0 + 0.5),
        ("Nov 28 21:42:53 c-worker kubelet[219]: of no year, and no klog", None),
        ("I1341 21:42:53.250000       1 x.go:1] no such day", None),
        ("I0229 00:00:00.0 1 x.go:1] a day that no year nearby has", None),
        ("2026-11-28T25:42:53Z no such hour", None),
        ("its name is I1128 21:42:53.250000 1 and no header", None),
    ],
)
def test_the_times_of_journals_and_of_klog_are_read(line, moment):
    assert moment_of(line, near=T0 + 3600) == moment


def test_a_time_without_a_year_is_that_near_the_files_own(tmp_path):
    log = tmp_path / "logs" / "csi.log"
    log.parent.mkdir()
    log.write_text("I1231 23:59:59.000000 1 x.go:1] late\nI0101 00:00:01.000000 1 x.go:1] early\n", encoding="utf-8")
    new_year = 1_798_761_600.0  # 2027-01-01T00:00:00Z
    os.utime(log, (new_year + 60, new_year + 60))
    (found,) = logs_of(tmp_path)
    assert found.times == [new_year - 1, new_year + 1]


def test_what_a_driver_reported_before_the_scenario_explains_nothing(tmp_path):
    log = tmp_path / "logs" / "csi.log"
    log.parent.mkdir()
    shown = DRIVER_NOT_REGISTERED.text.replace("…", "rbd.csi.ceph.com")
    log.write_text(
        f"I1128 21:42:10.000000 1 x.go:1] {shown}\nI1128 21:42:54.000000 1 x.go:1] {shown}\n", encoding="utf-8"
    )
    os.utime(log, (T0 + 60, T0 + 60))
    ((place,),) = [each["places"] for each in scan(tmp_path / "logs", since=T0)]
    assert place["line"] == 2


@pytest.mark.parametrize("lines", [1, 24, 25, 26, 49, 51, 1000])
def test_of_a_long_log_few_lines_are_kept_from_its_begin_to_its_end(tmp_path, lines):
    log = tmp_path / "logs" / "pod.log"
    log.parent.mkdir()
    log.write_text(
        "\n".join(f"2026-11-28T21:42:{53 + line / 1000:09.6f}Z up" for line in range(lines)), encoding="utf-8"
    )
    (found,) = logs_of(tmp_path)
    assert lines / 50 < len(found.lines) <= logbook.MOST_MARKS
    assert found.lines[-1] > lines * 0.9 - 1


def test_the_logs_of_a_page_are_in_one_column_for_all(scenario, tmp_path):
    phase = {"name": "OSDs up", "start_s": 0.0, "seconds": 1.0}
    scenario(phases=[phase])
    logs = tmp_path / "20261128T214000Z" / "it" / "logs"
    logs.mkdir()
    (logs / "a b.log").write_text("2026-11-28T21:42:53Z up\nno time\n2026-11-28T21:42:55Z down\n", encoding="utf-8")
    (logs / "none.log").write_text("no time\n", encoding="utf-8")
    (logs / "pod.log").write_text("2026-11-28T21:43:43Z up\n", encoding="utf-8")
    found = data_of(scenario(phases=[phase]))["logs"]
    columns = {name: base64.b64decode(found[name]["data"]) for name in ("marks", "at", "line")}
    assert (found["files"], found["hrefs"]) == (["logs/a b.log", "logs/pod.log"], {"0": "logs/a%20b.log"})
    assert struct.unpack("<2I", columns["marks"]) == (2, 1)
    assert struct.unpack("<3f", columns["at"]) == (10.0, 12.0, 60.0)
    assert struct.unpack("<3I", columns["line"]) == (1, 3, 1)


def test_a_command_has_the_versions_and_seeds_of_the_run_but_not_its_choice_of_scenarios():
    report = {"test": "scenarios/test_a.py::test_b[x y]", "rook": "1.18.8", "ceph": "quay.io/ceph/ceph:v18.2.7"}
    run = {"settings": {"all": True, "shard": "1/2", "disk_size": "6GiB"}, "seeds": {"fault_seed": 3, "order": 9}}
    pytest_form, tox_form = failures.again(report, run)
    options = "--fault-seed=3 --rook=1.18.8 --ceph=18.2.7 --disk-size=6GiB --randomly-seed=9"
    assert pytest_form == f"pytest 'scenarios/test_a.py::test_b[x y]' {options}"
    assert tox_form == f"python3 -m tox -e e2e -- 'scenarios/test_a.py::test_b[x y]' {options}"


def test_a_command_has_the_seed_that_a_scenario_has_drawn_for_itself():
    options = failures.again_options({"fault_seed": 77}, {"seeds": {"fault_seed": None}})
    assert options["fault_seed"] == 77


def test_what_is_no_driver_of_rooks_is_not_asked_for_again():
    report = {"driver": "kubelet", "storage": "local"}
    options = failures.again_options(report, {"settings": {"storage": "local"}})
    assert "csi_driver" not in options
    assert options["storage"] == "local"
    assert failures.again_options({"driver": "userspace"}, {})["csi_driver"] == "userspace"
