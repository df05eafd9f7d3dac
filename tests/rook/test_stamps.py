"""Times as Ceph writes them."""

import pytest
from rookery.rook.stamps import unix_time


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2026-11-24T08:00:01.500000+0000", 1795507201.5),
        ("2026-11-24T09:00:01.500000+0100", 1795507201.5),
        ("0.000000", 0.0),  # a time that never was
        ("315359999.250000", 315359999.25),  # the last before Ceph writes a date
    ],
)
def test_a_time_is_a_date_or_plain_seconds(stamp, seconds):
    assert unix_time(stamp) == seconds


@pytest.mark.parametrize("stamp", ["", "never", "2026-11-24", "2026-11-24T08:00:01.5"])
def test_what_is_neither_is_refused(stamp):
    with pytest.raises(ValueError, match=r"time data|could not convert"):
        unix_time(stamp)
