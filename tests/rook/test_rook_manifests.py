"""The manifests of real Rook releases, and what is made of them."""

import configparser
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.errors import InfrastructureError, UsageError
from rookery.rook import manifests
from rookery.rook.ceph_cluster import CephSpec, block_pool, ceph_cluster, config_override
from rookery.rook.versions import RELEASES, Flavour, Version, known_versions, release_of
from rookery.storage.own_disks import require_own_disks

VERSIONS = ["1.17.9", "1.18.8", "1.19.4", "1.20.6"]
SPEC = CephSpec(
    image="quay.io/ceph/ceph:v18.2.7",
    disks={f"worker{n}": [f"/dev/loop{n}"] for n in range(3)},
    built=True,
)


@pytest.fixture(scope="module", params=VERSIONS)
def release(request):
    """(version, folder of its real manifests), from the cache, the Go module or the release archive."""
    try:
        return request.param, manifests.manifests_for(request.param)
    except InfrastructureError as error:
        pytest.skip(f"the manifests of Rook {request.param} cannot be had here: {error}")


@pytest.fixture(scope="module")
def crds(release):
    return manifests.load(release[1], ["crds.yaml"])


def applied(release, **options) -> list[dict]:
    stages = manifests.operator_stages(release[1], release_of(release[0]).flavour, **options)
    return [each for stage in stages for each in stage.objects]


def names(objects, kind) -> set[str]:
    return {each["metadata"]["name"] for each in objects if each["kind"] == kind}


def api_groups(objects) -> set[str]:
    return {each["apiVersion"].rpartition("/")[0] for each in objects}


