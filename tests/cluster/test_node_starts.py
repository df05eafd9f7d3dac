"""Starting nodes on a docker that is faked by name and state of its containers."""

import json
from types import SimpleNamespace

import pytest
from rookery.cluster import nodes
from rookery.errors import InfrastructureError

NAMES = ["c-worker2", "c-control-plane", "c-worker"]


@pytest.fixture
def engine(monkeypatch):
    """Containers that start all at once; what was asked for is recorded."""
    engine = SimpleNamespace(running=dict.fromkeys(NAMES, True), boot=1, broken=set(), ran=[])

    def container(name):
        networks = {"kind": {"IPAddress": f"172.18.0.{NAMES.index(name)}" if engine.running[name] else ""}}
        return {
            "Name": f"/{name}",
            "State": {"Running": engine.running[name], "StartedAt": f"boot {engine.boot}"},
            "NetworkSettings": {"Networks": networks},
            "Mounts": [
                {"Source": "/lib/modules", "Destination": "/lib/modules"},
                {"Source": f"/volumes/{name}", "Destination": "/var"},
            ],
        }

    def docker_output(command, *names, timeout):
        assert command == "inspect"
        return json.dumps([container(name) for name in names])

    def docker(command, *names, timeout):
        engine.ran.append((command, list(names)))
        engine.boot += 1
        engine.running |= {name: name not in engine.broken for name in names}

    monkeypatch.setattr(nodes, "docker_output", docker_output)
    monkeypatch.setattr(nodes, "docker", docker)
    return engine


def test_a_state_shows_the_boot_the_address_and_where_var_lies(engine):
    assert nodes.states(["c-worker"]) == [
        nodes.NodeState("c-worker", running=True, boot="boot 1", address="172.18.0.2", volume="/volumes/c-worker")
    ]


def test_the_control_plane_starts_first_and_the_rest_by_name(engine):
    engine.running = dict.fromkeys(NAMES, False)
    after = nodes.start(NAMES)
    assert engine.ran[-1] == ("start", ["c-control-plane", "c-worker", "c-worker2"])
    assert [(state.name, state.running, state.boot) for state in after] == [(name, True, "boot 2") for name in NAMES]


def test_a_node_that_does_not_start_is_named(engine):
    engine.running = dict.fromkeys(NAMES, False)
    engine.broken = {"c-worker2"}
    with pytest.raises(InfrastructureError, match="did not start: c-worker2"):
        nodes.start(NAMES)
