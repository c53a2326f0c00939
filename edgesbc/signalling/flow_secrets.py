"""FlowSecrets: whether a datagram carries what only its flow has been sent: a nonce, a branch, the tags of a dialog.

Somebody who forges the address of a registered flow gets none of what the edge sends there. The look is taken at
datagrams that are refused otherwise, before they are parsed, so it searches a few fields and parses nothing.
"""

from __future__ import annotations

import re
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.screen.standing import FLOW_SECRET, NO_SECRET, Standings
from edgesbc.signalling.call import Call
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.null_tags import is_null
from edgesbc.signalling.transactions import Transactions

__all__ = ["FlowSecrets"]

# Each begins at a line end and none repeats a group, so that a search is linear in the bytes searched.
_nonce: Final = re.compile(
    rb"\r\n(?:proxy-)?authorization[ \t]*:[ \t]*digest[ \t][^\r\n]*?\bnonce=\"([^\"\r\n]+)\"", re.IGNORECASE
)
_branch: Final = re.compile(rb"\r\n(?:via|v)[ \t]*:[^\r\n]*?;branch=([^;,\s]+)", re.IGNORECASE)
_sent_by: Final = re.compile(rb"\r\n(?:via|v)[ \t]*:[ \t]*sip/2\.0/udp[ \t]+([^;,\s]+)", re.IGNORECASE)
_method: Final = re.compile(rb"\r\ncseq[ \t]*:[ \t]*[0-9]+[ \t]+([A-Z]+)\r\n", re.IGNORECASE)
_call_id: Final = re.compile(rb"\r\n(?:call-id|i)[ \t]*:[ \t]*([^\s]+)", re.IGNORECASE)
_from_tag: Final = re.compile(rb"\r\n(?:from|f)[ \t]*:[^\r\n]*?;tag=([^;\s]+)", re.IGNORECASE)
_to_tag: Final = re.compile(rb"\r\n(?:to|t)[ \t]*:[^\r\n]*?;tag=([^;\s]+)", re.IGNORECASE)


class FlowSecrets:
    """Looks for secrets of a flow in its datagrams."""

    __slots__ = ("_calls", "_transactions")

    def __init__(self, calls: Calls, transactions: Transactions) -> None:
        self._calls = calls
        self._transactions = transactions

    def find(self, data: bytes, flow: Flow, standings: Standings) -> int:
        """The secret of ``flow`` that the datagram ``data`` carries in its first ``limits.SECRET_BYTES``:

        - a response: the branch of a request that waits for it there;
        - a request inside a dialog: Call-ID and both tags of a call of this flow. The other party of the call may know
          them as well, so that each call has a number of its own;
        - any other: credentials with a nonce that the flow was given, or, as CANCEL and ACK, the branch of an INVITE of
          this flow that had them.

        ``FLOW_SECRET``, the number of a call, which is below it, or ``NO_SECRET``.
        """
        head = data[: limits.SECRET_BYTES]
        if head.startswith(b"SIP/2.0 "):
            branch, method = _branch.search(head), _method.search(head)
            awaited = branch is not None and method is not None and self._awaits(_text(branch), _text(method), flow)
            return FLOW_SECRET if awaited else NO_SECRET
        nonce = _nonce.search(head)
        if nonce is not None and standings.nonces.has(flow.key, _text(nonce)):
            return FLOW_SECRET
        if _to_tag.search(head) is not None and (number := self._call_number(head, flow)) != NO_SECRET:
            return number
        branch, sent_by = _branch.search(head), _sent_by.search(head)
        if branch is None or sent_by is None:
            return NO_SECRET
        place = _host_and_port(_text(sent_by))
        server = self._transactions.find_datagram_server(_text(branch), place, "INVITE", flow)
        return FLOW_SECRET if server is not None and standings.has_nonce(flow, server.request) else NO_SECRET

    def _awaits(self, branch: str, method: str, flow: Flow) -> bool:
        client = self._transactions.find_client(branch, method)
        return client is not None and client.flow == flow

    def _call_number(self, head: bytes, flow: Flow) -> int:
        call_id, from_tag, to_tag = _call_id.search(head), _from_tag.search(head), _to_tag.search(head)
        if call_id is None or from_tag is None or to_tag is None:
            return NO_SECRET
        own, other = _text(from_tag), _text(to_tag)
        if is_null(other):
            return NO_SECRET
        calls = self._calls.of_tags(_text(call_id), own, other, Zone.PUBLIC)
        call = next((call for call in calls if _is_between(call, own, other, flow)), None)
        return FLOW_SECRET - 1 - (hash(call.call_id) & 0xFFFFFFFF) if call is not None else NO_SECRET


def _is_between(call: Call, own: str, other: str, flow: Flow) -> bool:
    """Whether the side with the tag ``own`` is at ``flow``, and ``other`` is the tag of the other side.

    A forged INVITE begins a call too, whose caller's tag the forger knows, but not the callee's.
    """
    if call.caller.tag == own:
        return call.caller.flow == flow and call.has_fork(other)
    return call.callee is not None and call.callee.flow == flow and call.caller.tag == other


def _text(match: re.Match[bytes]) -> str:
    return match[1].decode("utf-8", "surrogateescape")


def _host_and_port(sent_by: str) -> str:
    """As :attr:`edgesbc.sip.headers.Via.sent_by` writes it."""
    host, closed, port = sent_by.rpartition("]")
    if closed:
        return f"{host[1:]}{port or ':'}"
    return sent_by if ":" in sent_by else f"{sent_by}:"
