"""What hangs in a node: looked at for real where a FUSE server stands still, and by what it hangs on."""

import signal
import subprocess
import sys

import pytest
from rookery.cluster import hanging
from rookery.machine.run import run
from rookery.waiting import NotYet, wait_for

POD = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-1/mount"
BLOCK = "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices/publish/pvc-2/1"
NODE = f"""= node
mount 20 1 8:1 /nodes/c-worker /var rw - ext4 /dev/sda1 rw
mount 30 20 7:70 / {POD} rw,relatime shared:5 - ext4 /dev/loop70 rw
mount 31 20 0:50 /loop71 {BLOCK} rw - devtmpfs devtmpfs rw
mount 32 20 0:51 / /dev rw - tmpfs tmpfs rw
block 7:47
"""
OWN_MOUNTS = "mount 90 1 8:1 / /etc/hosts rw - ext4 /dev/sda1 rw\nmount 91 1 7:70 / /data rw - ext4 /dev/loop70 rw\n"
BLOCKED = [
    ("comm java\nwaits folio_wait_bit\nargv java -jar c.jar \nmnt_id:\t91\n" + OWN_MOUNTS, "/data"),
    (f"comm umount\nwaits rwsem_down\nargv umount {POD} \n", POD),
    (f"comm du\nwaits \nargv du {POD}/data \n", f"{POD}"),
    ("comm mkfs.ext4\nwaits blkdev_issue\nargv mkfs.ext4 /dev/loop72 \n", "/dev/loop72"),
    ("comm mount\nwaits blkdev_get\nargv mount /dev/rbd0 /staging \n", "/dev/rbd0"),
    ("comm fio\nwaits io_schedule\nargv fio --filename=/dev/xvda \nblock 7:47\n", "device 7:47"),
    ("comm kubelet\nwaits request_wait_answer\nargv /usr/bin/kubelet \n", "a FUSE server"),
    ("comm df\nwaits fuse_simple_request\nargv df \n", "a FUSE server"),
]
ELSEWHERE = [
    "comm nfsrahead\nwaits rtnl_lock\nargv /usr/libexec/nfsrahead 7:70 \nblock 1:3\n",
    "comm java\nwaits jbd2_log_wait_commit\nargv java -jar c.jar \nmnt_id:\t90\n" + OWN_MOUNTS,  # the machine's disk
    f"comm du\nwaits \nargv du {POD}-of-another \n",
    "comm mkfs.ext4\nwaits blkdev\nargv mkfs.ext4 /dev/loop7 \n",
    "comm gone\nwaits 0\nargv \nblock 0:0\n",
]


@pytest.fixture
def looked(monkeypatch):
    """What hangs where a node shows that of one task."""

    def looked(task):
        monkeypatch.setattr(hanging, "docker_output", lambda *argv, timeout: f"{NODE}= 812\n{task}")
        (found,) = hanging.hanging(["c-worker"], ["/dev/loop70", "/dev/loop72"])
        return found

    return looked


@pytest.mark.parametrize(("task", "volume"), BLOCKED)
def test_what_hangs_on_a_volume_is_reported_with_it(looked, task, volume):
    found = looked(task)
    assert found.volume == volume
    assert str(found).startswith(f"c-worker: 812 {found.command} (")
    assert str(found).endswith(f" on {volume}")


@pytest.mark.parametrize("task", ELSEWHERE)
def test_what_hangs_on_something_else_is_reported_without_one(looked, task):
    found = looked(task)
    assert (found.volume, found.pid) == ("", "812")
    assert " on " not in str(found)


def test_a_node_in_which_nothing_hangs(monkeypatch):
    monkeypatch.setattr(hanging, "docker_output", lambda *argv, timeout: NODE)
    assert hanging.hanging(["c-worker", "c-worker2"]) == []


def test_a_reader_of_a_server_that_stands_still(fuse_file, monkeypatch):
    def docker_output(_command, _name, *argv, timeout):
        *shell, script = argv  # whose own mounts stand for those of a node's first process
        return run([*shell, script.replace("/proc/1/", "/proc/self/")], timeout=timeout).stdout

    monkeypatch.setattr(hanging, "docker_output", docker_output)
    read = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: None); file = open(sys.argv[1], 'rb', 0)"
    read += "; print('open', flush=True); input(); file.read(1)"
    with subprocess.Popen(
        [sys.executable, "-c", read, str(fuse_file.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as reader:
        try:
            assert reader.stdout.readline() == "open\n"
            fuse_file.server.send_signal(signal.SIGSTOP)
            reader.stdin.write("\n")
            reader.stdin.flush()

            def hangs():
                found = [each for each in hanging.hanging(["here"]) if each.pid == str(reader.pid)]
                if not found:
                    reader.send_signal(signal.SIGUSR1)  # a request that was interrupted once can only be killed
                    raise NotYet("it does not hang")
                return found[0]

            found = wait_for(hangs, what="the reader to hang", within=20)
            assert found.volume == str(fuse_file.path)
        finally:
            reader.kill()
            fuse_file.server.kill()
