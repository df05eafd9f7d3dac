"""The order of the rooms: who may import whom, wherever in a file an import stands.

A room is a package below `rookery`, or a module right below it. docs/concepts.md tells the same to people.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import rookery
from rookery.settings import Settings

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(rookery.__file__).parent

# From the bottom to the top. A room imports from the rows below its own, and from none beside it.
ROWS = (
    ("errors", "listeners", "log_lines", "driver_names", "signatures"),
    ("paths", "waiting"),
    ("machine",),
    ("history", "images", "report"),
    ("kube",),
    ("cluster",),
    ("browser", "csi", "metallb", "workloads"),
    ("settings",),
    ("storage",),
    ("local", "rook"),
    ("faults", "settings_check"),
    ("catalogue", "evidence"),
    ("plugin",),
    ("matrix", "random_operations"),
    ("bench",),
    ("ceph", "drivers", "nodes", "steps"),  # what scenarios import, which is all that the next one tells of
    ("rookery",),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}

TYPING = "for types only"
NAMED = "by name"  # "rookery.rook.system:RookSystem", which is imported when it is asked for
AT_IMPORT, IN_FUNCTION = "at import", "in a function"

# What points upwards all the same: who, what, how, and why.
EXCEPTIONS = {
    ("rookery.report.machine", "rookery", AT_IMPORT): "the version is there for the build to read, and imports nothing",
    ("rookery.storage.system", "rookery.rook.system", NAMED): "the harness's own systems, by the names of --storage",
    ("rookery.storage.system", "rookery.local.system", NAMED): "the harness's own systems, by the names of --storage",
    ("rookery.storage.system", "rookery.rook.deploy", TYPING): "scenarios say `cluster.rook`, which one system has",
    ("rookery.storage.cluster", "rookery.rook.deploy", TYPING): "scenarios say `cluster.rook`, which one system has",
    ("rookery.storage.cluster", "rookery.faults.fault", TYPING): "`cluster.fault` is given one, and asks it for all",
}

# Beside the name that `--storage` has by default: who imports Rook, and what for.
KNOW_ROOK = {
    "rookery.bench.volumes": "it measures Ceph's volumes beside Ceph itself",
    "rookery.catalogue.markers": "the marker `rook(version)`",
    "rookery.catalogue.tuning": "`rookery tuning` tells of the options of its CephCluster",
    "rookery.ceph": "what scenarios say of Ceph",
    "rookery.cli.reproduce": "the versions of it that registries have",
    "rookery.evidence.cluster_log": "Ceph's cluster log, and its times",
    "rookery.faults.ceph_destruction": "a fault of Ceph's",
    "rookery.faults.client_eviction": "a fault of Ceph's",
    "rookery.faults.daemon_stop": "the labels of Rook's Deployments",
    "rookery.faults.daemons": "the daemons of Rook and Ceph, by their labels",
    "rookery.faults.fault": "`fault.rook`, for the faults of Ceph's",
    "rookery.faults.foreign_watcher": "a fault of Ceph's",
    "rookery.faults.mon_loss": "a fault of Ceph's",
    "rookery.faults.replica_damage": "a fault of Ceph's",
    "rookery.matrix.bisection": "the versions of it that registries have",
    "rookery.plugin.fixtures": "the fixtures of pools and filesystems",
    "rookery.plugin.ordering": "the state of a cluster with a filesystem",
    "rookery.storage.cluster": "`cluster.rook`, for types",
    "rookery.storage.system": "`storage.rook`, for types; the name itself",
}

MOST_LINES = 700  # of a file

KUBERNETES = {"kube", "kubernetes", "pykube", "pytest_kind"}


class Edge(NamedTuple):
    """One import: by which module, of which, and how."""

    importer: str
    imported: str
    how: str
    line: int = 0

    @property
    def rooms(self) -> tuple[str, str]:
        return room_of(self.importer), room_of(self.imported)


def room_of(module: str) -> str:
    """`kube` of `rookery.kube.client`; a module of others by its package."""
    parts = module.split(".")
    return parts[1] if parts[0] == "rookery" and len(parts) > 1 else parts[0]


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of the package by its name; programs that are run elsewhere have none."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if all(part.isidentifier() for part in parts):
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(module: str, source: str, known: set[str]) -> Iterator[Edge]:
    """All that a module imports, of whomever."""

    def of(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module if not node.level else f"a relative import, line {node.lineno}"
            yield from (f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names)

    def walk(node: ast.AST, how: str) -> Iterator[Edge]:
        for child in ast.iter_child_nodes(node):
            yield from (Edge(module, name, how, child.lineno) for name in of(child))
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                if written := re.fullmatch(r"(rookery(?:\.\w+)+):\w+", child.value):
                    yield Edge(module, written[1], NAMED, child.lineno)
            elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                yield from walk(ast.Module(child.body, []), TYPING)
                yield from walk(ast.Module(child.orelse, []), how)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and how == AT_IMPORT:
                yield from walk(child, IN_FUNCTION)
            else:
                yield from walk(child, how)

    yield from walk(ast.parse(source), AT_IMPORT)


def edges() -> list[Edge]:
    known = modules()
    return [edge for module, path in known.items() for edge in imports_of(module, path.read_text("utf-8"), {*known})]


EDGES = edges()
BETWEEN_ROOMS = [edge for edge in EDGES if edge.imported.split(".")[0] == "rookery" and len({*edge.rooms}) == 2]


def upwards(found: list[Edge]) -> list[Edge]:
    """Those to a room that is not below the importer's."""
    return [edge for edge in found if RANK[edge.rooms[1]] >= RANK[edge.rooms[0]]]


