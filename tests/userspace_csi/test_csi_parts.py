"""The userspace CSI driver's parts: state, locks, waiting, mounts, filesystems, the exporter's service."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import plays
from userspace_csi.clusters import ClusterConfig, Credentials, client_files, remove_client_files
from userspace_csi.commands import CommandFailed, CommandTimedOut, Completed, run
from userspace_csi.errors import (
    DriverError,
    FailedPrecondition,
    InvalidArgument,
    OperationPending,
    Unavailable,
)
from userspace_csi.exporter import Exporter, ExporterFailed, Source
from userspace_csi.filesystems import Filesystems
from userspace_csi.locks import Operations
from userspace_csi.mounts import Mounts, parse_mountinfo
from userspace_csi.state import LoopRef, NodeBoot, StateStore, VolumeState
from userspace_csi.takeover import Client
from userspace_csi.volumes import VolumeId
from userspace_csi.waiting import Deadline, retry

VOLUME = VolumeId("rook-ceph", "replicapool", "csi-vol-1")
BOOT = NodeBoot("kernel", 1)


@dataclass
class Programs:
    """Answers for programs, by the words that an argv must hold; everything else succeeds without a word."""

    answers: list[tuple[tuple[str, ...], Completed]] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> Completed:
        self.calls.append(list(argv))
        done = next((done for words, done in self.answers if set(words) <= set(argv)), Completed(0, "", ""))
        if check and done.status != 0:
            raise CommandFailed(argv, done.status, done.stderr)
        return done

    def ran(self, *words: str) -> list[list[str]]:
        return [argv for argv in self.calls if set(words) <= set(argv)]


STATES = st.builds(
    VolumeState,
    volume=st.just(VOLUME),
    boot=st.builds(NodeBoot, st.uuids().map(str), st.integers(0)),
    exporter=st.none() | st.builds(Client, st.integers(1), st.just("10.0.0.1:0/1")),
    loop=st.none() | st.builds(LoopRef, st.integers(0, 255), st.integers(1), st.booleans()),
    block=st.booleans(),
    read_only=st.booleans(),
    mount_flags=st.lists(st.sampled_from(["discard", "noatime"])).map(tuple),
)


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: VolumeState) -> None:
    assert VolumeState.from_json(state.to_json()) == state


def test_the_store_keeps_replaces_and_forgets(tmp_path: Path) -> None:
    store = StateStore(tmp_path, BOOT)
    assert store.load(VOLUME) == VolumeState(VOLUME, BOOT)
    store.save(VolumeState(VOLUME, BOOT, loop=LoopRef(3, 13)))
    store.save(VolumeState(VOLUME, BOOT, loop=LoopRef(4, 14)))
    assert [state.loop for state in StateStore(tmp_path, BOOT).all()] == [LoopRef(4, 14)]
    assert [path.name for path in store.folder(VOLUME).iterdir()] == ["state.json"]
    store.forget(VOLUME)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_state_is_no_state(tmp_path: Path) -> None:
    store = StateStore(tmp_path, BOOT)
    store.save(VolumeState(VOLUME, BOOT))
    (store.folder(VOLUME) / "state.json").write_text('{"volume": {', encoding="utf-8")
    assert list(store.all()) == []


def test_a_boot_is_reported_by_the_start_of_init(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("6d1f\n", encoding="utf-8")
    fields = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "1/stat").write_text(f"1 (a ) b) S {fields}\n", encoding="utf-8")
    assert NodeBoot.current(tmp_path) == NodeBoot("6d1f", 22)


def test_a_volume_is_free_again_after_its_operation() -> None:
    operations = Operations()
    with operations.holding("v"), operations.holding("w"), pytest.raises(OperationPending), operations.holding("v"):
        pass
    with pytest.raises(ValueError, match="boom"), operations.holding("v"):
        raise ValueError("boom")
    with operations.holding("v"):
        pass


def test_those_who_share_a_volume_keep_others_out() -> None:
    operations = Operations()
    with operations.holding("v", shared=True):
        with operations.holding("v", shared=True), pytest.raises(OperationPending), operations.holding("v"):
            pass
        with pytest.raises(OperationPending), operations.holding("v"):  # one of the two is still there
            pass
    with operations.holding("v"), pytest.raises(OperationPending), operations.holding("v", shared=True):
        pass


class Stuck(CommandTimedOut):
    """A program in uninterruptible sleep, until it `ended`."""

    ended = False

    def __init__(self) -> None:
        DriverError.__init__(self, "umount /staging: did not end in time")

    def still_runs(self) -> bool:
        return not self.ended


def test_a_program_that_cannot_be_killed_keeps_its_volume() -> None:
    operations, stuck = Operations(), Stuck()
    with pytest.raises(CommandTimedOut), operations.holding("v"):
        raise stuck
    with pytest.raises(OperationPending), operations.holding("v"):
        pass
    stuck.ended = True
    with operations.holding("v"):
        pass


def test_a_program_is_ended_at_its_deadline() -> None:
    with pytest.raises(CommandTimedOut) as caught:
        run([sys.executable, "-c", "import threading; threading.Event().wait()"], timeout=0.2)
    assert not caught.value.still_runs()
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_how_a_program_ended() -> None:
    with pytest.raises(CommandFailed, match="no such thing"):
        run([sys.executable, "-c", "import sys; sys.exit('no such thing')"], timeout=20)
    assert run([sys.executable, "-c", "raise SystemExit(2)"], timeout=20, check=False).status == 2
    with pytest.raises(CommandFailed):
        run(["/no/such/program"], timeout=20)


def test_retry_hands_on_the_last_error_and_any_other_at_once() -> None:
    attempts: list[int] = []

    def unavailable() -> None:
        attempts.append(1)
        raise Unavailable(f"attempt {len(attempts)}")

    with pytest.raises(Unavailable, match=r"attempt [2-9]"):
        retry(unavailable, on=(Unavailable,), deadline=Deadline(0.1), every=0.02)
    attempts.clear()
    with pytest.raises(Unavailable):
        retry(unavailable, on=(InvalidArgument,), deadline=Deadline(10))
    assert len(attempts) == 1


def test_monitors_come_from_rooks_config_map(tmp_path: Path) -> None:
    config = ClusterConfig(tmp_path / "csi-cluster-config-json")
    with pytest.raises(Unavailable):
        config.monitors("rook-ceph")
    config.path.write_text(
        json.dumps([{"clusterID": "rook-ceph", "monitors": ["10.96.1.1:6789", "10.96.1.2:6789"]}]), encoding="utf-8"
    )
    assert config.monitors("rook-ceph") == ["10.96.1.1:6789", "10.96.1.2:6789"]
    assert config.clusters() == ["rook-ceph"]
    with pytest.raises(InvalidArgument, match="other"):
        config.monitors("other")


MOUNTINFO = """\
27 1 254:0 / / rw,relatime - ext4 /dev/root rw
54 27 0:50 / /plugins/v/image rw,nosuid,nodev,relatime shared:12 - fuse /dev/fuse rw,user_id=0
63 27 7:3 / /staging\\040one rw,relatime - ext4 /dev/loop3 rw
64 27 7:3 / /target ro,relatime - ext4 /dev/loop3 rw
65 27 7:4 / /target rw,relatime master:1 - ext4 /dev/loop4 rw
"""


def test_mountinfo_is_read_with_its_escapes_and_optional_fields() -> None:
    fuse = parse_mountinfo(MOUNTINFO)[1]
    assert (fuse.device, fuse.point, fuse.fs_type, fuse.read_only) == ((0, 50), Path("/plugins/v/image"), "fuse", False)


def test_where_a_device_node_is_shown(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "80 60 0:6 /loop3 /publish/one rw - devtmpfs devtmpfs rw\n"
        "81 60 0:6 /loop31 /publish/two rw - devtmpfs devtmpfs rw\n"
        "82 60 254:0 /data/loop3 /publish/three rw - ext4 /dev/root rw\n"
        "83 60 0:6 /loop3//deleted /publish/four rw - devtmpfs devtmpfs rw\n",
        encoding="utf-8",
    )
    mounts = Mounts(table)
    assert [str(mount.point) for mount in mounts.of_device_node(Path("/dev/loop3"))] == ["/publish/one"]
    shown = [mounts.at(Path(f"/publish/{name}")) for name in ("one", "three", "four")]
    assert [mount and mount.is_loop_node for mount in shown] == [True, False, True]


def test_files_are_bound_to_files_and_folders_to_folders(tmp_path: Path) -> None:
    programs = Programs()
    file, folder = tmp_path / "loop3", tmp_path / "staging"
    file.touch()
    folder.mkdir()
    for source in (file, folder):
        point = tmp_path / "pods" / source.name
        Mounts(run=programs).bind(source, point, read_only=source is file, deadline=Deadline(5))
        assert point.is_dir() is source.is_dir()
    assert (len(programs.ran("bind,ro")), len(programs.ran("bind"))) == (1, 1)  # never to be written meanwhile


def test_the_mount_on_top_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTINFO, encoding="utf-8")
    mounts = Mounts(table)
    top = mounts.at(Path("/target/"))
    assert top is not None
    assert top.device == (7, 4)
    assert mounts.at(Path("/nothing")) is None
    assert [str(mount.point) for mount in mounts.of_device((7, 3))] == ["/staging one", "/target"]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(4096))
    return path


NOTHING = Completed(2, "", "")
CLEAN = Completed(0, "", "")


def ensure(device: Path, blkid: Completed, fsck: Completed = CLEAN, fs_type: str = "ext4", options=()) -> Programs:
    header = Completed(0, "Block count:              1\nBlock size:               4096\n", "")
    programs = Programs([(("blkid",), blkid), (("e2fsck",), fsck), (("dumpe2fs",), header)])
    Filesystems(programs).ensure(device, fs_type, options, Deadline(5))
    return programs


def test_an_empty_device_gets_a_filesystem(device: Path) -> None:
    assert ensure(device, NOTHING).ran("mkfs.ext4", "-m0", str(device))
    assert ensure(device, NOTHING, fs_type="xfs").ran("mkfs.xfs", "-K", str(device))


def test_the_options_asked_for_replace_the_default_ones(device: Path) -> None:
    (made,) = ensure(device, NOTHING, options=("-b", "1024")).ran("mkfs.ext4")
    assert made == ["mkfs.ext4", "-q", "-b", "1024", str(device)]


def test_xfs_is_not_checked_before_it_is_mounted(device: Path) -> None:
    assert len(ensure(device, Completed(0, "TYPE=xfs\n", ""), fs_type="xfs").calls) == 1


def test_an_xfs_whose_making_was_cut_short_is_made_anew(device: Path) -> None:
    content = bytearray(device.read_bytes())
    content[126] = 1  # sb_inprogress
    device.write_bytes(content)
    (made,) = ensure(device, Completed(0, "TYPE=xfs\n", ""), fs_type="xfs").ran("mkfs.xfs")
    assert made == ["mkfs.xfs", "-q", "-f", "-K", str(device)]
    with pytest.raises(FailedPrecondition, match="holds xfs"):
        ensure(device, Completed(0, "TYPE=xfs\n", ""))


@pytest.mark.parametrize("blkid", [Completed(0, "TYPE=xfs\n", ""), NOTHING])
def test_a_reader_makes_no_filesystem(device: Path, blkid: Completed) -> None:
    programs = Programs([(("blkid",), blkid)])
    with pytest.raises(FailedPrecondition, match="for reading only"):
        Filesystems(programs).require(device, "ext4", Deadline(5))
    assert len(programs.calls) == 1


@pytest.mark.parametrize(("size", "grown"), [(4096, False), (8191, False), (8192, True)])
def test_ext4_fills_its_device_before_it_is_mounted(device: Path, size: int, grown: bool) -> None:
    os.truncate(device, size)
    programs = ensure(device, Completed(0, "TYPE=ext4\n", ""))
    assert bool(programs.ran("resize2fs", str(device))) is grown
    assert bool(programs.ran("e2fsck", "-f")) is grown


def test_xfs_fills_its_device_when_it_is_mounted(device: Path) -> None:
    programs = Programs()
    for fs_type in ("ext4", "xfs"):
        Filesystems(programs).fill(device, fs_type, Path("/staging"), Deadline(5))
    assert programs.calls == [["xfs_growfs", "/staging"]]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("resize2fs: Permission denied to resize filesystem", FailedPrecondition),
        ("resize2fs: Input/output error", CommandFailed),
    ],
)
def test_why_a_filesystem_does_not_grow(device: Path, said: str, error: type) -> None:
    programs = Programs([(("resize2fs",), Completed(1, "", said))])
    with pytest.raises(error):
        Filesystems(programs).expand(device, "ext4", Path("/staging"), Deadline(5))


def test_a_filesystem_grows_by_its_device_or_by_its_mount(device: Path) -> None:
    programs, point = Programs(), Path("/staging")
    for fs_type in ("ext4", "xfs"):
        Filesystems(programs).expand(device, fs_type, point, Deadline(5))
    assert programs.calls == [["resize2fs", str(device)], ["xfs_growfs", str(point)]]


def test_a_filesystem_is_checked_and_kept(device: Path) -> None:
    for status in (0, 1):
        programs = ensure(device, Completed(0, "DEVNAME=/dev/loop3\nTYPE=ext4\n", ""), Completed(status, "", ""))
        assert programs.ran("e2fsck")
        assert not programs.ran("mkfs.ext4")


@pytest.mark.parametrize(
    ("blkid", "error"),
    [
        (Completed(0, "TYPE=xfs\n", ""), FailedPrecondition),
        (Completed(0, "PTTYPE=gpt\n", ""), FailedPrecondition),
        (Completed(8, "", "ambivalent result"), CommandFailed),
        (Completed(2, "", "blkid: error: /dev/loop3: Input/output error"), CommandFailed),
        (Completed(4, "", "usage"), CommandFailed),
    ],
)
def test_whatever_is_not_surely_empty_is_never_formatted(device: Path, blkid: Completed, error: type) -> None:
    programs = Programs([(("blkid",), blkid)])
    with pytest.raises(error):
        Filesystems(programs).ensure(device, "ext4", (), Deadline(5))
    assert not programs.ran("mkfs.ext4")


def test_a_device_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    """blkid ends with status 2 and no word on a loop device whose FUSE file is dead."""
    programs = Programs([(("blkid",), NOTHING)])
    folder = tmp_path / "device"
    folder.mkdir()  # read(2) fails with EISDIR
    with pytest.raises(DriverError, match="cannot be read"):
        Filesystems(programs).ensure(folder, "ext4", (), Deadline(5))
    assert not programs.ran("mkfs.ext4")


def test_a_damaged_filesystem_is_not_mounted(device: Path) -> None:
    with pytest.raises(CommandFailed, match="UNEXPECTED INCONSISTENCY"):
        ensure(
            device, Completed(0, "TYPE=ext4\n", ""), Completed(4, "UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", "")
        )


@plays(Mounts)
@dataclass
class FakeTable:
    """A mount table in which the exporter's file appears when the service has been started."""

    programs: Programs
    image: Path
    appears: bool = True

    def at(self, point: Path) -> object | None:
        return object() if self.appears and self.programs.ran("systemd-run") and point == self.image else None

    def unmount_lazily(self, point: Path) -> None:
        self.appears = False


