"""Proxy: a server inside sends a call out again by the edge (RFC 3261 section 16), to one phone or, in parallel or one
after the other, to several. Call-ID and tags stay, so that the edge has two calls of one name."""

from __future__ import annotations

from edgesbc.sip.message import Message, Request, Response
from edgesbc.sip.uri import parse_uri
from simulation.agent import Agent, ClientTransaction, ServerTransaction

__all__ = ["Fork", "relay_in_dialog", "relay_response"]

_RELAYED = "z9hG4bKrelay"
_RING_SECONDS = 3.0
"""After these a proxy that forks in series tries the next phone."""

_CANCELLED_SECONDS = 32.0
"""64*T1: how long it waits for the final response of a branch that it has cancelled."""

Branch = tuple[str, list[str]]
"""A Request-URI and its Route fields."""


class Fork:
    """The response context of one INVITE outside a dialog (RFC 3261 section 16.7)."""

    def __init__(self, server_transaction: ServerTransaction, branches: list[Branch], parallel: bool) -> None:
        self._server = server_transaction
        self._agent = server_transaction.agent
        self._later = list(branches)
        self._parallel = parallel
        self._clients: list[ClientTransaction] = []
        self._best: Response | None = None
        self._ended = False
        self._agent.proxied.add(server_transaction.request.call_id)
        server_transaction.on_cancel = self._cancel
        server_transaction.say(100, "", [])
        for _ in branches if parallel else branches[:1]:
            self._send_next()

    def _send_next(self) -> None:
        uri, routes = self._later.pop(0)
        agent = self._agent
        branch = f"z9hG4bKfork{agent.wire.word()}"
        own = f"<sip:{agent.host};{'transport=tcp;' if agent.reliable else ''}lr>" if agent.records_route else ""
        data = _sent_on(self._server.request, agent.via(branch), uri, routes, own)
        client = ClientTransaction(agent, data, "INVITE", branch, self._hear)
        agent.client_transactions[branch, "INVITE"] = client
        self._clients.append(client)
        if not self._parallel:
            agent.after(_RING_SECONDS, lambda: self._stop(client))

    def _stop(self, client: ClientTransaction) -> None:
        if client.provisional and not client.final and (client.branch, "CANCEL") not in self._agent.client_transactions:
            self._agent.cancel(client)
            self._agent.after(_CANCELLED_SECONDS, lambda: self._give_up(client))

    def _give_up(self, client: ClientTransaction) -> None:
        """A branch that was cancelled has had no final response: its callee has lost its state (RFC 3261 section
        9.1)."""
        if not client.final:
            client.final = True
            self._hear(None)

    def _cancel(self) -> None:
        self._ended = True
        for client in self._clients:
            self._stop(client)

    def _hear(self, response: Response | None) -> None:
        if response is None:
            pass
        elif response.status < 200:
            if self._ended:
                self._cancel()
            elif response.status > 100:
                self._server.relay(without_via(response))
            return
        elif response.status < 300:
            self._server.relay(without_via(response))
            self._cancel()
            return
        else:
            if self._best is None or response.status < self._best.status:
                self._best = response
            if response.status >= 600:
                self._cancel()
        if self._later and not self._ended:
            self._send_next()
        elif all(client.final for client in self._clients) and not self._server.final:
            if self._best is None:
                self._server.say(408, self._agent.tag("x"), [])
            else:
                self._server.relay(without_via(self._best))


def relay_in_dialog(agent: Agent, request: Request) -> bool:
    """Send a request on whose topmost Route is the agent; False without that. CANCEL and the ACK of a refusal get the
    branch of their INVITE, since it is made of the branch that they came with (RFC 3261 section 16.11)."""
    routes = request.get_all("Route")
    if not routes or f"sip:{agent.host};" not in routes[0]:
        return False
    via = agent.via(f"{_RELAYED}{request.via.branch.removeprefix('z9hG4bK')}")
    agent.wire.carry(agent, _sent_on(request, via, str(request.uri), [f"Route: {value}" for value in routes[1:]]))
    return True


def relay_response(agent: Agent, response: Response) -> None:
    """Send a response on whose request was relayed in its dialog."""
    if response.via.branch.startswith(_RELAYED):
        agent.wire.carry(agent, bytes(without_via(response)))


def without_via(response: Response) -> Response:
    """The response without its topmost Via."""
    fields = list(response.fields)
    del fields[next(index for index, (name, _) in enumerate(fields) if name == "Via")]
    return response.replace(fields=fields)


def _sent_on(request: Request, via: str, uri: str, routes: list[str], record_route: str = "") -> bytes:
    fields = [("Via", via)]
    if record_route:
        fields.append(("Record-Route", record_route))
    fields += [(name, value.strip()) for name, _, value in (line.partition(":") for line in routes)]
    fields += [(name, str(int(value) - 1) if name == "Max-Forwards" else value) for name, value in _kept(request)]
    return bytes(request.replace(uri=parse_uri(uri), fields=fields))


def _kept(message: Message) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.fields if name != "Route"]
