"""A scenario's junit.xml, so that any CI shows it beside its other tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from rookery.report.results import Outcome

# Not allowed in XML 1.0 (https://www.w3.org/TR/xml/#charsets); lone surrogates are what "surrogateescape" makes.
_FORBIDDEN = [*(code for code in range(32) if code not in (9, 10, 13)), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF]
_ALLOWED = dict.fromkeys(_FORBIDDEN, "\N{REPLACEMENT CHARACTER}")


def write_junit(
    path: Path,
    scenario: str,
    seconds: float,
    outcome: Outcome,
    error: BaseException | None,
    properties: Iterable[tuple[str, object]] = (),
) -> None:
    """Write one test case, as https://github.com/testmoapp/junitxml describes the format.

    What the storage did wrong is a `failure`; whatever else keeps a scenario from passing is an `error`.
    """
    classname, _, name = scenario.rpartition("::")
    kind = {"passed": "", "skipped": "skipped", "failed": "failure"}.get(outcome, "error")
    counts = {"tests": "1", "failures": str(int(kind == "failure")), "errors": str(int(kind == "error"))}
    counts["time"] = f"{seconds:.1f}"
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "rookery", **counts})
    case = ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time=f"{seconds:.1f}")
    if properties := list(properties):
        among = ElementTree.SubElement(case, "properties")
        for key, value in properties:
            ElementTree.SubElement(among, "property", name=key, value=str(value).translate(_ALLOWED))
    if kind:
        text = str(error).translate(_ALLOWED)
        found = ElementTree.SubElement(case, kind, type=type(error).__name__, message=text.partition("\n")[0])
        found.text = text
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
