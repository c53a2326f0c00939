"""The behaviour of user agents: callers, destinations, phones that register, and floods."""

from __future__ import annotations

from random import Random

from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Response
from simulation.agent import Agent, ClientTransaction, Dialog, ServerTransaction
from simulation.messages import SDP

__all__ = ["Caller", "Destination", "Register"]


class Caller:
    """One call of an agent, from its INVITE to its end. ``branches`` are Request-URIs, with the lines of further header
    fields of each: of several, each gets an INVITE with the same Call-ID and From tag, as by a proxy that forks."""

    def __init__(self, agent: Agent, random: Random, *branches: tuple[str, list[str]]) -> None:
        self.agent = agent
        self._random = random
        word = agent.wire.word()
        self.call_id, self.tag = f"call{word}", f"t{word}"
        self._from = f"<sip:{agent.name}@phones.example>;tag={self.tag}"
        self._to = "<sip:100@example.com>"
        self._cancelled = self._has_answer = False
        self._late_offer = random.random() < 0.1
        self.finals: list[int] = []
        body = "" if self._late_offer else SDP.format(agent.host)
        self._invites: list[ClientTransaction] = [
            agent.ask("INVITE", uri, self._from, self._to, self.call_id, 1, [agent.contact, *lines], body, self._hear)
            for uri, lines in branches
        ]
        mood = random.random()
        if mood < 0.2:
            agent.after(random.uniform(0.0, 4.0), self._cancel)
        else:
            agent.after(60.0, self._cancel)  # no caller waits for ever

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
        elif response.status >= 300:
            self.finals.append(response.status)
        else:
            self._answered(response)

    def _answered(self, response: Response) -> None:
        """Acknowledge; keep the first call, and end those of other forks (RFC 3261 section 13.2.2.4)."""
        if self.agent.never_acknowledges:
            return
        known = next((d for d in self.agent.dialogs.values() if d.call_id == self.call_id), None)
        body = SDP.format(self.agent.host) if self._late_offer else ""
        if known is not None and known.remote.endswith(f"tag={response.to_tag}"):
            known.acknowledge(1, body)
            return
        self.finals.append(response.status)
        target = str(parse_name_addr(response.get("Contact") or "<sip:nobody@invalid>").uri)
        # Forks share the caller's tag, so each is filed under its own.
        tag = self.tag if known is None else f"{self.tag}/{response.to_tag}"
        dialog = Dialog(self.agent, self.call_id, self._from, response.get("To") or "", target, 1, tag)
        dialog.acknowledge(1, body)
        if known is not None or self._cancelled:
            dialog.hang_up()
            return
        self._has_answer = True
        for invite in self._invites:
            if not invite.final:
                self._cancel_branch(invite)
        talk = self._random.choice((0.05, 3.0, 20.0, 120.0))
        if self._random.random() < 0.2:
            self.agent.after(talk / 2, lambda: self._again(dialog))
        self.agent.after(talk, dialog.hang_up)

    def _again(self, dialog: Dialog) -> None:
        """A re-INVITE."""
        if dialog.ending:
            return

        def heard(response: Response | None) -> None:
            if response is not None and 200 <= response.status < 300:
                dialog.acknowledge(response.cseq)
            elif response is None or response.status in (408, 481):
                dialog.hang_up()  # RFC 3261 section 14.1

        dialog.ask("INVITE", heard, SDP.format(self.agent.host))


class Destination:
    """A server or phone that answers each call in one of several ways, which the seed draws."""

    def __init__(self, agent: Agent, random: Random, moods: dict[str, int]) -> None:
        self.agent = agent
        self._random = random
        self._moods = moods
        self.answered: set[tuple[str, str]] = set()  # Call-ID and tag of each 2xx
        self.bindings: dict[str, tuple[str, str]] = {}  # user: Contact and Path
        agent.on_request = self._respond

    def _respond(self, server_transaction: ServerTransaction) -> None:
        request = server_transaction.request
        if request.method == "REGISTER":
            contact = request.get("Contact") or ""
            self.bindings[request.to.uri.user or ""] = (contact, request.get("Path") or "")
            server_transaction.say(200, self.agent.wire.word(), [f"Contact: {contact};expires=600"])
        elif request.method != "INVITE":
            server_transaction.say(501, "n", [])
        else:
            mood = self._random.choices(list(self._moods), list(self._moods.values()))[0]
            getattr(self, f"_{mood}")(server_transaction)

    def _then(self, server_transaction: ServerTransaction, seconds: float, status: int, tag: str) -> None:
        def say() -> None:
            if server_transaction.refused or (server_transaction.final and not 200 <= status < 300):
                return
            if server_transaction.final and (server_transaction.request.call_id, tag) not in self._forking:
                return
            if status == 100:
                server_transaction.say(100, "", [])
            elif status < 200:
                early = SDP.format(self.agent.host) if status == 183 else ""
                server_transaction.say(status, tag, [self.agent.contact], early)
            elif status < 300:
                self._take(server_transaction, tag)
            else:
                server_transaction.say(status, tag, [])

        self.agent.after(seconds, say)

    _forking: frozenset[tuple[str, str]] | set[tuple[str, str]] = frozenset()

    def _take(self, server_transaction: ServerTransaction, tag: str) -> None:
        request = server_transaction.request
        self.answered.add((request.call_id, tag))
        target = str(parse_name_addr(request.get("Contact") or "<sip:nobody@invalid>").uri)
        local = f"{request.get('To')};tag={tag}"
        dialog = Dialog(self.agent, request.call_id, local, request.get("From") or "", target, 0, tag)
        server_transaction.say(200, tag, [self.agent.contact], SDP.format(self.agent.host))
        if self._random.random() < 0.3:
            self.agent.after(self._random.uniform(1.0, 60.0), dialog.hang_up)

    def _tag(self) -> str:
        return f"d{self.agent.wire.word()}"

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

    def _forks(self, server_transaction: ServerTransaction) -> None:
        """A proxy behind which two phones ring and both answer."""
        tags = [self._tag(), self._tag()]
        self._forking = {*self._forking, *((server_transaction.request.call_id, tag) for tag in tags)}
        for number, tag in enumerate(tags):
            self._then(server_transaction, 0.1 + number / 10, 180, tag)
            self._then(server_transaction, 2.0 + number * self._random.uniform(0.0, 2.0), 200, tag)


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
