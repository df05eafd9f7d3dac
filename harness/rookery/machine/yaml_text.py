"""Changes to a list or a word at the top of a YAML text, which leave every other letter of it where it is.

A loader that keeps comments keeps most of them: one that stands before or behind what is taken out goes with it. Here
the text is cut and pasted at the places that PyYAML tells, and whoever calls compares what both say in the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

_ENDLESS = 1 << 20  # certificates are one line


def with_entry(text: str, part: str, entry: Mapping[str, Any]) -> str:
    """The text with one entry more at the end of that list, which is made where there is none, or null."""
    root: Any = yaml.compose(text)
    if root is None:
        return f"{_whole_lines(text)}{part}:\n{_block([entry], 0)}"
    key, found = _field(root, part)
    if key is None:
        if root.flow_style:
            return _in_flow(text, root, f"{json.dumps(part)}: {json.dumps([entry])}")
        return f"{_whole_lines(text)}{part}:\n{_block([entry], 0)}"
    is_list = isinstance(found, yaml.SequenceNode)
    if is_list and found.value and not found.flow_style:
        at = _end_of_lines(text, found.value[-1])
        return _whole_lines(text[:at]) + _block([entry], _dash(text, found.value[-1])[1]) + text[at:]
    colon = text.index(":", key.end_mark.index) + 1
    if not root.flow_style and not (is_list and found.value) and not _rest_of_line(text, found).strip():
        return f"{text[:colon]}\n{_block([entry], 0)}{text[_end_of_lines(text, found) :]}"
    if is_list:
        return _in_flow(text, found, json.dumps(entry))
    return f"{text[:colon]} {json.dumps([entry])}{text[found.end_mark.index :]}"


def without_entries(text: str, part: str, unwanted: Callable[[Any], bool]) -> str:
    """The text without those entries of that list."""
    entries = (yaml.safe_load(text) or {}).get(part)
    doomed = [index for index, entry in enumerate(entries if isinstance(entries, list) else []) if unwanted(entry)]
    for index in reversed(doomed):
        text = _without(text, part, index)
    return text


def with_word(text: str, name: str, word: str) -> str:
    """The text in which that field is this word."""
    root: Any = yaml.compose(text)
    written = json.dumps(word)
    if root is None or (_field(root, name)[0] is None and not root.flow_style):
        return f"{_whole_lines(text)}{name}: {written}\n"
    key, found = _field(root, name)
    if key is None:
        return _in_flow(text, root, f"{json.dumps(name)}: {written}")
    if word and not root.flow_style:
        written = yaml.safe_dump(word, width=_ENDLESS).partition("\n")[0]  # without quotes, where they are not needed
    colon = text.index(":", key.end_mark.index) + 1
    return f"{text[:colon]} {written}{text[max(colon, found.end_mark.index) :]}"


def _field(root: Any, name: str) -> tuple[Any, Any]:
    return next(((key, value) for key, value in root.value[::-1] if key.value == name), (None, None))


def _without(text: str, part: str, index: int) -> str:
    key, found = _field(yaml.compose(text), part)
    entry = found.value[index]
    if found.flow_style:
        begin, end = entry.start_mark.index, entry.end_mark.index
        if index + 1 < len(found.value):
            end = found.value[index + 1].start_mark.index
        elif index:
            begin = found.value[index - 1].end_mark.index
        return text[:begin] + text[end:]
    dash, column = _dash(text, entry)
    text = text[: dash - column] + text[_end_of_lines(text, entry) :]
    if len(found.value) > 1:
        return text
    colon = text.index(":", key.end_mark.index) + 1
    return f"{text[:colon]} []{text[colon:]}"


def _in_flow(text: str, node: Any, more: str) -> str:
    """Before the closing bracket."""
    at = node.value[-1] if node.value else None
    if at is None:
        index = node.end_mark.index - 1
        return f"{text[:index]}{more}{text[index:]}"
    last = at[1] if isinstance(at, tuple) else at
    return f"{text[: last.end_mark.index]}, {more}{text[last.end_mark.index :]}"


def _dash(text: str, entry: Any) -> tuple[int, int]:
    """Where the dash of an entry is: in the text, and in its line."""
    index = text.rindex("-", 0, entry.start_mark.index)
    return index, index - (text.rfind("\n", 0, index) + 1)


def _end_of_lines(text: str, node: Any) -> int:
    """Where the first line begins that has nothing of it any more."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    index = node.end_mark.index
    if index and text[index - 1] == "\n":  # as after a block of text
        return index
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _rest_of_line(text: str, node: Any) -> str:
    return text[node.end_mark.index :].partition("\n")[0]


def _whole_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _block(entries: list[Mapping[str, Any]], column: int) -> str:
    lines = yaml.safe_dump([dict(entry) for entry in entries], sort_keys=False, width=_ENDLESS).splitlines(True)
    return "".join(" " * column + line for line in lines)
