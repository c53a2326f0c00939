"""Agent: a small user agent by RFC 3261, with client and server transactions, their timers, and dialogs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message
from simulation import messages
from simulation.clock import Clock, Timer

__all__ = ["T1", "Agent", "ClientTransaction", "Dialog", "ServerTransaction", "Wire", "accept_change"]

T1, T2 = 0.5, 4.0


class Wire(Protocol):
    """Carries an agent's messages to the edge, and has the clock."""

    clock: Clock

    def carry(self, agent: Agent, data: bytes) -> None: ...

    def word(self) -> str:
        """A new word, for a branch, tag or Call-ID."""


class ClientTransaction:
    """A client transaction: sent until it is answered."""

    def __init__(self, agent: Agent, data: bytes, method: str, branch: str, then: Callable[[Response | None], None]):
        self.agent = agent
        self.data = data
        self.method = method
        self.branch = branch
        self.provisional = self.final = False
        self._then = then
        self._wait = T1
        agent.wire.carry(agent, data)
        self._resend = None if agent.reliable else agent.after(T1, self._again)
        self._end = agent.after(64 * T1, self._give_up)

    def _again(self) -> None:
        self.agent.wire.carry(self.agent, self.data)
        self._wait = 2 * self._wait if self.method == "INVITE" else min(2 * self._wait, T2)
        self._resend = self.agent.after(self._wait, self._again)

    def _give_up(self) -> None:
        self.stop()
        if not self.final:
            self.final = True
            self._then(None)

    def stop(self) -> None:
        for timer in (self._resend, self._end):
            if timer is not None:
                timer.cancel()

    def hear(self, response: Response) -> None:
        if response.status < 200:
            self.provisional = True
            if self.method != "INVITE":
                return
            self.stop()
        elif self.method == "INVITE" or not self.final:
            self.stop()
            first, self.final = not self.final, True
            if response.status >= 300 and self.method == "INVITE":
                self.agent.wire.carry(self.agent, messages.refusal_ack(self.data, response))
                if not first:
                    return
        else:
            return
        self._then(response)


class ServerTransaction:
    """A server transaction: keeps its last answer, and repeats a final one of an INVITE until it is acknowledged."""

    def __init__(self, agent: Agent, request: Request) -> None:
        self.agent = agent
        self.request = request
        self.final = self.refused = self.acknowledged = False
        self.on_cancel: Callable[[], None] | None = None
        """Ends it in the place of a 487."""
        self._last = b""
        self._timers: list[Timer] = []

    @property
    def has_spoken(self) -> bool:
        """Whether it has said anything: only then may a CANCEL come (RFC 3261 section 9.1)."""
        return bool(self._last)

    def again(self) -> None:
        if self._last:
            self.agent.wire.carry(self.agent, self._last)

    def say(self, status: int, tag: str, lines: list[str], body: str = "") -> None:
        """``lines`` are header fields beside those that every answer has."""
        data = messages.answer(self.request, status, tag, lines, body)
        if 200 <= status < 300 and self.request.cseq == 1 and self.request.method in ("INVITE", "MESSAGE", "OPTIONS"):
            self.agent.answered.add((self.request.call_id, tag))
        self.agent.wire.carry(self.agent, data)
        self._last = data
        if status >= 200:
            self.final = True
            self.refused = status >= 300
            if self.request.method == "INVITE":
                self._repeat(data, T1, 0.0, tag, status)

    def relay(self, response: Response) -> None:
        """Send a response that another agent gave, as a proxy does; that one repeats its 2xx."""
        self._last = bytes(response)
        self.agent.wire.carry(self.agent, self._last)
        self.final = self.final or response.status >= 200
        if response.status >= 300:
            self.refused = True
            self._repeat(self._last, T1, 0.0, response.to_tag, response.status)

    def _repeat(self, data: bytes, wait: float, waited: float, tag: str, status: int) -> None:
        def again() -> None:
            if self.acknowledged and status >= 300:
                return
            dialog = self.agent.dialogs.get((self.request.call_id, tag))
            if status < 300 and (dialog is None or dialog.acknowledged):
                return
            if waited + wait >= 64 * T1:
                if dialog is not None and status < 300:
                    dialog.hang_up()  # RFC 3261 section 13.3.1.4
                return
            if status < 300 or not self.agent.reliable:
                self.agent.wire.carry(self.agent, data)
            self._repeat(data, min(2 * wait, T2), waited + wait, tag, status)

        self._timers.append(self.agent.after(wait, again))

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()


