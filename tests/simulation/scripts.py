"""The behaviour of user agents: callers, destinations, phones that register, and floods."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response
from simulation.agent import T1, Agent, ClientTransaction, Dialog, ServerTransaction
from simulation.changes import change
from simulation.proxy import Branch, Fork
from simulation.transfers import replaced_dialog, transfer

__all__ = ["Caller", "Destination", "Register"]


EDGE_INSIDE = "10.0.0.1"
"""The address of the edge on the private side."""


class Caller:
    """One call of an agent, from its INVITE to its end. ``branches`` are Request-URIs, with the lines of further header
    fields of each: of several, each gets an INVITE with the same Call-ID and From tag, as by a proxy that forks."""

    def __init__(self, agent: Agent, random: Random, *branches: tuple[str, list[str]]) -> None:
        self.agent = agent
        self._random = random
        word = agent.wire.word()
        self.call_id, self.tag = f"call{word}", f"t{word}" if agent.has_tags else ""
        self._from = f"<sip:{agent.name}@phones.example>{f';tag={self.tag}' if self.tag else ''}"
        self._to = "<sip:100@example.com>"
        self._cancelled = self._has_answer = False
        self._late_offer = random.random() < 0.1
        self.finals: list[int] = []
        self._cseq = 1
        self._pracked: dict[str, str] = {}  # the last RSeq by the tag of its early dialog
        self._dialogs: dict[str, Dialog] = {}  # by the To of their 2xx, which is acknowledged after their end too
        self._answers: dict[str, str] = {}  # to late offers, by the tag of their dialog: an ACK is repeated as it was
        body = "" if self._late_offer else agent.describe()
        supported = ["Supported: 100rel"] if random.random() < 0.5 else []
        self._invites: list[ClientTransaction] = [
            self._invite(uri, [*agent.contacts, *supported, *lines], body) for uri, lines in branches
        ]
        mood = random.random()
        if mood < 0.2:
            agent.after(random.uniform(0.0, 4.0), self._cancel)
        else:
            agent.after(60.0, self._cancel)  # no caller waits for ever

    def _invite(self, uri: str, lines: list[str], body: str) -> ClientTransaction:
        return self.agent.ask("INVITE", uri, self._from, self._to, self.call_id, 1, lines, body, self._hear)

    def _cancel(self) -> None:
        for invite in self._invites:
            if not invite.final:
                self._cancelled = self._cancelled or not self._has_answer
                self._cancel_branch(invite)

    def _cancel_branch(self, invite: ClientTransaction) -> None:
        """Cancel a branch once it has a provisional response (RFC 3261 section 9.1)."""
        if invite.provisional and (invite.branch, "CANCEL") not in self.agent.client_transactions:
            self.agent.cancel(invite)

    def _hear(self, response: Response | None) -> None:
        if response is None:
            self.finals.append(0)
        elif response.status < 200:
            if self._cancelled or self._has_answer:
                for invite in self._invites:
                    if invite.branch == response.via.branch:
                        self._cancel_branch(invite)
            if response.get("RSeq") and "100rel" in (response.get("Require") or ""):
                self._prack(response)
        elif response.status >= 300:
            self.finals.append(response.status)
        else:
            self._answered(response)

    def _prack(self, response: Response) -> None:
        """Acknowledge a reliable provisional response (RFC 3262); its SDP is the offer where the INVITE had none."""
        tag, number = response.to_tag, response.get("RSeq") or ""
        if self._pracked.get(tag) == number or self.agent.never_acknowledges:
            return
        self._pracked[tag] = number
        body = ""
        if self._late_offer and response.body and tag not in self._answers:
            body, self._answers[tag] = self.agent.describe(), ""
        self._cseq += 1
        self.agent.ask(
            "PRACK", _target(response), self._from, response.get("To") or "", self.call_id, self._cseq,
            [f"RAck: {number} 1 INVITE"], body, lambda answer: None,
        )  # fmt: skip

    def _answered(self, response: Response) -> None:
        """Acknowledge; keep the first call, and end those of other forks (RFC 3261 section 13.2.2.4)."""
        if self.agent.never_acknowledges:
            return
        dialog = self._dialogs.get(response.get("To") or "")
        body = self._answers.get(response.to_tag)
        if body is None:
            body = self._answers[response.to_tag] = self.agent.describe() if self._late_offer else ""
        if dialog is not None:
            dialog.acknowledge(1, body)
            return
        known = next((d for d in self.agent.dialogs.values() if d.call_id == self.call_id), None)
        self.finals.append(response.status)
        # Forks share the caller's tag, so each is filed under its own.
        tag = self.tag if known is None else f"{self.tag}/{response.to_tag}"
        remote, target = response.get("To") or "", _target(response)
        dialog = Dialog(self.agent, self.call_id, self._from, remote, target, self._cseq, tag)
        self._dialogs[remote] = dialog
        dialog.acknowledge(1, body)
        if known is not None or self._cancelled:
            dialog.hang_up()
            return
        self._has_answer = True
        for invite in self._invites:
            if not invite.final:
                self._cancel_branch(invite)
        talk = self._random.choice((0.05, 3.0, 20.0, 120.0))
        if self._random.random() < 0.4:
            self.agent.after(talk / 2, lambda: change(dialog, self._random))
        if self._random.random() < 0.15:
            self.agent.after(talk / 2, lambda: transfer(dialog, self._random))
        self.agent.after(talk, dialog.hang_up)


class Destination:
    """A server or phone that answers each call in one of several ways, which the seed draws."""

    def __init__(self, agent: Agent, random: Random, moods: dict[str, int]) -> None:
        self.agent = agent
        self._random = random
        self._moods = moods
        self.bindings: dict[str, tuple[str, str]] = {}  # user: Contact and Path
        self.known_phones: Callable[[], list[Branch]] = list
        """Where the phones are that have registered."""
        agent.on_request = self._respond

    def _respond(self, server_transaction: ServerTransaction) -> None:
        request = server_transaction.request
        if request.method == "REGISTER":
            contact = request.get("Contact") or ""
            self.bindings[request.to.uri.user or ""] = (contact, request.get("Path") or "")
            server_transaction.say(200, self.agent.wire.word(), [f"Contact: {contact};expires=600"])
        elif request.method != "INVITE":
            server_transaction.say(200 if request.method == "MESSAGE" else 501, "n", [])
        elif request.uri.host == EDGE_INSIDE:  # the Contact of a phone, by which a phone was referred to it
            Fork(server_transaction, [(str(request.uri), [])], True)
        elif request.get("Replaces"):
            self._replace(server_transaction)
        else:
            mood = self._random.choices(list(self._moods), list(self._moods.values()))[0]
            getattr(self, f"_{mood}")(server_transaction)

    def _replace(self, server_transaction: ServerTransaction) -> None:
        """Take a call in the place of another one (RFC 3891 section 3)."""
        replaced = replaced_dialog(self.agent, server_transaction.request)
        if replaced is None or replaced.ending:
            server_transaction.say(481, self._tag(), [])
        else:
            self._take(server_transaction, self._tag())
            replaced.hang_up()

    def _then(self, server_transaction: ServerTransaction, seconds: float, status: int, tag: str) -> None:
        def say() -> None:
            if server_transaction.refused or (server_transaction.final and not 200 <= status < 300):
                return
            if server_transaction.final and (server_transaction.request.call_id, tag) not in self._forking:
                return
            if status == 100:
                server_transaction.say(100, "", [])
            elif status < 200:
                early = self.agent.describe() if status == 183 and server_transaction.request.body else ""
                server_transaction.say(status, tag, self.agent.contacts, early)
            elif status < 300:
                self._take(server_transaction, tag)
            else:
                server_transaction.say(status, tag, [])

        self.agent.after(seconds, say)

    _forking: frozenset[tuple[str, str]] | set[tuple[str, str]] = frozenset()

    def _take(self, server_transaction: ServerTransaction, tag: str, body: str | None = None) -> None:
        request = server_transaction.request
        local = f"{request.get('To')};tag={tag}" if tag else request.get("To") or ""
        dialog = Dialog(self.agent, request.call_id, local, request.get("From") or "", _target(request), 1, tag)
        if body is None:
            body = self.agent.describe()
        server_transaction.say(200, tag, self.agent.contacts, body)
        if self._random.random() < 0.2:
            self.agent.after(self._random.uniform(0.1, 20.0), lambda: change(dialog, self._random))
        if self._random.random() < 0.15:
            self.agent.after(self._random.uniform(0.1, 20.0), lambda: transfer(dialog, self._random))
        if self._random.random() < 0.3:
            self.agent.after(self._random.uniform(1.0, 60.0), dialog.hang_up)

    def _tag(self) -> str:
        return self.agent.tag("d")

    def _answers(self, server_transaction: ServerTransaction) -> None:
        tag, wait = self._tag(), self._random.choice((0.0, 0.05, 1.0))
        for seconds, status in ((wait, 180), (wait + self._random.uniform(0.0, 8.0), 200)):
            self._then(server_transaction, seconds, status, tag)

    def _answers_at_once(self, server_transaction: ServerTransaction) -> None:
        self._then(server_transaction, 0.0, 200, self._tag())

    def _has_early_media(self, server_transaction: ServerTransaction) -> None:
        tag = self._tag()
        for seconds, status in ((0.02, 100), (0.1, 183), (2.0, 200)):
            self._then(server_transaction, seconds, status, tag)

    def _rings_reliably(self, server_transaction: ServerTransaction) -> None:
        """Offer or answer in a reliable 183; 200 follows its PRACK (RFC 3262 section 3)."""
        if server_transaction.request.get("Supported") != "100rel" or not self.agent.has_tags:
            self._has_early_media(server_transaction)
            return
        tag, body, number = self._tag(), self.agent.describe(), self._random.randint(1, 1000)
        key = server_transaction.request.call_id, tag
        later = body if server_transaction.request.body and self._random.random() < 0.5 else ""
        wait = self._random.choice((0.0, 1.0, 5.0))

        def take() -> None:
            if not server_transaction.final:
                self._take(server_transaction, tag, later)

        def say(pause: float, waited: float) -> None:
            if server_transaction.final or (waited and key not in self.agent.awaited_pracks):
                return
            if waited >= 64 * T1:
                server_transaction.say(504, tag, [])
                return
            lines = [*self.agent.contacts, "Require: 100rel", f"RSeq: {number}"]
            server_transaction.say(183, tag, lines, body)
            self.agent.after(pause, lambda: say(2 * pause, waited + pause))

        self.agent.awaited_pracks[key] = lambda: self.agent.after(wait, take) and None
        say(T1, 0.0)

    def _refuses(self, server_transaction: ServerTransaction) -> None:
        self._then(
            server_transaction,
            self._random.choice((0.0, 3.0)),
            self._random.choice((302, 404, 486, 600, 603)),
            self._tag(),
        )

    def _fails(self, server_transaction: ServerTransaction) -> None:
        self._then(server_transaction, 0.01, self._random.choice((480, 500, 503)), self._tag())

    def _rests(self, server_transaction: ServerTransaction) -> None:
        """A 503 with Retry-After."""
        server_transaction.say(503, self._tag(), [f"Retry-After: {self._random.choice((1, 20))}"])

    def _is_silent(self, server_transaction: ServerTransaction) -> None:
        pass

    def _says_100_and_no_more(self, server_transaction: ServerTransaction) -> None:
        self._then(server_transaction, 0.01, 100, "")

    def _rings_for_ever(self, server_transaction: ServerTransaction) -> None:
        self._then(server_transaction, 0.1, 180, self._tag())

    def _answers_late(self, server_transaction: ServerTransaction) -> None:
        tag, wait = self._tag(), self._random.uniform(1.8, 12.0)
        self._then(server_transaction, wait, self._random.choice((180, 200)), tag)
        self._then(server_transaction, wait + self._random.uniform(0.0, 6.0), 200, tag)

    def _proxies(self, server_transaction: ServerTransaction) -> None:
        """Send the call to phones that have registered, by the edge that it came from."""
        phones = self.known_phones()
        if not phones:
            self._answers(server_transaction)
            return
        chosen = self._random.sample(phones, self._random.randint(1, len(phones)))
        Fork(server_transaction, chosen, self._random.random() < 0.5)

    def _forks(self, server_transaction: ServerTransaction) -> None:
        """A proxy behind which two phones ring and both answer."""
        if not self.agent.has_tags:  # without tags they are one
            self._answers(server_transaction)
            return
        tags = [self._tag(), self._tag()]
        self._forking = {*self._forking, *((server_transaction.request.call_id, tag) for tag in tags)}
        for number, tag in enumerate(tags):
            self._then(server_transaction, 0.1 + number / 10, 180, tag)
            self._then(server_transaction, 2.0 + number * self._random.uniform(0.0, 2.0), 200, tag)


def _target(message: Request | Response) -> str:
    return str(parse_name_addr(message.get("Contact") or "<sip:nobody@invalid>").uri)


class Register:
    """A phone that registers through the edge. Without a registration it may lose calls that it had before."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        aor = f"<sip:{agent.name}@phones.example>"
        self.registered = False
        credentials = f'username="{agent.name}", realm="r", nonce="n", uri="u", response="r"'
        lines = [agent.contact, f"Authorization: Digest {credentials}", "Expires: 600"]
        agent.ask("REGISTER", "sip:example.com", f"{aor};tag=r", aor, f"reg{agent.name}", 1, lines, "", self._hear)

    def _hear(self, response: Response | None) -> None:
        self.registered = response is not None and response.status == 200
        self._agent.excused = self._agent.excused or not self.registered
