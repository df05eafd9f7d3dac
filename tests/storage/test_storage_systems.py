"""Storage systems by their names: the harness's own, and those that other distributions have."""

from types import SimpleNamespace

import pytest
from rookery.errors import UsageError
from rookery.local.system import LocalVolumes
from rookery.rook.system import RookSystem
from rookery.settings import Settings
from rookery.settings_check import check
from rookery.storage import images, system
from rookery.storage.system import StorageSystem, names, system_named


class Mine(StorageSystem):
    name = "mine"


def installed(monkeypatch, loaded):
    point = SimpleNamespace(name="mine", value="mine:Mine", load=loaded)
    monkeypatch.setattr(system, "entry_points", lambda *, group: [point] if group == "rookery.storage" else [])


def test_the_harness_has_two_of_its_own():
    assert (system_named("rook"), system_named("local")) == (RookSystem, LocalVolumes)


def test_another_distributions_is_found_by_its_entry_point(monkeypatch):
    installed(monkeypatch, lambda: Mine)
    assert system_named("mine") is Mine
    assert names() == ["local", "mine", "rook"]


def test_one_that_nobody_has_is_bad_input_before_anything_is_made():
    with pytest.raises(UsageError, match="--storage nonsense: no such storage system") as caught:
        check(Settings(storage="nonsense"), only=["storage"])
    assert "local" in caught.value.hint


def broken():
    raise ImportError("no module named mine")


@pytest.mark.parametrize(
    ("load", "why"), [(broken, "cannot be loaded: no module named mine"), (lambda: dict, "is no StorageSystem")]
)
def test_one_that_cannot_be_used_is_reported(monkeypatch, load, why):
    installed(monkeypatch, load)
    with pytest.raises(UsageError, match=why):
        system_named("mine")


def test_local_volumes_need_the_image_of_the_nodes_alone():
    assert images.needed(Settings(storage="local")) == ("kindest/node:v1.32.0",)


def test_a_storage_system_without_versions_refuses_every_upgrade_and_roll_back():
    for verb in (
        lambda: LocalVolumes(Settings()).images_after({"rook": "1.18.8"}),
        lambda: LocalVolumes(Settings()).upgrade({"rook": "1.18.8"}, None, None),
        lambda: LocalVolumes(Settings()).roll_back(None, None),
        LocalVolumes(Settings()).require_roll_back,
    ):
        with pytest.raises(UsageError, match=r"--storage local has no version to (upgrade|roll back)") as caught:
            verb()
        assert caught.value.hint == "--storage rook"
