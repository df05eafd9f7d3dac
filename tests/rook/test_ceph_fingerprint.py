"""What of Ceph is compared, what somebody has made or set and no counter; and the programs in the toolbox."""

import copy
import json
import runpy
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from rookery.errors import InfrastructureError
from rookery.rook import fingerprint as ceph
from rookery.rook import toolbox
from rookery.storage.baseline.fingerprint import CEPH, compare

PROGRAMS = Path(ceph.__file__).parent
OSD = {"osd": 0, "uuid": "u0", "up": 1, "in": 1, "weight": 1.0, "primary_affinity": 1.0, "up_from": 7}
POOL = {
    "pool_id": 2,
    "pool_name": "replicapool",
    "type": 1,
    "size": 3,
    "min_size": 2,
    "crush_rule": 1,
    "pg_num": 32,
    "pg_autoscale_mode": "on",
    "flags_names": "hashpspool",
    "last_change": "40",
    "application_metadata": {"rbd": {}},
    "options": {},
}
IMAGE = {"id": "1f", "parent": "", "snapshots": [], "for_clones": 0}
LISTING = {
    "auth": {"auth_dump": [{"entity": "client.csi", "key": "AQ==", "caps": {"mon": "profile rbd"}}]},
    "config": [{"section": "global", "name": "mon_data_avail_warn", "value": "3", "mask": ""}],
    "crush": {
        "devices": [{"id": 0, "name": "osd.0", "class": "hdd"}],
        "buckets": [
            {"id": -1, "name": "default", "type_name": "root", "weight": 65536, "items": [{"id": -2, "weight": 65536}]},
            {"id": -9, "name": "default~hdd", "type_name": "root", "weight": 65536, "items": []},
        ],
        "rules": [{"rule_id": 1, "rule_name": "replicapool", "type": 1, "steps": []}],
        "tunables": {"profile": "jewel"},
    },
    "filesystems": {
        "filesystems": [{"id": 1, "mdsmap": {"fs_name": "myfs", "max_mds": 1, "metadata_pool": 2, "data_pools": [2]}}]
    },
    "health": {"status": "HEALTH_OK", "checks": {}, "mutes": []},
    "mons": {"epoch": 3, "mons": [{"name": "a", "public_addr": "10.96.0.5:6789/0"}]},
    "modules": {"enabled_modules": ["dashboard"]},
    "osds": {"fsid": "f", "epoch": 40, "osds": [OSD], "flags_set": ["sortbitwise"]},
    "pools": [POOL],
    "profiles": ["default"],
    "images": {
        "replicapool": {
            "images": {"csi-vol-1": IMAGE},
            "trash": {},
            "ids": ["1f"],
            "objects_of": ["1f"],
            "names_of": ["csi-vol-1"],
        }
    },
    "subvolumes": {
        "myfs": {
            "subvolumes": {"csi-vol-2": {"state": "complete", "snapshots": [], "copied": {}}},
            "trash": [],
            "copies": {},
            "groups": ["_deleting", "csi"],
            "folders": ["volumes"],
        }
    },
}


def changed(*path, to):
    listing = copy.deepcopy(LISTING)
    inner = listing
    for step in path[:-1]:
        inner = inner[step]
    if isinstance(inner, list) and path[-1] == "+":
        inner.append(to)
    else:
        inner[path[-1]] = to
    return listing