def unknown_fields(value, schema, path="") -> Iterator[str]:
    """Fields the API server would prune, because the CRD's schema does not have them."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[]")
    elif isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if known is None:
                yield f"{path}.{key}"
            elif known is not True:
                yield from unknown_fields(inner, known, f"{path}.{key}")


def test_images_txt_names_the_operator_that_operator_yaml_runs(release):
    version, directory = release
    images = manifests.images_txt(directory)
    assert images[0] == manifests.operator_image(directory)
    assert images[0].endswith(f"rook/ceph:v{version}")
    assert any(image.startswith("quay.io/ceph/ceph:v") for image in images)


def test_flavour_in_the_table_is_what_the_manifests_show(release):
    version, directory = release
    operator = manifests.load(directory, ["operator.yaml"])
    setting = manifests._only(operator, "ConfigMap", manifests.OPERATOR_CONFIG)["data"].get("ROOK_USE_CSI_OPERATOR")
    holds_csi_objects = manifests.CSI_GROUP in api_groups(operator)
    by_setting = {
        "false": Flavour.CSI_IN_OPERATOR,
        "true": Flavour.CSI_OPERATOR_BY_SETTING,
        None: Flavour.CSI_OPERATOR_ALWAYS,
    }
    assert release_of(version).flavour is by_setting[setting]
    assert holds_csi_objects == (setting is None)


def test_without_ceph_csi_nothing_deploys_it(release):
    objects = applied(release, ceph_csi=False)
    config = manifests._only(objects, "ConfigMap", manifests.OPERATOR_CONFIG)["data"]
    assert config["ROOK_CEPH_ALLOW_LOOP_DEVICES"] == "true"
    assert config.get("ROOK_CSI_ENABLE_RBD", "false") == "false"
    assert config.get("ROOK_USE_CSI_OPERATOR", "false") == "false"
    assert names(objects, "Deployment") == {"rook-ceph-operator"}
    assert manifests.CSI_GROUP not in api_groups(objects)


def test_the_operator_finds_the_csi_kinds_it_always_writes(release):
    """Rook 1.20 makes a CephConnection for each cluster before its mons are done, whoever serves the volumes."""
    served = names(applied(release, ceph_csi=False), "CustomResourceDefinition")
    always = release_of(release[0]).flavour is Flavour.CSI_OPERATOR_ALWAYS
    assert ({"cephconnections.csi.ceph.io", "clientprofiles.csi.ceph.io"} <= served) == always


def test_with_ceph_csi_kinds_are_established_before_objects_of_them(release):
    stages = manifests.operator_stages(release[1], release_of(release[0]).flavour, ceph_csi=True)
    established: set[str] = set()
    for stage in stages:
        used = {each["kind"].lower() + "s" for each in stage.objects if each["apiVersion"].startswith("csi.ceph.io/")}
        assert used <= {name.partition(".")[0] for name in established}
        established |= set(stage.establish)
    config = manifests._only(
        [each for stage in stages for each in stage.objects], "ConfigMap", manifests.OPERATOR_CONFIG
    )["data"]
    assert config.get("ROOK_CSI_ENABLE_RBD", "true") == "true"


def test_settings_and_image_reach_the_operator_and_the_source_stays_as_it_was(release):
    objects = applied(release, ceph_csi=False, settings={"ROOK_LOG_LEVEL": "DEBUG"}, image="localhost/rook/ceph:mine")
    assert manifests._only(objects, "ConfigMap", manifests.OPERATOR_CONFIG)["data"]["ROOK_LOG_LEVEL"] == "DEBUG"
    deployment = manifests._only(objects, "Deployment", manifests.OPERATOR)
    assert [each["image"] for each in deployment["spec"]["template"]["spec"]["containers"]] == [
        "localhost/rook/ceph:mine"
    ]
    assert manifests.operator_image(release[1]).endswith(f":v{release[0]}")


def test_toolbox_runs_the_image_of_the_cluster(release):
    (deployment,) = manifests.toolbox(release[1], SPEC.image)
    pod = deployment["spec"]["template"]
    assert [each["image"] for each in pod["spec"]["containers"]] == [SPEC.image]
    assert pod["metadata"]["labels"]["app"] == "rook-ceph-tools"


def test_cluster_and_pool_hold_only_fields_this_version_knows(release, crds):
    csi_key_type = manifests.crd_has_field(crds, "CephCluster", "spec.security.cephx.csi.keyType")
    cluster = ceph_cluster(SPEC, csi_key_type=csi_key_type)
    for each in (cluster, block_pool(SPEC)):
        schema = manifests.crd_schema(crds, each["kind"])
        assert list(unknown_fields({"spec": each["spec"]}, schema)) == []
    assert csi_key_type == (release[0] == "1.20.6")


def test_fields_are_found_through_lists_and_not_invented(crds):
    assert manifests.crd_has_field(crds, "CephCluster", "spec.storage.nodes.devices.name")
    assert not manifests.crd_has_field(crds, "CephCluster", "spec.storage.nodes.devices.nosuch")


def test_devices_are_named_one_by_one():
    storage = ceph_cluster(SPEC)["spec"]["storage"]
    assert (storage["useAllNodes"], storage["useAllDevices"]) == (False, False)
    assert {node["name"]: [device["name"] for device in node["devices"]] for node in storage["nodes"]} == SPEC.disks
    require_own_disks(ceph_cluster(SPEC), [device for devices in SPEC.disks.values() for device in devices])


def test_the_test_cluster_of_rook_itself_is_refused(release):
    with pytest.raises(UsageError, match="useAllDevices"):
        require_own_disks(manifests.load(release[1], ["cluster-test.yaml"]), ["/dev/loop64"])


def test_only_a_built_image_is_reported_where_its_object_classes_are():
    vendor = CephSpec(image=SPEC.image, disks=SPEC.disks)
    assert "osd_class_dir" in ceph_cluster(SPEC)["spec"]["cephConfig"]["osd"]
    assert "osd_class_dir" not in ceph_cluster(vendor)["spec"]["cephConfig"]["osd"]


def test_mons_get_in_their_first_ceph_conf_which_keys_to_take_and_only_where_they_must():
    assert config_override(SPEC) == []
    (found,) = config_override(replace(SPEC, permit_aes=True))
    assert (found["kind"], found["metadata"]) == (
        "ConfigMap",
        {"name": "rook-config-override", "namespace": "rook-ceph"},
    )
    parser = configparser.ConfigParser()
    parser.read_string(found["data"]["config"])
    assert dict(parser["mon"]) == {
        "mon_auth_emergency_allowed_ciphers": "aes, aes256k",
        "mon_auth_allow_insecure_key": "true",
    }


def test_mons_share_a_node_only_if_they_must():
    assert ceph_cluster(SPEC)["spec"]["mon"] == {"count": 3, "allowMultiplePerNode": False}
    one_node = CephSpec(image=SPEC.image, disks={"worker": ["/dev/loop0"]}, pool_size=1)
    assert ceph_cluster(one_node)["spec"]["mon"]["allowMultiplePerNode"] is True
    assert block_pool(one_node)["spec"]["replicated"] == {"size": 1, "requireSafeReplicaSize": False}


@pytest.mark.parametrize(
    "wrong",
    [
        {"disks": {}},
        {"disks": {"a": ["/dev/loop0"], "b": ["/dev/loop0"], "c": ["/dev/loop1"]}},
        {"mons": 2},
        {"pool_size": 4},
    ],
)
def test_clusters_that_cannot_work_are_refused(wrong):
    with pytest.raises(UsageError):
        CephSpec(**{"image": SPEC.image, "disks": SPEC.disks, **wrong})


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "v"]))
def test_versions_parse_as_they_print_and_order_by_number(major, minor, patch, prefix):
    version = Version(major, minor, patch)
    assert Version.parse(f"{prefix}{version}") == version
    assert Version(major, minor, patch + 1) > version


@pytest.mark.parametrize("version", ["1.2.3", "1.18", "latest", "1.99.0", "1.18.8-rc.1", ""])
def test_unknown_versions_are_refused_with_the_known_ones(version):
    with pytest.raises(UsageError) as refusal:
        manifests.manifests_for(version)
    assert known_versions() in str(refusal.value)


def test_a_patch_that_came_after_the_table_is_taken():
    last = RELEASES["1.20"].last_patch
    assert release_of(f"1.20.{last.patch + 1}").last_patch == last


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No `go` and no network; what is fetched is cached below `tmp_path`."""

    def unreachable(_version, _dest):
        raise InfrastructureError("nothing answers", hint="h")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(manifests, "from_go_module", lambda _version, _dest: False)
    monkeypatch.setattr(manifests, "from_release_archive", unreachable)


