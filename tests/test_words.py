"""The field's own words, in code and prose: none comes back of those that needed a dictionary (docs/glossary.md)."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CODE = sorted(path for folder in ("harness", "scenarios", "tests") for path in (PROJECT / folder).rglob("*.py"))
PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md"]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

# Each has no other meaning here: as the name of a thing, an argument, an attribute or a module.
NAMES = {
    # of scenarios
    *("power_cut", "PowerCut", "leaves_nothing", "leaves_volumes", "put_back", "as_deployed", "is_whole", "ring_whole"),
    *("storage_whole", "spoilt", "stopwatch", "Reached", "since_cut", "judge", "judged", "rejudge", "lost_window"),
    *("lost_allowed_window_s", "image_held", "clients_of", "try_create", "put_taint", "take_taint", "counted_beyond"),
    *("appended_beyond", "read_beyond", "lines_kept", "reaching", "other_cluster", "api_may_be_down", "BadInput"),
    *("pod_says", "claim_says", "spare_disk", "spare_addresses", "spare_disks"),
    # of leaks
    *("served_by_the_dead", "detach_dead", "no_dead_loop_devices", "dead_loops", "LeftBehind", "left_behind"),
    *("nothing_leaked", "volumes_left", "no_volumes_left", "require_nothing_left", "Wanted"),
    # of the driver and its model
    *("CALM", "HELD", "PATIENCE", "AGAIN", "AT_ONCE", "Disagreement", "Trial", "Mixture", "MIXTURE", "mixture"),
    *("tidying", "clearing", "objection", "Objection", "under_way", "DirectCalls"),
    *("driver_called_directly", "Done", "Use", "Ground", "Subject"),
    # of the machine
    *("Blueprint", "blueprint", "give_back", "refuse_strangers", "being_made", "make_alike", "Room", "require_room"),
    *("RoomSampler", "room_is_short", "short_of_room"),
    # of the rest
    *("Filled", "Moved", "Shown", "Stated", "by_chance", "BY_CHANCE", "each_stored", "of_fio", "of_rbd_bench"),
    *("TELLING", "LEFT_OUT", "TROUBLE", "role_first", "settle", "SERVICE_PUT_RIGHT", "at_hand"),
    *("told_to", "ONE_END", "leave_terminal", "let_go", "LET_GO", "heard_by", "require_heard"),
    *("RING_WHOLE", "last_words", "unwell", "scribble"),
    *("Which", "Spells", "Standstill", "SOON", "goes_on", "have_streams", "to_nowhere"),
    *("stranger", "strangers", "cured", "wall", "healed_wall", "GOT_OVER", "GOT_OVER_S", "AGAIN_S", "ASKED_AGAIN_S"),
    *("MADE_AGAIN", "TOLD", "ALL_TOLD_S", "TOLD_EVERY", "filesystem_volumes_left", "Wreck", "Noted"),
    *(
        "TROUBLES",
        "troubles",
        "has_new_keys_alone",
        "makes_new_keys",
        "cures",
        "kubelet_said",
        "told_nothing",
        "as_said",
    ),
}
# What no constant's name ends in. Those of the drivers keep theirs: their text is in the key of the drivers' images.
OF_CONSTANTS = re.compile(r"[A-Z_]*_PATIENCE")
OF_DRIVERS = {"CLONE_PATIENCE", "BUSY_PATIENCE", "IN_USE_PATIENCE", "UNDER_WAY"}
# Of nothing in the harness, and of no test: what is reported, printed, or has something is called so.
SPOKEN = re.compile(r"(\w*_)?(told|tells|telling|says?|said|saying)(_\w*)?", re.IGNORECASE)
MODULES = {"wreck", "blueprint", "gateway", "direct", "slots", "spare_disks", "unfinished", "rejudged", "room", "judge"}
WORDS = re.compile(
    r"\b(diary|twin|troubles? [123]|by chance|puts? back|at hand|as deployed|handed on|cure[sd]?|power.cuts?|under way|"
    r"left behind|judge[sd]?|rejudged|blueprints?|too little room|the dead(?=[.,;:)]|$| (may|have|hold|are)\b)|"
    r"(ring|storage) (is )?whole|is whole|its likes|old keys|keys of the old type|putting back|got over|situations?)\b",
    re.IGNORECASE | re.MULTILINE,
)
OF_TESTS = re.compile(rf"{WORDS.pattern}|\b(strangers?|let go|one of the dead)\b", WORDS.flags)  # beside these


def names_in(source):
    """Every name that a module gives to something, or uses; also those in what it writes as JSON."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg() | ast.keyword() if node.arg:
                yield node.arg
            case ast.Name():
                yield node.id
            case ast.Attribute():
                yield node.attr
            case ast.alias():
                yield from node.name.split(".")
            case ast.Dict():
                yield from (
                    key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
                )


