"""Times as Ceph writes them."""

from __future__ import annotations

from datetime import datetime


def unix_time(stamp: str) -> float:
    """A time of Ceph's in Unix seconds.

    It is a date with a zone ("2026-11-24T08:07:12.345678+0000"). A time before 1980 is plain seconds, so that one that
    never was is "0.000000" (`utime_t::localtime`, https://github.com/ceph/ceph/blob/v18.2.7/src/include/utime.h).
    Raises ValueError for anything else.
    """
    if "T" in stamp:
        return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    return float(stamp)
