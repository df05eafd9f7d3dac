"""Folders and disk images made alike, with rsync and cp for real: what is written, what is shared, what is left."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from rookery.machine import copying
from rookery.machine.copying import allocated, copy_image, differences, link_alike, mirror_tree
from rookery.machine.run import CommandFailed

pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MIB = 1024**2


def write(path: Path, text: str, at: float = 1_700_000_000.25) -> Path:
    """A file of that text, written at that time (Unix, seconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(int(at * 1e9), int(at * 1e9)))
    return path


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def folders(tmp_path):
    """A source with a few files, a target that is not there yet, and a folder to share with."""
    source, target, shared = (tmp_path / name for name in ("source", "target", "shared"))
    write(source / "etc/name", "node")
    write(source / "blobs/abc", "a blob")
    write(shared / "blobs/abc", "a blob")
    return source, target, shared


def test_only_what_differs_is_written(folders):
    source, target, _ = folders
    mirror_tree(source, target)
    before = (target / "blobs/abc").stat().st_ino, (target / "etc/name").stat().st_ino
    write(source / "etc/name", "edge", at=1_700_000_001)
    write(target / "extra/file", "left by a scenario")
    mirror_tree(source, target)
    assert contents(target) == contents(source)
    assert not (target / "extra").exists()
    assert (target / "blobs/abc").stat().st_ino == before[0]
    assert (target / "etc/name").stat().st_ino != before[1]  # replaced, so what is linked to it keeps its content


def test_times_are_distinguished_by_less_than_a_second(folders):
    source, target, _ = folders
    mirror_tree(source, target)
    write(target / "etc/name", "edge", at=1_700_000_000.75)
    mirror_tree(source, target)
    assert (target / "etc/name").read_text(encoding="utf-8") == "node"


def test_what_the_shared_folder_has_is_linked_and_nothing_else(folders):
    source, target, shared = folders
    write(shared / "etc/name", "another")
    mirror_tree(source, target, shared=shared)
    assert (target / "blobs/abc").samefile(shared / "blobs/abc")
    assert not (target / "blobs/abc").samefile(source / "blobs/abc")
    assert (target / "etc/name").read_text(encoding="utf-8") == "node"
    assert (shared / "etc/name").read_text(encoding="utf-8") == "another"


def test_a_file_of_another_mode_is_not_shared(folders):
    source, target, shared = folders
    (source / "blobs/abc").chmod(0o600)
    (shared / "blobs/abc").chmod(0o644)
    mirror_tree(source, target, shared=shared)
    assert (target / "blobs/abc").stat().st_mode & 0o777 == 0o600
    assert (shared / "blobs/abc").stat().st_mode & 0o777 == 0o644


def test_parts_that_are_left_out_stay_as_they_are(folders):
    source, target, _ = folders
    write(target / "blobs/only-here", "kept")
    write(target / "etc/blobs/only-here", "no such part")
    mirror_tree(source, target, without=[Path("blobs")])
    assert contents(target) == {"etc/name": "node", "blobs/only-here": "kept"}


def test_hard_links_links_and_holes_stay_what_they_are(folders):
    source, target, _ = folders
    os.link(source / "etc/name", source / "etc/alias")
    (source / "etc/link").symlink_to("name")
    with (source / "journal").open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(4 * MIB)
        file.write(b"x")
    mirror_tree(source, target)
    assert (target / "etc/name").samefile(target / "etc/alias")
    assert os.readlink(target / "etc/link") == "name"
    assert (target / "journal").stat().st_size == 8 * MIB
    assert (target / "journal").stat().st_blocks * 512 < MIB


@needs_root
def test_owners_and_attributes_come_along(folders):
    source, target, _ = folders
    os.chown(source / "etc/name", 4711, 4712)
    os.setxattr(source / "etc/name", "trusted.rookery", b"opaque")  # as overlayfs has its whiteouts
    mirror_tree(source, target)
    stat = (target / "etc/name").stat()
    assert (stat.st_uid, stat.st_gid) == (4711, 4712)
    assert os.getxattr(target / "etc/name", "trusted.rookery") == b"opaque"


def test_a_copy_that_fails_reports_it(tmp_path):
    with pytest.raises(CommandFailed, match="gone"):
        mirror_tree(tmp_path / "gone", tmp_path / "target")


