"""Commands of the ledger and of scenarios run in a folder with one file of scenarios, which is collected once."""

import pytest
from rookery.catalogue import collection


@pytest.fixture(scope="module")
def collected(request, tmp_path_factory):
    """What pytest finds in the module's FILE: it takes seconds."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "bugs").mkdir()
    (folder / "bugs/test_it.py").write_text(request.module.FILE, encoding="utf-8")
    return collection.collect(folder)


@pytest.fixture
def folder(request, tmp_path, monkeypatch, collected):
    """The current folder, with scenarios/bugs/test_it.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(collection, "collect", lambda folder, **_: collected)
    (tmp_path / "scenarios/bugs").mkdir(parents=True)
    (tmp_path / "scenarios/bugs/test_it.py").write_text(request.module.FILE, encoding="utf-8")
    return tmp_path
