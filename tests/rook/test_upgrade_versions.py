"""Which versions Rook and Ceph are upgraded to, and which are refused before anything is touched."""

import pytest
from rookery.errors import UsageError
from rookery.rook.versions import must_permit_aes, require_ceph_upgrade, require_upgrade

THERE = {"ceph": "18.2.7", "kubernetes": "1.32.0"}


@pytest.mark.parametrize(("rook", "to"), [("1.17.8", "1.18.8"), ("1.18.0", "1.18.8"), ("v1.17.8", "v1.17.9")])
def test_rook_is_upgraded_to_a_later_patch_and_to_the_next_minor(rook, to):
    require_upgrade(rook, to=to, **THERE)


@pytest.mark.parametrize(
    ("rook", "to", "there", "why", "hint"),
    [
        ("1.17.8", "1.17.8", {}, "the version that it is", "after 1.17.8"),
        ("1.18.8", "1.17.8", {}, "an older one", "after 1.18.8"),
        ("1.16.9", "1.18.8", {}, "skips a minor", "to 1.17.9 first"),
        ("1.18.8", "1.19.10", {}, "takes Ceph 19.2, 20.2, and 18.2.7 is there", "Ceph first"),
        ("1.17.8", "1.18.8", {"kubernetes": "1.28.0"}, "does not fit Rook 1.18.8", "1.34"),
        ("1.17.8", "1.99.0", {}, "unknown version", "known are"),
        ("1.17.8", "nonsense", {}, "not a Rook version", "1.18.8"),
    ],
)
def test_rook_is_upgraded_to_no_other_version(rook, to, there, why, hint):
    with pytest.raises(UsageError, match=why) as caught:
        require_upgrade(rook, to=to, **{**THERE, **there})
    assert hint in caught.value.hint


def test_an_image_of_ones_own_may_be_of_any_kubernetes():
    require_upgrade("1.17.8", to="1.18.8", ceph="18.2.7", kubernetes="1.28.0", any_kubernetes=True)


@pytest.mark.parametrize(("ceph", "to"), [("18.2.7", "20.2.4"), ("18.2.7", "18.2.8"), ("19.2.3-20250717", "19.2.4")])
def test_ceph_is_upgraded_by_two_releases_at_most(ceph, to):
    require_ceph_upgrade(ceph, to=to, rook="1.18.8")


@pytest.mark.parametrize(
    ("ceph", "to", "why", "hint"),
    [
        ("18.2.7", "18.2.7", "the version that it is", "after 18.2.7"),
        ("18.2.10", "18.2.9", "an older one", "after 18.2.10"),
        ("17.2.8", "20.2.4", "more than two releases later", "to 19.2 first"),
        ("18.2.7", "19.1.0", "Rook 1.18.8 takes 18.2, 19.2, 20.2", "Rook first"),
        ("18.2.7", "new", "no version", "18.2.7"),
    ],
)
def test_ceph_is_upgraded_to_no_other_version(ceph, to, why, hint):
    with pytest.raises(UsageError, match=why) as caught:
        require_ceph_upgrade(ceph, to=to, rook="1.18.8")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("rook", "ceph"),
    [
        *[("1.18.8", ceph) for ceph in ("18.2.7", "19.2.5", "19.2.5-20260101", "20.2.3")],
        *[(rook, ceph) for rook in ("1.19.9", "1.20.5") for ceph in ("19.2.6", "20.2.4", "20.2.10")],
    ],
)
def test_a_rook_that_makes_the_keys_of_its_ceph_has_nothing_to_permit(rook, ceph):
    assert not must_permit_aes(rook, ceph=ceph)


@pytest.mark.parametrize("rook", ["1.18.8", "1.19.8", "1.20.0", "1.20.4"])
@pytest.mark.parametrize("ceph", ["19.2.6", "20.2.4", "20.2.10"])
def test_mons_that_take_other_keys_than_rook_makes_are_to_permit_them(rook, ceph):
    assert must_permit_aes(rook, ceph=ceph)
    require_ceph_upgrade("19.2.3", to=ceph, rook=rook)


def test_a_tag_of_somebodys_own_is_left_alone():
    assert not must_permit_aes("1.18.8", ceph="main")
