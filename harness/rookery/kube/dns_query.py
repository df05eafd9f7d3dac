"""`python3 dns_query.py NAME`: ask the name server of this pod for the A records of NAME, and print its answer as JSON.

Runs inside a pod, of whatever image has Python, so it needs the standard library alone. A resolver library would not
do: it answers "not found" alike for a name that does not exist and for a server that does not answer.

https://www.rfc-editor.org/rfc/rfc1035#section-4
"""

import json
import secrets
import socket
import struct
import sys

SECONDS = 3.0
RCODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
A, IN = 1, 1


def query(name, number):
    """The message that asks for the A records of `name`."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").strip(b".").split(b"."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", A, IN)


def parse(message):
    """The response code and the addresses of an answer."""
    _, flags, questions, answers, _, _ = struct.unpack(">6H", message[:12])
    position = 12
    for _ in range(questions):
        position = _after_name(message, position) + 4
    addresses = []
    for _ in range(answers):
        position = _after_name(message, position)
        kind, _, _, length = struct.unpack(">2HIH", message[position : position + 10])
        position += 10
        if kind == A:
            addresses.append(socket.inet_ntoa(message[position : position + length]))
        position += length
    code = flags & 0xF
    return {"code": RCODES.get(code, str(code)), "addresses": sorted(addresses)}


def _after_name(message, position):
    while message[position]:
        if message[position] & 0xC0:  # a pointer to an earlier name, which ends this one
            return position + 2
        position += message[position] + 1
    return position + 1


def name_server(path="/etc/resolv.conf"):
    with open(path) as file:
        words = [line.split() for line in file]
    return next(word[1] for word in words if len(word) > 1 and word[0] == "nameserver")


def ask(name, server, port=53, seconds=SECONDS):
    """The answer of `server`; one that does not come within `seconds` is code TIMEOUT."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    number = secrets.randbelow(1 << 16)
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect((server, port))
        try:
            client.send(query(name, number))
            message = client.recv(4096)
        except OSError:
            return {"code": "TIMEOUT", "addresses": []}
    if struct.unpack(">H", message[:2]) != (number,):
        return {"code": "TIMEOUT", "addresses": []}
    return parse(message)


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], name_server())))
