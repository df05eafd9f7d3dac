"""What is gathered at a moment, of a cluster that answers and of one that does not."""

import errno
import json

import pytest
from fakes import plays_kube, plays_rook
from playing import plays
from rookery.errors import RookeryError, in_words
from rookery.kube.client import ResourceType
from rookery.rook import system as rook_system
from rookery.settings import Settings
from rookery.storage import log_bundle
from rookery.waiting import NotYet


@pytest.fixture
def gather(tmp_path, monkeypatch):
    """Fills a folder with what the storage says, on nodes that answer; returns the folder."""
    monkeypatch.setattr(log_bundle.node_containers, "journal", lambda name: f"journal of {name}\n")
    monkeypatch.setattr(log_bundle.node_containers, "state", lambda name: f"state of {name}\n")

    def collect(kube, folder, *, budget_bytes):
        for name in ("logs/rook-ceph/mon-a/mon.log", "objects/Pod.jsonl", "objects/events-rook-ceph.jsonl"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}\n", encoding="utf-8")

    monkeypatch.setattr(log_bundle.bundle, "collect", collect)

    def gathered(said):
        folder = tmp_path / "before-node-kill-1"
        log_bundle.gather(None, ["worker", "worker2"], said, folder, budget_bytes=1000)
        return folder

    return gathered


def test_index_reports_what_there_is_and_why(gather):
    told = log_bundle.index(gather({"ceph-report.json": lambda: "{}", "ceph-log.json": lambda: "[]"}))
    assert told.startswith("Gathered before node kill 1, until ")
    for row in (
        "logs/rook-ceph/mon-a/mon.log\n    logs of containers",
        "objects/events-rook-ceph.jsonl\n    Kubernetes' events",
        "objects/Pod.jsonl\n    objects of the API",
        "storage/ceph-report.json\n    all that the mons know",
        "*.journal (2 files)\n    the newest lines of a node's journal",
        "*.node.txt (2 files)\n    a node's loop devices",
    ):
        assert row in told
    assert "ceph-crashes" not in told, "what is not there is not promised"


@pytest.mark.parametrize("error", [NotYet("no quorum"), RookeryError("the API does not answer", hint="h")])
def test_what_does_not_answer_is_in_its_place_in_words(gather, error):
    def ask():
        raise error

    folder = gather({"ceph-report.json": ask, "ceph-log.json": lambda: "[1]"})
    assert (folder / "storage/ceph-report.json").read_text(encoding="utf-8") == f"not to be had: {in_words(error)}\n"
    assert (folder / "storage/ceph-log.json").read_text(encoding="utf-8") == "[1]"


def test_what_is_too_long_keeps_its_end(gather, monkeypatch):
    monkeypatch.setattr(log_bundle, "LARGEST", 10)
    assert (gather({"said.txt": lambda: "old old\nnew new\n"}) / "storage/said.txt").read_text(
        encoding="utf-8"
    ) == "new new\n"


def test_full_disk_raises_nothing(gather, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log_bundle.Path, "write_bytes", full)
    gather({"said.txt": lambda: "said"})


@plays_kube
class Kube:
    """Serves two kinds of Rook and one of somebody else's."""

    @plays(ResourceType)
    class Listed:
        def __init__(self, group, kind):
            self.group, self.kind = group, kind

    def listable_types(self):
        return [self.Listed("ceph.rook.io", "CephCluster"), self.Listed("apps", "Deployment")]

    def list_type(self, listed):
        return [{"kind": listed.kind, "metadata": {"name": "it"}}]


def test_rook_reports_what_the_mons_know_and_its_own_objects(monkeypatch):
    asked = []

    @plays_rook
    class Rook:
        kube = Kube()

        def ask(self, prefix, *, of="mon", **arguments):
            asked.append((of, prefix, arguments))
            return {"prefix": prefix}

    system = rook_system.RookSystem(Settings())
    system._rook = Rook()
    told = {name: json.loads(ask()) for name, ask in system.diagnostics().items()}
    assert told["ceph-report.json"] == {"prefix": "report"}
    assert told["custom-resources.json"] == [{"kind": "CephCluster", "metadata": {"name": "it"}}]
    assert ("mgr", "crash ls", {}) in asked
    assert ("mon", "log last", {"num": rook_system.LOG_LINES}) in asked
