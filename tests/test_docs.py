"""What the docs promise by themselves: every link inside the project leads somewhere, and the site has every page."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
import rookery
import yaml

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
READ = sorted([*DOCS.rglob("*.md"), *PROJECT.glob("*.md")])
GENERATED = ("reference/api.md",)  # by docs/generated.py when the site is built; no page links to it
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def prose(page):
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """Of a page's headings, as GitHub and mkdocs both have them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w -]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken(page):
    for link in LINK.findall(prose(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", READ, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_every_link_leads_somewhere(page):
    assert list(broken(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page`: one\n[a](#a-page-one) [b](#two) [c](gone.md) [d](https://example.org/x)\n", encoding="utf-8"
    )
    assert list(broken(page)) == ["#two", "gone.md"]


def test_the_site_has_every_page_and_no_other():
    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [page for value in entry.values() for each in value for page in pages(each)]

    nav = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {page for entry in nav for page in pages(entry)} == there | set(GENERATED)


@pytest.mark.parametrize("file", sorted((PROJECT / "scenarios").glob("test_*.py")), ids=lambda file: file.stem)
def test_what_scenarios_name_in_docs_is_there(file):
    named = re.findall(r"\bdocs/([\w/-]+\.md)(?:#([\w-]+))?", file.read_text(encoding="utf-8"))
    for name, anchor in named:
        assert (DOCS / name).exists(), name
        assert not anchor or anchor in anchors(DOCS / name), anchor


@pytest.fixture
def generated(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("generated")


@pytest.mark.parametrize("name", ["options", "markers", "fixtures"])
def test_the_reference_is_that_of_the_code(generated, name):
    path = f"reference/{name}.md"
    made = generated.COMMITTED[path]()
    assert (DOCS / path).read_text(encoding="utf-8") == made, "make it again: python docs/generated.py"


def test_the_reference_has_all_that_is_exported(generated):
    page = generated.api()
    exported = {name: getattr(rookery, name) for name in rookery.__all__}
    for name, found in exported.items():
        if inspect.ismodule(found):
            assert f"## `rookery.{name}`" in page
        else:
            assert f"\n::: {found.__module__}.{found.__qualname__}\n" in page
    assert "\n::: rookery.faults.node_kill.NodeKill\n" in page
    assert "_exported" not in page


def test_the_walk_through_the_code_names_what_is_there():
    """Each file; each function that is said to be in one; and each that is called."""
    walk, package = prose(DOCS / "walkthrough.md"), PROJECT / "harness" / "rookery"

    def found(name):
        return next((path for folder in (package, package.parent, PROJECT) if (path := folder / name).exists()), None)

    def defined(text):
        return set(re.findall(r"^ *(?:def|class) (\w+)", text, re.MULTILINE))

    files = re.findall(r"`([\w/]+(?:\.py|/))`", walk)
    assert len(files) > 30
    assert [name for name in files if found(name) is None] == []
    within = [*re.findall(r"`([\w/]+\.py)`, `(\w+)`", walk)]
    within += [(file, name) for name, file in re.findall(r"`(\w+)`\s(?:of|\()\s?`([\w/]+\.py)`", walk)]
    assert len(within) > 3
    assert [(file, name) for file, name in within if name not in defined(found(file).read_text("utf-8"))] == []
    everywhere = defined("\n".join(path.read_text("utf-8") for path in package.rglob("*.py")))
    called = re.findall(r"`[\w.]*?(\w+)\([^`]*\)`", walk)
    assert len(called) > 3
    assert [name for name in called if name not in everywhere] == []
