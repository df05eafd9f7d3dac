"""What a Ceph cluster consists of, asked in one process in the toolbox: what somebody made or set, and no counter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rookery.errors import InfrastructureError
from rookery.kube import Kube
from rookery.rook import ceph_inventory, status, toolbox
from rookery.rook.filesystems import SUBVOLUME_GROUP
from rookery.storage.baseline.fingerprint import CEPH, Fingerprint, Item, Key
from rookery.waiting import NotYet

Listing = Mapping[str, Any]

ANSWERED = 10.0  # seconds; it takes one where Ceph is well

_READ = Path(__file__).with_name("read_ceph.py")
_IN_THE_TOOLBOX = Path(toolbox.__file__).parent
_LISTINGS = tuple(_IN_THE_TOOLBOX / name for name in ("list_images.py", "list_subvolumes.py"))

# Of `ceph osd pool ls detail`; what is not here changes as data comes and goes (pg_num, last_change, snap_seq, ...).
POOL = (
    ("pool_id", "id"),
    ("type", "type"),
    ("size", "size"),
    ("min_size", "min_size"),
    ("crush_rule", "crush_rule"),
    ("pg_autoscale_mode", "pg_autoscale_mode"),
    ("erasure_code_profile", "erasure_code_profile"),
    ("application_metadata", "application_metadata"),
    ("quota_max_bytes", "quota_max_bytes"),
    ("quota_max_objects", "quota_max_objects"),
    ("options", "options"),
)
POOL_FLAGS_IGNORED = {
    "selfmanaged_snaps": "set at a pool's first snapshot of an image, and never taken back",
    "creating": "until its PGs are there",
    "full": "follows how full it is",
    "nearfull": "follows how full it is",
    "backfillfull": "follows how full it is",
}

# Settings (`ceph config dump`, SECTION/NAME as a pattern) that Ceph or Rook write in their own time.
SETTINGS_IGNORED = {
    "osd.*/osd_mclock_max_capacity_iops_*": "what an OSD has measured when it started",
    "mon/auth_allow_insecure_global_id_reclaim": "Rook sets it when every client is new enough",
}

# Of OSDs neither `up` nor addresses: the one is health, the other new with each start. Not asked for at all:
# `ceph osd blocklist`, whose entries expire (a client that was fenced after a node kill stays for an hour or a day);
# placement (upmaps, choose_args), which is the balancer's; counters and epochs.


def collect(kube: Kube, namespace: str) -> Fingerprint:
    """All there is. Raises `NotYet` while Ceph does not answer, `InfrastructureError` for answers of another form."""
    texts = [path.read_text(encoding="utf-8") for path in _LISTINGS]
    listing = toolbox.ask_program(kube, namespace, _READ, *texts, timeout=ANSWERED)
    try:
        return fingerprint_of(listing)
    except (LookupError, TypeError, AttributeError) as error:
        # Every release has its own JSON: nobody's scenario fails for that, its cluster is restored.
        raise InfrastructureError(
            f"this Ceph answers in a form that is not known here: {type(error).__name__}: {error}",
            hint="compare what rook/read_ceph.py prints with what rook/fingerprint.py reads",
        ) from error


def fingerprint_of(listing: Listing) -> Fingerprint:
    """Of what `read_ceph.py` printed."""
    items: dict[Key, Item] = {}
    for part in (_map, _pools, _images, _filesystems, _users, _settings, _crush):
        for kind, name, value, *original in part(listing):
            items[CEPH, kind, str(name)] = Item(value, *original)
    return Fingerprint(items, tuple(_unhealthy(listing)))


def _unhealthy(listing: Listing) -> Iterator[str]:
    try:
        status.check_health(status.Health.parse(listing["health"]))
    except NotYet as reason:
        yield str(reason)


Items = Iterator[tuple[Any, ...]]
"""Kind, name and value of each item, and what it is made again of, where that is another thing than its value."""


def _map(listing: Listing) -> Items:
    """Who belongs to the cluster, and what was said of it as a whole."""
    yield "cluster", "fsid", listing["osds"]["fsid"]
    for osd in listing["osds"]["osds"]:
        about = {key: osd.get(key) for key in ("uuid", "in", "weight", "primary_affinity")}
        yield "osd", osd["osd"], about
    for flag in listing["osds"].get("flags_set") or []:
        yield "osd flag", flag, True
    for mon in listing["mons"]["mons"]:
        yield "mon", mon["name"], {"address": mon.get("public_addr", mon.get("addr"))}
    for module in listing["modules"]["enabled_modules"]:
        yield "mgr module", module, True
    for mute in listing["health"].get("mutes") or []:
        if mute["code"] not in status.ACCEPTED_WARNINGS:  # those are muted as they come up
            yield "health mute", mute["code"], {"sticky": mute.get("sticky", False)}
    for name in listing["profiles"]:
        yield "erasure code profile", name, True


def _pools(listing: Listing) -> Items:
    for pool in listing["pools"]:
        about = {ours: pool.get(theirs) for theirs, ours in POOL}
        flags = pool.get("flags_names", "").split(",")
        about["flags"] = sorted(flag for flag in flags if flag and flag not in POOL_FLAGS_IGNORED)
        yield "pool", pool["pool_name"], about


def _images(listing: Listing) -> Items:
    for pool in ceph_inventory.pools_of(listing["images"]):
        for image in pool.images:
            about = {"id": image.id, "parent": image.parent, "snapshots": sorted(image.snapshots)}
            yield "image", f"{pool.name}/{image.name}", {**about, "for_clones": image.for_clones}
        for image in pool.trash:
            yield "image in the trash", f"{pool.name}/{image.id or image.name}", {"name": image.name}
        known = {image.id for image in (*pool.images, *pool.trash)}
        for image_id in sorted((pool.ids | pool.objects_of) - known):
            yield "objects of an image", f"{pool.name}/{image_id}", True
        for name in sorted(pool.names_of - {image.name for image in pool.images}):
            yield "object", f"{pool.name}/rbd_id.{name}", True


def _filesystems(listing: Listing) -> Items:
    names = {pool["pool_id"]: pool["pool_name"] for pool in listing["pools"]}
    for filesystem in listing["filesystems"]["filesystems"]:
        known = filesystem["mdsmap"]
        about = {key: known.get(key) for key in ("max_mds", "max_file_size", "session_timeout", "flags_state")}
        pools = {
            "metadata_pool": names.get(known["metadata_pool"]),
            "data_pools": [names.get(pool) for pool in known["data_pools"]],
        }
        yield "filesystem", known["fs_name"], {"id": filesystem["id"], **pools, **about}
    for filesystem in ceph_inventory.filesystems_of(listing["subvolumes"]):
        for subvolume in filesystem.subvolumes:
            about = {"state": subvolume.state, "snapshots": sorted(subvolume.snapshots)}
            yield "subvolume", f"{filesystem.name}/{subvolume.name}", {**about, "copied": sorted(subvolume.copied)}
        for entry in sorted(filesystem.trash):
            yield "subvolume in the trash", f"{filesystem.name}/{entry}", True
        for record, target in filesystem.copies:
            yield "copy of a subvolume", f"{filesystem.name}/{record}", {"into": target}
    for name, held in listing["subvolumes"].items():
        # Rook makes the drivers' group when it comes to it; whether it is there says nothing, what is in it is above.
        for group in held["groups"]:
            if group != SUBVOLUME_GROUP and not group.startswith("_"):
                yield "subvolume group", f"{name}/{group}", True
        for folder in held["folders"]:
            if folder != "volumes":
                yield "folder", f"{name}/{folder}", True


def _users(listing: Listing) -> Items:
    for user in listing["auth"]["auth_dump"]:
        digest = hashlib.sha256(user["key"].encode()).hexdigest()[:12]
        yield "user", user["entity"], {"caps": user["caps"], "key": f"sha256:{digest}"}, user


def _settings(listing: Listing) -> Items:
    for setting in listing["config"]:
        name = f"{setting['section']}/{setting['name']}"
        if not _is_setting_ignored(name):
            mask = setting.get("mask", "")
            yield "setting", f"{name} {mask}".rstrip(), setting["value"], setting


def _crush(listing: Listing) -> Items:
    """The map as it was made: without the shadow trees (`default~hdd`), which follow it."""
    crush = listing["crush"]
    for device in crush["devices"]:
        yield "crush device", device["name"], {"class": device.get("class")}
    for bucket in crush["buckets"]:
        if "~" not in bucket["name"]:
            held = {str(each["id"]): each["weight"] for each in bucket["items"]}
            about = {key: bucket.get(key) for key in ("id", "type_name", "weight", "alg", "hash")}
            yield "crush bucket", bucket["name"], {**about, "items": held}
    for rule in crush["rules"]:
        about = {key: value for key, value in rule.items() if key != "rule_name"}
        yield "crush rule", rule["rule_name"], about
    yield "crush tunables", "all", crush.get("tunables")


def _is_setting_ignored(name: str) -> bool:
    """Whether a setting of Ceph, as SECTION/NAME, is not compared."""
    return any(fnmatchcase(name, pattern) for pattern in SETTINGS_IGNORED)
