"""Whether a cluster is clean: what there is of it now, held against a baseline taken when its state was reached.

`fingerprint` is what is compared; `api`, `ceph` and `node` collect it, by the tables in `rules`, which say what lives a
life of its own and is not compared; `undo` takes back what is known; `cleaning` puts it together.
"""

from rookery.storage.baseline.cleaning import Cleaning, MeasuredCluster, converge, listed
from rookery.storage.baseline.fingerprint import Difference, Fingerprint, Item, compare

__all__ = ["Cleaning", "Difference", "Fingerprint", "Item", "MeasuredCluster", "compare", "converge", "listed"]
