"""Symptoms that a cluster shows: a check of Ceph's health by its code or in its words, a change that is refused."""

from types import SimpleNamespace

import pytest
from fakes import plays_kube
from rookery.kube import KubeError, symptoms
from rookery.rook.deploy import Rook
from rookery.rook.status import Health
from rookery.signatures import CLASS_IS_IMMUTABLE, OSD_IS_FULL, POOL_IS_FULL
from rookery.waiting import NotYet


def cluster(code, summary):
    check = {"severity": "HEALTH_WARN", "summary": {"message": summary}}
    health = Health.parse({"status": "HEALTH_WARN", "checks": {code: check}})
    return SimpleNamespace(health=lambda: health)


def test_a_check_is_known_by_its_code_and_a_signature_is_reported():
    full, told = cluster("POOL_FULL", "1 pool(s) full"), []
    assert Rook.has_health_check(full, "POOL_FULL").now() == "1 pool(s) full"
    with symptoms.sightings.subscribe(lambda signature, line: told.append((signature, line))):
        assert Rook.has_health_check(full, POOL_IS_FULL).now() == "1 pool(s) full"
    assert told == [(POOL_IS_FULL, "1 pool(s) full")]


@pytest.mark.parametrize("wanted", ["OSD_FULL", OSD_IS_FULL])
def test_another_check_is_none(wanted):
    with pytest.raises(NotYet, match="POOL_FULL"):
        Rook.has_health_check(cluster("POOL_FULL", "1 pool(s) full"), wanted).now()


def test_a_check_in_other_words_does_not_show_a_signature():
    with pytest.raises(NotYet):
        Rook.has_health_check(cluster("OSD_FULL", "nothing to see"), OSD_IS_FULL).now()


@plays_kube
class Kube:
    """An API that has a class, or has not, and refuses a change."""

    def __init__(self, there):
        self.there, self.tried = there, []

    def get(self, kind, name, *, namespace):
        return {"metadata": {"name": name}} if self.there else None

    def dry_run_create(self, wanted):
        self.tried.append("create")

    def dry_run_apply(self, wanted):
        self.tried.append("apply")
        raise KubeError("parameters: Forbidden: updates to parameters are forbidden.", status=422)


MANIFEST = {"kind": "StorageClass", "metadata": {"name": "block"}}


def test_what_is_there_is_tried_as_a_change_and_what_is_not_as_new():
    there, absent = Kube(there=True), Kube(there=False)
    assert "updates to parameters" in symptoms.refused_with(there, MANIFEST, CLASS_IS_IMMUTABLE).now()
    with pytest.raises(NotYet, match="would take StorageClass block"):
        symptoms.refused_with(absent, MANIFEST, CLASS_IS_IMMUTABLE).now()
    assert (there.tried, absent.tried) == (["apply"], ["create"])
