"""What is known of Ceph is undone, and the rest is left."""

import json

import pytest
from rookery.rook import toolbox
from rookery.rook.fingerprint import fingerprint_of as ceph_fingerprint_of
from rookery.rook.undo import undo
from rookery.storage.baseline.fingerprint import compare
from rookery.storage.baseline.undo import is_for_good
from test_ceph_fingerprint import IMAGE, LISTING
from test_ceph_fingerprint import changed as listing_with

USER = LISTING["auth"]["auth_dump"][0]
SETTING = {"section": "global", "name": "mine", "value": "1", "mask": ""}


@pytest.mark.parametrize(
    ("path", "value", "prefix", "more"),
    [
        (("config", "+"), SETTING, "config rm", {"who": "global", "name": "mine"}),
        (("config", 0, "value"), "9", "config set", {"who": "global", "name": "mon_data_avail_warn", "value": "3"}),
        (("config",), [], "config set", {"who": "global", "name": "mon_data_avail_warn", "value": "3"}),
        (("auth", "auth_dump", "+"), {**USER, "entity": "client.mine"}, "auth rm", {"entity": "client.mine"}),
        (("auth", "auth_dump", 0, "caps"), {}, "auth import", {}),
        (("auth", "auth_dump"), [], "auth import", {}),
        (("osds", "flags_set"), ["sortbitwise", "noout"], "osd unset", {"key": "noout"}),
        (("osds", "flags_set"), [], "osd set", {"key": "sortbitwise"}),
        (("osds", "osds", 0, "primary_affinity"), 0.5, "osd primary-affinity", {"id": 0, "weight": 1.0}),
        (("osds", "osds", 0, "weight"), 0.5, "osd reweight", {"id": 0, "weight": 1.0}),
        (("osds", "osds", 0, "in"), 0, "osd in", {"ids": ["0"]}),
        (("health", "mutes"), [{"code": "OSD_DOWN"}], "health unmute", {"code": "OSD_DOWN"}),
        (("profiles", "+"), "mine", "osd erasure-code-profile rm", {"name": "mine"}),
        (("crush", "rules", "+"), {"rule_name": "mine", "steps": []}, "osd crush rule rm", {"name": "mine"}),
    ],
)  # fmt: skip
def test_what_is_known_of_ceph_is_set_back(monkeypatch, path, value, prefix, more):
    told = []

    def ask_program(_kube, _namespace, program, commands):
        told.extend(json.loads(commands))
        return ["" for _ in told]

    monkeypatch.setattr(toolbox, "ask_program", ask_program)
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value))
    words = undo(None, "rook-ceph", then, compare(then, now))
    ((command, given),) = told
    assert command["prefix"] == prefix
    assert more.items() <= command.items()
    assert len(words) == 1
    if prefix == "auth import":
        assert given == '[client.csi]\n\tkey = AQ==\n\tcaps mon = "profile rbd"\n'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pools", 0, "size"), 2),
        (("pools",), []),
        (("osds", "osds"), []),
        (("images", "replicapool", "trash", "3f"), {**IMAGE, "name": "x"}),
        (("config", "+"), {**SETTING, "name": "mgr/dashboard/server_port"}),
        (("config", "+"), {**SETTING, "mask": "host:a"}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_and_ceph_not_asked(monkeypatch, path, value):
    monkeypatch.setattr(toolbox, "ask_program", None)
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value))
    assert undo(None, "rook-ceph", then, compare(then, now)) == []


def test_a_command_that_ceph_refuses_is_reported(monkeypatch):
    monkeypatch.setattr(toolbox, "ask_program", lambda *_: ["in use"])
    then, now = ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with("profiles", "+", to="mine"))
    told = undo(None, "rook-ceph", then, compare(then, now))
    assert told == ["erasure code profile mine removed: refused: in use"]


@pytest.mark.parametrize(
    ("path", "value", "for_good"),
    [
        (("osds", "fsid"), "g", True),
        (("osds", "osds", 0, "uuid"), "g", True),
        (("osds", "osds"), [], True),
        (("pools",), [], True),
        (("pools", 0, "pool_id"), 9, True),
        (("images",), {}, True),
        (("pools", 0, "size"), 2, False),
        (("profiles", "+"), "mine", False),
    ],
)
def test_for_what_cannot_come_right_nobody_waits(path, value, for_good):
    differences = compare(ceph_fingerprint_of(LISTING), ceph_fingerprint_of(listing_with(*path, to=value)))
    assert any(map(is_for_good, differences)) == for_good