def write_examples(dest) -> bool:
    dest.mkdir(parents=True)
    for name in manifests.REQUIRED:
        (dest / name).write_text("", encoding="utf-8")
    return True


def test_hooks_are_asked_in_order_and_their_answer_is_cached(offline, tmp_path):
    asked = []

    def closed(version, dest):
        asked.append(("closed", version))
        (dest / "half").mkdir(parents=True)  # a hook that gave up half-way must not spoil the next one
        return False

    def opened(version, dest):
        asked.append(("opened", version))
        return write_examples(dest)

    first = manifests.manifests_for("v1.18.8", fetch=[closed, opened])
    again = manifests.manifests_for("1.18.8", fetch=[closed, opened])
    assert asked == [("closed", "1.18.8"), ("opened", "1.18.8")]
    assert first == again == tmp_path / "cache" / "rookery" / "rook" / "1.18.8"
    assert sorted(path.name for path in first.parent.iterdir()) == ["1.18.8"]


def test_what_another_process_has_fetched_meanwhile_stays(offline):
    read = []

    def opened(version, dest):
        if not read:
            read.append(None)
            others = manifests.manifests_for(version, fetch=[opened])
            read[0] = (others, others.stat().st_ino)
        return write_examples(dest)

    found = manifests.manifests_for("1.18.8", fetch=[opened])
    assert read == [(found, found.stat().st_ino)]
    assert sorted(path.name for path in found.parent.iterdir()) == ["1.18.8"]


def test_no_source_at_all_names_the_option_that_helps(offline):
    with pytest.raises(InfrastructureError, match="--rook-manifests") as failure:
        manifests.manifests_for("1.18.8")
    assert "nothing answers" in str(failure.value)


def test_a_version_nobody_has_is_bad_input(offline, monkeypatch):
    def no_such_tag(_version, _dest):
        raise manifests.NoSuchRelease("404")

    monkeypatch.setattr(manifests, "from_release_archive", no_such_tag)
    with pytest.raises(UsageError, match=r"no Rook 1\.18\.99"):
        manifests.manifests_for("1.18.99")


def test_a_given_folder_is_used_as_it_is_or_refused(offline, tmp_path):
    checkout = tmp_path / "rook"
    write_examples(checkout / "deploy" / "examples")
    assert manifests.manifests_for("1.19.4", checkout) == checkout / "deploy" / "examples"
    with pytest.raises(UsageError, match="does not hold"):
        manifests.manifests_for("1.19.4", tmp_path / "nosuch")


def test_only_the_examples_are_taken_out_of_an_archive(tmp_path):
    archive, dest = tmp_path / "rook.tar.gz", tmp_path / "dest"
    with tarfile.open(archive, "w:gz") as tar:
        for name in (
            "rook-1.18.8/deploy/examples/operator.yaml",
            "rook-1.18.8/deploy/examples/csi/rbd/storageclass.yaml",
            "rook-1.18.8/deploy/examples/toolbox.sh",
            "rook-1.18.8/deploy/examples/../../../evil.yaml",
            "rook-1.18.8/go.mod",
        ):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    manifests._extract_examples(archive, dest)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["dest/csi/rbd/storageclass.yaml", "dest/operator.yaml", "rook.tar.gz"]
