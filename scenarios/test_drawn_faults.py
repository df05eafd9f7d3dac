"""Faults that are drawn, one after another, under the writes of a database.

Each other scenario injects what its author had in mind. Here three are drawn by `--fault-seed` among all that are
available, aim themselves and heal: daemons killed or paused, nodes killed, paused or cut off, a disk torn away, the
storage driver's pods. A night draws with a new seed; the command that runs it again has it.

Proof: after each fault all that it harmed is there again, Ceph is healthy, and PostgreSQL has every row that it has
acknowledged.
"""

import pytest
from rookery import faults, minutes

pytestmark = [
    pytest.mark.budget(600),
    pytest.mark.requires("the image of PostgreSQL", storage="rook"),
]

FAULTS, WRITES_BEFORE_EACH = 3, 100


def test_commits_survive_whatever_is_drawn(cluster, postgresql, rookery_fault_seed):
    """Nothing acknowledged is lost."""
    drawn = faults.Random(rookery_fault_seed)
    assert postgresql.write(rows=200) == 200
    for _ in range(FAULTS):
        with postgresql.writers() as writers:
            writers.acknowledged(WRITES_BEFORE_EACH).wait()
            fault = drawn.draw(cluster)
            with cluster.fault(fault):
                pass
            fault.healed.wait()
        postgresql.close()
        cluster.all_healthy.wait(within=minutes(4))
        postgresql.recovered.wait()
    postgresql.check()
