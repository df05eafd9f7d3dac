"""What counts as left: what is there after a run and was not before, whoever remembers it."""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
from rookery.bench import leftovers
from rookery.bench.leftovers import Inventory, Places, survivors
from rookery.errors import InfrastructureError
from rookery.waiting import DeadlineExceeded, NotYet

DEFAULT_ROUTE = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []}
ROOT_MOUNT = "22 27 0:21 / / rw,relatime - ext4 /dev/sda1 rw"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine on which something is of every kind, as the engine, the kernel and the folders tell it."""
    machine = SimpleNamespace(
        containers=["aaaa web"],
        networks=["bbbb bridge"],
        volumes=["data data"],
        attached={3: "/home/me/disk.img"},
        sequences={3: 17},
        mounts=[ROOT_MOUNT],
        routes={"-4": [DEFAULT_ROUTE], "-6": [{"dst": "fe80::/64", "dev": "eth0", "flags": []}]},
        links=[{"ifname": "eth0"}],
        state=tmp_path / "state",
        cache=tmp_path / "cache" / "rookery",
        temporary=tmp_path / "tmp",
        kubeconfig=tmp_path / "kubeconfig",
        devices=tmp_path / "block",
    )
    for folder in (machine.state, machine.cache, machine.temporary, machine.devices):
        folder.mkdir(parents=True)
    machine.kubeconfig.write_text("clusters: [{name: mine}]\nusers:\ncontexts: []\n", encoding="utf-8")
    for number in (0, 3):
        (machine.devices / f"loop{number}").mkdir()
    (tmp_path / "mountinfo").touch()

    def engine(*command, **_):
        lists = {"ps": machine.containers, "network": machine.networks, "volume": machine.volumes}
        return "\n".join(lists[command[0]])

    def ip(argv, **_):
        return json.dumps(machine.links if argv[2] == "link" else machine.routes[argv[2]])

    def mounts():
        (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in machine.mounts), encoding="utf-8")
        return tmp_path / "mountinfo"

    monkeypatch.setattr(leftovers, "docker_output", engine)
    monkeypatch.setattr(leftovers, "output", ip)
    monkeypatch.setattr(leftovers, "_MOUNTS", SimpleNamespace(read_text=lambda encoding: mounts().read_text(encoding)))
    monkeypatch.setattr(leftovers, "_DEVICES", (machine.devices,))
    monkeypatch.setattr(leftovers.loop, "attached", lambda: dict(machine.attached))
    monkeypatch.setattr(leftovers.loop, "sequence", lambda number: machine.sequences.get(number, 0))
    machine.places = Places([machine.cache], machine.temporary, (machine.kubeconfig, tmp_path / "none"))
    return machine


def file(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def attach_anew(machine):
    machine.sequences[3] = 18


def saved_and_torn(machine):
    """A saved cluster that was whole before the run, and is none now."""
    (machine.cache / "snapshots/rookery-abc/storage-ready/snapshot.json").unlink()


LEFT = {
    "a container": (lambda m: m.containers.append("cccc rookery-worker"), "container rookery-worker (cccc)"),
    "another container of the same name": (lambda m: m.containers.append("cccc web"), "container web (cccc)"),
    "a network": (lambda m: m.networks.append("dddd rookery-rookery"), "network rookery-rookery (dddd)"),
    "a volume": (lambda m: m.volumes.append("0123abcd 0123abcd"), "volume 0123abcd"),
    "a loop device": (lambda m: m.attached.update({64: "/s/w.img"}), "loop device /dev/loop64 (/s/w.img)"),
    "one of a dead process": (lambda m: m.attached.update({5: "/"}), "loop device /dev/loop5 (/)"),
    "another attachment": (attach_anew, "loop device /dev/loop3 (/home/me/disk.img)"),
    "another file": (lambda m: m.attached.update({3: "/s/w.img"}), "loop device /dev/loop3 (/s/w.img)"),
    "a number made on demand": (lambda m: (m.devices / "loop201").mkdir(), "loop device /dev/loop201 (free)"),
    "a mount": (
        lambda m: m.mounts.append("30 22 0:30 / /sys/fs/fuse/connections rw - fusectl fusectl rw"),
        "mount /sys/fs/fuse/connections (fusectl fusectl /)",
    ),
    "a mount on another": (lambda m: m.mounts.append(ROOT_MOUNT), "mount / (ext4 /dev/sda1 /)"),
    "a route": (
        lambda m: m.routes["-4"].append({"dst": "10.244.1.0/24", "gateway": "172.18.0.3", "dev": "br-1"}),
        "route 10.244.1.0/24 via 172.18.0.3 dev br-1",
    ),
    "the same way by another gateway": (
        lambda m: m.routes["-4"].append({**DEFAULT_ROUTE, "gateway": "192.0.2.9"}),
        "route default via 192.0.2.9 dev eth0",
    ),
    "a link": (lambda m: m.links.append({"ifname": "br-1"}), "link br-1"),
    "a lease": (lambda m: file(m.state / "leases/rookery.json"), "state {state}/leases/rookery.json"),
    "a file of the state folder": (lambda m: file(m.state / "a.tmp"), "state {state}/a.tmp"),
    "a cluster's folder, once": (
        lambda m: (m.state / "clusters/rookery").mkdir(parents=True),
        "state {state}/clusters/rookery",
    ),
    "a store in the making": (
        lambda m: (m.cache / "stores/abc.0123.partial").mkdir(parents=True),
        "unfinished {cache}/stores/abc.0123.partial",
    ),
    "a saved cluster in the making": (
        lambda m: (m.cache / "snapshots/rookery-abc/x.0123.partial").mkdir(parents=True),
        "unfinished {cache}/snapshots/rookery-abc/x.0123.partial",
    ),
    "a saved cluster that was whole": (saved_and_torn, "unfinished {cache}/snapshots/rookery-abc/storage-ready"),
    "an archive without its index": (
        lambda m: file(m.cache / "images/0123.tar"),
        "unfinished {cache}/images/0123.tar",
    ),
    "manifests being unpacked": (
        lambda m: (m.cache / "rook/1.18.8.ab_de0f9").mkdir(parents=True),
        "unfinished {cache}/rook/1.18.8.ab_de0f9",
    ),
    "a draft": (lambda m: file(m.cache / "bin/.kind.new"), "unfinished {cache}/bin/.kind.new"),
    "a temporary folder": (
        lambda m: (m.temporary / "rookery-build-1").mkdir(),
        "temporary {temporary}/rookery-build-1",
    ),
    "an entry of a kubeconfig": (
        lambda m: m.kubeconfig.write_text(
            "clusters: [{name: mine}]\nusers: [{name: kind-rookery}]\n", encoding="utf-8"
        ),
        "kubeconfig {kubeconfig}: users kind-rookery",
    ),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_was_not_there_before_is_left(machine, what):
    file(machine.cache / "snapshots/rookery-abc/storage-ready/snapshot.json")
    before = Inventory.taken(machine.places)
    assert before.added_since(before) == []
    make, told = LEFT[what]
    make(machine)
    assert Inventory.taken(machine.places).added_since(before) == [told.format(**vars(machine))]


NOT_LEFT = {
    "a lock's file": lambda m: file(m.state / "leases.lock"),
    "an empty folder of the state folder's own": lambda m: (m.state / "clusters").mkdir(),
    "a store": lambda m: file(m.cache / "stores/abc/tmp/x"),
    "a saved cluster": lambda m: file(m.cache / "snapshots/rookery-abc/nodes-ready/snapshot.json"),
    "files of a saved cluster": lambda m: (
        file(m.cache / "snapshots/rookery-abc/nodes-ready/snapshot.json"),
        file(m.cache / "snapshots/rookery-abc/nodes-ready/.hidden"),
    ),
    "an archive": lambda m: (file(m.cache / "images/0123.json"), file(m.cache / "images/0123.tar")),
    "manifests": lambda m: file(m.cache / "rook/1.18.8/crds.yaml"),
    "a program": lambda m: file(m.cache / "bin/kind"),
    "pytest's own folders": lambda m: (m.temporary / "pytest-of-root").mkdir(),
    "a low number of a loop device": lambda m: (m.devices / "loop9").mkdir(),
    "a route that lost its carrier": lambda m: m.routes["-4"][0].update(flags=["linkdown"]),
    "what is gone": lambda m: (m.containers.clear(), m.attached.clear(), m.links.clear(), m.kubeconfig.unlink()),
    "a kubeconfig that is none": lambda m: m.kubeconfig.write_text("\tno: [yaml", encoding="utf-8"),
    "mounts in another order": lambda m: m.mounts.reverse(),
}


@pytest.mark.parametrize("what", NOT_LEFT)
def test_what_is_not_left(machine, what):
    machine.mounts.append("23 22 0:22 / /tmp rw - tmpfs tmpfs rw")
    before = Inventory.taken(machine.places)
    NOT_LEFT[what](machine)
    assert Inventory.taken(machine.places).added_since(before) == []


def test_an_engine_that_does_not_answer_has_not_nothing(machine, monkeypatch):
    def silent(*_, **__):
        raise InfrastructureError("no docker engine answers", hint="h")

    monkeypatch.setattr(leftovers, "docker_output", silent)
    with pytest.raises(InfrastructureError, match="no docker engine answers"):
        Inventory.taken(machine.places)


def test_what_is_on_its_way_out_is_not_left(machine, monkeypatch):
    def five_times(condition, *, what, within, every):
        for _ in range(4):
            with suppress(NotYet):
                return condition()
        try:
            return condition()
        except NotYet as last:
            raise DeadlineExceeded(what, within, str(last)) from last

    monkeypatch.setattr(leftovers, "wait_for", five_times)
    before = Inventory.taken(machine.places)
    machine.containers += ["cccc going", "dddd staying"]
    looks = count()
    engine = leftovers.docker_output

    def going(*command, **_):
        if command[0] == "ps" and next(looks) == 2:
            machine.containers.remove("cccc going")
        return engine(*command)

    monkeypatch.setattr(leftovers, "docker_output", going)
    assert leftovers.left(before, machine.places, within=5) == ["container staying (dddd)"]
    machine.containers.remove("dddd staying")
    assert leftovers.left(before, machine.places, within=5) == []


def test_what_a_killed_leader_has_left_is_known_by_its_session():
    sleeper = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    started = partial(subprocess.Popen, start_new_session=True, stdout=subprocess.PIPE, encoding="utf-8")
    with started([sys.executable, "-c", sleeper]) as leader, started([sys.executable, "-c", sleeper]) as another:
        try:
            child = int(leader.stdout.readline())
            assert {process.pid for process, _ in survivors(leader.pid)} == {leader.pid, child}
            leader.kill()
            leader.wait(10)
            ((process, command),) = survivors(leader.pid)
            assert (process.pid, command) == (child, "sleep 60")
        finally:
            for each in (leader, another):
                each.kill()
                for process, _ in survivors(each.pid):
                    process.end(signal.SIGKILL, within=10)
    assert survivors(leader.pid) == []
