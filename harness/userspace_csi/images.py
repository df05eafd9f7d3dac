"""RBD images by librados and librbd. This module needs Ceph's Python bindings.

https://docs.ceph.com/en/latest/rbd/api/librbdpy/
"""

from __future__ import annotations

import calendar
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import rados
import rbd

from .clusters import Credentials
from .connections import Clusters, ask_monitors, error_of
from .copying import ImageInfo
from .errors import FailedPrecondition, NotFound, PoolNotFound
from .takeover import Blocklist, Client, ImageUse, Locker, Verdict

# An image with clones goes to the trash when it is removed, and from there with the last of its clones (librbd's
# DetachChildRequest). Without this it could not be removed before them.
_REMOVING = {"rbd_move_parent_to_trash_on_remove": "true"}
_TRASH_LISTED = 10_000
_FOR_ITS_CLONES = 4  # TRASH_IMAGE_SOURCE_USER_PARENT; others are in the trash because somebody has put them there
_emptying = threading.Lock()  # two at once would find each image in use by the other
_SOURCE, _DEPTH = "rookery.source", "rookery.depth"  # keys of an image's metadata
_FEATURES = {
    "layering": rbd.RBD_FEATURE_LAYERING,
    "exclusive-lock": rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
    "object-map": rbd.RBD_FEATURE_OBJECT_MAP,
    "fast-diff": rbd.RBD_FEATURE_FAST_DIFF,
    "deep-flatten": rbd.RBD_FEATURE_DEEP_FLATTEN,
}


