"""Runs as they lie on the disk: every file of a run and of its one scenario, with all that Rookery writes into it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from stories import Story

STARTED = "2026-11-28T21:42:43+00:00"
PHASE = {"name": "OSDs up", "start_s": 1.0, "seconds": 2.0}
ROW = {"key": 7, "seconds_before_fault": 0.8, "allowed": False, "came_back_s": None}
FILES: dict[str, dict[str, Any]] = {
    "report.json": {
        "scenario": "it",
        "test": "scenarios/test_it.py::test_it",
        "title": "It works.",
        "started": STARTED,
        "run": STARTED,
        "outcome": "failed",
        "bugs": [{"url": "https://example.org/1", "symptom": None}],
        "failed_phase": {**PHASE, "error": "DeadlineExceeded: late"},
        "failures": [
            {
                "when": "call",
                "outcome": "failed",
                "type": "DeadlineExceeded",
                "reason": "late",
                "after_s": 3.0,
                "where": "scenarios/test_it.py:57: cluster.healthy.wait()",
                "after_phase": "OSDs up",
            }
        ],
        "symptoms": [{"symptom": "a text", "line": "a line with a text", "at_s": 2.0}],
        "faults": [{"name": "node kill", "at": 1_795_902_173.0, "healed_at": 1_795_902_183.0, "proof": "dead"}],
        "verdict": {
            "verdict": "invalid",
            "reasons": ["it is so"],
            "acknowledged": 2,
            "in_flight_at_fault": [9],
            "lost": [ROW],
            "missing_at_quorum": [ROW],
            "torn": {"3": "half"},
            "refuted": [1],
            "phantom": [2],
            "vanished": [4],
            "seed_missing": [5],
        },
        "rpo_seconds": 10.0,
        "histories": {"history.jsonl": "cassandra"},
        "verdicts": [{"of": "postgresql", "verdict": {"verdict": "valid", "acknowledged": 1}, "rpo_seconds": 0}],
        "upgrade": {
            "from": {"rook": "1.17.8"},
            "to": {"rook": "1.18.8"},
            "at": 1_795_902_174.0,
            "done_at": 1_795_902_175.0,
        },
        "roll_back": {"from": {"rook": "1.18.8"}, "to": {"rook": "1.17.8"}, "at": 1_795_902_176.0, "done_at": None},
        "storage": "rook",
        "driver": "userspace",
        "state": "storage",
        "rook": "1.18.8",
        "ceph": "quay.io/ceph/ceph:v18.2.7",
        "kubernetes": "1.32.0",
        "images": {"ceph": "built"},
        "watcher": {"cpu_s": 0.57, "seconds": 160.5, "share_of_a_core": 0.0036},
        "unexpected": ["a panic"],
    },
    "timings.json": {
        "scenario": "it",
        "started": STARTED,
        "outcome": "failed",
        "total_s": 9.0,
        "uncounted_s": 1.0,
        "counted_s": 8.0,
        "budget_s": 60.0,
        "over_budget": False,
        "call": {"start_s": 1.0, "seconds": 7.0},
        "in_progress": {"stage": "call", "phases": [{"name": "OSDs up", "start_s": 1.0}]},
        "phases": [PHASE],
        "waits": [{**PHASE, "within": 60, "ended": "met"}],
        "waits_left_out": 1,
    },
    "run.json": {
        "run": STARTED,
        "started": STARTED,
        "ended": STARTED,
        "outcome": "finished",
        "exit_status": 1,
        "exit_status_means": "a finding",
        "command": ["pytest", "test_it.py"],
        "settings": {"rook": "1.18.8"},
        "versions": {"rook": "1.18.8"},
        "seeds": {"fault_seed": 1, "order": 1},
        "machine": {"host": "h", "kernel": "6.1", "cpus": 2},
        "harness": {"version": "0.1.0", "commit": "abc"},
    },
}
EVENTS = [
    {"schema": "rookery.events/1", "began": 1_795_902_163.0},
    {"at": 1_795_902_173.0, "kind": "node", "name": "n1", "state": "NotReady", "text": "taints"},
    {"at": 1_795_902_183.0, "kind": "node", "name": "n1", "state": "Ready", "text": ""},
]


def history() -> list[dict[str, Any]]:
    """The lines of one, with a fault."""
    told = Story().acked(1, 2).in_flight(9).fault().read("QUORUM", [1, 2], 150).read("ALL", [1, 2], 160)
    return [json.loads(each.to_json()) for each in sorted(told.operations, key=lambda each: each.time_ns)]


def files() -> dict[str, Any]:
    """All of them by their names, to be changed and handed to `write`."""
    return copy.deepcopy({**FILES, "history.jsonl": history(), "events.jsonl": EVENTS})


def write(results: Path, found: dict[str, Any], *, run: str = "20261128T214243Z", scenario: str = "it") -> Path:
    """Make the run with these files, and return the folder of its scenario."""
    folder = results / run / scenario
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    for name, whole in found.items():
        lines = whole if name.endswith(".jsonl") and isinstance(whole, list) else [whole]
        text = "".join(json.dumps(each) + "\n" for each in lines)
        ((folder.parent if name == "run.json" else folder) / name).write_text(text, encoding="utf-8")
    return folder
