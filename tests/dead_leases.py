"""Leases without a living owner."""

from rookery.machine.leases import Lease


def orphan(lease: Lease) -> Lease:
    """Have the lease without a living owner: as the kernel does, when that dies."""
    lease._release_lock()
    return lease


def dead_lease(name="dead") -> Lease:
    return orphan(Lease.acquire(name))
