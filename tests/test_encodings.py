"""A text's encoding is UTF-8 wherever the harness runs, and never its locale's.

ruff's rule of this (PLW1514) knows a path by where it was made in the same function, and says nothing of a field's, an
argument's or a result's.
"""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FOLDERS = ("harness", "scenarios", "docs")
RECIPES = PROJECT / "harness/rookery/images/recipes"  # in images of our own, whose locale is known
MODE = re.compile("[rwxabt+]+")
OPEN_NO_TEXT = {"os", "tarfile", "webbrowser"}  # modules whose `open` has another signature


def of_the_locale(tree):
    """Each call that reads or writes text, of a file or of a process, without an encoding."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_text(node) and not any(map(_is_encoding, node.keywords)):
            yield node


def _is_encoding(keyword):
    return keyword.arg == "encoding" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)


def _is_text(call):
    match call.func:
        case ast.Name("open"):
            return _has_text_mode(call, 1, default="r")
        case ast.Attribute(ast.Name(module), "open") if module in OPEN_NO_TEXT:
            return False
        case ast.Attribute(_, "open") if not call.args or _mode(
            call, 0
        ):  # not one of our own, which takes something else
            return _has_text_mode(call, 0, default="r")
        case ast.Attribute(_, "fdopen"):
            return _has_text_mode(call, 1, default="r")
        case ast.Attribute(_, "NamedTemporaryFile" | "TemporaryFile" | "SpooledTemporaryFile"):
            return _has_text_mode(call, 0, default="w+b")
        case ast.Attribute(_, "FileHandler"):
            return True
        case ast.Attribute(_, "read_text"):
            return not call.args
        case ast.Attribute(_, "write_text"):
            return len(call.args) < 2
        case ast.Attribute(ast.Name("subprocess"), _):
            return bool({"text", "universal_newlines", "errors"} & {each.arg for each in call.keywords})
    return False


def _mode(call, place):
    """The mode in an argument's place, or by its name; None where there is none, or it is known only at run time."""
    given = [*call.args[place : place + 1], *(each.value for each in call.keywords if each.arg == "mode")]
    given = [part for each in given for part in ([each.body, each.orelse] if isinstance(each, ast.IfExp) else [each])]
    modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return next((mode for mode in modes if MODE.fullmatch(mode)), None)


def _has_text_mode(call, place, *, default):
    return "b" not in (_mode(call, place) or default)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_text_has_the_encoding_of_the_locale(folder):
    files = [path for path in (PROJECT / folder).rglob("*.py") if not path.is_relative_to(RECIPES)]
    assert files
    found = {path.relative_to(PROJECT).as_posix(): path.read_text("utf-8") for path in files}
    lines = {f"{name}:{call.lineno}" for name, source in found.items() for call in of_the_locale(ast.parse(source))}
    assert lines == set()


@pytest.mark.parametrize(
    "call",
    [
        "open(path)",
        "open(path, 'w')",
        "open('bar')",
        "open(path, mode)",
        "logging.FileHandler(path)",
        "self.path.open()",
        "place().open('a')",
        "place().open(mode='x')",
        "self.path.read_text()",
        "self.path.read_text(errors='replace')",
        "place().write_text(text)",
        "os.fdopen(descriptor, 'w')",
        "tempfile.NamedTemporaryFile('w')",
        "subprocess.run(argv, text=True)",
        "subprocess.Popen(argv, errors='replace')",
    ],
)
def test_text_of_the_locale_is_found(call):
    assert [*of_the_locale(ast.parse(call))]
    said = call[:-1] + ("" if call.endswith("()") else ", ") + "encoding='utf-8')"
    assert not [*of_the_locale(ast.parse(said))]


def test_to_say_that_there_is_none_is_not_to_say_which():
    assert [*of_the_locale(ast.parse("open(path, encoding=None)"))]


@pytest.mark.parametrize(
    "call",
    [
        "open(path, 'rb')",
        "open(path, 'r+b' if device else 'wb')",
        "self.path.open('ab')",
        "os.open(path, os.O_RDONLY)",
        "tarfile.open(path, 'w')",
        "browser.open(url)",
        "tempfile.NamedTemporaryFile(suffix='.txt')",
        "subprocess.run(argv)",
        "path.read_text('utf-8')",
        "path.write_text(text, 'utf-8')",
        "path.read_bytes()",
    ],
)
def test_what_has_no_encoding_or_says_it_is_let_through(call):
    assert not [*of_the_locale(ast.parse(call))]
