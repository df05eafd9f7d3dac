"""Recipes: what each image is made of, and when it has to be made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rookery.errors import UsageError
from rookery.images import build, recipes
from rookery.images.catalogue import USERSPACE_CSI, catalogue

IMAGES_1_18_8 = [
    "docker.io/rook/ceph:v1.18.8",
    "gcr.io/k8s-staging-sig-storage/objectstorage-sidecar:v20240513-v0.1.0-35-gefb3255",
    "quay.io/ceph/ceph:v19.2.3",
    "quay.io/ceph/cosi:v0.1.2",
    "quay.io/cephcsi/ceph-csi-operator:v0.4.1",
    "quay.io/cephcsi/cephcsi:v3.15.0",
    "quay.io/csiaddons/k8s-sidecar:v0.13.0",
    "registry.k8s.io/sig-storage/csi-attacher:v4.8.1",
    "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.13.0",
    "registry.k8s.io/sig-storage/csi-provisioner:v5.2.0",
    "registry.k8s.io/sig-storage/csi-resizer:v1.13.2",
    "registry.k8s.io/sig-storage/csi-snapshotter:v8.2.1",
]
IMAGES_1_17_9 = [
    "docker.io/rook/ceph:v1.17.9",
    "gcr.io/k8s-staging-sig-storage/objectstorage-sidecar:v20240513-v0.1.0-35-gefb3255",
    "quay.io/ceph/ceph:v19.2.3",
    "quay.io/ceph/cosi:v0.1.2",
    "quay.io/cephcsi/cephcsi:v3.14.2",
    "quay.io/csiaddons/k8s-sidecar:v0.12.0",
    "registry.k8s.io/sig-storage/csi-attacher:v4.8.1",
    "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.13.0",
    "registry.k8s.io/sig-storage/csi-provisioner:v5.2.0",
    "registry.k8s.io/sig-storage/csi-resizer:v1.13.2",
    "registry.k8s.io/sig-storage/csi-snapshotter:v8.2.1",
]
IMAGES_1_20_6 = [
    "docker.io/rook/ceph:v1.20.6",
    "gcr.io/k8s-staging-sig-storage/objectstorage-sidecar:v0.2.2",
    "quay.io/ceph/ceph:v20.2.4",
    "quay.io/ceph/cosi:v0.1.4",
    "quay.io/cephcsi/ceph-csi-operator:v1.0.4",
    "quay.io/cephcsi/cephcsi:v3.17.0",
    "quay.io/csiaddons/k8s-sidecar:v0.14.0",
    "registry.k8s.io/sig-storage/csi-attacher:v4.12.0",
    "registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.17.0",
    "registry.k8s.io/sig-storage/csi-provisioner:v6.2.0",
    "registry.k8s.io/sig-storage/csi-resizer:v2.1.0",
    "registry.k8s.io/sig-storage/csi-snapshotter:v8.5.0",
]


@pytest.fixture
def own_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the recipes that a test may change."""
    folder = tmp_path / "recipes"
    # An installed copy has been compiled by pip.
    shutil.copytree(recipes.RECIPES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(recipes, "RECIPES", folder)
    recipes.all_recipes.cache_clear()
    yield folder
    recipes.all_recipes.cache_clear()


def digests() -> dict[str, str]:
    recipes.all_recipes.cache_clear()
    return {name: recipe.digest for name, recipe in recipes.all_recipes().items()}


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("cassandra:5.0.6", "docker.io/library/cassandra:5.0.6"),
        ("rook/ceph:v1.18.8", "docker.io/rook/ceph:v1.18.8"),
        ("quay.io/ceph/ceph:v18.2.7", "quay.io/ceph/ceph:v18.2.7"),
        ("localhost/rookery/golang:1", "localhost/rookery/golang:1"),
        ("kindest/node:v1.32.0", "kindest/node:v1.32.0"),
        ("mirror:5000/ceph/ceph:v1", "mirror:5000/ceph/ceph:v1"),
    ],
)
def test_references_are_spelled_out(given: str, canonical: str) -> None:
    assert recipes.canonical(given) == canonical


def test_whatever_a_recipe_needs_has_a_recipe() -> None:
    for name, recipe in recipes.all_recipes().items():
        for need in recipe.needs:
            assert recipes.find(need), f"{name} needs {need}, which nothing makes"


