"""Folders and files of a lease: whose they are, and what a sweep leaves alone."""

import shutil

import pytest
from dead_leases import dead_lease
from rookery.errors import UsageError
from rookery.machine.leases import Lease, sweep
from rookery.machine.locks import machine_lock


def test_a_folder_is_the_leases_own_and_roots_alone(state):
    with machine_lock("first"):  # whoever comes first makes the folder of all
        pass
    lease = Lease.acquire("mine")
    lease.make_directory(state / "clusters/mine")
    lease.make_directory(state / "clusters/mine")  # that very one
    (state / "clusters/mine/nodes").mkdir()
    folders = ["", "clusters", "clusters/mine", "leases"]
    assert {each: (state / each).stat().st_mode & 0o777 for each in folders} == dict.fromkeys(folders, 0o700)
    assert lease.release() == [f"directory {state}/clusters/mine"]


@pytest.mark.parametrize("what", ["folder", "empty folder", "folder of another lease", "file", "link", "broken link"])
def test_whatever_has_a_folders_name_is_refused_and_stays(tmp_path, what):
    path, other = tmp_path / "folder", tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    if what.endswith("link"):
        path.symlink_to(other if what == "link" else tmp_path / "none")
    elif what == "file":
        path.touch()
    else:
        path.mkdir()
        if what != "empty folder":
            (path / (f".rookery-lease-{'0' * 32}" if "another" in what else "precious")).touch()
    before = sorted(tmp_path.rglob("*"))
    lease = Lease.acquire("mine")
    with pytest.raises(UsageError, match="did not make it") as caught:
        lease.make_directory(path)
    assert caught.value.hint
    assert lease.release() == []
    assert [each for each in sorted(tmp_path.rglob("*")) if "state" not in each.parts] == [
        each for each in before if "state" not in each.parts
    ]


def test_a_folder_that_somebody_has_made_in_place_of_ours_stays(tmp_path):
    """The user has cleaned up by hand, and has something else by that name now."""
    lease = dead_lease()
    for name in ("folder", "link"):
        lease.make_directory(tmp_path / name)
        shutil.rmtree(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/precious").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert sweep() == []
    assert (tmp_path / "link/precious").exists()
    assert Lease.all() == []


def test_a_folder_that_was_not_marked_yet_is_removed(tmp_path):
    lease = dead_lease()
    lease.add("directory", tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    assert sweep() == [f"directory {tmp_path}/folder"]


def test_a_folder_that_was_removed_by_half_is_still_known(tmp_path, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    lease = dead_lease()
    lease.make_directory(tmp_path / "folder")
    for name in ("a", "z"):
        (tmp_path / "folder" / name).mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep()
    assert sweep() == [f"directory {tmp_path}/folder"]


def test_a_file_that_somebody_has_made_in_place_of_ours_stays(tmp_path):
    lease = dead_lease()
    with lease.make_file(tmp_path / "ours"):
        pass
    (tmp_path / "ours").rename(tmp_path / "aside")  # its inode is not given to the next one
    lease.add("file", tmp_path / "never made")
    for name in ("ours", "never made"):
        (tmp_path / name).write_text("precious", encoding="utf-8")
    assert sweep() == []
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in ("ours", "never made")] == ["precious"] * 2
