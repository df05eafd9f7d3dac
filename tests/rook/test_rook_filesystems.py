"""Filesystems as objects and as what Ceph has."""

import pytest
from fakes import plays_rook_and_kube
from rookery.errors import UsageError
from rookery.rook.filesystems import Filesystem, Filesystems, FilesystemStatus, Mds, Mounted
from rookery.rook.status import Health, Pg
from rookery.waiting import NotYet

FILESYSTEM = Filesystem()
HEALTHY = {"status": "HEALTH_OK", "checks": {}}


def mds_info(name="myfs-a", state="up:active", rank=0, **more):
    return {"gid": 4123, "name": name, "rank": rank, "state": state, **more}


def health(*checks, muted=False):
    found = {code: {"severity": "HEALTH_WARN", "summary": {"message": "so"}, "muted": muted} for code in checks}
    return {"status": "HEALTH_WARN" if checks else "HEALTH_OK", "checks": found}


@plays_rook_and_kube
class Rook:
    """One CephFilesystem, its pods, and what Ceph answers to each question."""

    def __init__(self, found=None, pods=(), **answers):
        self.found, self.pods = found, list(pods)
        self.answers = {name.replace("_", " "): answer for name, answer in answers.items()}
        self.kube = self
        self.applied, self.asked = [], []

    def get(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("CephFilesystem", "myfs", "rook-ceph")
        return self.found

    def list(self, kind, *, namespace, labels):
        assert (kind, labels) == ("Pod", "app=rook-ceph-mds,rook_file_system=myfs")
        return self.pods

    def apply(self, objects):
        self.applied += objects
        self.found = {"status": {"phase": "Ready"}}

    def delete(self, kind, name, *, namespace):
        assert (kind, name) == ("CephFilesystem", "myfs")
        self.found = None

    def ceph(self, *args):
        self.asked.append(args)
        return next(answer for question, answer in self.answers.items() if " ".join(args).startswith(question))

    def health(self):
        return Health.parse(self.answers.get("health", HEALTHY))

    def pgs(self):
        return (Pg("1.0", self.answers.get("pgs", "active+clean"), 1),)


def served(info, **answers):
    return Rook(fs_get={"mdsmap": {"info": {"gid_1": info} if info else {}}}, **answers)


def test_a_filesystem_brings_its_pools_under_rooks_names():
    spec = FILESYSTEM.manifest()["spec"]
    assert spec["dataPools"][0]["name"] == "replicated"
    assert spec["metadataPool"]["replicated"] == {"size": 3}
    assert spec["preserveFilesystemOnDelete"] is False
    assert FILESYSTEM.pools == ("myfs-metadata", "myfs-replicated")


def test_one_copy_has_to_be_meant():
    spec = Filesystem(replicas=1).manifest()["spec"]
    assert spec["metadataPool"]["replicated"] == {"size": 1, "requireSafeReplicaSize": False}
    with pytest.raises(UsageError):
        Filesystem(replicas=0)


def test_it_is_ready_by_its_own_word():
    for found, why in ((None, "no CephFilesystem"), ({}, "not seen"), ({"status": {"phase": "Progressing"}}, "Progr")):
        with pytest.raises(NotYet, match=why):
            Filesystems(Rook(found)).ready(FILESYSTEM).now()
    Filesystems(Rook({"status": {"phase": "Ready"}})).ready(FILESYSTEM).now()


@pytest.mark.parametrize(
    ("rook", "why"),
    [
        (served(None), "no active MDS: none"),
        (served(mds_info(state="up:replay")), "myfs-a up:replay"),
        (served(mds_info(laggy_since="2026-01-01T00:00:00")), r"up:active \(laggy\)"),
        (served(mds_info(), health=health("MDS_CACHE_OVERSIZED")), "MDS_CACHE_OVERSIZED: so"),
        (served(mds_info(), pgs="creating+peering"), "creating"),
    ],
)
def test_why_it_is_not_served(rook, why):
    with pytest.raises(NotYet, match=why):
        Filesystems(rook).served(FILESYSTEM).now()


def test_it_is_served_whatever_else_is_in_the_health():
    found = Filesystems(served(mds_info(), health=health("OSD_DOWN"))).served(FILESYSTEM).now()
    assert found == FilesystemStatus((Mds("myfs-a", 0, "up:active", False),), ())
    Filesystems(served(mds_info(), health=health("MDS_SLOW_REQUEST", muted=True))).served(FILESYSTEM).now()


def test_subvolumes_of_a_group_that_nobody_has_made():
    rook = Rook(fs_subvolumegroup_ls=[{"name": "other"}])
    assert Filesystems(rook).subvolumes(FILESYSTEM) == []
    Filesystems(rook).empty(FILESYSTEM).now()
    rook = Rook(fs_subvolumegroup_ls=[{"name": "csi"}], fs_subvolume_ls=[{"name": "b"}, {"name": "a"}])
    assert Filesystems(rook).subvolumes(FILESYSTEM) == ["a", "b"]
    with pytest.raises(NotYet, match="a, b"):
        Filesystems(rook).empty(FILESYSTEM).now()


def test_who_has_mounted_it():
    """An entry as Ceph 18 prints it; the mgr's own sessions have no mount point."""
    entity = {"name": {"type": "client", "num": 4305}, "addr": {"type": "v1", "addr": "172.18.0.3:0", "nonce": 2893847}}
    client = {"entity_id": "csi-cephfs-node", "hostname": "worker", "mount_point": "/staging", "root": "/volumes/csi/v"}
    sessions = [
        {"id": 4305, "entity": entity, "state": "open", "client_metadata": client},
        {"id": 4100, "entity": entity, "state": "open", "client_metadata": {"root": "/"}},
    ]
    filesystems = Filesystems(Rook(tell_mds=sessions))
    mounted = Mounted(4305, "172.18.0.3:0/2893847", "open", "/volumes/csi/v", "/staging", "worker")
    assert filesystems.mounted(FILESYSTEM).now() == filesystems.mounted(FILESYSTEM, "/volumes/csi/v").now() == [mounted]
    assert filesystems.mounted(FILESYSTEM, "/").now() == []


@pytest.mark.parametrize(
    ("rook", "why"),
    [
        (Rook({"status": {"conditions": [{"status": "True", "message": "filesystem contains volumes"}]}}), "contains"),
        (Rook(pods=[{"metadata": {"name": "mds-a"}}]), "mds-a"),
        (Rook(fs_ls=[{"name": "myfs"}]), "Ceph still has myfs"),
        (Rook(fs_ls=[], osd_pool_ls=[".mgr", "myfs-metadata"]), "pools myfs-metadata"),
    ],
)
def test_what_keeps_it_from_being_gone(rook, why):
    with pytest.raises(NotYet, match=why):
        Filesystems(rook).gone(FILESYSTEM).now()


def test_it_is_made_and_removed():
    rook = served(mds_info(), fs_ls=[], osd_pool_ls=[".mgr"])
    filesystems = Filesystems(rook)
    filesystems.make(FILESYSTEM)
    assert rook.applied == [FILESYSTEM.manifest()]
    filesystems.remove(FILESYSTEM)
    assert rook.found is None