def test_the_node_image_carries_the_control_plane() -> None:
    node = recipes.require("kindest/node:v1.32.0")

    assert "registry.k8s.io/kube-apiserver:v1.32.0" in node.needs
    assert recipes.require("registry.k8s.io/kube-apiserver:v1.32.0").reference == "localhost/rookery/kubernetes:v1.32.0"


def test_the_recipes_of_two_ceph_releases_are_kept_apart(own_recipes: Path) -> None:
    before = digests()
    (own_recipes / "ceph-debian-sid" / "Dockerfile").open("a", encoding="utf-8").write("# changed\n")

    changed = {name for name, digest in digests().items() if digest != before[name]}

    assert changed == {"localhost/rookery/ceph:v20.2.4", "quay.io/ceph/ceph:v20.2.4"}


def test_each_cassandra_has_the_suite_and_the_options_of_its_java() -> None:
    older, newer = (recipes.require(f"cassandra:{version}") for version in ("4.1.10", "5.0.6"))

    assert "localhost/rookery/debian:sid" in older.needs
    assert "localhost/rookery/debian:sid" not in newer.needs
    for recipe in (older, newer):
        assert f"jvm{recipe.args['JAVA']}.options" in [name for name, _ in recipe.files()]
    # Cassandra does not start with a setting that it does not know, and 4.1 does not know this one.
    given = [name for name, path in older.files() if b"storage_compatibility_mode" in path.read_bytes()]
    assert given == []
    assert "storage_compatibility_mode" not in older.args["SETTINGS"]
    assert newer.args["SETTINGS"] == "storage_compatibility_mode: NONE"


@pytest.mark.parametrize(
    ("suite", "options"), [("bookworm", []), ("trixie", []), ("sid", ['--aptopt=Acquire::Check-Valid-Until "false"'])]
)
def test_an_index_that_is_past_its_date_is_taken_of_the_unstable_suite_alone(monkeypatch, tmp_path, suite, options):
    commands: list[list[str]] = []
    monkeypatch.setattr(build, "run_logged", lambda command, timeout, log: commands.append(command))
    monkeypatch.setattr(build, "docker", lambda *arguments, **options: None)

    build._debootstrap(recipes.require(f"localhost/rookery/debian:{suite}"), tmp_path, tmp_path / "log")

    [command] = commands
    assert [word for word in command if "--aptopt" in word] == options
    assert any("no-cache.conf /etc/apt" in word for word in command if "--customize-hook=copy-in" in word)
    assert command[-2:] == [suite, str(tmp_path / "root.tar")]


def test_a_change_reaches_all_that_stands_on_it_and_nothing_else(own_recipes: Path) -> None:
    before = digests()
    (own_recipes / "ceph-debian" / "Dockerfile").open("a", encoding="utf-8").write("# changed\n")

    changed = {name for name, digest in digests().items() if digest != before[name]}

    assert {"localhost/rookery/ceph:v18.2.7", "quay.io/ceph/ceph:v18.2.7", "docker.io/rook/ceph:v1.18.8"} <= changed
    assert USERSPACE_CSI in changed
    assert not changed & {"kindest/node:v1.32.0", "docker.io/library/cassandra:5.0.6", "localhost/rookery/golang:1"}


def test_an_argument_counts(own_recipes: Path) -> None:
    before = digests()
    path = own_recipes / "golang" / "recipe.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("1.26.", "1.27."), encoding="utf-8")

    assert digests()["registry.k8s.io/pause:3.10"] != before["registry.k8s.io/pause:3.10"]


def test_a_new_file_counts_under_its_name(own_recipes: Path) -> None:
    before = digests()["registry.k8s.io/pause:3.10"]
    (own_recipes / "pause" / "one").write_text("the same text", encoding="utf-8")
    one = digests()["registry.k8s.io/pause:3.10"]
    (own_recipes / "pause" / "one").rename(own_recipes / "pause" / "two")

    assert len({before, one, digests()["registry.k8s.io/pause:3.10"]}) == 3


