"""A text's encoding is UTF-8 wherever the harness runs, and never its locale's.

ruff's rule of this (PLW1514) knows a path by where it was made in the same function, and says nothing of a field's, an
argument's or a result's.
"""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
FOLDERS = ("harness", "scenarios", "docs", "tests")
RECIPES = PROJECT / "harness/rookery/images/recipes"  # in images of our own, whose locale is known
MODE = re.compile("[rwxabt+]+")
ANY_MODE = "r"  # of one that is known at run time only
OPEN_NO_TEXT = {"os", "tarfile", "webbrowser", "self"}  # whose `open` is another, as one of a class's own is


def of_the_locale(tree):
    """Each call that reads or writes text, of a file or of a process, without an encoding."""
    source = _Calls(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and source.is_text(node) and not any(map(_is_encoding, node.keywords)):
            yield node


def _is_encoding(keyword):
    return keyword.arg == "encoding" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)


class _Calls:
    """One module: what its names stand for."""

    def __init__(self, tree):
        self._modules, self._imported, self._modes = {}, {}, {}
        for node in ast.walk(tree):
            match node:
                case ast.Import():
                    self._modules |= {each.asname: each.name for each in node.names if each.asname}
                case ast.ImportFrom(module=str(module)):
                    self._imported |= {each.asname or each.name: (module, each.name) for each in node.names}
                case ast.Assign(targets=[ast.Name(name)], value=value) if modes := _literal_modes(value):
                    self._modes.setdefault(name, []).extend(modes)

    def is_text(self, call):
        match self._called(call.func):
            case (_, "partial") if call.args:
                return self.is_text(ast.Call(call.args[0], call.args[1:], call.keywords))
            case (None, "open") | ("builtins" | "io", "open"):
                return self._has_text_mode(call, 1, default="r")
            case (module, "open") if module in OPEN_NO_TEXT:
                return False
            case (_, "open") if not call.args or self._given_modes(call, 0):  # not what takes something else
                return self._has_text_mode(call, 0, default="r")
            case (_, "fdopen"):
                return self._has_text_mode(call, 1, default="r")
            case (_, "NamedTemporaryFile" | "TemporaryFile" | "SpooledTemporaryFile"):
                return self._has_text_mode(call, 0, default="w+b")
            case (_, "FileHandler"):
                return True
            case (_, "read_text"):
                return not call.args
            case (_, "write_text"):
                return len(call.args) < 2
            case ("subprocess", _):
                return bool({"text", "universal_newlines", "errors"} & {each.arg for each in call.keywords})
        return False

    def _called(self, func):
        """Module and name of what is called, whatever it was imported as; "" for what is no module's."""
        match func:
            case ast.Name(name):
                return self._imported.get(name, (None, name))
            case ast.Attribute(ast.Name(name), attribute):
                return self._modules.get(name, name), attribute
            case ast.Attribute(_, attribute):
                return "", attribute
        return "", ""

    def _has_text_mode(self, call, place, *, default):
        return any("b" not in mode for mode in self._given_modes(call, place) or [default])

    def _given_modes(self, call, place):
        """What the argument in that place, or of that name, may be; none where it is no mode, or there is none."""
        given = [*call.args[place : place + 1], *(each.value for each in call.keywords if each.arg == "mode")]
        return [mode for each in given for mode in self._modes_of(each)]

    def _modes_of(self, expression):
        match expression:
            case ast.Name(name) if name in self._modes:
                return self._modes[name]
            case ast.Name(name) | ast.Attribute(_, name) if name.lower().endswith("mode"):
                return [ANY_MODE]
        return _literal_modes(expression)


def _literal_modes(expression):
    match expression:
        case ast.IfExp(_, body, orelse):
            return _literal_modes(body) + _literal_modes(orelse)
        case ast.Constant(str(mode)) if MODE.fullmatch(mode):
            return [mode]
    return []


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
        "path.open(mode)",
        "path.open(self.mode)",
        "path.open('rb' if device else 'r')",
        "place().open('a')",
        "place().open(mode='x')",
        "self.path.read_text()",
        "self.path.read_text(errors='replace')",
        "place().write_text(text)",
        "os.fdopen(descriptor, 'w')",
        "tempfile.NamedTemporaryFile('w')",
        "subprocess.run(argv, text=True)",
        "subprocess.Popen(argv, errors='replace')",
        "import subprocess as sp; sp.run(argv, text=True)",
        "from subprocess import run; run(argv, text=True)",
        "from subprocess import Popen as Process; Process(argv, universal_newlines=True)",
        "from subprocess import check_output; check_output(argv, text=True)",
        "functools.partial(subprocess.Popen, text=True)",
        "from tempfile import NamedTemporaryFile; NamedTemporaryFile('w')",
        "how = 'w'; path.open(how)",
    ],
)
def test_text_of_the_locale_is_found(call):
    assert [*of_the_locale(ast.parse(call))]
    with_encoding = call[:-1] + ("" if call.endswith("()") else ", ") + "encoding='utf-8')"
    assert not [*of_the_locale(ast.parse(with_encoding))]


def test_an_encoding_that_is_none_is_not_given():
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
        "self.open()",
        "from tarfile import open as unpack; unpack(path, 'w')",
        "mode = 'r+b' if device else 'wb'; path.open(mode)",
        "partial(self.apply, text=True)",
        "from rookery.machine.docker import run; run(argv, text=True)",
        "tempfile.NamedTemporaryFile(suffix='.txt')",
        "subprocess.run(argv)",
        "path.read_text('utf-8')",
        "path.write_text(text, 'utf-8')",
        "path.read_bytes()",
    ],
)
def test_what_has_no_encoding_or_names_it_passes(call):
    assert not [*of_the_locale(ast.parse(call))]
