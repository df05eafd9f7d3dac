"""The preparation of a node, run for real where /dev, /sys and /run are the test's own; and what is off in a node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rookery.cluster import nodes
from rookery.errors import InfrastructureError
from rookery.machine import loop
from rookery.machine.disks import LoopDisk
from rookery.machine.run import CommandFailed, run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# A mount namespace stands for the node. Its /sys is read-only and knows a disk with two partitions and two loops;
# its /dev has the disk, one loop device, and a device in a folder. Its iptables keeps rules in a file. Nothing of it is
# this machine's.
NODE = r"""
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/data /run/bin
cat > /run/bin/iptables <<'END'
#!/bin/sh
mode=$1$2
shift 2
case $mode in
-w-C) grep -qxF -e "$*" /run/rules ;;
-w-A) echo "$*" >> /run/rules ;;
*) exit 2 ;;
esac
END
chmod +x /run/bin/iptables
export PATH="/run/bin:$PATH"
touch /run/rules
echo 'N:sda' > /run/udev/data/b8:0
mount -t tmpfs tmpfs /sys
for entry in sda=8:0 sda/sda1=8:1 sda/sda2=8:2 loop205=7:205 loop206=7:206; do
  mkdir -p "/sys/block/${entry%=*}"
  echo "${entry#*=}" > "/sys/block/${entry%=*}/dev"
