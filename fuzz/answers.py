"""Answers: which answers each request may get, and how many."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.address import Flow
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Request, Response
from fuzz.environment import EDGE_HOSTS
from fuzz.output_oracle import OutputOracle
from fuzz.step import Step

__all__ = ["Answers"]

_Key = tuple[object, ...]


class _ReceivedRequest:
    """A request that came in, and the answers that its sender has received."""

    def __init__(self, flow: Flow, request: Request, server: ServerTransaction | None, unproven: bool) -> None:
        self.flow = flow
        self.request = request
        self.server = server
        self.unproven = unproven
        self.repeats = 0
        self.finals: dict[bytes, int] = {}
        self.successes = 0
        self.refusals: set[bytes] = set()


class Answers:
    """Every request by its sender, topmost Via and method, and every answer that a destination gave."""

    def __init__(self, wording: OutputOracle) -> None:
        self._wording = wording
        self._requests: dict[_Key, _ReceivedRequest] = {}
        self._by_server: dict[ServerTransaction, _ReceivedRequest] = {}
        self._given: set[tuple[int, str | None, str, str | None]] = set()

    # --- what comes in -----------------------------------------------------------------------------------

    def take_request(self, flow: Flow, request: Request, step: Step) -> None:
        """The edge has dealt with a request; what it is sent because of it is still to be looked at."""
        if request.method == "ACK":
            return
        known = self._by_server.get(step.server) if step.server is not None and request.method != "CANCEL" else None
        if known is not None:
            known.repeats += 1
            return
        server = step.edge.parts.transactions.find_server(request) if request.method != "CANCEL" else None
        received = self._requests[_key(flow, request)] = _ReceivedRequest(flow, request, server, step.unproven)
        if server is not None:
            self._by_server[server] = received

    def take_response(self, response: Response) -> None:
        """A destination has answered a request of the edge, from the right place."""
        self._given.add(_said(response))

    # --- what goes out -----------------------------------------------------------------------------------

    def check(self, flow: Flow, response: Response, data: bytes) -> None:
        received = self._requests.get(_key(flow, response))
        assert received is not None, f"{response!r} to {flow!r}, which asked nothing"
        request = received.request
        self._check_way(flow, received)
        vias = request.get_all("Via")
        vias[0] = str(request.via.received_from(*received.flow.peer))
        assert response.get_all("Via") == vias, f"Via of {response!r}"
        if response.status > 100 and _said(response) in self._given:
            self._wording.check_given(flow, response, request)
        elif self._is_disguised(response):
            self._wording.check_disguised(flow, response)
        else:
            self._check_invented(response, request)
            self._wording.check_own(flow, response, request)
        if response.status >= 200:
            self._count(received, response, data)

    def _is_disguised(self, response: Response) -> bool:
        """Whether it stands in for what the inside said of a user that it does not know, or refuses."""
        if response.cseq_method != "REGISTER" or response.status not in (401, 403):
            return False
        return any((status, *_said(response)[1:]) in self._given for status in (403, 404, 410, 604))

    def again(self, flow: Flow, response: Response, data: bytes) -> None:
        """The same bytes as before to the same flow."""
        received = self._requests.get(_key(flow, response))
        assert received is not None
        if response.status >= 200:
            self._count(received, response, data)

    @staticmethod
    def _check_way(flow: Flow, received: _ReceivedRequest) -> None:
        """By the connection, or to the address that the request came from and its port or that of Via.

        A connection may be closed by then: what is still said to it is lost.
        """
        via, source = received.request.via, received.flow
        ports = {source.peer.port}
        if not source.serial and via.param("rport") is None:
            ports = {via.port or source.listener.transport.default_port}
        assert flow.peer.port in ports, f"an answer to {flow!r} and not to {source!r}"

    @staticmethod
    def _check_invented(response: Response, request: Request) -> None:
        """What no destination gave is 100, a refusal, or of a CANCEL or an OPTIONS for the edge itself."""
        status, method = response.status, request.method
        if status == 100:
            return
        ours = request.uri.host in EDGE_HOSTS.values()
        own = method == "CANCEL" or (method == "OPTIONS" and ours and not request.in_dialog)
        assert status >= 300 or (status == 200 and own), f"{response!r} that nobody gave to {request!r}"

    def _count(self, received: _ReceivedRequest, response: Response, data: bytes) -> None:
        """One class of final answer, one wording of a refusal, and few repetitions to a source that is not proven."""
        request, status = received.request, response.status
        received.finals[data] = received.finals.get(data, 0) + 1
        if status < 300:
            received.successes += 1
        else:
            received.refusals.add(data)
        kinds = len(received.refusals) + bool(received.successes)
        assert kinds == 1, f"{request!r} of {received.flow!r} has several final answers: {[*received.finals]}"
        if request.method != "INVITE":
            assert len(received.finals) == 1, f"{request!r} has several answers: {[*received.finals]}"
        if not received.unproven:
            return
        most = 1 + received.repeats
        if request.method == "INVITE" and status < 300:
            most = 2
        told = sum(received.finals.values())
        assert told <= most, f"{received.flow!r}, which has proven nothing, is told {told} times of {response!r}"

    # --- when all is over --------------------------------------------------------------------------------

    def check_end(self, closed: Iterable[int]) -> None:
        """Who has asked with INVITE, and is still there, has had a final answer."""
        gone = set(closed)
        for received in self._requests.values():
            if received.request.method == "INVITE" and received.server is not None and received.flow.serial not in gone:
                assert received.finals, f"{received.request!r} of {received.flow!r} had no final answer"


def _key(flow: Flow, message: Request | Response) -> _Key:
    via = message.via
    params = tuple(pair for pair in via.params if pair[0] not in ("received", "rport"))
    return (
        flow.listener.id, flow.peer.host, flow.serial, via.transport, via.sent_by, params, message.cseq_method,
        *(() if via.branch.startswith("z9hG4bK") else (message.call_id, message.from_tag, message.cseq)),
    )  # fmt: skip


def _said(response: Response) -> tuple[int, str | None, str, str | None]:
    return response.status, response.get("To"), response.call_id, response.get("CSeq")
