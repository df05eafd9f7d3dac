"""Copying folders and disk images so that only what differs is written, and what is alike may be shared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rookery.machine.run import run

COPY_SECONDS = 600

# Archive mode with hard links and extended attributes (overlayfs keeps its whiteouts in them), by numbers: the names
# of users differ between this machine and a node. A file of the same size and time, to the nanosecond, is taken for the
# same one.
_RSYNC = ["rsync", "-aHX", "--numeric-ids", "--delete", "--sparse", "--modify-window=-1"]


def mirror_tree(source: Path, target: Path, *, shared: Path | None = None, without: Sequence[Path] = ()) -> None:
    """Make the folder `target` the same as `source`, writing only what differs.

    What is the same in the folder `shared` becomes a hard link to it where it is missing in `target`: for files that
    are never changed in place. `without` names parts (relative paths) to leave as they are. Raises `CommandFailed`,
    with `target` half done.
    """
    target.mkdir(parents=True, exist_ok=True)
    options = [f"--link-dest={shared}"] if shared else []
    _rsync(source, target, *options, without=without)


def link_alike(parts: Sequence[Path], target: Path) -> None:
    """Make each of these folders and files, all on one filesystem, anew in the folder `target`: folders of its own,
    every file a hard link, or a copy where `target` lies on another filesystem.

    For files that are never changed in place. Raises `CommandFailed`, with some of it done.
    """
    if parts:
        target.mkdir(parents=True, exist_ok=True)
        how = "--link" if parts[0].lstat().st_dev == target.stat().st_dev else "--reflink=auto"
        run(["cp", "--archive", how, f"--target-directory={target}", *map(str, parts)], timeout=COPY_SECONDS)


def _rsync(source: Path, target: Path, *options: str, without: Sequence[Path] = ()) -> str:
    """What rsync says. The parts to leave out are told on its standard input: there may be hundreds."""
    patterns = "".join(f"/{part}\n" for part in without)
    command = [*_RSYNC, *options, "--exclude-from=-", f"{source}/", f"{target}/"]
    return run(command, timeout=COPY_SECONDS, stdin=patterns).stdout


def differences(source: Path, target: Path, *, without: Sequence[Path] = ()) -> list[str]:
    """What `mirror_tree` would have to change, by content (every byte is read), a line each as rsync itemizes them.

    Times and link counts are no difference.
    """
    output = _rsync(source, target, "--dry-run", "--checksum", "--itemize-changes", without=without)
    return [line for line in output.splitlines() if line and not _only_times(line)]


def _only_times(line: str) -> bool:
    """`.d..t......`: a folder or file with another time; see rsync(1), --itemize-changes."""
    return line[0] == "." and not line[2:11].strip(".t")


def copy_image(source: Path, target: Path) -> bool:
    """Make the disk image `target` the same as `source`: holes stay holes, blocks are shared where the filesystem can.

    Nothing is done, and False returned, if size and time are the same. The file is replaced, not overwritten: a loop
    device that has the old one open keeps it. Raises `CommandFailed`.
    """
    if target.exists() and _stamp(source) == _stamp(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    command = ["cp", "--sparse=always", "--reflink=auto", "--preserve=mode,timestamps"]
    try:
        run([*command, str(source), str(partial)], timeout=COPY_SECONDS)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return True


def allocated(folder: Path, *, without: Path | None = None) -> int:
    """Bytes on disk of everything in `folder`, each file once; files shared with the folder `without` do not count."""
    seen = set(_inodes(without)) if without else set()
    size = 0
    for entry in _entries(folder):
        stat = entry.stat(follow_symlinks=False)
        if (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            size += stat.st_blocks * 512
    return size


def _inodes(folder: Path) -> Iterator[tuple[int, int]]:
    for entry in _entries(folder):
        stat = entry.stat(follow_symlinks=False)
        yield stat.st_dev, stat.st_ino


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below, folders as well; what is removed meanwhile is left out."""
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
