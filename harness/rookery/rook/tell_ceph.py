"""`python3 -c THIS COMMANDS`: give Ceph commands, a JSON list of [command, input] pairs; prints what came of each.

Runs inside Rook's toolbox, as `read_ceph.py` does. What is printed is a JSON list: "" for a command that was taken, or
why it was not.
"""

import json
import sys

import rados


def main(commands: str) -> None:
    answers = []
    with rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="admin") as cluster:
        for command, given in json.loads(commands):
            status, _, error = cluster.mon_command(json.dumps(command), given.encode(), timeout=10)
            answers.append("" if status == 0 else error or f"error {-status}")
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
