"""What a scenario says of CSI drivers: StorageClasses, registration, conformance. Exported as `drivers`."""

from rookery.csi.deployment import StorageDriver, registered_nowhere, registered_on, registered_on_none_of
from rookery.csi.manifests import CEPHFS, RBD, Plugin, filesystem_storage_class, storage_class
from rookery.csi.sanity import DriverUnderTest, run_sanity
from rookery.random_operations import RandomisedRun, driver_under_test

__all__ = [
    "CEPHFS",
    "RBD",
    "DriverUnderTest",
    "Plugin",
    "RandomisedRun",
    "StorageDriver",
    "driver_under_test",
    "filesystem_storage_class",
    "registered_nowhere",
    "registered_on",
    "registered_on_none_of",
    "run_sanity",
    "storage_class",
]
