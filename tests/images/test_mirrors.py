"""Mirrors: which registry is asked for which image, and which Ceph a run asks for because of it."""

import pytest
from rookery import cli
from rookery.cli import matrix as command
from rookery.errors import UsageError
from rookery.images.mirrors import Mirrors
from rookery.machine import network
from rookery.rook import system
from rookery.settings import Settings
from rookery.settings_check import check

CEPH, OPERATOR, NODE = "quay.io/ceph/ceph:v19.2.3", "rook/ceph:v1.18.8", "kindest/node:v1.32.0"


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        (None, (CEPH, f"docker.io/{OPERATOR}", f"docker.io/{NODE}")),
        ("m:5000", ("m:5000/ceph/ceph:v19.2.3", f"m:5000/{OPERATOR}", f"m:5000/{NODE}")),
        ("quay.io=m:5000/q", ("m:5000/q/ceph/ceph:v19.2.3", f"docker.io/{OPERATOR}", f"docker.io/{NODE}")),
        (
            "all.example,quay.io=q.example/a/b",
            ("q.example/a/b/ceph/ceph:v19.2.3", f"all.example/{OPERATOR}", f"all.example/{NODE}"),
        ),
        ("docker.io=10.0.0.1", (CEPH, f"10.0.0.1/{OPERATOR}", f"10.0.0.1/{NODE}")),
    ],
)
def test_a_mirror_has_images_under_their_own_paths(text, sources):
    mirrors = Mirrors.parse(text)
    assert tuple(mirrors.source(each) for each in (CEPH, OPERATOR, NODE)) == sources


def test_nobody_mirrors_the_harness_own_images():
    assert Mirrors.parse("m:5000").of("localhost/rookery/fio:1") == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("quay=m:5000", "'quay' is no registry"),
        ("https://quay.io=m:5000", "'https://quay.io' is no registry"),
        ("quay.io=", "not the host of a registry"),
        ("=m:5000", "'' is no registry"),
        ("quay.io=https://m", "not the host of a registry"),
        ("m:5000,", "not the host of a registry"),
        ("m:5000,n:5000", "all registries had m:5000 already"),
        ("quay.io=m,docker.io=m,quay.io=n", "quay.io had m already"),
    ],
)
def test_what_is_no_mirror_is_refused(text, told):
    with pytest.raises(UsageError, match=told) as caught:
        check(Settings(registry_mirror=text), only=["registry_mirror"])
    assert caught.value.message.startswith("--registry-mirror ")
    assert caught.value.hint


def test_the_option_may_be_given_several_times(pytester):
    """By pytest, and by the command, whose inner ones have it as well; elsewhere they stand with commas in between."""
    given = ["--registry-mirror=m:5000", "--registry-mirror", "quay.io=q:5000"]
    pytester.makeconftest(
        "from rookery.plugin.options import settings_of\n"
        "def pytest_report_header(config):\n    return f'mirrors: {settings_of(config).registry_mirror}'\n"
    )
    pytester.runpytest_inprocess(*given).stdout.fnmatch_lines(["mirrors: m:5000,quay.io=q:5000"])
    for words in (["images", *given], ["images", "ensure", *given]):
        assert cli.parser().parse_args(words).registry_mirror == "m:5000,quay.io=q:5000"


def test_settings_have_them_from_anywhere(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.rookery]\nregistry-mirror = "m:5000,quay.io=q:5000"\n', encoding="utf-8"
    )
    environment = {"ROOKERY_REGISTRY_MIRROR": "quay.io=e:5000"}
    found = [
        Settings.from_sources({}, environment=given, pyproject=tmp_path / "pyproject.toml").registry_mirror
        for given in ({}, environment)
    ]
    assert found == ["m:5000,quay.io=q:5000", "quay.io=e:5000"]


@pytest.fixture
def no_registry(monkeypatch):
    """No registry is reached, no archive is cached, and Rook names a Ceph of its own."""
    monkeypatch.setattr(system, "rook_examples", lambda settings: None)
    monkeypatch.setattr(system.manifests, "images_txt", lambda folder: [OPERATOR, CEPH])
    monkeypatch.setattr(system, "chosen_driver", lambda settings: "userspace")
    monkeypatch.setattr(system.resolve, "is_cached", lambda reference: False)
    monkeypatch.setattr(system, "reachable_registries", set)


@pytest.mark.parametrize(
    ("mirror", "ceph"),
    [("m:5000", "v19.2.3"), ("quay.io=m:5000", "v19.2.3"), ("docker.io=m:5000", "v18.2.7"), (None, "v18.2.7")],
)
def test_a_mirror_of_ceph_is_asked_for_the_ceph_that_rook_names(no_registry, mirror, ceph):
    """Whether it has that one is not asked here: it is told once it is pulled, and no other is taken in its place."""
    assert system.needed_images(Settings(registry_mirror=mirror)).ceph == f"quay.io/ceph/ceph:{ceph}"


@pytest.mark.parametrize(("rook", "ceph"), [("1.17.8", "18.2.7"), ("1.18.8", "18.2.7"), ("1.19.10", "20.2.4")])
def test_where_only_recipes_serve_ceph_is_the_oldest_that_fits(no_registry, monkeypatch, rook, ceph):
    """A recipe for a newer one changes nothing of what a run without options tests."""
    monkeypatch.setattr(system.recipes, "versions_of", lambda image: ["v20.2.4", "v18.2.7", "v20.2.10"])
    assert system.needed_images(Settings(rook=rook)).ceph == f"quay.io/ceph/ceph:v{ceph}"


@pytest.mark.parametrize(
    ("mirror", "reached", "has"),
    [
        ("", set(), False),
        ("m:5000", set(), True),
        ("quay.io=m:5000", set(), False),
        ("quay.io=m:5000", {"docker.io", "registry.k8s.io"}, True),
        ("", {"quay.io", "docker.io", "registry.k8s.io"}, True),
    ],
)
def test_a_cell_that_needs_registries_runs_where_mirrors_serve(monkeypatch, tmp_path, mirror, reached, has):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOKERY_REGISTRY_MIRROR", mirror)
    monkeypatch.setattr(network, "reachable_registries", lambda: reached)
    assert command.machine_has()["registries"] is has