done
mkdir /sys/block/loop206/queue
mount -o remount,ro /sys
mount -t tmpfs tmpfs /dev
mkdir /dev/mapper
mknod -m 666 /dev/null c 1 3
mknod /dev/sda b 8 0
mknod -m 640 /dev/loop206 b 7 206
mknod /dev/mapper/root b 253 0
"""
REPORT = r"""
find /dev ! -type d -printf '%p %y %m\n' | sort
for loop in /dev/loop*; do [ ! -b "$loop" ] || stat -c '%n 0x%t:0x%T' "$loop"; done
touch /sys/writable && echo '/sys is writable'
cd /run/udev/data
for entry in *; do echo "$entry" $(cat "$entry"); done
sed 's/^/rule: /' /run/rules
"""
SERVICES = "10.97.0.0/16"


@pytest.fixture
def node(monkeypatch):
    """Runs in a fake node what docker would, and reports what the node looks like after so many times."""

    def prepare(*disks, times=1, before=""):
        reports = []

        def docker(command, name, *argv, timeout):
            assert (command, name, argv[:2]) == ("exec", "c-worker", ("sh", "-ec"))
            script = NODE + before + f"( set -e\n{argv[2]}\n)\n" * times + REPORT
            reports.append(run(["unshare", "--mount", *argv[:2], script], timeout=timeout).stdout.splitlines())

        monkeypatch.setattr(nodes, "docker", docker)
        monkeypatch.setattr(loop, "device_number", lambda number: (7, number))  # of devices that are nowhere attached
        nodes.prepare("c-worker", disks, SERVICES)
        (report,) = reports
        return report

    try:
        run(["unshare", "--mount", "sh", "-ec", NODE], timeout=30)
    except CommandFailed as error:
        pytest.skip(f"no mount namespace with devices can be made here: {error}")
    return prepare


ENTRY = "I:1 E:ID_TYPE=disk V:1"
RULES = [f"rule: {c} -d {SERVICES} -m conntrack --ctstate NEW -j REJECT" for c in ("FORWARD", "OUTPUT")]
ENTRIES = [f"b7:205 {ENTRY}", f"b7:206 {ENTRY}", "b8:0 N:sda", f"b8:1 {ENTRY}", f"b8:2 {ENTRY}"]


@needs_root
@pytest.mark.parametrize("times", [1, 2])
def test_a_node_sees_its_own_disks_and_no_other(node, times):
    report = node(LoopDisk(Path("/a"), 205), LoopDisk(Path("/b"), 206), times=times)
    assert report == [
        "/dev/loop205 b 660", "/dev/loop206 b 640", "/dev/null c 666",
        "/dev/loop205 0x7:0xcd", "/dev/loop206 0x7:0xce",
        "/sys is writable",
        *ENTRIES,
        *RULES,
    ]  # fmt: skip


@needs_root
def test_a_node_without_disks_sees_none(node):
    assert node() == ["/dev/null c 666", "/sys is writable", *ENTRIES, *RULES]


@needs_root
def test_a_machine_without_partitions_is_no_trouble(node):
    without = "mount -o remount,rw /sys; rm -r /sys/block/sda; mount -o remount,ro /sys\n"
    assert node(before=without)[2:] == [*ENTRIES[:3], *RULES]


@needs_root
def test_a_rule_that_is_missing_alone_is_added_alone(node):
    there = RULES[0].removeprefix("rule: ")
    assert node(before=f"echo '{there}' > /run/rules\n")[-3:] == [ENTRIES[-1], *RULES]


# The kernel has no second devtmpfs: a filesystem with the machine's devices stands for it. /dev has a folder of another
# filesystem, as kind mounts /dev/mapper, and a device that is mounted by itself.
MOUNTED = r"""
mount -t tmpfs tmpfs /dev/mapper
mknod /dev/mapper/vg-root b 253 0
mknod /run/sdb b 8 16
touch /dev/sdb
mount --bind /run/sdb /dev/sdb
"""
STAND_IN = r"""
mkdir /run/machine
mount -t tmpfs tmpfs /run/machine
mkdir -p /run/machine{0}
cp -a /dev/. /run/machine{0}
mount --bind /run/machine{0} /dev
"""
ALL = ["/dev/loop206 b 640", "/dev/mapper/root b 644", "/dev/null c 666", "/dev/sda b 644"]


@needs_root
def test_what_is_mounted_in_dev_stays(node):
    report = node(LoopDisk(Path("/b"), 206), before=MOUNTED)
    assert report[:4] == ["/dev/loop206 b 640", "/dev/mapper/vg-root b 644", "/dev/null c 666", "/dev/sdb b 644"]


@needs_root
@pytest.mark.parametrize("disks", [(), (LoopDisk(Path("/b"), 206),)])
@pytest.mark.parametrize(
    ("before", "numbers"),
    [
        (STAND_IN.format(""), {"/dev": "$(stat -c %d /run/machine)"}),
        (STAND_IN.format("/part"), {}),
        ("", {"/run": "$(stat -c %d /run)"}),
        ("mkdir /run/there; cp -a /run/udev /run/there; mount --bind /run/there/udev /run/udev\n", {}),
        ("mount -t tmpfs tmpfs /run/udev/data; echo 'N:sda' > /run/udev/data/b8:0\n", {}),
    ],
    ids=["the machine's /dev", "a part of it", "the machine's /run", "its udev", "its database"],
)
def test_a_node_that_has_the_machines_devices_is_left_alone(node, monkeypatch, disks, before, numbers):
    """Nothing is deleted, made or written where /dev, /run or the udev database is the machine's."""
    monkeypatch.setattr(nodes, "_machine_number", lambda path: numbers.get(path, 0))
    looked_at = r"""
trap 'find /dev ! -type d -printf "%p %y %m\\n" | sort; ls /run/udev/data; cat /run/rules; ! touch /sys/x' EXIT
"""
    with pytest.raises(CommandFailed) as refused:
        node(*disks, before=before + looked_at)
    shown = refused.value.output.splitlines()
    assert [line for line in shown if line.startswith("/dev/") and " is " not in line] == ALL
    assert "b8:0" in shown
    assert [line for line in shown if line.startswith(("b7:", "b8:1", "FORWARD"))] == []
    assert any("Read-only file system" in line for line in shown)


SHOWN = "Id={}\nLoadState={}\nActiveState={}"