def old(name):
    """Whether it was replaced; a constant as well by its name in lower case, a test by the words of its name."""
    bare = name.lstrip("_")
    if bare.isupper() and bare not in OF_DRIVERS:
        return bare in NAMES or bare.lower() in NAMES or OF_CONSTANTS.fullmatch(bare) is not None
    return bare in NAMES or (bare.startswith("test_") and OF_TESTS.search(bare.replace("_", " ")) is not None)


@pytest.mark.parametrize("folder", ["harness", "scenarios", "tests"])
def test_no_name_is_one_of_those_that_were_replaced(folder):
    files = [path for path in CODE if path.is_relative_to(PROJECT / folder)]
    found = {path.relative_to(PROJECT).as_posix(): {*filter(old, names_in(path.read_text("utf-8")))} for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_name_in_the_harness_is_of_speech():
    files = [path for path in CODE if path.is_relative_to(PROJECT / "harness" / "rookery")]
    found = {path.name: {*filter(SPOKEN.fullmatch, names_in(path.read_text("utf-8")))} for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_name_of_a_test_is_either():
    files = [path for path in CODE if path.is_relative_to(PROJECT / "tests")]
    found = {path.name: {*filter(SPOKEN.fullmatch, names_in(path.read_text("utf-8")))} for path in files}
    assert {name for names in found.values() for name in names if name.startswith("test_")} == set()


@pytest.mark.parametrize("name", ["told", "_said", "says_who", "test_what_is_missing_is_told", "test_a_pod_says_why"])
def test_a_name_of_speech_is_found(name):
    assert SPOKEN.fullmatch(name)


def test_no_file_has_the_name_of_one_that_was_renamed():
    assert [path for path in CODE if path.stem.removeprefix("test_") in MODULES] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_pages_have_none_of_the_words_that_were_replaced(page):
    assert WORDS.findall(FENCED.sub("", page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("folder", ["harness", "scenarios", "tests"])
def test_messages_and_comments_have_none_either(folder):
    files = [path for path in (PROJECT / folder).rglob("*") if path.suffix in (".py", ".toml", ".html", ".yaml")]
    files = [path for path in files if path != Path(__file__)]
    found = {path.relative_to(PROJECT).as_posix(): WORDS.findall(path.read_text("utf-8")) for path in files}
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "source",
    [
        "def settle(): pass",
        "class Room: pass",
        "cluster.as_deployed",
        "f(under_way=1)",
        "def f(judge): pass",
        "_HELD = 1",
        "LOST_ALLOWED_WINDOW_S = 15.0",
        "_PROBE_PATIENCE = 300",
        "AGAIN_S = 2.0",
        "from rookery.faults.fault import GOT_OVER",
        "{'wall': 1.0}",
        "def test_a_socket_is_left_behind(): pass",
        "def test_a_cluster_is_as_deployed(): pass",
        "def test_a_store_that_is_whole_is_used(): pass",
        "def test_a_network_of_strangers_is_refused(): pass",
        "def test_a_device_is_one_of_the_dead_once_its_server_is(): pass",
    ],
)
def test_a_name_that_comes_back_is_found(source):
    assert any(old(name) for name in names_in(source))
