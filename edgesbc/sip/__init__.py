"""SIP without I/O: messages, framing, transactions and dialogs for any program that speaks SIP (RFC 3261).

The library reads no socket and no clock. Bytes that arrived go in, bytes to send come out, the time is an argument.
A message is an immutable value; what comes from the network can raise :class:`WireError` and nothing else; what an
attacker can make grow is bounded by :class:`Limits`.

**Read.** ``parse_message(datagram)`` returns a :class:`Request` or a :class:`Response`. On a stream, a
:class:`StreamFramer` finds the messages first::

    framer = StreamFramer()
    for data in framer.receive(chunk):
        answer = PONG if data == PING else handle(parse_message(data))

**Write.** ``bytes(message)`` is the wire form. :func:`request`, :func:`response_to`, :func:`ack_for` and
:func:`cancel_for` build messages, a :class:`Dialog` those that belong to it, ``message.replace(...)`` a changed copy::

    busy = response_to(invite, 486, tag=new_tag(secrets.token_bytes(8)))
    sock.sendto(bytes(busy), address)

**Keep to the RFC.** :class:`Transactions` matches messages, absorbs and sends retransmissions and runs the timers of
RFC 3261 section 17; it asks to be called again at ``deadline()``. Endpoints are objects of the caller, of any class
with what :class:`Endpoint` asks for.

Values of single header fields are parsed by functions of the modules :mod:`edgesbc.sip.headers` (From, To, Via, CSeq),
:mod:`edgesbc.sip.values` (other fields of RFC 3261), :mod:`edgesbc.sip.extensions` (later RFCs) and
:mod:`edgesbc.sip.digest` (challenges and credentials). ``docs/reference/library.md`` has a whole program, and a line
about each name.
"""

from edgesbc.base.errors import WireError
from edgesbc.sip.build import ack_for, cancel_for, new_branch, new_tag, request, response_to, response_to_malformed
from edgesbc.sip.dialog import Dialog
from edgesbc.sip.framing import PING, PONG, StreamFramer
from edgesbc.sip.headers import NameAddr, Via, parse_name_addr
from edgesbc.sip.limits import Limits
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Message, Request, Response
from edgesbc.sip.parse import parse_message
from edgesbc.sip.transaction import (
    NOBODY,
    ClientTransaction,
    Endpoint,
    ServerTransaction,
    ServerUser,
    TransactionUser,
)
from edgesbc.sip.transactions import Transactions
from edgesbc.sip.uri import Uri, parse_uri

__all__ = [
    "NOBODY",
    "PING",
    "PONG",
    "ClientTransaction",
    "Dialog",
    "Endpoint",
    "Limits",
    "Message",
    "NameAddr",
    "Request",
    "Response",
    "ServerTransaction",
    "ServerUser",
    "StreamFramer",
    "TransactionState",
    "TransactionUser",
    "Transactions",
    "Uri",
    "Via",
    "WireError",
    "ack_for",
    "cancel_for",
    "new_branch",
    "new_tag",
    "parse_message",
    "parse_name_addr",
    "parse_uri",
    "request",
    "response_to",
    "response_to_malformed",
]
