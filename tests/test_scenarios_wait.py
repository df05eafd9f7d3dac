"""Scenarios wait by conditions alone: none sleeps, polls, or names for itself what it waits for."""

import ast
from pathlib import Path

import pytest

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").rglob("*.py"))


def faults_of(source):
    """What a scenario's code has that none should, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Lambda):
            found.append(f"{node.lineno}: a lambda")
        elif isinstance(node, ast.keyword) and node.arg == "what":
            found.append(f"{node.value.lineno}: what=")
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in ("sleep", "wait_for"):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.lineno}: {each.name}" for each in node.names if each.name in ("sleep", "wait_for")]
    return found


def kubectl_in(source):
    """Lines of code that name kubectl, and not those of docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and "kubectl" in str(node.value) and id(node) not in docstrings
    ]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_waits_by_conditions(path):
    source = path.read_text(encoding="utf-8")
    assert faults_of(source) == []
    assert kubectl_in(source) == []


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("retry(lambda: pool.ready)", "1: a lambda"),
        ("retry(pool, what='the pool')", "1: what="),
        ("time.sleep(5)", "1: sleep"),
        ("from time import sleep", "1: sleep"),
        ("from rookery.waiting import wait_for", "1: wait_for"),
        ("waiting.wait_for(pool)", "1: wait_for"),
    ],
)
def test_what_no_scenario_has_is_found(code, fault):
    assert faults_of(code) == [fault]


def test_kubectl_is_found_in_code_and_not_in_docstrings():
    assert kubectl_in('def f():\n    """What `kubectl edit` does."""\n    run("kubectl get pods")\n') == [3]
