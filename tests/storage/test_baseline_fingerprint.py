"""How two pictures of a cluster differ, and which patch makes one value the other again."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.storage.baseline.fingerprint import (
    API,
    CEPH,
    NODES,
    Difference,
    Fingerprint,
    Item,
    compare,
    counted,
    merge_patch,
    path_text,
)

SERVICE = (API, "Service", "rook-ceph/dashboard")


def picture(value, key=SERVICE, **rest):
    return Fingerprint({key: Item(value)}, **rest)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"spec": {"type": "ClusterIP"}}, {"spec": {"type": "NodePort"}}, "spec.type: 'ClusterIP' -> 'NodePort'"),
        ({"spec": {}}, {"spec": {"type": "ClusterIP"}}, "spec.type: nothing -> 'ClusterIP'"),
        ({"spec": {"type": None}}, {"spec": {}}, "spec.type: None -> nothing"),
        ({"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, "ports[0].port: 1 -> 2"),
        ({"ports": [1]}, {"ports": [1, 2]}, "ports: [1] -> [1, 2]"),
        ({"labels": {"a/b": "1"}}, {"labels": {"a/b": "2"}}, "labels[\"a/b\"]: '1' -> '2'"),
        (1, 2, "1 -> 2"),
    ],
)  # fmt: skip
def test_a_difference_is_reported_by_its_place_and_both_values(before, after, told):
    (difference,) = compare(picture(before), picture(after))
    separator = ":" if isinstance(before, int) else ""
    assert str(difference) == f"API: Service rook-ceph/dashboard{separator} {told}"


def test_what_came_and_went_is_reported_as_a_whole():
    came, gone = compare(Fingerprint(), picture(1)), compare(picture(1), Fingerprint())
    assert [str(each) for each in came + gone] == [
        "API: Service rook-ceph/dashboard was not there",
        "API: Service rook-ceph/dashboard is gone",
    ]
    assert (came[0].is_new, came[0].is_gone, gone[0].is_new, gone[0].is_gone) == (True, False, False, True)


def test_a_long_value_is_cut():
    assert len(str(Difference(API, "ConfigMap", "a", ("data",), "x" * 5000, "y" * 5000))) < 300


def test_originals_are_not_compared():
    assert compare(Fingerprint({SERVICE: Item(1, {"a": 1})}), Fingerprint({SERVICE: Item(1, {"a": 2})})) == []


def test_a_part_that_could_not_be_read_has_no_finding():
    before = picture(1) | picture(2, (CEPH, "pool", "replicapool"))
    now = picture(3, unread=frozenset({CEPH}))
    assert [each.part for each in compare(before, now)] == [API]


def test_parts_are_put_together():
    whole = picture(1, unhealthy=("a pod is not Ready",)) | picture(2, (NODES, "worker", "mounts"), unread={CEPH})
    assert set(whole.items) == {SERVICE, (NODES, "worker", "mounts")}
    assert (whole.unhealthy, whole.unread) == (("a pod is not Ready",), {CEPH})


def test_things_that_are_distinguished_by_nothing_are_counted():
    assert counted(["b", "a", "b"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("path", "text"),
    [((), ""), (("spec", "ports", 0, "port"), "spec.ports[0].port"), (("a/b", "c"), '["a/b"].c')],
)
def test_paths_are_reported_as_jq_has_them(path, text):
    assert path_text(path) == text


scalars = st.one_of(st.booleans(), st.integers(0, 3), st.text("ab", max_size=2))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c/d"]), inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(["spec", "data", "metadata"]), values, min_size=1, max_size=3)


def merged(value, patch):
    """RFC 7396, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), inner)
    return result


@given(before=objects, after=objects)
def test_the_patch_of_all_differences_makes_it_what_it_was(before, after):
    differences = compare(picture(before), picture(after))
    assert (differences == []) == (before == after)
    was = copy.deepcopy((before, after))
    again = merged(after, merge_patch(before, [each.path for each in differences]))
    assert again == before
    assert (before, after) == was


@given(value=objects)
def test_nothing_differs_from_itself(value):
    assert compare(picture(value), picture(copy.deepcopy(value))) == []


def test_a_list_is_set_back_with_what_was_left_out_when_it_was_compared():
    original = {"spec": {"ports": [{"port": 1, "uid": "left out"}], "type": "ClusterIP"}}
    patch = merge_patch(original, [("spec", "ports", 0, "port"), ("metadata", "labels", "new")])
    assert patch == {"spec": {"ports": [{"port": 1, "uid": "left out"}]}, "metadata": {"labels": {"new": None}}}
