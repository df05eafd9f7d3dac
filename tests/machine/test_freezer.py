"""Freezing containers that docker only pretends to have, with control groups that are files of the test's own."""

import errno
import json
import os
from types import SimpleNamespace

import pytest
from rookery.errors import InfrastructureError
from rookery.machine import freezer
from rookery.waiting import NotYet

NAMES = ["c-control-plane", "c-worker"]
IDS = {"c-control-plane": "a1" * 32, "c-worker": "b2" * 32}


@pytest.fixture(params=["v1", "v2"])
def machine(request, tmp_path, monkeypatch):
    """Two containers whose first process is in a group of their systemd; `working` burn processor time when looked at.

    `states()` is what was last written for each.
    """
    machine = SimpleNamespace(version=request.param, working={}, off=set(), groups={}, proc=tmp_path / "proc")
    for number, name in enumerate(NAMES, 101):
        path = f"docker/{IDS[name]}" if machine.version == "v1" else f"system.slice/docker-{IDS[name]}.scope"
        (machine.proc / str(number)).mkdir(parents=True)
        if machine.version == "v1":
            told = f"9:freezer:/{path}/init.scope\n4:cpu,cpuacct:/{path}\n1:name=systemd:/{path}/init.scope\n0::/\n"
            freeze, usage = tmp_path / "freezer" / path, tmp_path / "cpuacct" / path
        else:
            told = f"0::/{path}/init.scope\n"
            freeze = usage = tmp_path / path
        (machine.proc / str(number) / "cgroup").write_text(told, encoding="utf-8")
        for folder in (freeze / "init.scope", usage):
            folder.mkdir(parents=True, exist_ok=True)
        machine.groups[name] = SimpleNamespace(
            state=freeze / ("freezer.state" if machine.version == "v1" else "cgroup.freeze"),
            usage=usage / ("cpuacct.usage" if machine.version == "v1" else "cpu.stat"),
        )
        machine.groups[name].state.write_text("as it was", encoding="utf-8")

    def processor_ns(control):
        machine.working[control.name] = machine.working.get(control.name, iter(lambda: 0, 1))
        burnt = next(machine.working[control.name])
        text = f"{burnt}\n" if machine.version == "v1" else f"usage_usec {burnt // 1000}\nuser_usec 1\n"
        control.usage.write_text(text, encoding="utf-8")
        return measured(control)

    def inspect(*argv, timeout=60):
        return json.dumps(
            [
                {
                    "Name": f"/{name}",
                    "Id": IDS[name],
                    "State": {"Running": name not in machine.off, "Pid": 101 + NAMES.index(name)},
                }
                for name in argv[1:]
            ]
        )

    measured = freezer._Control.processor_ns
    monkeypatch.setattr(freezer._Control, "processor_ns", processor_ns)
    monkeypatch.setattr(freezer, "docker_output", inspect)
    monkeypatch.setattr(freezer, "CGROUPS", tmp_path)
    monkeypatch.setattr(freezer, "PROC", machine.proc)
    machine.states = lambda: [machine.groups[name].state.read_text(encoding="utf-8") for name in NAMES]
    machine.frozen = ["FROZEN" if machine.version == "v1" else "1"] * 2
    machine.thawed = ["THAWED" if machine.version == "v1" else "0"] * 2
    return machine


def test_all_are_frozen_while_it_lasts_as_whole_containers(machine):
    with freezer.frozen(NAMES):
        assert machine.states() == machine.frozen
    assert machine.states() == machine.thawed


def test_all_are_thawed_whatever_happens(machine):
    with pytest.raises(KeyboardInterrupt), freezer.frozen(NAMES):
        raise KeyboardInterrupt
    assert machine.states() == machine.thawed


def test_it_begins_when_the_processors_stand_still(machine):
    machine.working["c-worker"] = iter([10**9, 2 * 10**9, 3 * 10**9, *[3 * 10**9] * 5])
    with freezer.frozen(NAMES):
        assert next(machine.working["c-worker"]) == 3 * 10**9


def test_what_goes_on_working_is_not_frozen(machine, monkeypatch):
    monkeypatch.setattr(freezer, "STOPPED_SECONDS", 0.0)
    machine.working["c-worker"] = iter(range(0, 10**12, 10**8))
    with (
        pytest.raises(InfrastructureError, match="frozen containers to stand still: not within 0 s"),
        freezer.frozen(NAMES),
    ):
        pytest.fail("it is not frozen")
    assert machine.states() == machine.thawed