def test_differences_are_of_content_and_not_of_time(folders):
    source, target, _ = folders
    mirror_tree(source, target)
    write(target / "blobs/abc", "a blob", at=1_600_000_000)
    os.utime(target / "etc", (0, 0))
    assert differences(source, target) == []
    stat = (target / "etc/name").stat()
    write(target / "etc/name", "edge")
    os.utime(target / "etc/name", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # which mirror_tree would not see
    write(target / "extra", "")
    (target / "blobs").chmod(0o700)
    found = differences(source, target)
    assert sorted(line.split()[-1] for line in found) == ["blobs/", "etc/name", "extra"]
    assert (target / "etc/name").read_text(encoding="utf-8") == "edge"  # it only looks


def image(path: Path, data: bytes, at: int = 1_700_000_000) -> Path:
    """A sparse image of 8 MiB with that data in the middle."""
    with path.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(4 * MIB)
        file.write(data)
    os.utime(path, (at, at))
    return path


def test_an_image_keeps_its_holes_mode_and_time(tmp_path):
    source = image(tmp_path / "a.img", b"osd")
    source.chmod(0o600)
    target = tmp_path / "deep/b.img"
    assert copy_image(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < MIB
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns


def test_an_image_that_is_the_same_is_not_touched(tmp_path):
    source, target = image(tmp_path / "a.img", b"osd"), tmp_path / "b.img"
    copy_image(source, target)
    inode = target.stat().st_ino
    assert not copy_image(source, target)
    assert target.stat().st_ino == inode


def test_an_image_is_replaced_and_whoever_has_the_old_one_keeps_it(tmp_path):
    source, target = image(tmp_path / "a.img", b"saved"), image(tmp_path / "b.img", b"dirty", at=1_700_000_001)
    with target.open("rb") as held:
        assert copy_image(source, target)
        held.seek(4 * MIB)
        assert held.read(5) == b"dirty"
    assert target.read_bytes() == source.read_bytes()


def test_a_copy_of_an_image_that_fails_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    def full(argv, **_):
        Path(argv[-1]).write_bytes(b"half of it")
        raise CommandFailed(argv, 1, "No space left on device")

    source, target = image(tmp_path / "a.img", b"saved"), image(tmp_path / "b.img", b"dirty", at=1_700_000_001)
    monkeypatch.setattr(copying, "run", full)
    with pytest.raises(CommandFailed, match="No space left"):
        copy_image(source, target)
    assert b"dirty" in target.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.img", "b.img"}


def test_what_is_on_disk_counts_once_and_what_is_shared_not_at_all(tmp_path):
    folder, shared = tmp_path / "folder", tmp_path / "shared"
    for path in (folder / "own", shared / "blob"):
        path.parent.mkdir()
        path.write_bytes(b"x" * MIB)
    image(folder / "disk.img", b"osd")
    os.link(folder / "own", folder / "again")
    os.link(shared / "blob", folder / "blob")
    (folder / "dangling").symlink_to("nowhere")
    whole, without = allocated(folder), allocated(folder, without=shared)
    assert 2 * MIB <= whole < 3 * MIB
    assert whole - without == (shared / "blob").stat().st_blocks * 512


def test_parts_are_linked_and_their_folders_are_new(folders):
    source, target, _ = folders
    (source / "blobs/link").symlink_to("abc")
    link_alike([source / "blobs", source / "etc/name"], target)
    assert (target / "blobs/abc").samefile(source / "blobs/abc")
    assert (target / "name").samefile(source / "etc/name")
    assert os.readlink(target / "blobs/link") == "abc"
    write(target / "blobs/more", "of this one alone")
    assert not (source / "blobs/more").exists()


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="needs a second filesystem")
def test_what_lies_on_another_filesystem_is_copied(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        write(Path(other) / "blobs/abc", "a blob")
        link_alike([Path(other) / "blobs"], tmp_path / "target")
    assert contents(tmp_path / "target") == {"blobs/abc": "a blob"}


def test_nothing_to_link_makes_nothing(tmp_path):
    link_alike([], tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_differences_leave_out_what_they_are_asked_to(folders):
    source, target, _ = folders
    mirror_tree(source, target)
    write(target / "blobs/abc", "another")
    write(target / "etc/name", "another")
    assert [line.split()[-1] for line in differences(source, target, without=[Path("blobs")])] == ["etc/name"]