def told(listing):
    return [str(each) for each in compare(ceph.fingerprint_of(LISTING), ceph.fingerprint_of(listing))]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pools", 0, "pg_num"), 64),
        (("pools", 0, "last_change"), "99"),
        (("pools", 0, "flags_names"), "hashpspool,selfmanaged_snaps"),
        (("osds", "epoch"), 99),
        (("osds", "osds", 0, "up_from"), 99),
        (("osds", "osds", 0, "up"), 0),  # that is health
        (("mons", "epoch"), 99),
        (("crush", "buckets", 1, "id"), -99),
        (("config", "+"), {"section": "osd.0", "name": "osd_mclock_max_capacity_iops_hdd", "value": "315", "mask": ""}),
        (("health", "mutes"), [{"code": "AUTH_INSECURE_KEYS_ALLOWED", "sticky": True}]),
        (("subvolumes", "myfs", "groups"), ["_deleting", "_index"]),
        (("subvolumes", "myfs", "folders"), []),
    ],
)
def test_what_ceph_does_by_itself_is_no_difference(path, value):
    assert told(changed(*path, to=value)) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("osds", "fsid"), "g", "cluster fsid: 'f' -> 'g'"),
        (("osds", "osds", 0, "uuid"), "u1", "osd 0 uuid: 'u0' -> 'u1'"),
        (("osds", "osds", 0, "in"), 0, "osd 0 in: 1 -> 0"),
        (("osds", "flags_set"), ["noout", "sortbitwise"], "osd flag noout was not there"),
        (("pools", 0, "size"), 2, "pool replicapool size: 3 -> 2"),
        (("pools", 0, "pool_id"), 3, "pool replicapool id: 2 -> 3"),
        (("pools", 0, "flags_names"), "hashpspool,nodelete", "pool replicapool flags: ['hashpspool'] -> ['hashpspool'"),
        (("auth", "auth_dump", 0, "caps"), {"mon": "allow *"}, "user client.csi caps.mon: 'profile rbd' -> 'allow *'"),
        (("config", 0, "value"), "5", "setting global/mon_data_avail_warn: '3' -> '5'"),
        (("config", 0, "mask"), "host:a", "setting global/mon_data_avail_warn is gone"),
        (("crush", "devices", 0, "class"), "ssd", "crush device osd.0 class: 'hdd' -> 'ssd'"),
        (("crush", "buckets", 0, "items", 0, "weight"), 1, 'crush bucket default items["-2"]: 65536 -> 1'),
        (("crush", "rules", 0, "steps"), [1], "crush rule replicapool steps: [] -> [1]"),
        (("crush", "tunables", "profile"), "hammer", "crush tunables all profile: 'jewel' -> 'hammer'"),
        (("health", "mutes"), [{"code": "OSD_DOWN", "sticky": False}], "health mute OSD_DOWN was not there"),
        (("mons", "mons", 0, "name"), "d", "mon a is gone"),
        (("modules", "enabled_modules"), [], "mgr module dashboard is gone"),
        (("profiles", "+"), "mine", "erasure code profile mine was not there"),
        (("images", "replicapool", "images", "csi-vol-1", "id"), "2f", "image replicapool/csi-vol-1 id: '1f' -> '2f'"),
        (("images", "replicapool", "trash", "3f"), {**IMAGE, "name": "x"}, "image in the trash replicapool/3f was not"),
        (("images", "replicapool", "objects_of"), ["1f", "4f"], "objects of an image replicapool/4f was not there"),
        (("images", "replicapool", "names_of"), ["csi-vol-1", "y"], "object replicapool/rbd_id.y was not there"),
        (("filesystems", "filesystems", 0, "id"), 2, "filesystem myfs id: 1 -> 2"),
        (("subvolumes", "myfs", "subvolumes", "csi-vol-2", "snapshots"), ["s"], "subvolume myfs/csi-vol-2 snapshots"),
        (("subvolumes", "myfs", "trash"), ["t"], "subvolume in the trash myfs/t was not there"),
        (("subvolumes", "myfs", "copies"), {"c": "into"}, "copy of a subvolume myfs/c was not there"),
        (("subvolumes", "myfs", "groups"), ["csi", "mine"], "subvolume group myfs/mine was not there"),
        (("subvolumes", "myfs", "folders"), ["volumes", "mine"], "folder myfs/mine was not there"),
    ],
)
def test_what_somebody_did_is_one(path, value, line):
    assert any(f"Ceph: {line}" in each for each in told(changed(*path, to=value)))


def test_a_key_is_not_shown():
    (line,) = told(changed("auth", "auth_dump", 0, "key", to="AQ=="[::-1]))
    assert "user client.csi key: 'sha256:" in line
    assert "AQ" not in line


def test_health_is_on_its_way():
    check = {"severity": "HEALTH_WARN", "summary": {"message": "1 osds down"}}
    listing = changed("health", to={"status": "HEALTH_WARN", "checks": {"OSD_DOWN": check}, "mutes": []})
    assert "1 osds down" in ceph.fingerprint_of(listing).unhealthy[0]
    assert ceph.fingerprint_of(LISTING).unhealthy == ()


def test_everything_is_asked_in_one_exec_and_with_the_listings_of_volumes(monkeypatch):
    asked = []

    def ask_program(kube, namespace, program, *arguments, timeout):
        asked.append((program.name, arguments))
        return LISTING

    monkeypatch.setattr(toolbox, "ask_program", ask_program)
    assert (CEPH, "pool", "replicapool") in ceph.collect(None, "rook-ceph").items
    ((program, (images, subvolumes)),) = asked
    assert program == "read_ceph.py"
    assert "def pool(" in images
    assert "def filesystem(" in subvolumes


