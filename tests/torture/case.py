"""A case, and how its message is given to the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import attrs
from support.signalling import CALLER, CARRIERS, CORE, MEMBERS, EdgeHarness, invite

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.base.errors import WireError
from edgesbc.screen.stages.method import CALLS
from edgesbc.signalling.effects import Send
from edgesbc.sip.framing import StreamFramer
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["ANSWER", "Case", "Got", "case", "response_case", "stream_case"]

Check = Callable[[Request | Response], None]
ANSWER = "answer"


@attrs.frozen
class Case:
    """One message and what the edge must make of it.

    ``layer`` is where it is decided: framing, parse, transaction or application. ``expected`` is what can
    be seen from outside: ``forwarded`` (to the destination, or an answer to the caller), the status that
    the sender gets, or ``nothing``; on a stream with `` and closed`` where the connection ends. ``over``
    says how it comes: as a datagram, on a stream, or as an answer of the destination. ``checks`` look at what was forwarded.
    """

    section: str
    name: str
    layer: str
    expected: str
    data: bytes
    over: str = "datagram"
    checks: tuple[Check, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.section} {self.name}"

    def run(self) -> Got:
        """Send it through an edge of its own."""
        if self.over == "stream":
            return _by_stream(self.data)
        if self.over == ANSWER:
            return _as_answer(self.data)
        return _seen(_harness(), CALLER, [self.data])


@attrs.frozen
class Got:
    """What the edge did: ``outcome`` in the words of :attr:`Case.expected`, and the messages it forwarded."""

    outcome: str
    forwarded: tuple[Request | Response, ...]
    where: tuple[Flow, ...]


def _harness() -> EdgeHarness:
    """An edge that lets every method pass that a case needs, so that the message decides and not the policy."""
    return EdgeHarness(methods=(*CALLS, "MESSAGE"))


def _seen(harness: EdgeHarness, flow: Flow, messages: Iterable[bytes]) -> Got:
    """The outcome. Responses are compared as bytes, since a response to a malformed request repeats parts of it."""
    effects = [effect for data in messages for effect in harness.edge.receive(flow, data, harness.now)]
    sent = [effect for effect in effects if isinstance(effect, Send)]
    onward = [effect for effect in sent if effect.flow.listener.zone is not flow.listener.zone]
    back = [effect.data for effect in sent if effect.flow.listener.zone is flow.listener.zone]
    outcome = "forwarded" if onward else _status(back)
    return Got(outcome, tuple(parse_message(effect.data) for effect in onward), tuple(effect.flow for effect in onward))


def _status(sent: list[bytes]) -> str:
    """The status of the one answer; a hop's own ACK is none."""
    answers = [data.split(b" ", 2)[1].decode() for data in sent if data.startswith(b"SIP/2.0 ")]
    assert len(answers) <= 1
    return answers[0] if answers else "nothing"


def _by_stream(data: bytes) -> Got:
    """Give the message as a stream in pieces of seven bytes."""
    harness, framer = _harness(), StreamFramer()
    flow = Flow(CARRIERS, Source("198.51.100.7", 40000), 1)
    harness.edge.flow_opened(flow)
    messages: list[bytes] = []
    try:
        for start in range(0, len(data), 7):
            messages += framer.receive(data[start : start + 7])
    except WireError as error:
        effects = harness.edge.stream_broken(flow, framer.broken, error, harness.now)
        return Got(f"{_status([effect.data for effect in effects if isinstance(effect, Send)])} and closed", (), ())
    return _seen(harness, flow, messages)


def _as_answer(data: bytes) -> Got:
    """A response of the destination to an INVITE, whose own fields take the places that the case leaves for them."""
    harness = _harness()
    ((_, request),) = harness.receive(CALLER, invite(extra="Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKb\r\n"))
    for name, value in (
        (b"{via}", str(request.via)), (b"{call_id}", request.call_id), (b"{from}", request.get("From") or ""),
        (b"{to}", request.get("To") or ""),
    ):  # fmt: skip
        data = data.replace(name, value.encode())
    result = _seen(harness, Flow(CORE, MEMBERS[0]), [data])
    assert all(to.listener.zone is Zone.PUBLIC and to == CALLER for to in result.where)
    return result


def case(
    section: str, name: str, layer: str, expected: str, data: bytes | str, *checks: Check, over: str = "datagram"
) -> Case:
    """A text is written with plain line ends, and without the blank line that ends its header fields."""
    if isinstance(data, str):
        data = data.strip("\n").replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    return Case(section, name, layer, expected, data, over, checks)


stream_case = partial(case, over="stream")
response_case = partial(case, over=ANSWER)
