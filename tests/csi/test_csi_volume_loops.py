"""Where the driver keeps its records, and where the harness looks for the devices of its volumes: one place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest
import userspace_csi as driver
from rookery.machine import loop
from rookery.machine.volume_loops import volume_loops
from userspace_csi.state import StateStore
from userspace_csi.volumes import VolumeId

VOLUME = VolumeId("rook-ceph", "replicapool", "csi-vol-1")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The driver's program, without what only its image has."""
    for name in ("grpc", "csi_pb2_grpc", "pluginregistration_pb2_grpc"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    for name in ("connections", "images", "services", "registration"):
        monkeypatch.setitem(sys.modules, f"{driver.__name__}.{name}", fake := MagicMock())
        monkeypatch.setattr(driver, name, fake, raising=False)
    program = importlib.import_module(f"{driver.__name__}.__main__")
    yield program
    del sys.modules[program.__name__], driver.__main__  # bound to the fakes


def test_the_devices_of_a_nodes_volumes_are_reported_by_their_folder(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StateStore] = []
    monkeypatch.setattr(program, "Node", lambda states, **_: made.append(states) or MagicMock())
    arguments = [
        "userspace_csi",
        "node",
        "--node-id=c-worker",
        f"--kubelet-dir={tmp_path}",
        f"--ready-file={tmp_path}/ready",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    program.serve_node(program._arguments())
    (states,) = made
    monkeypatch.setattr(loop, "attached", lambda: {203: str(states.image(VOLUME))})
    monkeypatch.setattr(loop, "sequence", lambda number: 7)
    assert volume_loops(["c-control-plane", "c-worker"]) == {203: 7}
    assert volume_loops(["c-worker2", "other-c-worker"]) == {}
