"""A scenario's file without its cause, or without its workaround: what it is shown by to be able to fail.

What a comment `# cause` or `# workaround` ends the line of is taken out, and all else is as it was. That is the
outermost of these that ends on the line:

- a statement; of a `with` the line is that of its colon, and the block stays, and so do a fault's name and proofs;
- one of several context managers of a `with`, a keyword argument, an entry of a dict, an item of a list, a decorator.

What is called by a name of the same file, and its fixtures, may have marks as well.
"""

from __future__ import annotations

import ast
import copy
import io
import re
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rookery.errors import UsageError
from rookery.faults.fault import not_injected
from rookery.history.injected import Injected

CAUSE, WORKAROUND = "cause", "workaround"
KINDS = (CAUSE, WORKAROUND)
HINT = f"end the line of the statement that is to be taken out by `# {CAUSE}` or `# {WORKAROUND}`"
_MARK = re.compile(rf"#\s*({'|'.join(KINDS)})(?::\s.*)?")  # of which the rest is prose
_BLOCKS = (ast.With, ast.For, ast.While, ast.If)  # that can be taken out; the others are not, nor `try`


@dataclass(frozen=True)
class Mark:
    """What is taken out: of which kind, at which line, as its file has it, on one line."""

    kind: str
    line: int
    text: str
    function: str  # the outermost one that it is in
    node: ast.AST = field(compare=False, repr=False)


class Marked:
    """A file of scenarios with what is marked in it."""

    def __init__(self, source: str, name: str) -> None:
        """Raises `UsageError` for a mark that says nothing, or takes out a name that is needed without it."""
        self._source, self._name = source, name
        self._tree, self._lines = _parsed(source, name), source.splitlines(keepends=True)
        self.marks = [self._mark(*each) for each in self._comments()]
        for kind in KINDS:
            self._require_names(kind)

    @classmethod
    def file(cls, path: Path) -> Marked:
        return cls(path.read_text(encoding="utf-8"), str(path))

    def of(self, test: str) -> list[Mark]:
        """What is marked in a test, and in what it uses of its file: functions and fixtures."""
        functions = _functions(self._tree)
        reached, left = set[str](), [test]
        while left:
            name = left.pop()
            if name in functions and name not in reached:
                reached.add(name)
                left += [each.id for each in ast.walk(functions[name]) if isinstance(each, ast.Name)]
                left += [each.arg for each in ast.walk(functions[name]) if isinstance(each, ast.arg)]
        return [mark for mark in self.marks if mark.function in reached]

    def without(self, kind: str) -> ast.Module:
        """The file without what is marked so; each line has its number still."""
        copies: dict[int, Any] = {}  # of each node, by the identity of the one here
        tree = copy.deepcopy(self._tree, copies)
        out = _TakenOut({id(copies[id(mark.node)]) for mark in self.marks if mark.kind == kind})
        return ast.fix_missing_locations(out.visit(tree))

    def _comments(self) -> Iterator[tuple[str, int, str]]:
        """The kind of each mark, its line, and what stands before it on that line."""
        for token in tokenize.generate_tokens(io.StringIO(self._source).readline):
            if token.type == tokenize.COMMENT and (match := _MARK.fullmatch(token.string)):
                line, column = token.start
                if not (before := self._lines[line - 1][:column].strip()):
                    raise self._error(line, "a line of its own takes nothing out")
                yield match[1], line, before

    def _mark(self, kind: str, line: int, before: str) -> Mark:
        found = [node for node in self._removable() if self._marked_at(node) == line]
        outermost = [each for each in found if not any(each in ast.walk(other) for other in found if other is not each)]
        if any(_is_block(each) and not isinstance(each, _BLOCKS) for each in outermost):
            raise self._error(line, "a block like this is not taken out")
        if len(outermost) != 1:
            what = "nothing that can be taken out ends on the line" if not found else "several things end on the line"
            raise self._error(line, what)
        (node,) = outermost
        function = next((name for name, each in _functions(self._tree).items() if node in ast.walk(each)), "")
        if not function:
            raise self._error(line, "it is in no function")
        whole = isinstance(node, ast.withitem) or node.lineno == line
        return Mark(kind, line, before.rstrip(" ,:") if whole else ast.unparse(node).splitlines()[0], function, node)

    def _removable(self) -> Iterator[ast.stmt | ast.expr | ast.keyword | ast.withitem]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.stmt):
                yield node
            if isinstance(node, ast.With) and len(node.items) > 1:
                yield from node.items
            elif isinstance(node, ast.Call):
                yield from node.keywords
            elif isinstance(node, ast.Dict):
                yield from node.values
            elif isinstance(node, ast.List):
                yield from node.elts
            elif isinstance(node, ast.FunctionDef):
                yield from node.decorator_list

    def _marked_at(self, node: Any) -> int:
        """The line that a comment has to end in order to mean it."""
        if _is_block(node):
            return self._colon(node)
        if isinstance(node, ast.withitem):
            node = node.optional_vars or node.context_expr
        return int(node.end_lineno)

    def _colon(self, node: Any) -> int:
        """The line of the colon that a block begins after."""
        lines, depth = self._lines[node.lineno - 1 :], 0
        lines[0] = lines[0].encode()[node.col_offset :].decode()  # columns of `ast` are bytes of UTF-8
        for token in tokenize.generate_tokens(iter([*lines, ""]).__next__):
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
            if token.type == tokenize.OP and token.string == ":" and depth == 0:
                return int(node.lineno) + token.start[0] - 1
        raise AssertionError("a block without a colon does not parse")

    def _require_names(self, kind: str) -> None:
        """What is taken out binds no name that is needed without it: a NameError would say nothing of the storage."""
        out = [mark for mark in self.marks if mark.kind == kind and not isinstance(mark.node, ast.With)]
        gone = {id(each) for mark in out for each in ast.walk(mark.node)}
        for mark in out:
            left = [each for each in ast.walk(_functions(self._tree)[mark.function]) if id(each) not in gone]
            names = [each for each in left if isinstance(each, ast.Name)]
            kept = _stored(left) | {each.arg for each in left if isinstance(each, ast.arg)}
            lost = _stored(ast.walk(mark.node)) - kept
            if needed := next((each for each in names if each.id in lost), None):
                raise self._error(mark.line, f"line {needed.lineno} needs the name {needed.id!r} without it")

    def _error(self, line: int, what: str) -> UsageError:
        return UsageError(f"{self._name}:{line}: {what}", hint=HINT)