class Dialog:
    """The state of one side of a call, identified by Call-ID and the local tag."""

    def __init__(self, agent: Agent, call_id: str, local: str, remote: str, target: str, cseq: int, tag: str) -> None:
        self.agent = agent
        self.call_id = call_id
        self.local = local  # From or To value with the tag
        self.remote = remote
        self.target = target
        self.cseq = cseq
        self.tag = tag
        self.acknowledged = False
        self.ending = False
        self.offering = False  # whether an offer of its own has no answer so far
        agent.dialogs[call_id, tag] = self

    def ask(
        self, method: str, then: Callable[[Response | None], None], body: str = "", lines: Iterable[str] = ()
    ) -> ClientTransaction:
        self.cseq += 1
        return self.agent.ask(
            method, self.target, self.local, self.remote, self.call_id, self.cseq, [*self.agent.contacts, *lines], body,
            then,
        )  # fmt: skip

    def acknowledge(self, cseq: int, body: str = "") -> None:
        agent = self.agent
        via = agent.via(f"z9hG4bK{agent.wire.word()}")
        agent.wire.carry(
            agent,
            messages.request("ACK", self.target, via, self.local, self.remote, self.call_id, cseq, [], body),
        )

    def hang_up(self) -> None:
        if not self.ending:
            self.ending = True
            self.ask("BYE", lambda response: self.end())

    def end(self) -> None:
        self.ending = True
        self.agent.dialogs.pop((self.call_id, self.tag), None)


