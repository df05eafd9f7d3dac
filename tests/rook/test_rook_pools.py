"""Pools as objects and as what Ceph has, and the figures of Ceph's commands."""

import pytest
from fakes import plays_rook_and_kube
from rookery.csi.manifests import storage_class
from rookery.errors import UsageError
from rookery.rook.pools import BlockPool, ErasureCode, Pool, Pools
from rookery.rook.usage import names_of_lspools, osds_of_status, pools_of_df, require_near, used_by_rados_df
from rookery.waiting import NotYet

GOOD = BlockPool("blocks", replicas=3)


@plays_rook_and_kube
class Rook:
    """One pool object, Ceph's list of pools, and images."""

    def __init__(self, found=None, pools=(), images=()):
        self.found, self.pools, self.images = found, list(pools), list(images)
        self.kube = self
        self.applied = []

    def get(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("CephBlockPool", "blocks", "rook-ceph")
        return self.found

    def apply(self, objects):
        self.applied += objects
        self.found = pool_object("Ready")

    def delete(self, kind, name, *, namespace):
        assert (kind, name, namespace) == ("CephBlockPool", "blocks", "rook-ceph")
        self.found = None

    def ceph(self, *args):
        assert args == ("osd", "pool", "ls")
        return self.pools

    def rbd(self, *args):
        assert args == ("ls", "blocks")
        return self.images


def pool_object(phase=None, generation=1, observed=None, conditions=()):
    status = {"conditions": list(conditions)}
    status |= {"phase": phase} if phase else {}
    status |= {"observedGeneration": observed} if observed else {}
    return {"metadata": {"name": "blocks", "generation": generation}, "status": status}


def test_the_mistake_is_both_layouts_and_nothing_else():
    bad, good = GOOD.with_both_layouts().manifest(), GOOD.manifest()

    assert bad["spec"].pop("erasureCoded") == {"dataChunks": 2, "codingChunks": 1}
    assert bad == good
    assert BlockPool("coded", erasure_code=ErasureCode(4, 2)).with_both_layouts().manifest()["spec"] == {
        "failureDomain": "host",
        "replicated": {"size": 3},
        "erasureCoded": {"dataChunks": 4, "codingChunks": 2},
    }


def test_a_pool_of_one_copy_confirms_that_it_is_meant():
    assert BlockPool("single", replicas=1).manifest()["spec"]["replicated"] == {
        "size": 1,
        "requireSafeReplicaSize": False,
    }


def test_a_pool_without_a_layout_is_bad_input():
    with pytest.raises(UsageError, match="no layout"):
        BlockPool("none")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "no CephBlockPool"),
        (pool_object(), "not seen"),
        (pool_object("Progressing"), "Progressing"),
        (pool_object("Ready", generation=2, observed=1), "before the last change"),
    ],
)
def test_a_pool_that_is_not_ready_gives_the_reason(found, why):
    with pytest.raises(NotYet, match=why):
        Pool(Rook(found), GOOD).ready.now()


@pytest.mark.parametrize("observed", [None, 2])
def test_a_pool_is_ready_as_its_latest_version_has_it(observed):
    Pool(Rook(pool_object("Ready", generation=2, observed=observed)), GOOD).ready.now()


def test_a_refused_edit_leaves_the_phase_as_it_was():
    """What Rook does, and why no scenario may rely on the phase."""
    pool = Pool(Rook(pool_object("Ready", generation=2, observed=1)), GOOD)

    assert pool.phase.now() == "Ready"


def test_a_pool_is_gone_when_neither_side_has_it():
    blocked = {"type": "DeletionIsBlocked", "status": "True", "message": "contains images"}
    with pytest.raises(NotYet, match="contains images"):
        Pool(Rook(pool_object("Deleting", conditions=[blocked])), GOOD).gone.now()
    with pytest.raises(NotYet, match="Ceph still has"):
        Pool(Rook(None, pools=["blocks", ".mgr"]), GOOD).gone.now()
    Pool(Rook(None, pools=[".mgr"]), GOOD).gone.now()


def test_an_extra_pool_is_there_while_it_lasts():
    rook = Rook()
    with Pools(rook).extra(GOOD):
        assert rook.applied == [GOOD.manifest()]
        assert rook.found
    assert rook.found is None


def test_a_pool_is_empty_without_images():
    with pytest.raises(NotYet, match="csi-vol-1"):
        Pool(Rook(images=["csi-vol-1"]), GOOD).empty.now()
    Pool(Rook(), GOOD).empty.now()


def test_a_class_may_name_a_data_pool():
    assert "dataPool" not in storage_class()["parameters"]
    coded = storage_class("coded", "metadata", data_pool="data")["parameters"]
    assert (coded["pool"], coded["dataPool"]) == ("metadata", "data")


def test_figures_of_the_commands():
    df = {"pools": [{"name": "blocks", "id": 2, "stats": {"stored": 100, "bytes_used": 300, "objects": 7}}]}
    rados = {"pools": [{"name": "blocks", "size_bytes": "300"}]}
    status = {
        "OSDs": [
            {"id": 0, "host name": "worker", "kb used": 2048, "kb available": 8192, "state": ["exists", "up"]},
            {"id": 1, "host name": "worker2", "kb used": 1024, "kb available": 9216, "state": ["exists"]},
        ]
    }

    usage = pools_of_df(df)["blocks"]
    assert (usage.stored, usage.used, usage.objects) == (100, 300, 7)
    assert used_by_rados_df(rados) == {"blocks": 300}
    assert [(osd.host, osd.used, osd.available, osd.up) for osd in osds_of_status(status)] == [
        ("worker", 2048, 8192, True),
        ("worker2", 1024, 9216, False),
    ]
    assert names_of_lspools([{"poolnum": 1, "poolname": ".mgr"}, {"poolnum": 2, "poolname": "blocks"}]) == {
        ".mgr",
        "blocks",
    }


@pytest.mark.parametrize(("found", "near"), [(90, True), (110, True), (89, False), (111, False), (0, False)])
def test_near_is_within_the_tolerance(found, near):
    if near:
        require_near("stored", found, 100, tolerance=0.1)
    else:
        with pytest.raises(NotYet, match="stored"):
            require_near("stored", found, 100, tolerance=0.1)
