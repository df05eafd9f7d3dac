"""What is written down of a cluster's changes, turn by turn, over streams that end, hang and lie."""

import io
import json
import os
import socket
from threading import Event
from types import SimpleNamespace

import pytest
from fakes import plays_kube
from playing import plays
from rookery.evidence import watcher
from rookery.evidence.cluster_log import entry
from rookery.evidence.happenings import Ceph
from rookery.kube import ApiUnavailable
from rookery.kube.streams import Stream
from rookery.report.results import Results

NS = "rook-ceph"


@plays(Stream)
class FakeStream:
    """What `say` is told comes at the next turn; ends when it is told to."""

    def __init__(self):
        self._ours, self._theirs = socket.socketpair()
        self._lines, self.ended, self.closed = [], False, False

    def say(self, *lines):
        self._lines += [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        self._theirs.send(b".")

    def end(self):
        self.ended = True
        self._theirs.send(b".")

    def fileno(self):
        return self._ours.fileno()

    def lines(self):
        self._ours.recv(100)
        found, self._lines = self._lines, []
        if not found and self.ended:
            raise ApiUnavailable("ended")
        return found

    def close(self):
        self.closed = True
        self._ours.close()
        self._theirs.close()


@plays_kube
class FakeKube:
    def __init__(self):
        self.streams, self.asked, self.down = {}, [], False

    def stream(self, path, query=()):
        self.asked.append((path, dict(query)))
        if self.down:
            raise ApiUnavailable("refused")
        self.streams[path.rpartition("/")[2]] = found = FakeStream()
        return found


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(monotonic=1000.0, unix_time=1_795_949_900.0)
    monkeypatch.setattr(watcher.time, "monotonic", lambda: now.monotonic)
    monkeypatch.setattr(watcher.time, "time", lambda: now.unix_time)
    return now


@pytest.fixture
def watched(clock, tmp_path, monkeypatch):
    """A watcher whose turns are taken by hand; `turn` returns what was written meanwhile."""
    kube, file = FakeKube(), io.StringIO()
    found = watcher.Watcher(lambda: kube, NS, tmp_path / "events.jsonl")
    select = found._selector.select
    monkeypatch.setattr(found._selector, "select", lambda timeout: select(0))

    def turn():
        before = file.tell()
        found._turn(file)
        return [json.loads(line) for line in file.getvalue()[before:].splitlines()]

    yield SimpleNamespace(kube=kube, turn=turn, watcher=found, clock=clock)
    for stream in kube.streams.values():
        stream.close()
    found._selector.close()
    os.close(found._wake)
    os.close(found._woken)


def node(status="True", name="worker", uid="n1"):
    conditions = [{"type": "Ready", "status": status}]
    return {"metadata": {"name": name, "uid": uid}, "status": {"conditions": conditions}}


def pod(name="mon-a", uid="p1", app="rook-ceph-mon", ready="True", **metadata):
    return {
        "metadata": {"name": name, "namespace": NS, "uid": uid, "labels": {"app": app}, **metadata},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    }


def change(type_, object_):
    return {"type": type_, "object": object_}


def told(written):
    return [(each["kind"], each["name"], each["state"]) for each in written]


def test_a_node_that_goes_and_comes_is_reported_once_each(watched):
    watched.turn()
    nodes = watched.kube.streams["nodes"]
    nodes.say(change("ADDED", node()), change("MODIFIED", node()))
    assert told(watched.turn()) == [("node", "worker", "Ready")]
    nodes.say(change("MODIFIED", node("Unknown")))
    assert told(watched.turn()) == [("node", "worker", "Unknown")]
    nodes.say(change("DELETED", node()))
    assert told(watched.turn()) == [("node", "worker", "gone")]


def test_a_stream_that_ends_is_asked_for_again_and_what_went_meanwhile_is_reported(watched):
    watched.turn()
    watched.kube.streams["nodes"].say(change("ADDED", node()), change("ADDED", node(name="other", uid="n2")))
    watched.turn()
    watched.kube.streams["nodes"].end()
    watched.turn()
    watched.kube.down = True
    watched.clock.monotonic += 10
    assert told(watched.turn()) == [("watch", "API server", "does not answer")]
    watched.kube.down = False
    watched.clock.monotonic += 10
    watched.turn()
    watched.kube.streams["nodes"].say(change("ADDED", node()))
    assert told(watched.turn()) == [("watch", "API server", "answers")], "of the node nothing has changed"
    watched.clock.monotonic += 6
    assert told(watched.turn()) == [("node", "other", "gone")]


def test_from_when_to_when_nobody_could_know_is_reported(watched):
    watched.turn()
    watched.kube.streams["nodes"].say(change("ADDED", node()))
    watched.turn()
    watched.kube.streams["nodes"].end()
    lost = watched.clock.unix_time
    watched.turn()
    watched.kube.down = True
    watched.clock.monotonic += 10
    watched.clock.unix_time += 10
    (gone,) = watched.turn()
    assert (gone["kind"], gone["state"], gone["at"]) == ("watch", "does not answer", lost)
    watched.clock.monotonic += 10
    assert watched.turn() == [], "it is told once"
    watched.kube.down = False
    watched.clock.monotonic += 10
    watched.turn()
    watched.kube.streams["nodes"].say(change("ADDED", node()))
    assert told(watched.turn()) == [("watch", "API server", "answers")]


def test_a_cluster_that_is_down_is_asked_now_and_then_and_reports_nothing(watched):
    watched.kube.down = True
    for _ in range(20):
        assert watched.turn() == []
    assert len(watched.kube.asked) == 4
    assert watched.watcher.error == ""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": {"metadata": {"uid": "x"}}}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_a_line_that_is_no_change_is_passed_over(watched, line):
    watched.turn()
    watched.kube.streams["nodes"].say(line, change("ADDED", node()))
    assert told(watched.turn()) == [("node", "worker", "Ready")]


def test_pods_have_the_state_that_kubectl_shows(watched):
    watched.turn()
    pods = watched.kube.streams["pods"]
    waiting = pod(ready="False", uid="p2", name="osd-0", app="rook-ceph-osd")
    waiting["status"]["containerStatuses"] = [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    pods.say(change("ADDED", pod()), change("ADDED", waiting), change("MODIFIED", pod(deletionTimestamp="now")))
    assert told(watched.turn()) == [
        ("pod", f"{NS}/mon-a", "Ready"),
        ("pod", f"{NS}/osd-0", "CrashLoopBackOff"),
        ("pod", f"{NS}/mon-a", "Terminating"),
    ]


def ceph(text, at="10:58:29.307562", number=1, level="INF"):
    return f"cluster 2026-11-29T{at}+0000 mon.a (mon.0) {number} : cluster [{level}] {text}".encode()


def with_cluster_log(watched, *names):
    watched.turn()
    watched.kube.streams["pods"].say(*(change("ADDED", pod(name, uid=name)) for name in names))
    watched.turn()
    watched.clock.monotonic += 3
    watched.turn()


def test_the_cluster_log_comes_by_a_mon_and_by_the_next_one_if_that_is_silent(watched):
    with_cluster_log(watched, "mon-a", "mon-b")
    first = watched.kube.asked[-1]
    watched.kube.streams["log"].say(ceph("osd.1 [v2:10.0.0.1:6800/1] boot"), ceph("osd.1 [v2:10.0.0.1:6800/1] boot"))
    assert told(watched.turn()) == [("OSD", "osd.1", "up")]
    watched.clock.monotonic += 20
    watched.turn()
    watched.clock.monotonic += 3
    watched.turn()
    second = watched.kube.asked[-1]
    assert {first[0].split("/")[-2], second[0].split("/")[-2]} == {"mon-a", "mon-b"}
    assert second[1]["sinceTime"] == "2026-11-29T10:58:28Z", "from the newest entry on"
    watched.kube.streams["log"].say(ceph("osd.1 [v2:10.0.0.1:6800/1] boot"))
    assert watched.turn() == [], "it was told before"


def test_pgs_are_reported_again_when_nobody_could_hear_of_them_meanwhile(watched):
    with_cluster_log(watched, "mon-a")
    clean = "pgmap v26: 2 pgs: 2 active+clean; 449 KiB data"
    watched.kube.streams["log"].say(ceph(clean), ceph(clean, number=2))
    assert told(watched.turn()) == [("PGs", "PGs", "2 pgs: 2 active+clean")]
    watched.kube.streams["nodes"].end()
    watched.turn()
    watched.kube.down = True
    watched.clock.monotonic += 3
    watched.turn()
    watched.kube.streams["log"].say(ceph(clean, number=3))
    assert told(watched.turn()) == [("PGs", "PGs", "2 pgs: 2 active+clean")]


LANES = {
    ("OSD map", "OSD map"): ("2 total, 2 up, 2 in", "osdmap e44: 2 total, 2 up, 2 in"),
    ("OSD", "osd.0"): ("up", "since epoch 8, OSD map e44"),
    ("OSD", "osd.1"): ("up", "since epoch 9, OSD map e44"),
    ("mon", "mon.a"): ("in quorum", "election epoch 6"),
    ("mon", "mon.b"): ("in quorum", "election epoch 6"),
    ("health", "health"): ("POOL_NEARFULL", "HEALTH_WARN (POOL_NEARFULL: 1 pool nearfull)"),
}


def test_what_there_is_of_ceph_at_the_beginning_is_reported_as_of_then(watched):
    began = watched.clock.unix_time
    with_cluster_log(watched, "mon-a")
    watched.clock.unix_time += 1
    watched.watcher._initial = LANES
    written = watched.turn()
    assert told(written) == [(*lane, state) for lane, (state, _) in LANES.items()]
    assert {each["at"] for each in written} == {began}
    assert watched.turn() == [], "it is told once"
    watched.kube.streams["log"].say(
        ceph("osd.1 marked itself down and dead"),
        ceph("osdmap e45: 2 total, 1 up, 2 in", number=2),
        ceph("osd.1 [v2:10.0.0.1:6800/1] boot", number=3),
        ceph("mon.a is new leader, mons a in quorum (ranks 0)", number=4),
        ceph("Health check failed: 1 osds down (OSD_DOWN)", number=5),
    )
    written = watched.turn()
    assert told(written) == [
        ("OSD", "osd.1", "down"),
        ("OSD map", "OSD map", "2 total, 1 up, 2 in"),
        ("OSD", "osd.1", "up"),
        ("mon", "mon.b", "out of quorum"),
        ("health", "health", "OSD_DOWN, POOL_NEARFULL"),
    ]
    assert [each["text"].partition(":")[0] for each in written if each["kind"] == "OSD"] == [
        "newest OSD map e44",
        "newest OSD map e45",
    ]


def test_what_the_log_showed_first_is_newer_than_what_there_was(watched):
    with_cluster_log(watched, "mon-a")
    watched.kube.streams["log"].say(ceph("osd.1 marked itself down and dead"))
    watched.turn()
    watched.watcher._initial = LANES
    assert ("OSD", "osd.1") not in [(kind, name) for kind, name, _ in told(watched.turn())]


def test_ceph_that_does_not_answer_at_the_beginning_fails_nothing(tmp_path):
    asked = Event()

    def lanes():
        asked.set()
        raise ValueError("odd")

    storage = SimpleNamespace(namespaces=(NS,), lanes=lanes)
    with Results(tmp_path, "it") as results:
        with watcher.watching(SimpleNamespace(kube=FakeKube(), storage=storage), results):
            assert asked.wait(60)
        assert "error" not in results.noted("watcher")


def test_what_is_older_than_the_scenario_is_not_reported(watched):
    with_cluster_log(watched, "mon-a")
    watched.kube.streams["log"].say(ceph("osd.1 failed (root=default)", at="10:00:00.000000"))
    assert watched.turn() == []


def test_cephs_words_are_states():
    told = Ceph()
    said = [
        "osd.0 marked itself down and dead",
        "osd.2 failed (root=default,host=w3) (2 reporters from different host after 20.1 >= grace 20.0)",
        "mon.a calling monitor election",
        "mon.b calling monitor election",
        "mon.a is new leader, mons a,c in quorum (ranks 0,2)",
        "pgmap v26: 2 pgs: 1 active+clean, 1 peering; 449 KiB data",
        "pgmap v27: 2 pgs: 1 active+clean, 1 peering; 450 KiB data",
        "Health check failed: 1 osds down (OSD_DOWN)",
        "Health check failed: 1/3 mons down, quorum a,c (MON_DOWN)",
        "Health check cleared: OSD_DOWN (was: 1 osds down)",
        "Cluster is now healthy",
        "Active manager daemon a restarted",
    ]
    found = [(each.name, each.state) for text in said for each in told.of(entry(ceph(text).decode()))]
    assert found == [
        ("osd.0", "down"),
        ("osd.2", "down"),
        ("mon.a", "electing"),
        ("mon.b", "electing"),
        ("mon.a", "in quorum"),
        ("mon.b", "out of quorum"),
        ("mon.c", "in quorum"),
        ("PGs", "2 pgs: 1 active+clean, 1 peering"),
        ("health", "OSD_DOWN"),
        ("health", "MON_DOWN, OSD_DOWN"),
        ("health", "MON_DOWN"),
        ("health", "HEALTH_OK"),
    ]


def test_warnings_of_now_are_reported_and_those_of_before_are_not(watched):
    watched.turn()
    about = {"kind": "Pod", "namespace": NS, "name": "osd-0"}
    event = {"reason": "FailedMount", "type": "Warning", "involvedObject": about, "message": "x" * 1_000_000}
    old = {**event, "metadata": {"uid": "e1"}, "lastTimestamp": "2026-11-29T10:00:00Z"}
    new = {**event, "metadata": {"uid": "e2"}, "lastTimestamp": "2026-11-29T10:59:00Z"}
    watched.kube.streams["events"].say(change("ADDED", old), change("ADDED", new), change("DELETED", new))
    (found,) = watched.turn()
    assert (found["name"], found["state"]) == (f"Pod/{NS}/osd-0", "FailedMount")
    assert len(found["text"]) == 500


@pytest.mark.parametrize(
    ("reason", "told"), [("SuccessfulAttachVolume", 1), ("SuccessfulMountVolume", 1), ("Pulled", 0), ("Started", 0)]
)
def test_what_succeeded_is_reported_of_volumes_alone(watched, reason, told):
    watched.turn()
    about = {"kind": "Pod", "namespace": NS, "name": "osd-0"}
    event = {"reason": reason, "type": "Normal", "involvedObject": about, "lastTimestamp": "2026-11-29T10:59:00Z"}
    watched.kube.streams["events"].say(change("ADDED", {**event, "metadata": {"uid": "e1"}}))
    assert [each["state"] for each in watched.turn()] == [reason] * told


def test_an_attachment_is_followed(watched):
    watched.turn()
    found = {
        "metadata": {"uid": "v1", "name": "csi-1"},
        "spec": {"nodeName": "worker", "source": {"persistentVolumeName": "pvc-1"}},
    }
    stream = watched.kube.streams["volumeattachments"]
    stream.say(change("ADDED", found), change("MODIFIED", {**found, "status": {"attached": True}}))
    stream.say(change("DELETED", found))
    assert [each["state"] for each in watched.turn()] == ["attaching", "attached", "gone"]


def test_the_file_is_bounded(watched, monkeypatch):
    monkeypatch.setattr(watcher, "MOST", 2)
    watched.turn()
    watched.kube.streams["nodes"].say(*(change("ADDED", node(uid=str(number))) for number in range(5)))
    assert len(watched.turn()) == 2


def test_it_begins_and_ends_with_what_it_cost(tmp_path):
    kube = FakeKube()
    found = watcher.Watcher(lambda: kube, NS, tmp_path / "events.jsonl")
    found.start()
    found.stop()
    (first,) = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["schema"] == "rookery.events/1"
    figures = found.figures()
    assert figures["cpu_s"] <= figures["seconds"] + 0.1
    assert "error" not in figures
    assert all(stream.closed for stream in kube.streams.values())


def test_whatever_is_wrong_with_it_no_scenario_fails_for_it(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text("another's", encoding="utf-8")
    found = watcher.Watcher(FakeKube, NS, path)
    found.start()
    found._thread.join(5)  # it ends by itself
    found.stop()
    assert found.figures()["error"].startswith("FileExistsError")