class Agent:
    """One user agent. ``on_request`` decides what it does with requests that begin something."""

    def __init__(self, wire: Wire, name: str, host: str, port: int, transport: str, rate: float = 1.0) -> None:
        self.wire = wire
        self.name = name
        self.host, self.port, self.transport = host, port, transport
        self.rate = rate  # how much slower than real time its clock runs
        self.alive = True
        self.excused = False  # crashed, cut off or silent on purpose: its remaining state is not checked
        self.client_transactions: dict[tuple[str, str], ClientTransaction] = {}
        self.server_transactions: dict[tuple[str, str], ServerTransaction] = {}
        self.dialogs: dict[tuple[str, str], Dialog] = {}
        self.on_request: Callable[[ServerTransaction], None] = lambda server_transaction: None
        self.on_change: Callable[[ServerTransaction, Dialog], None] = accept_change
        """Answers an INVITE or UPDATE of a dialog."""
        self.on_refer: Callable[[ServerTransaction, Dialog], None] = lambda server_transaction, dialog: None
        self.awaited_pracks: dict[tuple[str, str], Callable[[], None]] = {}
        """What follows the PRACK of a dialog, by Call-ID and local tag."""
        self.answered: set[tuple[str, str]] = set()
        """Call-ID and local tag of the 2xx to each call, MESSAGE and OPTIONS."""
        self.proxied: set[str] = set()
        """The Call-IDs of the calls that it sent on."""
        self.relay_request: Callable[[Agent, Request], bool] = lambda agent, request: False
        self.relay_response: Callable[[Agent, Response], None] = lambda agent, response: None
        self.has_tags = True
        """Whether it sets tags; those of RFC 2543 need not."""
        self.has_contact = True
        self.never_acknowledges = False
        self.records_route = True
        """Whether it stays on the way of the dialogs that it sends on (RFC 3261 section 16.6 step 4)."""

    @property
    def reliable(self) -> bool:
        return self.transport != "UDP"

    @property
    def contact(self) -> str:
        return f"Contact: <sip:{self.name}@{self.host}:{self.port}>"

    @property
    def contacts(self) -> list[str]:
        """The Contact line of requests and responses that set up or change a dialog; none for some of RFC 2543."""
        return [self.contact] if self.has_contact else []

    def tag(self, prefix: str) -> str:
        return f"{prefix}{self.wire.word()}" if self.has_tags else ""

    def describe(self, port: int = 4000, direction: str = "sendrecv", host: str = "") -> str:
        """A new session description of its own."""
        return messages.description(host or self.host, int(self.wire.word(), 16), port, direction)

    def via(self, branch: str) -> str:
        return f"SIP/2.0/{self.transport} {self.host}:{self.port};branch={branch};rport"

    def after(self, seconds: float, act: Callable[[], None]) -> Timer:
        return self.wire.clock.after(seconds * self.rate, lambda: act() if self.alive else None)

    def crash(self) -> None:
        """Lose all state."""
        self.alive = False
        self.excused = True
        for transaction in self.client_transactions.values():
            transaction.stop()
        for server_transaction in self.server_transactions.values():
            server_transaction.stop()
        self.client_transactions, self.server_transactions, self.dialogs = {}, {}, {}

    def ask(
        self, method: str, uri: str, from_: str, to: str, call_id: str, cseq: int, lines: list[str], body: str,
        then: Callable[[Response | None], None],
    ) -> ClientTransaction:  # fmt: skip
        branch = f"z9hG4bK{self.wire.word()}"
        data = messages.request(method, uri, self.via(branch), from_, to, call_id, cseq, lines, body)
        transaction = self.client_transactions[branch, method] = ClientTransaction(self, data, method, branch, then)
        return transaction

    def cancel(self, transaction: ClientTransaction) -> None:
        data = messages.cancel(transaction.data)
        self.client_transactions[transaction.branch, "CANCEL"] = ClientTransaction(
            self, data, "CANCEL", transaction.branch, lambda response: None
        )

    # --- hearing -----------------------------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        if not self.alive:
            return
        message = parse_message(data)
        if isinstance(message, Response):
            transaction = self.client_transactions.get((message.via.branch, message.cseq_method))
            if transaction is not None:
                transaction.hear(message)
            else:
                self.relay_response(self, message)
            return
        if self.relay_request(self, message):
            return
        key = (message.via.branch, "INVITE" if message.method == "ACK" else message.method)
        known = self.server_transactions.get(key)
        if message.method == "ACK":
            self._hear_ack(message, known)
        elif known is not None:
            known.again()
        else:
            known = self.server_transactions[key] = ServerTransaction(self, message)
            self._answer(known)

    def _hear_ack(self, ack: Request, known: ServerTransaction | None) -> None:
        if known is not None:
            known.acknowledged = True
        dialog = self.dialogs.get((ack.call_id, ack.to_tag))
        if dialog is not None:
            dialog.acknowledged = True

    def _answer(self, server_transaction: ServerTransaction) -> None:
        request = server_transaction.request
        dialog = self.dialogs.get((request.call_id, request.to_tag))
        if request.method == "CANCEL":
            invite = self.server_transactions.get((request.via.branch, "INVITE"))
            server_transaction.say(200 if invite is not None else 481, "c", [])
            if invite is not None and not invite.final:
                if invite.on_cancel is None:
                    invite.say(487, self.tag("x"), [])
                else:
                    invite.on_cancel()
        elif request.method == "BYE":
            server_transaction.say(200 if dialog is not None else 481, "b", [])
            if dialog is not None:
                self._end_requests_of(dialog)
                dialog.end()
        elif request.method == "OPTIONS":
            server_transaction.say(200, "n", [])
        elif request.method == "PRACK":
            follow = self.awaited_pracks.pop((request.call_id, request.to_tag), None)
            server_transaction.say(481 if follow is None else 200, "p", [])
            if follow is not None:
                follow()
        elif dialog is not None:
            self._answer_in_dialog(server_transaction, dialog)
        elif request.in_dialog or (request.cseq > 1 and request.method == "INVITE"):  # a lost dialog without tags
            server_transaction.say(481, "n", [])
        else:
            self.on_request(server_transaction)

    def _answer_in_dialog(self, server_transaction: ServerTransaction, dialog: Dialog) -> None:
        method = server_transaction.request.method
        if method in ("INVITE", "UPDATE"):
            self.on_change(server_transaction, dialog)
        elif method == "REFER":
            server_transaction.say(202, "f", self.contacts)
            self.on_refer(server_transaction, dialog)
        else:
            server_transaction.say(200, "i", [])
            if method == "NOTIFY":
                dialog.hang_up()  # the transfer that it asked for has been tried

    def _end_requests_of(self, dialog: Dialog) -> None:
        """After a BYE, requests of the dialog without an answer get 487 (RFC 3261 section 15.1.2)."""
        for server_transaction in self.server_transactions.values():
            request = server_transaction.request
            is_inside = (request.call_id, request.to_tag) == (dialog.call_id, dialog.tag)
            if is_inside and request.method == "INVITE" and not server_transaction.final:
                server_transaction.say(487, "e", [])


def accept_change(server_transaction: ServerTransaction, dialog: Dialog) -> None:
    """Answer an INVITE or UPDATE of a dialog by 200. Its SDP is the offer where the request has none."""
    agent, request = server_transaction.agent, server_transaction.request
    if request.method == "INVITE":
        dialog.acknowledged = False
    body = agent.describe() if request.body or request.method == "INVITE" else ""
    server_transaction.say(200, dialog.tag, agent.contacts, body)
