"""How long builds take, by how long they took: which comes first, and how much is left."""

import pytest
from rookery.images import durations, recipes
from rookery.paths import cache_dir

KUBERNETES = recipes.require("localhost/rookery/kubernetes:v1.32.0")
FIO = recipes.require("localhost/rookery/fio:1")


def test_what_was_built_here_takes_as_long_as_last_time_and_anything_else_as_elsewhere():
    assert durations.recorded() == {}
    durations.record(KUBERNETES, 200.04)
    durations.record(KUBERNETES, 210.0)
    recorded = durations.recorded()
    assert recorded == {"kubernetes": 210.0}
    assert durations.expected(KUBERNETES, recorded) == 210.0
    assert durations.expected(KUBERNETES, {}) == durations.MEASURED["kubernetes"]
    assert durations.expected(FIO, recorded) == durations.OTHERS
    assert [path.name for path in cache_dir().iterdir()] == ["builds.json"]


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"fio": "long"}', '{"fio": null}'])
def test_a_torn_record_is_none_and_is_written_anew(torn):
    cache_dir().mkdir(parents=True)
    (cache_dir() / "builds.json").write_text(torn, encoding="utf-8")
    assert durations.recorded() == {}
    durations.record(FIO, 12)
    assert durations.recorded() == {"fio": 12}


def test_every_recipe_whose_time_was_measured_is_there():
    assert set(durations.MEASURED) <= {recipe.name for recipe in recipes.all_recipes().values()}


NEEDS = {"debian": [], "go": ["debian"], "kubernetes": ["go"], "node": ["kubernetes", "debian"], "fio": ["debian"]}
SECONDS = {"debian": 10.0, "go": 20.0, "kubernetes": 300.0, "node": 60.0, "fio": 30.0}


def test_a_path_goes_to_the_end_of_the_longest_chain_that_stands_on_a_build():
    assert durations.longest_path(NEEDS, SECONDS) == {
        "debian": 390.0,
        "go": 380.0,
        "kubernetes": 360.0,
        "node": 60.0,
        "fio": 30.0,
    }


@pytest.mark.parametrize(
    ("running", "done", "side_by_side", "left"),
    [
        ({}, [], 2, 390.0),  # fio is built beside
        ({}, [], 1, 420.0),
        ({"debian": 4.0}, [], 2, 386.0),
        ({"debian": 10.0}, [], 2, 381.0),  # should be over: a tenth more
        ({"kubernetes": 100.0, "fio": 0.0}, ["debian", "go"], 2, 260.0),
        ({"kubernetes": 100.0}, ["debian", "go", "fio"], 1, 260.0),
        ({"node": 50.0}, ["debian", "go", "fio", "kubernetes"], 3, 10.0),
        ({}, list(NEEDS), 3, 0.0),
        ({"fio": 0.0, "kubernetes": 0.0}, ["debian", "go"], 1, 360.0),  # more than there are places for
    ],
)
def test_what_is_left_is_what_the_builds_take_side_by_side(running, done, side_by_side, left):
    assert durations.left(NEEDS, SECONDS, running, done, side_by_side) == left


@pytest.mark.parametrize(("seconds", "told"), [(0, "about 0 s"), (89, "about 89 s"), (360, "about 6 min")])
def test_about(seconds, told):
    assert durations.about(seconds) == told
