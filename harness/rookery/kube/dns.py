"""Names as the cluster's own DNS has them, asked from this machine, which has a route to Services.

A resolver library says "not found" alike for a name that does not exist and for a server that does not answer; so one
question is sent to that one server, and the answer's code is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from rookery.kube.client import Kube
from rookery.kube.errors import retry_while_api_unavailable
from rookery.signatures import NO_SUCH_NAME
from rookery.waiting import NotYet, condition, minutes

SERVICE = "kube-dns"  # of CoreDNS, too
NAMESPACE = "kube-system"
_ANSWER_SECONDS = 3.0
ANSWERED = minutes(3)


@dataclass(frozen=True)
class Answer:
    """What the name server says: a response code ("NOERROR", "NXDOMAIN"), and the addresses of a name that exists."""

    code: str
    addresses: frozenset[str]


class Resolver:
    """Asks the name server that every pod asks."""

    def __init__(self, kube: Kube, *, port: int = 53) -> None:
        self._kube = kube
        self._port = port

    @retry_while_api_unavailable()
    def lookup(self, name: str) -> Answer:
        """Condition: the name server answers for `name` (A records), be it that there is no such name.

        `NotYet` while it does not, or says that it cannot (SERVFAIL), as CoreDNS does until it has read the Services.
        """
        server = self._server()
        try:
            message = dns.query.udp(dns.message.make_query(name, "A"), server, _ANSWER_SECONDS, port=self._port)
        except (dns.exception.DNSException, OSError) as error:
            raise NotYet(f"{name}: no answer of {server}: {error or type(error).__name__}") from error
        code = dns.rcode.to_text(message.rcode())
        if code not in ("NOERROR", NO_SUCH_NAME.text):
            raise NotYet(f"{name}: the name server says {code}")
        records = [record for answer in message.answer if answer.rdtype == dns.rdatatype.A for record in answer]
        return Answer(code, frozenset(record.to_text() for record in records))

    @condition("DNS to say that there is no {name}", within=ANSWERED)
    def no_such_name(self, name: str) -> None:
        """The name server says that `name` does not exist (NXDOMAIN)."""
        answer = self.lookup(name)
        if answer.code != NO_SUCH_NAME.text:
            raise NotYet(f"{name} is {sorted(answer.addresses)}")

    def _server(self) -> str:
        found = self._kube.get("Service", SERVICE, namespace=NAMESPACE)
        if found is None:
            raise NotYet(f"there is no Service {SERVICE}")
        return found["spec"]["clusterIP"]
