"""Finding what runs have left in a folder of results, some of which are still in progress."""

import pytest
from rookery.report.run_folder import runs, timings_under


@pytest.fixture
def root(tmp_path):
    """One run with one scenario, and the link that names it."""
    timings = tmp_path / "20261130T000000Z" / "claim_is_bound" / "timings.json"
    timings.parent.mkdir(parents=True)
    timings.touch()
    (timings.parents[1] / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "latest").symlink_to("20261130T000000Z")
    return tmp_path


def test_each_is_listed_once(root):
    assert timings_under(root) == [root / "20261130T000000Z" / "claim_is_bound" / "timings.json"]


def test_the_link_in_the_making_is_left_out(root):
    """It has its last name before anybody could look into it."""
    (root / ".latest-4711").symlink_to("20261130T000000Z")
    assert [path.parts[-3] for path in timings_under(root)] == ["20261130T000000Z"]
    assert [path.name for path in runs(root)] == ["20261130T000000Z"]
