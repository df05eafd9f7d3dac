"""Versions that can be had without a registry, and what a part of one means."""

import json
import subprocess
import sys

import pytest
from rookery import cli
from rookery.errors import UsageError
from rookery.images import archives, available, recipes
from rookery.images.archives import Archive, Entry
from rookery.settings import Settings


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Recipes of two Rook versions, and an archive with one that was pulled and one that an older recipe made."""
    made = ["docker.io/rook/ceph:v1.17.8", "docker.io/rook/ceph:v1.18.8", "kindest/node:v1.34.0", "kindest/node:v1.9.0"]
    entries = (
        Entry("docker.io/rook/ceph:v1.18.10", "id", recipe="", pulled=True),
        Entry("docker.io/rook/ceph:v1.16.9", "id", recipe="of an older harness"),
        Entry("docker.io/rook/ceph:master", "id", recipe="", pulled=True),
    )
    monkeypatch.setattr(recipes, "all_recipes", lambda: dict.fromkeys(made))
    monkeypatch.setattr(archives, "stored", lambda: [Archive(tmp_path, entries)])


def test_what_recipes_make_and_what_was_pulled_can_be_had(known):
    assert available.versions("docker.io/rook/ceph") == ["1.17.8", "1.18.8", "1.18.10"]
    assert available.versions("kindest/node") == ["1.9.0", "1.34.0"]
    assert available.versions("quay.io/ceph/ceph") == []


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("1.17", "1.17.8"), ("v1.18", "1.18.10"), ("1", "1.18.10"), ("latest", "1.18.10"), ("1.18.8", "1.18.8")],
)
def test_part_of_a_version_means_the_newest_of_it(known, asked, meant):
    assert Settings(rook=asked).rook == meant


@pytest.mark.parametrize("asked", ["1.19", "2", "1.1"])
def test_part_of_none_is_refused_with_those_that_there_are(known, asked):
    with pytest.raises(UsageError, match=f"--rook {asked}: no such version.*1.17.8, 1.18.8, 1.18.10") as error:
        Settings(rook=asked)
    assert "such as 1.18.10" in error.value.hint


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("4.1", "4.1.9"), ("4", "4.1.9"), ("latest", "5.0.3"), ("5.0.2", "5.0.2"), ("4.0", "4.0"), ("4.1-jre", "4.1-jre")],
)
def test_of_a_workload_it_may_be_a_tag_of_a_registry(monkeypatch, asked, meant):
    made = [f"docker.io/library/cassandra:{version}" for version in ("4.1.9", "4.1.8", "5.0.3")]
    monkeypatch.setattr(recipes, "all_recipes", lambda: dict.fromkeys(made))
    monkeypatch.setattr(archives, "stored", list)
    assert Settings(cassandra=asked).cassandra == meant


def test_part_of_a_workloads_version_means_a_tag_that_begins_with_it(monkeypatch):
    made = [f"docker.io/library/postgres:{version}" for version in ("1-bookworm", "15-bookworm", "150-bookworm")]
    monkeypatch.setattr(recipes, "all_recipes", lambda: dict.fromkeys(made))
    monkeypatch.setattr(archives, "stored", list)
    assert Settings(postgresql="15").postgresql == "15-bookworm"


def test_whole_versions_of_workloads_are_taken_without_a_look_at_what_there_is():
    code = (
        "import sys; from rookery.settings import Settings; Settings(); "
        "sys.exit(bool({'docker', 'tenacity', 'rookery.images.available'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("asked", ["abc", "1.17.", "1.x", ""])
def test_no_version_is_left_to_the_check_of_versions(known, asked):
    assert Settings(rook=asked).rook == asked


def test_the_command_lists_them(known, capsys):
    assert cli.main(["images", "--available", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rook"] == ["1.17.8", "1.18.8", "1.18.10"]
    assert cli.main(["images", "--available"]) == 0
    assert "--kubernetes 1.34.0" in capsys.readouterr().out