@pytest.mark.parametrize(
    ("state", "active"), [("loaded", "inactive"), ("masked", "active"), ("not-found", "inactive"), (None, None)]
)
def test_a_unit_that_is_not_off_is_named(monkeypatch, state, active):
    def docker_output(command, name, *argv, timeout):
        assert (command, name, argv[:2]) == ("exec", "c-worker", ("systemctl", "show"))
        first, *others = argv[3:]
        shown = [SHOWN.format(first, state, active)] if state else []
        return "\n\n".join([*shown, *(SHOWN.format(unit, "masked", "inactive") for unit in others)])

    monkeypatch.setattr(nodes, "docker_output", docker_output)
    with pytest.raises(InfrastructureError, match=r"c-worker works for .*: systemd-udevd\.service should be masked"):
        nodes.require_masked("c-worker")


def test_units_that_are_masked_and_off_are_what_is_wanted(monkeypatch):
    told = "\n\n".join(SHOWN.format(unit, "masked", "inactive") for unit in nodes.MASKED)
    monkeypatch.setattr(nodes, "docker_output", lambda *argv, timeout: told)
    nodes.require_masked("c-worker")


@needs_root
@pytest.mark.skipif(shutil.which("systemctl") is None, reason="needs systemctl")
@pytest.mark.parametrize("vendors", [True, False], ids=["a vendor's unit", "no such unit"])
def test_systemd_takes_a_unit_under_such_a_mount_for_masked(tmp_path, vendors):
    mount, *_ = nodes.masks()
    unit = Path(mount["containerPath"])
    file = tmp_path / unit.relative_to("/")
    file.parent.mkdir(parents=True)
    file.write_text("[Service]\nExecStart=/bin/true\n" if vendors else "", encoding="utf-8")
    script = f"mount --bind {mount['hostPath']} {file} && systemctl --root={tmp_path} is-enabled {unit.name}"
    done = run(["unshare", "--mount", "sh", "-c", script], timeout=30, check=False)
    assert done.stdout.strip() == "masked"


@pytest.mark.parametrize(("status", "text"), [(0, "the newest lines"), (1, "no journal: Error: is not running")])
def test_a_journal_that_cannot_be_read_gives_the_reason(monkeypatch, status, text):
    def docker(*argv, **_):
        return subprocess.CompletedProcess(argv, status, "the newest lines", "Error: is not running")

    monkeypatch.setattr(nodes, "docker", docker)
    assert nodes.journal("c-worker") == text


def test_a_journal_has_times_by_which_a_page_links_to_its_lines(monkeypatch):
    asked = []
    monkeypatch.setattr(
        nodes, "docker", lambda *argv, **_: asked.append(argv) or subprocess.CompletedProcess(argv, 0, "")
    )
    nodes.journal("c-worker")
    assert {"--output=short-iso-precise", "--utc"} <= set(asked[0])


def test_state_and_journal_of_a_node_are_asked_at_once(monkeypatch, tmp_path):
    asked = []

    def docker(*argv, timeout, check):
        asked.append(argv[:2])
        return run(["env", f"PATH={tmp_path}:{os.environ['PATH']}", *argv[2:]], timeout=timeout, check=check)

    (tmp_path / "journalctl").write_text('#!/bin/sh\necho "journal: $*"\n', encoding="utf-8")
    (tmp_path / "journalctl").chmod(0o755)
    monkeypatch.setattr(nodes, "docker", docker)
    state, journal = nodes.state_and_journal("c-worker", 1_795_949_900.4, timeout=60)
    assert asked == [("exec", "c-worker")]
    assert state.lstrip().startswith("== loop devices\n")
    assert "== mounts\n" in state
    assert journal.startswith("journal: --no-pager --quiet --output=short-iso-precise --utc ")
    assert journal.endswith("--since=@1795949900 -n 2000\n")


def test_a_node_that_gives_no_journal_gives_the_reason(monkeypatch):
    def docker(*argv, **_):
        return subprocess.CompletedProcess(argv, 1, "", "Error: is not running")

    monkeypatch.setattr(nodes, "docker", docker)
    with pytest.raises(CommandFailed, match="is not running"):
        nodes.state_and_journal("c-worker", 0, timeout=1)
