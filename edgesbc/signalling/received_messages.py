"""ReceivedMessages: the way of a message from its bytes to the part of the core that its kind belongs to."""

from __future__ import annotations

from edgesbc.base.address import Flow, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.screen.stages.ratelimit import NEVER_CHARGED
from edgesbc.screen.standing import Standing
from edgesbc.signalling.call import check_dialog_fields
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.null_tags import named_tags_of_request, named_tags_of_response
from edgesbc.signalling.statistics import EdgeCounters
from edgesbc.signalling.unreadable_response import read_what_is_left
from edgesbc.signalling.wiring import CoreParts
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["ReceivedMessages"]

# Any other method counts as "other": a peer must not be able to choose a label.
_COUNTED = frozenset(
    "INVITE ACK CANCEL BYE OPTIONS REGISTER PRACK UPDATE INFO REFER NOTIFY MESSAGE SUBSCRIBE PUBLISH".split()
)


class ReceivedMessages:
    """Has each message screened, parsed and matched to a transaction, and gives a new request to the path of its kind.

    It emits effects and returns none. It raises nothing that bytes can cause.
    """

    __slots__ = (
        "_calls", "_counters", "_effects", "_in_dialog", "_invites", "_live", "_others", "_registrations", "_responder",
        "_screener", "_transactions",
    )  # fmt: skip

    def __init__(self, parts: CoreParts, counters: EdgeCounters) -> None:
        self._calls = parts.calls
        self._counters = counters
        self._effects = parts.effects
        self._in_dialog = parts.in_dialog
        self._invites = parts.invites
        self._live = parts.live
        self._others = parts.others
        self._registrations = parts.registrations
        self._responder = parts.responder
        self._screener = parts.screener
        self._transactions = parts.transactions

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """One datagram, or one message that framing has cut from a stream."""
        if flow.listener.zone is Zone.CORE and not self._screener.is_of_core(flow, now):
            return
        if self._screener.packet(flow, data, now):
            self._parse(flow, data, now)
        elif data.startswith(b"INVITE "):
            self._screener.count_refused_call(flow, now)
        self._screener.after_message(now)

    def refuse_stream(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """A stream cannot be framed from ``data`` on."""
        self._take_malformed(flow, data, error, now)
        self._screener.after_message(now)

    def _parse(self, flow: Flow, data: bytes, now: float) -> None:
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 section 3.5.1, and what older clients send)
        try:
            message = parse_message(data)
            check_dialog_fields(message)
            if isinstance(message, Request):
                request = named_tags_of_request(message, flow.listener.zone, self._calls)
                self._take_request(flow, request, len(data), now)
            else:
                self._take_response(flow, named_tags_of_response(message, flow.listener.zone), now)
        except WireError as error:
            self._take_malformed(flow, data, error, now)

    def _take_malformed(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """A message that cannot be parsed: answer a request, and give a response to its branch, if the fields that this
        needs can be read (RFC 3261 section 16.3)."""
        response = None
        if data.lstrip(b"\r\n").startswith(b"SIP/2.0 "):
            response = read_what_is_left(data, error.reason, flow.listener.zone)
        call_id = response.call_id if response is not None else ""
        self._counters.malformed.add()
        self._screener.on_refusal(Reason.MALFORMED)
        self._effects.record(now, Reason.MALFORMED, flow, call_id, error.reason)
        if response is None or self._transactions.receive(response, flow, now) is None:
            self._live.pipeline.malformed(flow, now)
            self._responder.answer_malformed(flow, data, error.status_hint, now)

    def _take_response(self, flow: Flow, response: Response, now: float) -> None:
        client = self._transactions.receive(response, flow, now)
        if client is not None and not flow.serial:
            self._live.standings.prove(flow, Standing.REACHABLE, now)

    def _take_request(self, flow: Flow, request: Request, size: int, now: float) -> None:
        """Phase REQUEST, and then the path of its kind: ACK, in-dialog, INVITE, REGISTER or any other."""
        transactions, screener, method = self._transactions, self._screener, request.method
        if transactions.absorb(request, flow, now, size):
            return  # before screening: it costs no state, and a bucket must not count the messages of a live call
        self._counters.requests.add(flow.listener.name, method if method in _COUNTED else "other")
        incoming = Incoming(request, flow, size, self._live.pipeline.subject(flow, request, now))
        if method == "CANCEL":
            self._cancel(incoming, now)
            return
        if request.in_dialog and method not in NEVER_CHARGED:
            incoming.subject.in_call = self._in_dialog.is_of_call(request, flow)
        if not screener.request(incoming, now):
            return
        if request.max_forwards == 0:  # also where screening refuses nothing: there is no number below it
            screener.refuse(incoming, Reason.TOO_MANY_HOPS, now)
            return
        if method == "ACK":
            self._in_dialog.forward_ack(incoming, now)
            return
        if not self._has_place(incoming, now):
            screener.refuse(incoming, Reason.OVERLOAD, now)
        elif request.in_dialog:
            self._in_dialog.forward(incoming, now)
        elif method == "INVITE":
            self._invites.forward(incoming, now)
        elif method == "REGISTER":
            self._registrations.forward(incoming, now)
        else:
            self._others.forward(incoming, now)

    def _has_place(self, incoming: Incoming, now: float) -> bool:
        """Whether a request may have a transaction.

        Sources without an account share half of the tables, also by connections; the rest is kept for the others, and
        for the calls of those with a proven address. An account has an eighth, and all accounts leave one to trunks
        and the private side; a BYE, which ends what the account has, may have that too.
        """
        transactions = self._transactions
        if incoming.of_stranger:
            return transactions.has_place_in_half()
        holder = self._live.holder_of(incoming.subject, now)
        if holder is None or incoming.message.method == "BYE":
            return not transactions.full
        return transactions.has_place_for(holder)

    def _cancel(self, incoming: Incoming, now: float) -> None:
        """CANCEL belongs to one hop: answer it here, and stop what was forwarded (RFC 3261 section 9.2)."""
        request = incoming.message
        server = self._transactions.find_server(request, incoming.flow, "INVITE")
        if server is None:
            self._screener.on_refusal(Reason.UNMATCHED)
            self._responder.answer_stateless(incoming, Reason.UNMATCHED.status, now)
            return
        self._responder.answer_stateless(incoming, 200, now)
        if server.user is not None:
            server.user.on_cancel(request.get_all("Reason"), now)
