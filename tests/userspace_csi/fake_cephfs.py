"""A mgr whose module `volumes` is a few dictionaries.

It knows the rules of Ceph 18 that matter here: what a repeated create does, what is not allowed while a subvolume is
being copied, what stays when one with snapshots is removed.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """An answer with another status than 0."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text)
        self.number = number


class Injected(Exception):
    """The failure that a test asked for: the driver's process ends there."""


@dataclass
class FakeSubvolume:
    size: int
    pool: str
    content: str = ""
    snapshots: dict[str, tuple[str, int]] = field(default_factory=dict)  # name to content and size
    labels: dict[str, str] = field(default_factory=dict)
    snapshot_labels: dict[str, str] = field(default_factory=dict)
    source: tuple[str, str] | None = None  # of a clone: subvolume, snapshot
    is_clone: bool = False
    state: str = "complete"


@dataclass
class FakeCluster:
    """`rados.Rados`, with the commands of monitors and mgr behind it."""

    group: dict[str, FakeSubvolume] | None = None
    filesystems: list[str] = field(default_factory=lambda: ["myfs"])
    mds: str = "up:active"
    blocklist: list[str] = field(default_factory=list)
    copies_until: int = 0  # how often the status is asked before a clone is complete
    may_blocklist: bool = True
    changes: int = 0
    fail_at: int | None = None
    mgr_answers: bool = True
    mgr_says: tuple[int, str] = (errno.ETIMEDOUT, "")  # where it does not

    def connect(self) -> None: ...

    def shutdown(self) -> None: ...

    def pool_exists(self, name: str) -> bool:
        return name in ("myfs-replicated", "other")

    def mon_command(self, command: str, data: bytes) -> tuple[int, bytes, str]:
        return self._answer(command)

    def mgr_command(self, command: str, data: bytes) -> tuple[int, bytes, str]:
        return self._answer(command) if self.mgr_answers else (-self.mgr_says[0], b"", self.mgr_says[1])

    def _answer(self, command: str) -> tuple[int, bytes, str]:
        arguments = json.loads(command)
        name = arguments.pop("prefix").replace(" ", "_")
        assert arguments.pop("format") == "json"
        try:
            answer = getattr(self, name)(**arguments)
        except Refused as refused:
            return -refused.number, b"", str(refused)
        return 0, (answer if isinstance(answer, str) else json.dumps(answer)).encode(), ""

    def change(self) -> None:
        self.changes += 1
        if self.changes == self.fail_at:
            raise Injected(f"at change {self.changes}")

    def open(self, name: str, *, ready: bool = True, retained: bool = False) -> FakeSubvolume:
        found = self.members().get(name)
        if found is None or (found.state == "snapshot-retained" and not retained):
            raise Refused(errno.ENOENT, f"subvolume '{name}' does not exist")
        if ready and found.state not in ("complete", "snapshot-retained"):
            raise Refused(errno.EAGAIN, "not ready")
        return found

    def members(self) -> dict[str, FakeSubvolume]:
        if self.group is None:
            raise Refused(errno.ENOENT, "subvolume group 'csi' does not exist")
        return self.group

    # Monitors
    def fs_ls(self) -> Any:
        return [{"name": name} for name in self.filesystems]

    def fs_get(self, fs_name: str) -> Any:
        if fs_name not in self.filesystems:
            raise Refused(errno.ENOENT, f"filesystem '{fs_name}' not found")
        return {"mdsmap": {"info": {"gid_1": {"state": self.mds}} if self.mds else {}}}

    def osd_blocklist(self, blocklistop: str, addr: str) -> str:
        assert blocklistop == "add"
        if not self.may_blocklist:
            raise Refused(errno.EACCES)
        self.blocklist.append(addr)
        return ""

    # The module `volumes`; every command names filesystem and group
    def fs_subvolumegroup_create(self, vol_name: str, group_name: str) -> str:
        assert (vol_name, group_name) == ("myfs", "csi")
        self.group = self.group or {}
        return ""

    def fs_subvolume_create(
        self, vol_name: str, group_name: str, sub_name: str, size: int, mode: str, pool_layout: str = ""
    ) -> str:
        assert mode == "777"
        members = self.members()
        self.change()
        old = members.get(sub_name)
        assert old is None or old.state == "snapshot-retained", "would set the quota anew"
        kept = old or FakeSubvolume(0, "")
        members[sub_name] = FakeSubvolume(size, pool_layout, "", kept.snapshots, {}, kept.snapshot_labels)
        return ""

    def fs_subvolume_info(self, vol_name: str, group_name: str, sub_name: str) -> Any:
        found = self.open(sub_name, retained=True)
        kind = "clone" if found.is_clone else "subvolume"
        if found.state == "snapshot-retained":
            return {"type": kind, "state": found.state, "features": []}
        quota = found.size or "infinite"
        path = f"/volumes/csi/{sub_name}/1"
        return {"type": kind, "state": found.state, "bytes_quota": quota, "path": path, "data_pool": found.pool}

    def fs_subvolume_ls(self, vol_name: str, group_name: str) -> Any:
        return [{"name": name} for name in self.members()]

    def fs_subvolume_resize(self, vol_name: str, group_name: str, sub_name: str, new_size: str, no_shrink: bool) -> Any:
        found = self.open(sub_name)
        assert no_shrink
        assert int(new_size) > found.size
        self.change()
        found.size = int(new_size)
        return []

    def fs_subvolume_rm(
        self, vol_name: str, group_name: str, sub_name: str, force: bool = False, retain_snapshots: bool = False
    ) -> str:
        found = self.open(sub_name, ready=not force, retained=True)
        if found.state in ("pending", "in-progress"):
            raise Refused(errno.EAGAIN, "clone in-progress -- please cancel the clone and retry")
        if found.snapshots and not retain_snapshots:
            raise Refused(errno.ENOTEMPTY)
        self.change()
        if found.snapshots:
            found.state, found.labels = "snapshot-retained", {}
        else:
            del self.members()[sub_name]
        return ""

    def fs_subvolume_metadata_set(
        self, vol_name: str, group_name: str, sub_name: str, key_name: str, value: str
    ) -> str:
        found = self.open(sub_name)
        self.change()
        found.labels[key_name] = value
        return ""

    def fs_subvolume_metadata_get(self, vol_name: str, group_name: str, sub_name: str, key_name: str) -> str:
        return self._label(self.open(sub_name).labels, key_name)

    def fs_subvolume_snapshot_create(self, vol_name: str, group_name: str, sub_name: str, snap_name: str) -> str:
        found = self.open(sub_name)
        self.change()
        found.snapshots.setdefault(snap_name, (found.content, found.size))
        return ""

    def fs_subvolume_snapshot_ls(self, vol_name: str, group_name: str, sub_name: str) -> Any:
        return [{"name": name} for name in self.open(sub_name, retained=True).snapshots]

    def fs_subvolume_snapshot_info(self, vol_name: str, group_name: str, sub_name: str, snap_name: str) -> Any:
        self._snapshot(self.open(sub_name, retained=True), snap_name)
        return {"created_at": "2026-01-02 03:04:05.678901", "data_pool": "", "has_pending_clones": "no"}

    def fs_subvolume_snapshot_rm(self, vol_name: str, group_name: str, sub_name: str, snap_name: str) -> str:
        found = self.open(sub_name, retained=True)
        self._snapshot(found, snap_name)
        if any(it.source == (sub_name, snap_name) for it in self.members().values()):
            raise Refused(errno.EAGAIN, f"snapshot '{snap_name}' has pending clones")
        self.change()
        del found.snapshots[snap_name]
        found.snapshot_labels.pop(snap_name, None)
        if found.state == "snapshot-retained" and not found.snapshots:
            del self.members()[sub_name]
        return ""

    def fs_subvolume_snapshot_metadata_set(
        self, vol_name: str, group_name: str, sub_name: str, snap_name: str, key_name: str, value: str
    ) -> str:
        found = self.open(sub_name)
        self._snapshot(found, snap_name)
        self.change()
        found.snapshot_labels[snap_name] = value
        return ""

    def fs_subvolume_snapshot_metadata_get(
        self, vol_name: str, group_name: str, sub_name: str, snap_name: str, key_name: str
    ) -> str:
        return self._label(self.open(sub_name).snapshot_labels, snap_name)

    def fs_subvolume_snapshot_clone(
        self,
        vol_name: str,
        group_name: str,
        sub_name: str,
        snap_name: str,
        target_sub_name: str,
        target_group_name: str,
        pool_layout: str = "",
    ) -> str:
        assert target_group_name == group_name == "csi"
        content, size = self._snapshot(self.open(sub_name, retained=True), snap_name)
        old = self.members().get(target_sub_name)
        if old is not None and old.state != "snapshot-retained":
            raise Refused(errno.EEXIST)
        self.change()
        made = FakeSubvolume(size, pool_layout, content, source=(sub_name, snap_name), is_clone=True, state="pending")
        self.members()[target_sub_name] = made
        return ""

    def fs_clone_status(self, vol_name: str, group_name: str, clone_name: str) -> Any:
        found = self.open(clone_name, ready=False)
        if not found.is_clone:
            raise Refused(errno.EOPNOTSUPP, "not allowed on subvolume of type subvolume")
        if found.state in ("pending", "in-progress"):
            found.state = "in-progress"
            self.copies_until -= 1
            if self.copies_until < 0:
                found.state, found.source = "complete", None
        status: dict[str, Any] = {"state": found.state}
        if found.state != "complete" and found.source:
            status["source"] = {"volume": "myfs", "subvolume": found.source[0], "snapshot": found.source[1]}
        return {"status": status}

    def fs_clone_cancel(self, vol_name: str, group_name: str, clone_name: str) -> str:
        self.change()
        found = self.open(clone_name, ready=False)
        assert found.source
        found.state, found.is_clone = "canceled", True
        self.cancelled = found.source
        found.source = None
        return ""

    @staticmethod
    def _snapshot(subvolume: FakeSubvolume, name: str) -> tuple[str, int]:
        if name not in subvolume.snapshots:
            raise Refused(errno.ENOENT, f"snapshot '{name}' does not exist")
        return subvolume.snapshots[name]

    @staticmethod
    def _label(labels: dict[str, str], key: str) -> str:
        if key not in labels:
            raise Refused(errno.ENOENT, f"key '{key}' does not exist")
        return labels[key]
