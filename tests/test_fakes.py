"""A fake that takes other arguments than what it plays is none: its tests would pass with calls nobody can make."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import plays

TESTS = Path(__file__).parent
HARNESS = TESTS.parent / "harness"

# Called like a fake of a class of ours, and none: where, what, and why.
NO_FAKES = {
    ("csi/test_csi_client.py", "FakeFilesystem"): "of Ceph's binding `cephfs`",
    ("csi/test_csi_client.py", "FakeImage"): "of Ceph's binding `rbd`",
    ("csi/test_csi_client.py", "FakeIoctx"): "of Ceph's binding `rados`",
    ("userspace_csi/fake_cephfs.py", "FakeCluster"): "of Ceph's binding `rados`",
    ("userspace_csi/fake_cephfs.py", "FakeSubvolume"): "the data of a subvolume of `FakeCluster`",
    ("fake_docker.py", "FakeDocker"): "of functions of `images` that run docker",
    ("fake_engine.py", "FakeEngine"): "of the docker command",
    ("fakes.py", "FakeNode"): "the data of a node of `FakeCeph`",
    ("rook/test_ceph_fingerprint.py", "Cluster"): "of Ceph's binding `rados`",
    ("rook/test_rook_recovery.py", "Fault"): "what happens to `FakeCeph`; nobody is given it",
    ("test_waiting.py", "Volume"): "an owner of conditions, of which nothing but these matters",
    ("userspace_csi/test_csi_controller.py", "FakeImage"): "the data of an image of `FakePool`",
    ("userspace_csi/test_csi_model.py", "Driver"): "calls the parts of the real driver; nobody is given it",
    ("workloads/test_cassandra_client.py", "Answer"): "of Cassandra's driver",
    ("workloads/test_cassandra_client.py", "Pool"): "of Cassandra's driver",
    ("workloads/test_cassandra_client.py", "Session"): "of Cassandra's driver",
}


def classes_in(folder: Path) -> Iterator[tuple[str, ast.ClassDef]]:
    """Each class with its file, those within functions too."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield file.relative_to(folder).as_posix(), node


def like_fakes(ours: set[str], folder: Path) -> dict[tuple[str, str], bool]:
    """Classes of tests that are called like fakes, and whether each says what it plays.

    What derives from a class that is not a test's is that, and stands in for nothing.
    """
    found = list(classes_in(folder))
    of_tests = {node.name for _, node in found}
    return {
        (file, node.name): any(ast.unparse(it).startswith("plays") for it in node.decorator_list)
        for file, node in found
        if (node.name in ours or node.name.startswith("Fake"))
        and all(ast.unparse(base) in of_tests for base in node.bases)
    }


def test_each_fake_names_what_it_plays_or_stands_among_those_that_are_none():
    said = like_fakes({node.name for _, node in classes_in(HARNESS)}, TESTS)
    assert {each for each, plays_something in said.items() if not plays_something} == set(NO_FAKES)


def test_a_fake_is_known_by_its_name_wherever_it_is(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "class FakeOne: ...\n"
        "class FakeTwo(FakeOne): ...\n"
        "class FakeError(Exception): ...\n"
        "class Helper: ...\n"
        "def test():\n    class Kube: ...\n    @plays_kube\n    class FakeKube: ...\n",
        encoding="utf-8",
    )
    assert like_fakes({"Kube"}, tmp_path) == {
        ("test_it.py", "FakeOne"): False,
        ("test_it.py", "FakeTwo"): False,
        ("test_it.py", "Kube"): False,
        ("test_it.py", "FakeKube"): True,
    }


class Real:
    def exec(self, pod, argv, *, timeout, namespace="default"): ...
    def logs(self, pod): ...
    @property
    def healthy(self): ...


class Other:
    def exec(self, node): ...


def test_a_fake_may_leave_away_what_has_a_default_and_have_methods_of_its_own():
    @plays(Real)
    class Fake:
        def exec(self, pod, argv, *, timeout): ...
        def logs(self, *anything): ...
        def heard(self, command): ...

    assert Fake.__name__ == "Fake"


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        ("self, name, argv, *, timeout", "exec takes no name, needs pod"),
        ("self, pod, argv", "exec needs timeout"),
        ("self, pod, argv, *, timeout, retries", "exec takes no retries"),
    ],
)
def test_a_fake_that_takes_other_arguments_is_refused(takes, told):
    namespace = {}
    exec(f"class Fake:\n    def exec({takes}): ...", namespace)
    with pytest.raises(TypeError, match=f"Fake is no Real: {told}"):
        plays(Real)(namespace["Fake"])


def test_a_method_in_place_of_an_attribute_is_refused():
    class Fake:
        def healthy(self): ...

    with pytest.raises(TypeError, match="Fake is no Real: healthy is no method"):
        plays(Real)(Fake)


def test_a_fake_of_several_has_each_method_as_one_of_them_has_it():
    @plays(Real, Other)
    class Fake:
        def exec(self, node): ...
        def logs(self, pod): ...

    class Neither:
        def exec(self, name): ...

    assert Fake.__name__ == "Fake"
    with pytest.raises(TypeError, match="Neither is no Real or Other: exec takes no name, needs pod, needs argv"):
        plays(Real, Other)(Neither)
