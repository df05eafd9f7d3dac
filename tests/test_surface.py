"""What the package exports is what scenarios import, and nothing below it."""

import ast
import importlib
from pathlib import Path

import pytest
import rookery

SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").rglob("*.py"))
MOST = 40  # names that a reader can have in mind


def imports(tree):
    """Each module that is imported, with the names out of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ".", [alias.name for alias in node.names]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_imports_from_the_package_alone_and_what_it_exports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = [(module, names) for module, names in imports(tree) if module.partition(".")[0] in (".", "rookery", "steps")]
    assert {module for module, _ in ours} <= {"rookery"}
    exported = {name for _, names in ours for name in names}
    assert exported <= {*rookery.__all__}
    for node in ast.walk(tree):  # what it takes of an exported module is there
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in exported:
            assert hasattr(getattr(rookery, node.value.id), node.attr), f"line {node.lineno}: {ast.unparse(node)}"
    for node in ast.walk(tree):  # and what it calls of one can be called: a module of the same name cannot
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in exported:
            found = getattr(getattr(rookery, called.value.id), called.attr)
            assert callable(found), f"line {node.lineno}: {ast.unparse(called)}"


def test_there_are_scenarios():
    assert len(SCENARIOS) > 10


def test_so_many_names_are_exported_as_can_be_known_and_each_is_there():
    assert len(rookery.__all__) <= MOST
    assert [name for name in rookery.__all__ if not hasattr(rookery, name)] == []
    assert {*rookery.__all__} <= {*dir(rookery)}


def test_what_type_checkers_see_is_what_is_imported():
    tree = ast.parse(Path(rookery.__file__).read_text(encoding="utf-8"))
    (checking,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {name: module for module, names in imports(checking) for name in names}
    assert seen.keys() == {*rookery.__all__}
    for name, module in seen.items():
        found = getattr(rookery, name)
        at = importlib.import_module(module)
        assert found is getattr(at, name, None) or found is importlib.import_module(f"{module}.{name}")


def test_a_name_that_is_not_exported_is_missing_as_from_any_module():
    with pytest.raises(AttributeError, match="module 'rookery' has no attribute 'nowhere'"):
        rookery.nowhere  # noqa: B018


def test_type_checkers_know_that_there_are_types():
    assert Path(rookery.__file__).with_name("py.typed").exists()
