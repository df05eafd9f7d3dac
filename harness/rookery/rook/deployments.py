"""How Rook names and labels what it makes of the daemons of Ceph, and itself."""


def deployment_of(kind: str, name: object) -> str:
    """Of a daemon ("mon", "b"; "osd", 2); a mon's Service has the same name."""
    return f"{app_of(kind)}-{name}"


def app_of(kind: str) -> str:
    """The label `app` of the Deployments and pods of a kind of daemons ("mon", "osd", "operator", "tools")."""
    return f"rook-ceph-{kind}"


def labels_of(kind: str, *more: str) -> str:
    """The selector of those of that kind, or of those among them that `more` ("mon=b") selects."""
    return ",".join([f"app={app_of(kind)}", *more])
