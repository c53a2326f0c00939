"""Checks the responses of the edge: their destination, their number and their content, request by request."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.address import Flow
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Request, Response
from fuzz.environment import EDGE_HOSTS
from fuzz.known_devices import KnownDevices
from fuzz.output_oracle import OutputOracle
from fuzz.step import Step

__all__ = ["Answers"]

_Key = tuple[object, ...]


class _ReceivedRequest:
    """A request that the edge received, and the final responses that it sent to it."""

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
    """The requests that the edge received, by source, topmost Via and method, and the responses of destinations."""

    def __init__(self, output: OutputOracle, devices: KnownDevices) -> None:
        self._output = output
        self._devices = devices
        self._received: dict[_Key, _ReceivedRequest] = {}
        self._by_server: dict[ServerTransaction, _ReceivedRequest] = {}
        self._lost: dict[tuple[int, str], list[Flow]] = {}
        self._from_destinations: set[tuple[int, str | None, str, str | None]] = set()

    # --- what comes in -----------------------------------------------------------------------------------

    def record_request(self, flow: Flow, request: Request, step: Step) -> None:
        """Record a request that the edge processed, before the responses to it are checked."""
        if request.method == "ACK":
            return
        retransmitted = (
            self._by_server.get(step.server) if step.server is not None and request.method != "CANCEL" else None
        )
        if retransmitted is not None:
            retransmitted.repeats += 1
            return
        server = step.edge.parts.transactions.find_server(request, flow) if request.method != "CANCEL" else None
        received = self._received[_request_key(flow, request)] = _ReceivedRequest(flow, request, server, step.unproven)
        if server is not None:
            self._by_server[server] = received

    def record_response(self, response: Response, malformed: bool) -> None:
        """Record a response of a destination that matched a request of the edge. A malformed refusal may go on as a
        502."""
        key = _response_key(response)
        if not malformed:
            self._from_destinations.add(key)
        elif response.status >= 300:
            self._from_destinations |= {key, (502, *key[1:])}

    def lost(self, flow: Flow) -> None:
        """Record a connection that has closed: answers to a trunk may go by another one to its address."""
        self._lost.setdefault((flow.listener.id, flow.peer.host), []).append(flow)

    def _request_of(self, flow: Flow, response: Response) -> _ReceivedRequest | None:
        received = self._received.get(_request_key(flow, response))
        if received is None and flow.serial:
            earlier = self._lost.get((flow.listener.id, flow.peer.host), ())
            received = next(filter(None, (self._received.get(_request_key(one, response)) for one in earlier)), None)
        if received is None:
            former = self._devices.former(flow)
            received = next(filter(None, (self._received.get(_request_key(one, response)) for one in former)), None)
        return received

    # --- what goes out -----------------------------------------------------------------------------------

    def check(self, flow: Flow, response: Response, data: bytes) -> None:
        """Check a response that the edge sends for the first time."""
        received = self._request_of(flow, response)
        assert received is not None, f"{response!r} to {flow!r}, which sent no such request"
        request = received.request
        self._check_destination(flow, received)
        vias = request.get_all("Via")
        vias[0] = str(request.via.received_from(*received.flow.peer))
        assert response.get_all("Via") == vias, f"Via of {response!r}"
        given = response.status > 100 and _response_key(response) in self._from_destinations
        # A request that comes again may get a challenge of the inside first and then one like it, by the same key.
        if given and not (self._is_disguised(response) and self._output.is_new_challenge(flow, response)):
            self._check_given(flow, received, response)
        elif self._is_disguised(response):
            self._output.check_disguised(flow, response)
        else:
            self._check_invented(response, request)
            self._output.check_own(flow, response, request)
        if response.status >= 200:
            self._count(received, response, data)

    def _check_given(self, flow: Flow, received: _ReceivedRequest, response: Response) -> None:
        """Check a response of a destination. One that waited for a device has the Contact of a former flow's
        listener."""
        former = self._devices.former(flow) if self._devices.are_of_one(received.flow, flow) else []
        for built_for in [flow, *former]:
            try:
                self._output.check_given(built_for, response, received.request)
            except AssertionError:
                if built_for is [flow, *former][-1]:
                    raise
            else:
                return

    def _is_disguised(self, response: Response) -> bool:
        """Whether it replaces a response of the inside that would show that a user is unknown or refused."""
        if response.cseq_method != "REGISTER" or response.status not in (401, 403):
            return False
        return any((status, *_response_key(response)[1:]) in self._from_destinations for status in (403, 404, 410, 604))

    def count_repeated(self, flow: Flow, response: Response, data: bytes) -> None:
        """Count a retransmission: the same bytes as before to the same flow."""
        received = self._request_of(flow, response)
        assert received is not None
        if response.status >= 200:
            self._count(received, response, data)

    def _check_destination(self, flow: Flow, received: _ReceivedRequest) -> None:
        """Check that a response goes to the source of its request, at the source's port or the port of Via.

        RFC 3261 section 18.2.2, RFC 3581 section 4. The connection may be closed by then; the response is then lost, or
        goes by another one to the port of Via, or by the one by which its sender has registered since.
        """
        if self._devices.are_of_one(received.flow, flow):
            return
        via, source = received.request.via, received.flow
        ports = {source.peer.port}
        if flow.serial != source.serial or (not source.serial and via.param("rport") is None):
            ports = {via.port or source.listener.transport.default_port}
        assert flow.peer.port in ports, f"a response to {flow!r} instead of {source!r}"

    @staticmethod
    def _check_invented(response: Response, request: Request) -> None:
        """A response that no destination gave is 100, a refusal, or answers CANCEL or OPTIONS to the edge itself."""
        status, method = response.status, request.method
        if status == 100:
            return
        to_edge = request.uri.host in EDGE_HOSTS.values()
        own = method == "CANCEL" or (method == "OPTIONS" and to_edge and not request.in_dialog)
        assert status >= 300 or (status == 200 and own), f"{response!r} that no destination gave to {request!r}"

    def _count(self, received: _ReceivedRequest, response: Response, data: bytes) -> None:
        """Check that a request gets one class of final response, one refusal, and few copies if it is unproven."""
        request, status = received.request, response.status
        received.finals[data] = received.finals.get(data, 0) + 1
        if status < 300:
            received.successes += 1
        else:
            received.refusals.add(data)
        distinct = len(received.refusals) + bool(received.successes)
        assert distinct == 1, f"{request!r} of {received.flow!r} has several final responses: {[*received.finals]}"
        if request.method != "INVITE":
            assert len(received.finals) == 1, f"{request!r} has several responses: {[*received.finals]}"
        if not received.unproven:
            return
        limit = 1 + received.repeats
        if request.method == "INVITE" and status < 300:
            limit = 2
        count = sum(received.finals.values())
        assert count <= limit, f"{received.flow!r}, which is unproven, gets {response!r} {count} times"

    # --- at the end --------------------------------------------------------------------------------------

    def check_end(self, closed: Iterable[int]) -> None:
        """Check that every INVITE has a final response, unless its connection is in ``closed``, or the one that its
        device has registered by since."""
        closed_serials = set(closed)
        for received in self._received.values():
            if (
                received.request.method == "INVITE"
                and received.server is not None
                and closed_serials.isdisjoint((received.flow.serial, received.server.flow.serial))
            ):
                assert received.finals, f"{received.request!r} of {received.flow!r} had no final response"


def _request_key(flow: Flow, message: Request | Response) -> _Key:
    via = message.via
    params = tuple(pair for pair in via.params if pair[0] not in ("received", "rport"))
    return (
        flow.listener.id, flow.peer.host, flow.serial, via.transport, via.sent_by, params, message.cseq_method,
        *(() if via.branch.startswith("z9hG4bK") else (message.call_id, message.from_tag, message.cseq)),
    )  # fmt: skip


def _response_key(response: Response) -> tuple[int, str | None, str, str | None]:
    return response.status, response.get("To"), response.call_id, response.get("CSeq")
