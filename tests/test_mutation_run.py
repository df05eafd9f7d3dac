"""A change that no test sees fails the mutation run unless it is explained, and so does an explanation of nothing."""

import ast
import fnmatch
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mutation_run
import pytest
import rookery
from mutation_run import tomllib

CHANGE = "-     return a <= b\n+     return a < b"
EXPLAINED = """
[[survivor]]
of = "rookery.storage.recovery.x_f"
why = "a is never b"
changes = ['''
- return a <= b
+ return a < b
''']
"""


@pytest.fixture
def mutmut(monkeypatch, tmp_path):
    """mutmut that has changed one function in three places; `status` is what came of each, `explain` says why."""
    known = tmp_path / "survivors.toml"
    explain = partial(known.write_text, encoding="utf-8")
    mutmut = SimpleNamespace(status=["killed", "timeout", "killed"], ran=[], explain=explain)
    mutmut.explain("survivor = []")

    def run(argv, **_options):
        command, *arguments = argv[len(mutation_run.MUTMUT) :]
        mutmut.source = Path(mutation_run.SOURCE).readlink()
        if command == "run":
            mutmut.ran = arguments
        names = [f"rookery.storage.recovery.x_f__mutmut_{number}" for number in range(1, 4)]
        path = "src/rookery/storage/recovery.py"
        shown = f"# it: survived\n--- {path}\n+++ {path}\n@@ -1 +1 @@\n def f():\n{CHANGE}\n"
        listed = "".join(f"    {name}: {status}\n" for name, status in zip(names, mutmut.status, strict=True))
        other = "    rookery.plugin.session.x_g__mutmut_1: not checked\n"
        return SimpleNamespace(stdout={"show": shown, "results": listed + other}.get(command, ""))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(mutation_run.os, "nice", lambda by: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mutation_run, "EXPLAINED", known)
    return mutmut


def test_all_that_decides_is_changed_and_each_change_is_seen(mutmut, capsys):
    assert mutation_run.main([]) == 0
    assert mutmut.ran == list(mutation_run.DECIDING)
    assert "3 mutants, 0 of them survive" in capsys.readouterr().out


@pytest.mark.parametrize("status", ["survived", "no tests", "not checked", "suspicious", "segfault"])
def test_a_change_that_no_test_sees_is_shown(mutmut, capsys, status):
    mutmut.status[1] = status
    assert mutation_run.main(["rookery.storage.recovery.*"]) == 1
    out = capsys.readouterr().out
    assert f"rookery.storage.recovery.x_f__mutmut_2: {status}\n- return a <= b\n+ return a < b\n" in out
    assert "1 of them survive: 0 explained, 1 not" in out


def test_an_explained_change_may_survive_and_has_to(mutmut, capsys):
    mutmut.explain(EXPLAINED)
    mutmut.status[2] = "survived"
    assert mutation_run.main([]) == 0
    mutmut.status[2] = "killed"
    assert mutation_run.main([]) == 1
    assert "does not survive (any more)" in capsys.readouterr().out


def test_of_a_part_nobody_asks_for_what_is_explained_elsewhere(mutmut):
    mutmut.explain(EXPLAINED)
    assert mutation_run.main(["rookery.storage.recovery.*"]) == 0


def test_mutmut_finds_the_package_where_it_knows_modules_by_the_names_that_tests_import(mutmut, tmp_path):
    (tmp_path / mutation_run.SOURCE).symlink_to("what a killed run left")
    mutation_run.main([])
    assert mutmut.source == Path("harness")
    assert not (tmp_path / mutation_run.SOURCE).is_symlink()
    # The two folders whose names mutmut takes off a module's, beside the current one.
    assert mutation_run.SOURCE in ("src", "source")


HARNESS = Path(rookery.__file__).parent.parent


def functions_of(module):
    """The functions of a module as mutmut names them, and of its classes."""
    tree = ast.parse((HARNESS / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield f"{module}.x_{node.name}__mutmut_1"
        elif isinstance(node, ast.ClassDef):
            inner = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            yield from (f"{module}.xǁ{node.name}ǁ{each.name}__mutmut_1" for each in inner)


@pytest.mark.parametrize("pattern", mutation_run.DECIDING)
def test_what_decides_is_where_it_is_listed(pattern):
    """A function that has moved would be left out without a word."""
    module = pattern.partition(".x")[0].removesuffix(".*")
    assert any(fnmatch.fnmatchcase(name, pattern) for name in functions_of(module)), pattern
    mutated = tomllib.loads((HARNESS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"][
        "only_mutate"
    ]
    assert f"{mutation_run.SOURCE}/{module.replace('.', '/')}.py" in mutated


def test_what_is_explained_is_where_it_is_listed():
    for each in tomllib.loads(Path(mutation_run.__file__).with_name("survivors.toml").read_text(encoding="utf-8"))[
        "survivor"
    ]:
        module = each["of"].partition(".x")[0]
        assert f"{each['of']}__mutmut_1" in functions_of(module)
