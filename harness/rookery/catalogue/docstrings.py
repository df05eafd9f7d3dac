"""What a docstring of a scenario states, and the form in which it does.

    Reproduces: trouble 3 of the operator's diary, no new volumes.

    Needs: three workers.

A statement begins a line with its word, and goes on to the next blank line or statement. All the rest is prose.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

REPRODUCES, NEEDS = STATEMENTS = ("Reproduces", "Needs")
_STATEMENT = re.compile(rf"({'|'.join(STATEMENTS)}):\s+(\S.*)")


@dataclass(frozen=True)
class ScenarioDoc:
    """A docstring in its parts: prose (its first paragraph is the title), and statements by their words."""

    prose: str = ""
    statements: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return " ".join(self.prose.partition("\n\n")[0].split())

    @property
    def story(self) -> str:
        """The prose after the title."""
        return self.prose.partition("\n\n")[2]

    def within(self, module: ScenarioDoc) -> ScenarioDoc:
        """The same docstring as one of a test in a module: what it does not state, the module's does for it."""
        return ScenarioDoc(self.prose, {**module.statements, **self.statements})

    @property
    def missing(self) -> list[str]:
        """What is to be stated and is not, in words that say how."""
        return [f"`{word}: …`" for word in STATEMENTS if word not in self.statements]


def read(docstring: str | None) -> ScenarioDoc:
    prose: list[str] = []
    statements: dict[str, str] = {}
    word = None
    for line in inspect.cleandoc(docstring or "").splitlines():
        if begun := _STATEMENT.match(line):
            word = begun[1]
            statements[word] = begun[2].strip()
        elif word and line.strip():
            statements[word] += f" {line.strip()}"
        else:
            word = None
            prose.append(line)
    return ScenarioDoc(re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip(), statements)