@pytest.mark.parametrize("path", [("pools", 0, "pool_name"), ("osds", "osds"), ("auth", "auth_dump")])
def test_a_release_that_answers_otherwise_is_no_scenarios_fault(monkeypatch, path):
    listing = copy.deepcopy(LISTING)
    *outer, last = path
    inner = listing
    for step in outer:
        inner = inner[step]
    del inner[last]
    monkeypatch.setattr(toolbox, "ask_program", lambda *_, **__: listing)
    with pytest.raises(InfrastructureError, match=f"not known here: KeyError: '{last}'"):
        ceph.collect(None, "rook-ceph")


class Cluster:
    """librados, of a cluster that gives these answers; `told` has what it was asked."""

    def __init__(self, answers):
        self.answers, self.told = answers, []

    def mon_command(self, command, given, timeout):
        command = json.loads(command)
        self.told.append((command, given))
        if command["prefix"] not in self.answers:
            return -22, b"", f"no {command['prefix']}"
        return 0, json.dumps(self.answers[command["prefix"]]).encode(), ""

    def list_pools(self):
        return [".mgr", "replicapool"]

    @contextmanager
    def open_ioctx(self, name):
        yield name


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a program with a cluster that has those answers; returns what it printed, and what the cluster was told."""

    def run(program, answers, *arguments):
        cluster = Cluster(answers)

        @contextmanager
        def connected(**_):
            yield cluster

        rados = ModuleType("rados")
        rados.Rados = connected
        monkeypatch.setitem(sys.modules, "rados", rados)
        monkeypatch.setattr(sys, "argv", ["-c", *arguments])
        runpy.run_path(str(PROGRAMS / program), run_name="__main__")
        return json.loads(capsys.readouterr().out), cluster.told

    return run


ANSWERS = {
    "auth ls": LISTING["auth"],
    "config dump": LISTING["config"],
    "osd crush dump": LISTING["crush"],
    "fs dump": {"filesystems": []},
    "health": LISTING["health"],
    "mon dump": LISTING["mons"],
    "mgr module ls": {"enabled_modules": ["dashboard"], "disabled_modules": ["a page of options"] * 100},
    "osd dump": LISTING["osds"],
    "osd pool ls": LISTING["pools"],
    "osd erasure-code-profile ls": LISTING["profiles"],
}
IMAGES = "def pool(ioctx): return {'in': ioctx}\nif __name__ == '__main__': raise SystemExit('it was run')"


def test_the_program_prints_what_the_fingerprint_is_made_of(run):
    found, told = run("read_ceph.py", ANSWERS, IMAGES, "import cephfs")
    assert found["images"] == {"replicapool": {"in": "replicapool"}}
    assert found["subvolumes"] == {}  # and its bindings are not asked for
    assert found["modules"] == {"enabled_modules": ["dashboard"]}
    assert set(found) == set(LISTING)
    assert {"prefix": "osd pool ls", "format": "json", "detail": "detail"} in [command for command, _ in told]


SUBVOLUMES = """
from types import SimpleNamespace
def mount(cluster, name): return SimpleNamespace(name=name, shutdown=lambda: None)
def filesystem(mounted): return {"of": mounted.name}
def entries(mounted, path): return {path: None}
"""


def test_the_program_looks_into_each_filesystem(run):
    found, _ = run("read_ceph.py", ANSWERS | {"fs dump": LISTING["filesystems"]}, IMAGES, SUBVOLUMES)
    assert found["subvolumes"] == {"myfs": {"of": "myfs", "groups": ["/volumes"], "folders": ["/"]}}


def test_the_program_ends_with_what_is_not_answered(run):
    with pytest.raises(SystemExit, match="auth ls: no auth ls"):
        run("read_ceph.py", {}, IMAGES, "")


def test_commands_are_given_one_after_another_and_what_is_refused_is_reported(run):
    commands = [[{"prefix": "auth import"}, "[client.a]"], [{"prefix": "nonsense"}, ""]]
    answers, told = run("tell_ceph.py", {"auth import": {}}, json.dumps(commands))
    assert answers == ["", "no nonsense"]
    assert told == [({"prefix": "auth import"}, b"[client.a]"), ({"prefix": "nonsense"}, b"")]