class _TakenOut(ast.NodeTransformer):
    """Takes out the nodes with these identities. A `with` leaves its block, and stand-ins for what it gave names to; a
    fault stays, and does nothing."""

    def __init__(self, out: set[int]) -> None:
        self._out = out

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Dict):
            kept = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if id(v) not in self._out]
            node.keys, node.values = [key for key, _ in kept], [value for _, value in kept]
        return super().generic_visit(node)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.With):
            return self._with(node)
        if id(node) not in self._out:
            return self.generic_visit(node)
        return ast.copy_location(ast.Pass(), node) if isinstance(node, ast.stmt) else None

    def _with(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        out = [item for item in node.items if id(node) in self._out or id(item) in self._out]
        for fault in [item for item in out if _is_fault(item.context_expr)]:
            fault.context_expr = _not_injected(fault.context_expr)
            out.remove(fault)
            self._out -= {id(fault)}  # or it would go with those of its line
        node.items = [item for item in node.items if item not in out]
        self.generic_visit(node)
        if not out:
            return node
        named = sorted(_stored(part for item in out if item.optional_vars for part in ast.walk(item.optional_vars)))
        absent = [ast.increment_lineno(_bound(name), node.lineno - 1) for name in named]
        return [*absent, *([node] if node.items else node.body)]


def nothing_injected() -> Injected:
    """What has the name of a context manager that was taken out: nothing was done just now."""
    return Injected("nothing", time.monotonic_ns(), time.monotonic_ns(), at=time.time())


def _bound(name: str) -> ast.stmt:
    return ast.parse(f"{name} = {_of(nothing_injected)}()").body[0]


def _is_fault(context: ast.expr) -> bool:
    """Whether it is `cluster.fault(…)`."""
    called = context.func if isinstance(context, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr == "fault"


def _not_injected(context: Any) -> ast.expr:
    """`cluster.fault(it)` with nothing done: whatever asks for evidence that is newer than the fault finds none."""
    call = ast.parse(f"{_of(not_injected)}()", mode="eval").body
    assert isinstance(call, ast.Call)
    call.args = [*context.args, context.func.value]
    return ast.copy_location(call, context)


def _of(function: Callable[..., object]) -> str:
    """Code that names it in a file that has not imported it."""
    return f"__import__({function.__module__!r}, fromlist=['']).{function.__name__}"


def _parsed(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source, filename=name)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{name}: {error}", hint="what is taken out is taken out of Python that runs") from error


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Those of the file and of its classes, by name."""
    bodies = [tree.body, *(each.body for each in tree.body if isinstance(each, ast.ClassDef))]
    return {each.name: each for body in bodies for each in body if isinstance(each, ast.FunctionDef)}


def _is_block(node: ast.AST) -> bool:
    return isinstance(node, ast.stmt) and (hasattr(node, "body") or hasattr(node, "cases"))


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that they bind."""
    return {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
