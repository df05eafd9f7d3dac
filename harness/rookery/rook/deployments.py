"""The names of the Deployments that Rook makes of Ceph's daemons."""


def deployment_of(kind: str, name: object) -> str:
    """Of a daemon ("mon", "b"; "osd", 2); a mon's Service has the same name."""
    return f"rook-ceph-{kind}-{name}"