def test_what_worked_meanwhile_was_no_single_instant(machine):
    machine.working["c-worker"] = iter([0, 0, 10**8])
    told = r"frozen containers were at work: c-worker for 100\.0 ms"
    with pytest.raises(InfrastructureError, match=told), freezer.frozen(NAMES):
        pass
    assert machine.states() == machine.thawed


def test_what_is_off_cannot_be_frozen(machine):
    machine.off = {"c-worker"}
    with pytest.raises(InfrastructureError, match="c-worker is off"), freezer.frozen(NAMES):
        pytest.fail("it is off")
    assert machine.states() == ["as it was"] * 2


def test_a_group_that_is_not_to_be_seen_from_here_is_reported(machine):
    (machine.proc / "102" / "cgroup").write_text("0::/../elsewhere\n", encoding="utf-8")
    with pytest.raises(InfrastructureError, match="c-worker cannot be frozen") as caught, freezer.frozen(NAMES):
        pytest.fail("it cannot be frozen")
    assert caught.value.hint
    assert machine.states() == ["as it was"] * 2


def test_what_a_killed_run_has_left_frozen_is_thawed(machine):
    machine.off = {"c-control-plane"}
    freezer.thaw(NAMES)
    assert machine.states() == ["as it was", machine.thawed[1]]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_groups_that_may_not_be_written_to_are_reported_and_left_alone(machine, monkeypatch, number):
    def refuse(control, word):
        raise OSError(number, os.strerror(number), str(control.file))

    monkeypatch.setattr(freezer._Control, "write", refuse)
    told = f"containers cannot be frozen: .*{os.strerror(number)}"
    with pytest.raises(InfrastructureError, match=told) as caught, freezer.frozen(NAMES):
        pytest.fail("they are not frozen")
    assert "can be written to" in caught.value.hint
    freezer.thaw(NAMES)


def test_a_container_that_ends_meanwhile_was_no_single_instant(machine):
    def ends():
        yield from (0, 0)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "cpuacct.usage")

    machine.working["c-worker"] = ends()
    with pytest.raises(InfrastructureError, match="No such file or directory"), freezer.frozen(NAMES):
        pass
    assert machine.states() == machine.thawed


def test_what_goes_wrong_while_it_lasts_is_reported_as_it_is(machine):
    with pytest.raises(OSError, match="no space left"), freezer.frozen(NAMES):
        raise OSError("no space left")


def inside(machine, name, container):
    """The group of a container that runs inside another one."""
    own = machine.groups[name]
    folder = own.state.parent / f"kubelet.slice/cri-containerd-{container}.scope"
    usage = own.usage.parent / f"kubelet.slice/cri-containerd-{container}.scope"
    for each in (folder, usage):
        each.mkdir(parents=True, exist_ok=True)
    (usage / own.usage.name).write_text("5\n" if machine.version == "v1" else "usage_usec 5\n", encoding="utf-8")
    state = folder / own.state.name
    state.write_text(machine.thawed[0], encoding="utf-8")
    return state


def freeze_proof(**where):
    """Of the worker, looked at once."""
    looked = freezer.FreezeProof(["c-worker"], **where)
    with pytest.raises(NotYet, match="looked at once"):
        looked.seen()
    return looked


def test_what_works_between_two_looks_does_not_stand_still(machine):
    freezer.freeze(["c-worker"])
    machine.working["c-worker"] = iter([0, 10**8, 10**8])
    looked = freeze_proof()
    with pytest.raises(NotYet, match="c-worker still at work"):
        looked.seen()
    assert looked.seen().startswith("c-worker: frozen")


def test_one_container_inside_another_is_frozen_by_its_id(machine):
    state, other = inside(machine, "c-worker", "c0ffee"), inside(machine, "c-worker", "decaf")
    freezer.freeze(["c-worker"], inside="c0ffee")
    assert (state.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")) == (
        machine.frozen[0],
        machine.thawed[0],
    )
    assert machine.states() == ["as it was"] * 2
    seen = freeze_proof(inside="c0ffee").seen()
    assert seen.startswith("c0ffee on c-worker: frozen")
    with pytest.raises(NotYet, match="decaf on c-worker is"):
        freeze_proof(inside="decaf").seen()
    with pytest.raises(InfrastructureError, match="c-worker runs no container beef"):
        freezer.freeze(["c-worker"], inside="beef")


def test_what_was_frozen_inside_is_thawed_with_the_whole(machine):
    state = inside(machine, "c-worker", "c0ffee")
    freezer.freeze(["c-worker"], inside="c0ffee")
    freezer.thaw(NAMES)
    assert state.read_text(encoding="utf-8") == machine.thawed[0]