class Pool:
    """A pool of images, for as long as its connection is open."""

    def __init__(self, cluster: rados.Rados, ioctx: rados.Ioctx) -> None:
        self._cluster = cluster
        self._ioctx = ioctx

    def create(self, image: str, size: int, features: Sequence[str], data_pool: str = "") -> None:
        """Make an image of `size` bytes. Raises `AlreadyExists`, `PoolNotFound` for a data pool that is not there."""
        self._require_pool(data_pool)
        with _translated(f"create image {image}"):
            rbd.RBD().create(
                self._ioctx, image, size, old_format=False, features=_bits(features), data_pool=data_pool or None
            )

    def size(self, image: str) -> int:
        """Its size in bytes. Raises `NotFound`."""
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            return opened.size()

    def info(self, image: str) -> ImageInfo:
        """What is known of it. Raises `NotFound`."""
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            labels = dict(opened.metadata_list())
            return ImageInfo(
                size=opened.size(),
                created=calendar.timegm(opened.create_timestamp().utctimetuple()),
                source=labels.get(_SOURCE, ""),
                depth=int(labels.get(_DEPTH, "0")),
                features=tuple(name for name, bit in _FEATURES.items() if opened.features() & bit),
                data_pool=self._data_pool(opened),
            )

    def _data_pool(self, opened: rbd.Image) -> str:
        number = opened.data_pool_id()  # the image's own pool, if it has no other
        return "" if number == self._ioctx.get_pool_id() else self._cluster.pool_reverse_lookup(number) or str(number)

    def list_images(self) -> list[str]:
        """The names of all images, without those in the trash."""
        with _translated("list images"):
            return rbd.RBD().list(self._ioctx)

    def resize(self, image: str, size: int) -> None:
        """Give it another size; who has it open for writing does it, on request. Raises `NotFound`."""
        with _translated(f"resize image {image}"), rbd.Image(self._ioctx, image) as opened:
            opened.resize(size)

    def remove(self, image: str) -> None:
        """Remove it; also the half of one that a create cut short has left.

        Raises `NotFound`, `HasSnapshots`, `FailedPrecondition` when it is in use.
        """
        with _translated(f"remove image {image}"):
            rbd.RBD().remove(self._ioctx, image)

    def remove_trashed(self, image: str) -> None:
        """Go on with a removal that was cut short, which leaves the image in the trash; one with clones stays there."""
        for image_id in [image_id for image_id, name, _ in self._trashed() if name == image]:
            with suppress(NotFound, FailedPrecondition), _translated(f"remove image {image} from the trash"):
                rbd.RBD().trash_remove(self._ioctx, image_id, force=True)

    def empty_trash(self) -> None:
        """Remove what waited in the trash for its clones and has none any more.

        librbd does so with the last clone, but not if somebody else has the image open at that moment, as who removes
        another clone has; then nobody would come back to it. What a removal in progress has open still is left to that
        one: each ends with this.
        """
        with _emptying:
            for image_id, name, source in self._trashed():
                if source != _FOR_ITS_CLONES or not name.startswith("csi-") or self._has_snapshots(image_id):
                    continue
                with suppress(NotFound, FailedPrecondition), _translated(f"remove image {name} from the trash"):
                    rbd.RBD().trash_remove(self._ioctx, image_id, force=True)

    def _has_snapshots(self, image_id: str) -> bool:
        """Whether it has any, which clones stand on; asked read-only, so that nobody finds the image in use."""
        try:
            with _translated("open"), rbd.Image(self._ioctx, image_id=image_id, read_only=True) as opened:
                return any(True for _ in opened.list_snaps())
        except NotFound:
            return False

    def _trashed(self) -> list[tuple[str, str, int]]:
        """Id and name of each image in the trash, and what has put it there (cls::rbd::TrashImageSource).

        Not by `RBD.trash_list`, which has no word for images that are there for the sake of their clones, and raises
        IndexError (18.2.7). An entry is a cls::rbd::TrashImageSpec (src/cls/rbd/cls_rbd_types.h): a header of six
        bytes, the source (one), the name's length (four, little-endian), the name, and more.
        """
        with _translated("list the trash"), rados.ReadOpCtx() as operation:
            entries, _ = self._ioctx.get_omap_vals(operation, "", "id_", _TRASH_LISTED)
            try:
                self._ioctx.operate_read_op(operation, "rbd_trash")
            except rados.ObjectNotFound:
                return []
            return [
                (key.removeprefix("id_"), entry[11 : 11 + int.from_bytes(entry[7:11], "little")].decode(), entry[6])
                for key, entry in entries
            ]

    def snapshot(self, image: str, name: str) -> None:
        """Take a snapshot of it as it is now. Raises `NotFound`, `AlreadyExists`."""
        with _translated(f"snapshot {image}@{name}"), rbd.Image(self._ioctx, image) as opened:
            opened.create_snap(name)

    def drop_snapshot(self, image: str, name: str) -> None:
        """Remove a snapshot if it is there; its clones keep what they need of it. Raises `NotFound` for the image."""
        with (
            _translated(f"remove snapshot {image}@{name}"),
            rbd.Image(self._ioctx, image) as opened,
            suppress(rbd.ImageNotFound),
        ):
            opened.remove_snap(name)

    def snapshots(self, image: str) -> list[str]:
        """Its snapshots by name, without those that only its clones need. Raises `NotFound`."""
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            return [it["name"] for it in opened.list_snaps() if it["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER]

    def clone(
        self, parent_pool: str, parent: str, snapshot: str, image: str, features: Sequence[str], data_pool: str = ""
    ) -> None:
        """Make a copy-on-write copy of a snapshot, in this pool. Raises `NotFound`, `AlreadyExists`, `PoolNotFound`."""
        self._require_pool(data_pool)
        with _translated(f"clone {parent_pool}/{parent}@{snapshot} to {image}"):
            origin = self._cluster.open_ioctx(parent_pool)
            try:
                rbd.RBD().clone(
                    *(origin, parent, snapshot, self._ioctx, image),
                    features=_bits(features),
                    data_pool=data_pool or None,
                    clone_format=2,  # in which a snapshot with clones can be removed
                )
            finally:
                origin.close()

    def label(self, image: str, *, source: str, depth: int) -> None:
        """Note what it is a copy of, and how many copies of copies are below it. Raises `NotFound`."""
        with _translated(f"label image {image}"), rbd.Image(self._ioctx, image) as opened:
            opened.metadata_set(_SOURCE, source)
            opened.metadata_set(_DEPTH, str(depth))

    def rename(self, image: str, name: str) -> None:
        """Give it another name. Raises `NotFound`, `AlreadyExists`."""
        with _translated(f"rename image {image} to {name}"):
            rbd.RBD().rename(self._ioctx, image, name)

    def flatten(self, image: str) -> None:
        """Copy everything it shares with what it is a clone of: it depends on nothing then. Raises `NotFound`."""
        with _translated(f"flatten image {image}"), rbd.Image(self._ioctx, image) as opened:
            opened.flatten()

    def use(self, image: str) -> ImageUse:
        """Who has it open. Raises `NotFound`."""
        # Opened read-only, it is not watched by this very connection.
        with _translated(f"image {image}"), rbd.Image(self._ioctx, image, read_only=True) as opened:
            # Before and after the watchers, as librbd does before it breaks a lock: a client that comes in between
            # would seem to hold it without a watch, and so would one that has just closed the image.
            before = _lockers(opened)
            watchers = tuple(Client(int(it["id"]), it["addr"]) for it in opened.watchers_list())
            after = _lockers(opened)
        return ImageUse(watchers=watchers, lockers=tuple(locker for locker in before if locker in after))

    def blocklist(self) -> Blocklist:
        """The clients that the OSDs refuse."""
        return Blocklist.parse(ask_monitors(self._cluster, "osd blocklist ls"))

    def fence(self, image: str, verdict: Verdict) -> None:
        """Shut out the dead clients of a verdict, and break their locks.

        Blocklisting comes first: the OSDs then refuse what a dead client's sockets may still hold, and drop its watch
        at once. Without that, each message to the image's watchers would wait for the dead one.
        """
        with _translated(f"fence image {image}"):
            for client in verdict.dead:
                self._cluster.blocklist_add(client.address, 0)  # 0: the monitors' default time, one hour
            if verdict.broken:
                with rbd.Image(self._ioctx, image) as opened:
                    for locker in verdict.broken:
                        _break(opened, locker)

    def _require_pool(self, name: str) -> None:
        if not name:
            return
        with _translated(f"pool {name}"):
            if not self._cluster.pool_exists(name):
                raise PoolNotFound(name)


class Ceph(Clusters):
    """The way to pools, by the id of their cluster."""

    settings = _REMOVING

    def pools(self, cluster_id: str, credentials: Credentials) -> list[str]:
        """The names of the cluster's pools. Raises as `pool` does."""
        with self._connection(cluster_id, credentials) as cluster, _translated("list pools"):
            return cluster.list_pools()

    @contextmanager
    def pool(self, cluster_id: str, pool: str, credentials: Credentials) -> Iterator[Pool]:
        """A connection to a pool. Raises `PoolNotFound`, `Unavailable`, `Unauthenticated`, `InvalidArgument`."""
        with self._connection(cluster_id, credentials) as cluster:
            try:
                ioctx = cluster.open_ioctx(pool)
            except rados.ObjectNotFound as error:
                raise PoolNotFound(pool) from error
            except rados.Error as error:
                raise error_of(error.errno, f"pool {pool}: {error}") from error
            try:
                yield Pool(cluster, ioctx)
            finally:
                ioctx.close()


def _bits(features: Sequence[str]) -> int:
    bits = 0
    for name in features:
        bits |= _FEATURES[name]
    return bits


def _lockers(opened: rbd.Image) -> tuple[Locker, ...]:
    lockers = opened.list_lockers()
    # librbd returns an empty list, not a dictionary, when there is no lock.
    held = lockers["lockers"] if lockers else []
    return tuple(
        Locker(Client(int(client.removeprefix("client.")), address), cookie) for client, cookie, address in held
    )


def _break(opened: rbd.Image, locker: Locker) -> None:
    with suppress(rbd.ImageNotFound):  # ENOENT: the lock is gone
        opened.break_lock(f"client.{locker.client.id}", locker.cookie)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Ceph's exceptions as the driver's, by their errno."""
    try:
        yield
    except (rados.Error, rbd.Error) as error:
        raise error_of(getattr(error, "errno", None), f"{doing}: {error}") from error
