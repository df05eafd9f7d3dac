"""Which images a run makes or pulls: those of the scenarios that were selected, by their fixtures."""

import pytest
from rookery.catalogue import markers
from rookery.catalogue.images import images_used_by, uses_images
from rookery.images import recipes
from rookery.images.catalogue import DEBIAN
from rookery.local.system import LocalVolumes
from rookery.rook.system import RookSystem
from rookery.settings import Settings

CONFTEST = """
import pytest
from rookery.catalogue.images import uses_images

@pytest.fixture
@uses_images("postgres:15")
def database():
    yield

@pytest.fixture
def loaded(database): pass

@pytest.fixture(scope="session")
@uses_images("controller:1", "speaker:1")
def load_balancer(): pass
"""

FILE = """
import pytest
from rookery.catalogue.images import uses_images

def test_of_nothing(): pass
def test_directly(database): pass
def test_by_another_fixture(loaded): pass
def test_both(loaded, load_balancer): pass

@pytest.mark.usefixtures("load_balancer")
def test_by_a_marker(): pass

@uses_images("own:1")
@pytest.mark.parametrize("number", [1, 2])
def test_of_its_own(number): pass

class TestOverridden:
    @pytest.fixture
    @uses_images("postgres:16")
    def database(self, database): pass

    def test_of_two(self, database): pass
"""


@pytest.mark.parametrize(
    ("test", "images"),
    [
        ("test_of_nothing", set()),
        ("test_directly", {"postgres:15"}),
        ("test_by_another_fixture", {"postgres:15"}),
        ("test_both", {"postgres:15", "controller:1", "speaker:1"}),
        ("test_by_a_marker", {"controller:1", "speaker:1"}),
        ("test_of_its_own[2]", {"own:1"}),
        ("test_of_two", {"postgres:15", "postgres:16"}),
    ],
)
def test_a_scenario_asks_for_what_its_fixtures_name(pytester, test, images):
    pytester.makeconftest(CONFTEST)
    items = pytester.getitems(FILE)
    assert images_used_by(item for item in items if item.name == test) == images


def test_scenarios_together_ask_for_all_of_it(pytester):
    pytester.makeconftest(CONFTEST)
    items = pytester.getitems(FILE)
    assert images_used_by(items) == {"postgres:15", "postgres:16", "controller:1", "speaker:1", "own:1"}
    assert images_used_by([]) == frozenset()


@pytest.mark.parametrize(("of_pods", "images"), [("debian:1", {"debian:1"}), ("", set())])
def test_pods_run_in_what_the_storage_system_has_them_in(pytester, of_pods, images):
    for item in pytester.getitems("def test_files(cluster_files): pass\ndef test_volumes(cluster_volumes): pass"):
        assert images_used_by([item], of_pods=lambda: of_pods) == images


def test_who_asks_for_no_pods_asks_for_no_image_of_theirs(pytester):
    (item,) = pytester.getitems("def test_it(cluster): pass")
    assert images_used_by([item], of_pods=lambda: "debian:1") == frozenset()


def test_local_volumes_are_used_from_an_image_of_their_own_and_rooks_from_one_that_is_there():
    assert LocalVolumes.pods_run == LocalVolumes(Settings(storage="local")).pod_image == DEBIAN
    assert recipes.find(DEBIAN) is not None
    assert RookSystem.pods_run == ""


def test_what_is_named_is_called_as_before():
    @uses_images("postgres:15")
    def function(number):
        return number + 1

    assert function(1) == 2


def test_the_operators_that_a_marker_names_are_among_them(pytester):
    older, usual = pytester.getitems(
        """
        import pytest
        @pytest.mark.rook("1.17.8", upgrade="1.18.8")
        def test_older(): pass
        def test_usual(): pass
        """
    )
    assert markers.operators(older) == {"docker.io/rook/ceph:v1.17.8", "docker.io/rook/ceph:v1.18.8"}
    assert markers.operators(usual) == frozenset()
