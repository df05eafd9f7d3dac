"""`python3 ask_ceph.py mon|mgr COMMAND`: asks the mons or the mgr a question (JSON), and prints the answer (JSON).

Runs inside Rook's toolbox, so it needs Ceph's Python bindings and nothing else. What is asked once a second while two
cores start a cluster should cost no more than it must: the `ceph` command first has the mons send the descriptions of
all commands there are, and takes four times the processor time of this (0.22 and 0.05 s).

https://docs.ceph.com/en/latest/rados/api/python/ (mon_command, mgr_command)
"""

import json
import os
import sys

import rados

CONNECT_SECONDS = 5  # as long as the `ceph` command is given


def main() -> None:
    target, command = sys.argv[1], json.dumps({**json.loads(sys.argv[2]), "format": "json"})
    patience = {"client_mount_timeout": str(CONNECT_SECONDS)}
    with rados.Rados(conffile=rados.Rados.DEFAULT_CONF_FILES, conf=patience) as ceph:
        ask = ceph.mon_command if target == "mon" else ceph.mgr_command
        status, answer, error = ask(command, b"", timeout=CONNECT_SECONDS)
    if status:
        sys.exit(f"{target}: {os.strerror(-status)}: {error}")
    print(answer.decode())


main()