def reach(room: str) -> set[str]:
    """Every room that is imported with this one, now or later; what is only for types is not."""
    seen, ahead = set(), [room]
    while ahead:
        seen.add(now := ahead.pop())
        ahead += [
            edge.rooms[1]
            for edge in EDGES
            if edge.rooms[0] == now and edge.how != TYPING and edge.rooms[1] not in seen and edge.imported != "rookery"
        ]
    return seen


def test_every_room_has_its_place_in_the_order():
    assert {room_of(module) for module in modules()} == RANK.keys()
    assert sum(map(len, ROWS)) == len(RANK)


def test_imports_point_downwards_only():
    assert [edge for edge in upwards(BETWEEN_ROOMS) if edge[:3] not in EXCEPTIONS] == []


def test_each_exception_occurs_and_is_one():
    assert {edge[:3] for edge in upwards(BETWEEN_ROOMS)} >= EXCEPTIONS.keys()


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("from rookery.plugin import session", AT_IMPORT),
        ("import rookery.plugin.session", AT_IMPORT),
        ("def f():\n    from rookery.plugin.session import Session", IN_FUNCTION),
        ("class A:\n    def f(self):\n        if self:\n            import rookery.plugin.session", IN_FUNCTION),
        ("if TYPE_CHECKING:\n    from rookery.plugin.session import Session", TYPING),
        ("X = {'x': 'rookery.plugin.session:Session'}", NAMED),
    ],
)
def test_an_import_that_points_upwards_is_found_wherever_it_stands(source, how):
    found = [edge for edge in imports_of("rookery.kube.client", source, {*modules()}) if edge.rooms[1] == "plugin"]
    assert [(edge.imported, edge.how) for edge in upwards(found)] == [("rookery.plugin.session", how)]


def test_whom_a_module_imports_is_known_in_full():
    assert [edge for edge in EDGES if edge.imported.startswith("a relative import")] == []
    (edge,) = imports_of("rookery.kube.client", "\nfrom . import podexec", {*modules()})
    assert edge.imported == "a relative import, line 2"


@pytest.mark.parametrize("room", ["history", "report"])
def test_histories_and_reports_know_nothing_of_kubernetes(room):
    assert reach(room) & KUBERNETES == set()


def test_images_know_docker_and_nothing_else():
    ours = {edge.rooms[1] for edge in EDGES if edge.rooms[0] == "images" and edge.imported.startswith("rookery.")}
    assert ours == {"images", "errors", "machine", "paths"}
    assert reach("images") & KUBERNETES == set()


def test_the_cluster_knows_no_rook():
    assert reach("cluster") & {"rook", "storage"} == set()


def test_rook_is_known_by_the_default_of_the_settings_and_by_those_that_give_a_reason():
    assert Settings().storage == "rook"
    assert {edge.importer for edge in BETWEEN_ROOMS if edge.rooms[1] == "rook"} == KNOW_ROOK.keys()
    assert {edge.importer for edge in EDGES if edge.how == NAMED and edge.rooms[1] == "rook"} == {
        "rookery.storage.system"
    }


BANNER = re.compile(r"^(#|//|/\*)\W*[-=─#*~_]{3,}|[-=─#*~_]{4,}\W*$")
DIVIDED = sorted(
    path
    for folder in ("harness", "scenarios", "tests", "docs", "kind-configs")
    for path in (PROJECT / folder).rglob("*")
    if path.suffix in (".py", ".toml", ".yaml", ".sh", ".js", ".css") and "vendor" not in path.parts
)


def comments(path: Path) -> Iterator[str]:
    """What a file says in comments, as they are written."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        yield from (token.string.strip() for token in tokens if token.type == tokenize.COMMENT)
    else:
        yield from (line.strip() for line in text.splitlines() if line.lstrip().startswith(("#", "//", "/*")))


def test_no_file_is_longer_than_can_be_read_in_one_go():
    code = [path for folder in ("harness", "scenarios", "tests") for path in (PROJECT / folder).rglob("*.py")]
    lengths = {path.relative_to(PROJECT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in code}
    assert {name: lines for name, lines in lengths.items() if lines >= MOST_LINES} == {}


def test_no_file_has_banners():
    assert len(DIVIDED) > 300
    found = {path.relative_to(PROJECT).as_posix(): [*filter(BANNER.search, comments(path))] for path in DIVIDED}
    assert {path: banners for path, banners in found.items() if banners} == {}


def dividing(path: Path) -> Iterator[str]:
    """Comments with nothing above and nothing below, which head a part of a file."""
    text = path.read_text("utf-8")
    lines = ["", *text.splitlines(), ""]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row = token.start[0]
        alone = token.type == tokenize.COMMENT and token.line.strip() == token.string
        if alone and row > 1 and not lines[row - 1].strip() and not lines[row + 1].strip():
            yield f"line {row}: {token.string}"


def test_no_comment_divides_a_file():
    code = [path for path in DIVIDED if path.suffix == ".py"]
    found = {path.relative_to(PROJECT).as_posix(): [*dividing(path)] for path in code}
    assert {path: comments for path, comments in found.items() if comments} == {}


def test_what_divides_a_file_is_known_as_such(tmp_path):
    path = tmp_path / "module.py"
    text = "import os\n\n# of what follows\nA = 1\n\n# The second part\n\nB = '''\n\n# no comment\n\n'''  # why\n"
    path.write_text(text, encoding="utf-8")
    assert [*dividing(path)] == ["line 6: # The second part"]


@pytest.mark.parametrize("banner", ["# --- images ---------", "# ====", "#######", "# images ------", "// ----- x"])
def test_banners_are_known_as_such(banner):
    assert BANNER.search(banner)


@pytest.mark.parametrize("comment", ["# -- what follows", "# fmt: off", "# a - b", "#: __all__", "# of /dev/loop64"])
def test_a_comment_is_no_banner(comment):
    assert not BANNER.search(comment)