class Systemd(Programs):
    """Programs among which systemd answers what the unit is: `launched` once it has been started, until its stop."""

    launched = "active"
    unit = "inactive"

    def __call__(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> Completed:
        done = super().__call__(argv, timeout=timeout, check=check)
        if "systemd-run" in argv:
            self.unit = self.launched
        elif "stop" in argv:
            self.unit = "inactive"
        return Completed(0, f"{self.unit}\n", "") if "is-active" in argv else done


SOURCE = Source(VOLUME, ["10.96.1.1:6789"], Credentials("csi-rbd-node", "AQSecret=="))


def exporter(tmp_path: Path, programs: Programs, *, appears: bool = True) -> tuple[Exporter, Path]:
    image = tmp_path / "volume" / "image"
    image.parent.mkdir()
    image.write_bytes(b"what the exporter serves")
    table = FakeTable(programs, image)
    made = Exporter(table, secrets_dir=tmp_path / "secrets", pid=4321, run=programs, ask_every=0.01)
    if appears:
        table.unmount_lazily = lambda point: None
    return made, image


def test_the_exporter_is_a_service_of_the_node_in_the_containers_mounts(tmp_path: Path) -> None:
    programs = Systemd()
    made, image = exporter(tmp_path, programs)
    made.start(SOURCE, image, Deadline(5))
    (launch,) = programs.ran("systemd-run")
    node, container = (index for index, word in enumerate(launch) if word == "nsenter")
    assert launch[node : node + 3] == ["nsenter", "--target", "1"]
    assert launch[container : container + 5] == ["nsenter", "--target", "4321", "--mount", "--"]
    assert f"--unit=rookery-rbd-{VOLUME.slug}.service" in launch
    blockdev = json.loads(launch[launch.index("--blockdev") + 1])
    export = json.loads(launch[launch.index("--export") + 1])
    assert (blockdev["pool"], blockdev["image"]) == ("replicapool", "csi-vol-1")
    assert (export["mountpoint"], export["node-name"]) == (str(image), blockdev["node-name"])


def test_the_lock_is_taken_by_a_flushed_write_that_changes_nothing(tmp_path: Path) -> None:
    programs = Systemd()
    made, image = exporter(tmp_path, programs)
    made.lock(image, Deadline(5))
    (write,) = programs.ran("dd", f"if={image}", f"of={image}", "count=1")
    assert "conv=notrunc,fsync" in write
    assert not [word for word in write if word.startswith(("seek=", "skip="))]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_reader_opens_the_image_for_reading(tmp_path: Path, read_only: bool) -> None:
    programs = Systemd()
    made, image = exporter(tmp_path, programs)
    made.start(Source(VOLUME, SOURCE.monitors, SOURCE.credentials, read_only), image, Deadline(5))
    (launch,) = programs.ran("systemd-run")
    assert json.loads(launch[launch.index("--blockdev") + 1])["read-only"] is read_only
    assert json.loads(launch[launch.index("--export") + 1])["writable"] is not read_only


def test_the_key_is_on_no_command_line_and_gone_once_it_was_read(tmp_path: Path) -> None:
    keyrings = []

    class Reading(Systemd):
        def __call__(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> Completed:
            if "systemd-run" in argv:
                (keyring,) = tmp_path.glob("secrets/*/keyring")
                keyrings.append((keyring.read_text(encoding="utf-8"), keyring.stat().st_mode & 0o777))
            return super().__call__(argv, timeout=timeout, check=check)

    programs = Reading()
    made, image = exporter(tmp_path, programs)
    made.start(SOURCE, image, Deadline(5))
    assert keyrings == [("[client.csi-rbd-node]\n\tkey = AQSecret==\n", 0o600)]
    assert "AQSecret" not in repr(programs.calls)
    assert list((tmp_path / "secrets").iterdir()) == []


def test_a_key_that_a_killed_driver_has_left_is_removed_by_its_next_life(tmp_path: Path) -> None:
    killed = client_files(tmp_path / VOLUME.slug, SOURCE.monitors, SOURCE.credentials)
    assert killed.__enter__().exists()
    remove_client_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_client_files(tmp_path / "not-there-yet")


@pytest.mark.parametrize(
    ("answer", "error", "said"), [("failed", ExporterFailed, "no such pool"), ("active", Unavailable, "does not serve")]
)
def test_an_exporter_that_does_not_come_up_is_ended(tmp_path: Path, answer: str, error: type, said: str) -> None:
    programs = Systemd([(("journalctl",), Completed(0, "no such pool", ""))])
    programs.launched = answer
    made, image = exporter(tmp_path, programs, appears=False)
    with pytest.raises(error, match=said):
        made.start(SOURCE, image, Deadline(0.1))
    launched = programs.calls.index(programs.ran("systemd-run")[0])
    assert any("stop" in argv for argv in programs.calls[launched:])


@pytest.mark.parametrize(("answer", "running"), [("active", True), ("inactive", False), ("failed", False)])
def test_whether_it_runs(tmp_path: Path, answer: str, running: bool) -> None:
    made, _ = exporter(tmp_path, Programs([(("is-active",), Completed(0, f"{answer}\n", ""))]))
    assert made.is_running(VOLUME) is running


def test_an_exporter_that_cannot_be_stopped_is_not_forgotten(tmp_path: Path) -> None:
    made, image = exporter(tmp_path, Programs([(("is-active",), Completed(0, "active", ""))]))
    with pytest.raises(DriverError, match="cannot be stopped"):
        made.stop(VOLUME, image)


@pytest.mark.parametrize("done", [Completed(1, "", "Failed to connect to bus"), Completed(3, "deactivating\n", "")])
def test_no_clear_answer_is_not_taken_for_dead(tmp_path: Path, done: Completed) -> None:
    made, _ = exporter(tmp_path, Programs([(("is-active",), done)]))
    with pytest.raises(Unavailable):
        made.is_running(VOLUME)


def test_the_driver_imports_without_ceph_and_grpc() -> None:
    """Everything that decides something can be tested anywhere; only these modules need the image."""
    package = Path(sys.modules["userspace_csi"].__file__ or "").parent
    bound = {"connections.py", "images.py", "services.py", "registration.py", "__main__.py"}
    for path in package.rglob("*.py"):
        words = ("import rados", "import rbd", "import grpc", "import csi_pb2", "import pluginregistration")
        uses = [word for word in words if f"\n{word}" in path.read_text(encoding="utf-8")]
        assert bool(uses) is (path.name in bound), f"{path.name}: {uses}"
    assert os.path.exists(package / "__main__.py")
