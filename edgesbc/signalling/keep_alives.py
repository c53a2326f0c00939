"""KeepAlives: messages to phones behind NAT, so that their NAT keeps the binding by which calls reach them.

They go to registered UDP flows only. Connections have keep-alives of their own (``streams/session.py``).
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import Flow, FlowKey, host_port
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.identifiers import Identifiers
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.request_sender import RequestSender
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.sip.build import request_fields
from edgesbc.sip.message import Request, Response, serialise

__all__ = ["NO_KEEP_ALIVES", "KeepAliveMethod", "KeepAliveSettings", "KeepAlives"]

_EMPTY_LINES: Final = b"\r\n\r\n"
_ANSWER_SECONDS: Final = 8.0
"""How long a phone has for its answer to OPTIONS; the request goes out five times in that time."""
_LOST: Final = 3
"""OPTIONS without an answer, one after the other, after which a flow is gone."""


class KeepAliveMethod(enum.StrEnum):
    """What is sent."""

    CRLF = "crlf"
    """Two empty lines, as RFC 5626 section 3.5.1 has them on streams: phones ignore them."""
    OPTIONS = "options"
    """A request, which a phone that is there answers. One that does not answer loses its registration here."""
    OFF = "off"


class KeepAliveSettings(NamedTuple):
    """``method`` says what is sent, ``interval`` how many seconds lie between two of them."""

    method: KeepAliveMethod
    interval: float


NO_KEEP_ALIVES: Final = KeepAliveSettings(KeepAliveMethod.OFF, 0.0)


class _KeptFlow:
    """A flow behind NAT, with the deadline of its next keep-alive. ``uri`` is the Request-URI of OPTIONS."""

    __slots__ = ("_owner", "due", "flow", "lost", "queued", "uri")

    def __init__(self, owner: KeepAlives, flow: Flow, uri: str) -> None:
        self._owner = owner
        self.flow = flow
        self.uri = uri
        self.lost = 0
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        self._owner.keep(self, now)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        self.lost = 0

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        self.lost += 1


class KeepAlives:
    """The registered UDP flows behind NAT, at most ``limits.REGISTERED_FLOWS``. ``settings`` may be replaced at any
    time."""

    __slots__ = ("_deadlines", "_effects", "_flows", "_identifiers", "_live", "_sender", "settings")

    def __init__(
        self,
        settings: KeepAliveSettings,
        deadlines: Deadlines[Expiring],
        effects: EffectQueue,
        live: LivePipeline,
        sender: RequestSender,
        identifiers: Identifiers,
    ) -> None:
        self.settings = settings
        self._deadlines = deadlines
        self._effects = effects
        self._live = live
        self._sender = sender
        self._identifiers = identifiers
        self._flows: dict[FlowKey, _KeptFlow] = {}

    def __len__(self) -> int:
        """Number of flows that are kept open."""
        return len(self._flows)

    def registered(self, flow: Flow, request: Request, now: float) -> None:
        """A REGISTER has registered a flow: keep it open if it comes through a NAT.

        The topmost Via shows that: it has the address from which the phone believes to send.
        """
        via = request.via
        port = via.port or flow.listener.transport.default_port
        if flow.serial or (via.host == flow.peer.host and port == flow.peer.port):
            self._remove(flow)
        else:
            self.add(flow, now)

    def add(self, flow: Flow, now: float) -> None:
        """Keep a registered flow open."""
        if self.settings.method is KeepAliveMethod.OFF or len(self._flows) >= limits.REGISTERED_FLOWS:
            return
        kept = self._flows.get(flow.key)
        if kept is None:
            kept = self._flows[flow.key] = _KeptFlow(self, flow, f"sip:{host_port(flow.peer.host, flow.peer.port)}")
            # Spread over the interval: after a restart all flows are added at the same time.
            part = (self._identifiers.entropy(1)[0] + 1) / 256
            self._deadlines.schedule(kept, now + self.settings.interval * part)
        kept.lost = 0

    def _remove(self, flow: Flow) -> None:
        kept = self._flows.pop(flow.key, None)
        if kept is not None:
            self._deadlines.schedule(kept, None)

    def keep(self, kept: _KeptFlow, now: float) -> None:
        """Send the next keep-alive of a flow, unless it is registered no more or gone."""
        flow, method = kept.flow, self.settings.method
        standings = self._live.standings
        if kept.lost >= _LOST:
            self._effects.record(now, Reason.FLOW_GONE, flow, detail=f"{_LOST} keep-alives without an answer")
            standings.withdraw(flow)
        if method is KeepAliveMethod.OFF or standings.of(flow, now) is not Standing.REGISTERED:
            self._remove(flow)
            return
        if method is KeepAliveMethod.OPTIONS:
            self._send_options(kept, now)
        else:
            self._effects.send(flow, _EMPTY_LINES)
        self._deadlines.schedule(kept, now + self.settings.interval)

    def _send_options(self, kept: _KeptFlow, now: float) -> None:
        listener = kept.flow.listener
        where = host_port(listener.advertise_host, listener.advertise_port)
        branch, call_id = self._sender.new_branch(), self._identifiers.new_tag()
        from_ = f"<sip:edge@{where}>;tag={self._identifiers.new_tag()}"
        fields = request_fields("OPTIONS", topology.via(listener, branch), from_, f"<{kept.uri}>", call_id, 1)
        data = serialise(f"OPTIONS {kept.uri} SIP/2.0", fields, b"")
        self._sender.send(branch, "OPTIONS", kept.flow, data, kept, now, timeout=_ANSWER_SECONDS)