def test_nothing_else_counts(own_recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the recipes lie, nor the age of files, nor comments in recipe.toml, nor what Python leaves."""
    for table in own_recipes.glob("*/recipe.toml"):
        table.write_text("# a comment\n" + table.read_text(encoding="utf-8"), encoding="utf-8")
    os.utime(own_recipes / "golang" / "Dockerfile", (1, 1))
    leftover = own_recipes / "golang" / "__pycache__" / "go-program.cpython-313.pyc"
    leftover.parent.mkdir()
    leftover.write_bytes(b"compiled")
    elsewhere = digests()
    monkeypatch.setattr(recipes, "RECIPES", Path(recipes.__file__).parent / "recipes")

    assert elsewhere == digests()


def test_the_drivers_code_belongs_to_its_image() -> None:
    inside = [name for name, _ in recipes.require(USERSPACE_CSI).files()]

    assert "userspace_csi/__main__.py" in inside
    assert not any("__pycache__" in name or name.endswith("recipe.toml") for name in inside)


def test_the_drivers_project_and_what_asks_them_do_not_belong_to_their_image() -> None:
    inside = [name for name, _ in recipes.require(USERSPACE_CSI).files()]

    assert [name for name in inside if not name.endswith(".py")] == ["Dockerfile"]
    assert not any("conformance" in name for name in inside)


def test_what_cannot_be_made_is_refused_with_what_can() -> None:
    with pytest.raises(UsageError, match=r"v18\.2\.7") as refused:
        recipes.require("quay.io/ceph/ceph:v99.0.0")
    assert "v99.0.0" in refused.value.message

    with pytest.raises(UsageError, match="images load"):
        recipes.require("quay.io/cephcsi/cephcsi:v3.15.0")


def test_the_catalogue_follows_rooks_own_list() -> None:
    userspace = catalogue(images_txt=IMAGES_1_18_8, ceph=None, ceph_csi=False)
    assert userspace.operator == "docker.io/rook/ceph:v1.18.8"
    assert userspace.ceph == "quay.io/ceph/ceph:v19.2.3"
    assert userspace.driver == (USERSPACE_CSI,)

    vendors = catalogue(images_txt=IMAGES_1_18_8, ceph="18.2.7", ceph_csi=True)
    assert vendors.ceph == "quay.io/ceph/ceph:v18.2.7"
    assert vendors.driver == tuple(IMAGES_1_18_8[4:])
    assert not any("cosi" in image or "objectstorage" in image for image in vendors.all)


def test_before_1_18_there_is_no_operator_of_ceph_csi() -> None:
    vendors = catalogue(images_txt=IMAGES_1_17_9, ceph=None, ceph_csi=True)

    assert vendors.operator == "docker.io/rook/ceph:v1.17.9"
    assert vendors.driver == tuple(IMAGES_1_17_9[4:])
    assert vendors.all[:2] == ("docker.io/rook/ceph:v1.17.9", "quay.io/ceph/ceph:v19.2.3")


def test_the_newest_release_has_the_same_parts() -> None:
    vendors = catalogue(images_txt=IMAGES_1_20_6, ceph=None, ceph_csi=True)

    assert vendors.operator == "docker.io/rook/ceph:v1.20.6"
    assert vendors.ceph == "quay.io/ceph/ceph:v20.2.4"
    assert vendors.driver == tuple(IMAGES_1_20_6[4:])


def test_older_lists_leave_the_registry_of_the_operator_away() -> None:
    images_txt = ["rook/ceph:v1.14.12", "quay.io/ceph/ceph:v18.2.4"]

    found = catalogue(images_txt=images_txt, ceph=None, ceph_csi=False)

    assert found.operator == "docker.io/rook/ceph:v1.14.12"


def test_every_build_of_a_go_program_shares_one_cache() -> None:
    """What one has compiled, and every module it has fetched, is there for the others."""
    modules = "--mount=type=cache,id=rookery-go-mod,target=/root/go/pkg/mod"
    compiled = "--mount=type=cache,id=rookery-go-build,target=/root/.cache/go-build"
    seen = 0
    for dockerfile in recipes.RECIPES.glob("*/Dockerfile"):
        lines = (
            line
            for line in dockerfile.read_text(encoding="utf-8").splitlines(keepends=True)
            if not line.startswith("#")
        )
        for step in "".join(lines).replace("\\\n", " ").splitlines():
            if step.startswith("RUN ") and "/usr/local/bin/go-" not in step:
                builds = "go-program " in step or "go build " in step
                seen += builds
                assert (modules in step) is (builds or "go-module " in step), f"{dockerfile.parent.name}: {step}"
                assert (compiled in step) is builds, f"{dockerfile.parent.name}: {step}"
                assert "GOMAXPROCS" not in step, f"{dockerfile.parent.name}: {step}"
    assert seen > 5
