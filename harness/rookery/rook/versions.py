"""The Rook releases this harness knows, and what differs between them.

Sources: the release notes and documentation of each minor, https://rook.io/docs/rook/latest-release/Upgrade/rook-upgrade/
and `pkg/operator/ceph/version/version.go` of its tag for the Ceph releases.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from rookery.errors import UsageError


class Flavour(enum.Enum):
    """How a release deploys ceph-csi, which decides what must be applied, and in which order."""

    CSI_IN_OPERATOR = "the operator deploys ceph-csi itself"
    CSI_OPERATOR_BY_SETTING = "csi-operator.yaml, unless ROOK_USE_CSI_OPERATOR is false"
    CSI_OPERATOR_ALWAYS = "csi-operator.yaml before operator.yaml, which holds objects of its kinds"


@dataclass(frozen=True, order=True)
class Version:
    """A Rook version: `major.minor.patch`."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """From "1.18.8" or "v1.18.8"; raises `UsageError` for anything else."""
        match = re.fullmatch(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})", text.strip())
        if match is None:
            raise UsageError(
                f"--rook {text}: {text!r} is not a Rook version", hint=f"one like 1.18.8; known are {known_versions()}"
            )
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True)
class Release:
    """A minor release of Rook. Ranges are inclusive; Kubernetes as documented, Ceph as its operator accepts."""

    last_patch: Version
    kubernetes: tuple[str, str]
    ceph: tuple[str, ...]
    flavour: Flavour

    @property
    def minor(self) -> str:
        return f"{self.last_patch.major}.{self.last_patch.minor}"


def _release(last: str, kubernetes: tuple[str, str], ceph: tuple[str, ...], flavour: Flavour) -> Release:
    return Release(Version(*map(int, last.split("."))), kubernetes, ceph, flavour)


# Older ones take their Ceph settings from another place than the CephCluster (spec.cephConfig is new in 1.13).
_RELEASES = (
    _release("1.13.10", ("1.23", "1.29"), ("17.2", "18.2"), Flavour.CSI_IN_OPERATOR),
    _release("1.14.12", ("1.25", "1.30"), ("17.2", "18.2"), Flavour.CSI_IN_OPERATOR),
    _release("1.15.9", ("1.26", "1.31"), ("17.2", "18.2", "19.2"), Flavour.CSI_IN_OPERATOR),
    _release("1.16.9", ("1.27", "1.32"), ("18.2", "19.2"), Flavour.CSI_IN_OPERATOR),
    _release("1.17.9", ("1.28", "1.33"), ("18.2", "19.2"), Flavour.CSI_IN_OPERATOR),
    _release("1.18.11", ("1.29", "1.34"), ("18.2", "19.2", "20.2"), Flavour.CSI_OPERATOR_BY_SETTING),
    _release("1.19.10", ("1.30", "1.35"), ("19.2", "20.2"), Flavour.CSI_OPERATOR_BY_SETTING),
    _release("1.20.6", ("1.31", "1.36"), ("19.2", "20.2"), Flavour.CSI_OPERATOR_ALWAYS),
)
RELEASES = {release.minor: release for release in _RELEASES}


def patches() -> list[str]:
    """All versions of the minors that are known, to the last patch seen."""
    return [f"{release.minor}.{patch}" for release in _RELEASES for patch in range(release.last_patch.patch + 1)]


def known_versions() -> str:
    """The known minors with the last patch seen, for messages: "1.13.0 to 1.13.10, ..."."""
    return ", ".join(f"{release.minor}.0 to {release.last_patch}" for release in _RELEASES)


def release_of(version: str) -> Release:
    """The minor release that `version` belongs to. Raises `UsageError`, naming the known ones.

    A patch newer than the last one seen is taken: patches come more often than this table changes.
    """
    parsed = Version.parse(version)
    release = RELEASES.get(f"{parsed.major}.{parsed.minor}")
    if release is None:
        raise UsageError(f"--rook {version}: unknown version", hint=f"known are {known_versions()}")
    return release


_KUBERNETES = re.compile(r"(\d{1,4})\.(\d{1,4})\.\d{1,4}(-[a-z]+\.\d+)?")  # of a pre-release too
_CEPH = re.compile(r"(\d{1,4})\.(\d{1,4})\.\d{1,4}(-\d{8})?")  # with the day of its image, as 19.2.3-20250717
_TO_TRY = "for what is not released yet, --rook-manifests DIR takes any"


def require_kubernetes(version: str, *, rook: str, any_fits: bool = False) -> None:
    """Raise `UsageError` for what is no version of Kubernetes, or none that this Rook is documented for."""
    release = release_of(rook)
    first, last = release.kubernetes
    minor = _minor(_KUBERNETES, version, f"--kubernetes {version}", f"one like {last}.0")
    if not (any_fits or _numbers(first) <= minor <= _numbers(last)):
        raise UsageError(
            f"--kubernetes {version} does not fit Rook {rook}, which takes {first} to {last}",
            hint=f"--kubernetes {last}.0, another --rook, or a --kind-image of your own; {_TO_TRY}",
        )


def require_ceph(version: str | None, *, rook: str, any_fits: bool = False) -> None:
    """Raise `UsageError` for what is no version of Ceph, or none that the operator of this Rook accepts."""
    release = release_of(rook)
    if version is None:
        return
    minor = _minor(_CEPH, version, f"--ceph {version}", f"one like {release.ceph[0]}.0")
    if not (any_fits or minor in map(_numbers, release.ceph)):
        known = ", ".join(release.ceph)
        raise UsageError(
            f"--ceph {version} does not fit Rook {rook}, which takes {known}",
            hint=f"--ceph with a version of {known}, or another --rook; {_TO_TRY}",
        )


def must_permit_aes(rook: str, *, ceph: str) -> bool:
    """Whether the mons of a new cluster take AES256K keys alone, and this Rook makes AES keys.

    Mons of a cluster that is upgraded take the keys that it has.
    https://rook.io/docs/rook/v1.21/Storage-Configuration/Advanced/cephx-key-rotation/
    """
    if _CEPH.fullmatch(ceph) is None:
        return False  # a tag of somebody's own: their Rook is taken to fit it
    numbers, version = _ceph_numbers(ceph), Version.parse(rook)
    aes256k_alone = numbers >= (20, 2, 4) or (19, 2, 6) <= numbers < (20,)
    makes_aes256k = version >= Version(1, 20, 5) or Version(1, 19, 9) <= version < Version(1, 20, 0)
    return aes256k_alone and not makes_aes256k


def takes_ceph(rook: str, version: str) -> bool:
    """Whether the operator of this Rook accepts a version of Ceph."""
    return _ceph_numbers(version)[:2] in map(_numbers, release_of(rook).ceph)


def require_upgrade(rook: str, *, to: str, ceph: str, kubernetes: str, any_kubernetes: bool = False) -> None:
    """Raise `UsageError` for a version to which this Rook is not upgraded: an older one or the same, one beyond the
    next minor, and one that does not take the Ceph and the Kubernetes that are there.

    https://rook.io/docs/rook/v1.18/Upgrade/rook-upgrade/#supported-versions
    """
    before, after = Version.parse(rook), Version.parse(to)
    release = release_of(to)
    if after <= before:
        kind = "the version that it is" if after == before else "an older one"
        raise UsageError(f"Rook {rook} is not upgraded to {to}: {kind}", hint=f"a version after {before}")
    if (after.major, after.minor) > (before.major, before.minor + 1):
        step = RELEASES.get(f"{before.major}.{before.minor + 1}")
        raise UsageError(
            f"Rook {rook} is not upgraded to {to}: that skips a minor",
            hint=f"one minor after the other: to {step.last_patch if step else 'the next one'} first",
        )
    if not takes_ceph(to, ceph):
        raise UsageError(
            f"Rook {rook} is not upgraded to {to}: that takes Ceph {', '.join(release.ceph)}, and {ceph} is there",
            hint="upgrade Ceph first, to a version that both take",
        )
    require_kubernetes(kubernetes, rook=to, any_fits=any_kubernetes)


def require_ceph_upgrade(ceph: str, *, to: str, rook: str) -> None:
    """Raise `UsageError` for a version to which this Ceph is not upgraded: an older one or the same, one more than two
    releases later, and one that this Rook does not take.

    https://docs.ceph.com/en/latest/releases/general/#upgrades
    """
    before, after = _ceph_numbers(ceph), _ceph_numbers(to)
    if after <= before:
        kind = "the version that it is" if after == before else "an older one"
        raise UsageError(f"Ceph {ceph} is not upgraded to {to}: {kind}", hint=f"a version after {ceph}")
    if after[0] > before[0] + 2:
        raise UsageError(
            f"Ceph {ceph} is not upgraded to {to}: more than two releases later",
            hint=f"to {before[0] + 2}.2 first",
        )
    if not takes_ceph(rook, to):
        known = ", ".join(release_of(rook).ceph)
        raise UsageError(f"Ceph {ceph} is not upgraded to {to}: Rook {rook} takes {known}", hint="upgrade Rook first")


def _ceph_numbers(version: str) -> tuple[int, ...]:
    _minor(_CEPH, version, f"Ceph {version}", "one like 18.2.7")
    return _numbers(version.partition("-")[0])


def _minor(pattern: re.Pattern[str], version: str, option: str, hint: str) -> tuple[int, ...]:
    match = pattern.fullmatch(version)
    if match is None:
        raise UsageError(f"{option}: no version", hint=hint)
    return int(match[1]), int(match[2])


def _numbers(minor: str) -> tuple[int, ...]:
    return tuple(map(int, minor.split(".")))
