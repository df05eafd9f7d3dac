"""A run as junit XML: pytest's own junit.xml, and what a run that was killed could not put into it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from rookery.report import document
from rookery.report.failures import block

FILE = "junit.xml"
LONGEST_MESSAGE = 1000  # characters; the element's text has more
# Characters that XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def of(folder: Path) -> str:
    """The run's junit XML: junit.xml as pytest left it, and a test case of each scenario that is not in it.

    A scenario that has not come to its end is an error. Where junit.xml is missing or cannot be read, all are made of
    the scenarios' own files; what only pytest knew, such as why one was skipped, is not in it then.
    """
    facts = document.of(folder)
    root = _stored(folder / FILE)
    if root is None:
        root = _empty(facts)
    suite = root if root.tag == "testsuite" else root.find("testsuite")
    if suite is None:
        suite = ET.SubElement(root, "testsuite", name="rookery")
    there = {
        Path(each.get("value", "")).name for each in suite.iterfind("testcase/properties/property[@name='results']")
    }
    for scenario in facts["scenarios"]:
        if scenario["folder"] not in there:
            suite.append(_case(folder, scenario))
    _count(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}'


def _stored(path: Path) -> ET.Element | None:
    try:
        root = ET.fromstring(path.read_bytes())
    except (OSError, ET.ParseError):
        return None
    return root if root.tag in ("testsuites", "testsuite") else None


def _empty(facts: Mapping[str, Any]) -> ET.Element:
    root = ET.Element("testsuites", name="pytest tests")
    run = facts["run"]
    ET.SubElement(
        root,
        "testsuite",
        name="rookery",
        timestamp=_text(run.get("started") or ""),
        hostname=_text(run.get("machine", {}).get("host") or ""),
    )
    return root


def _case(folder: Path, scenario: Mapping[str, Any]) -> ET.Element:
    """In the form in which pytest has it (its family `xunit1`)."""
    file, *names = (scenario["test"] or scenario["scenario"]).split("::")
    name = names.pop() if names else file
    classname = ".".join([file.removesuffix(".py").replace("/", "."), *names])
    case = ET.Element(
        "testcase",
        classname=_text(classname),
        name=_text(name),
        file=_text(file),
        time=f"{scenario['seconds'] or 0.0:.3f}",
    )
    _properties(case, folder, scenario)
    for failure in scenario["failures"]:
        kind = "failure" if failure["outcome"] == "failed" else "error"
        message = f"{failure['type']}: {failure['reason']}"[:LONGEST_MESSAGE]
        element = ET.SubElement(case, kind, message=_text(message))
        element.text = _text(block(folder / scenario["folder"], when=failure["when"]))
    if scenario["outcome"] == "skipped":
        ET.SubElement(case, "skipped")
    elif not scenario["failures"] and (reason := document.why(scenario)):
        ET.SubElement(case, "error", message=_text(reason))
    return case


def _properties(case: ET.Element, folder: Path, scenario: Mapping[str, Any]) -> None:
    properties = ET.SubElement(case, "properties")
    facts = [("bug", bug["url"]) for bug in scenario["bugs"]]
    facts += [("results", folder / scenario["folder"]), ("outcome", scenario["outcome"])]
    facts += [(name, scenario[name]) for name in ("budget_s", "counted_s") if scenario[name] is not None]
    for name, value in facts:
        ET.SubElement(properties, "property", name=name, value=_text(value))


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    counts = {"errors": "error", "failures": "failure", "skipped": "skipped"}
    for name, tag in counts.items():
        suite.set(name, str(sum(len(case.findall(tag)) for case in cases)))
    suite.set("tests", str(len(cases)))
    if "time" not in suite.attrib:
        suite.set("time", f"{sum(_time(case) for case in cases):.3f}")


def _time(case: ET.Element) -> float:
    try:
        return float(case.get("time", "0"))
    except ValueError:
        return 0.0


def _text(value: object) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
