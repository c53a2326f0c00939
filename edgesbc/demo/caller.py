"""A small SIP user agent that calls through the edge and sends audio, for the demo and for tests."""

from __future__ import annotations

import math
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType

import attrs
import trio

from edgesbc.base.address import Source, Transport, host_port
from edgesbc.base.errors import WireError
from edgesbc.demo.audio import INTERVAL, Conversation
from edgesbc.demo.link import Link, open_link
from edgesbc.demo.messages import describe, media_address, new_branch
from edgesbc.demo.result import CallResult
from edgesbc.sip.build import ack_for, request, response_to
from edgesbc.sip.dialog import Dialog
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["CallResult", "Caller"]

T1, T2 = 0.5, 4.0
"""RFC 3261 section 17.1.1.1, in seconds."""
ANSWER_SECONDS = 64 * T1
CLOSE_SECONDS = 2.0
LAST_PACKET_SECONDS = 1.0
"""Seconds for which a caller receives after its last packet."""
_KEPT_ACKS = 1_024


class _OutgoingCall:
    """The state of a call that the reading task changes."""

    __slots__ = ("hung_up",)

    def __init__(self) -> None:
        self.hung_up = False


class Caller:
    """A user agent on one flow, with any number of calls at once.

    ``edge`` is the address of a public listener, ``host`` the loopback address to call from, ``ca`` a PEM
    file of the trusted certificate authorities (TLS and WSS). Entering raises what :func:`open_link` raises.
    """

    def __init__(
        self, transport: Transport, edge: Source, host: str = "127.0.0.1", ca: str | Path | None = None
    ) -> None:
        self.transport = transport
        self.edge = edge
        self._host = host
        self._ca = ca
        self._link: Link
        self._nursery: trio.Nursery
        self._scope: AbstractAsyncContextManager[trio.Nursery]
        self._waiting: dict[str, trio.MemorySendChannel[Response]] = {}
        self._acks: dict[str, bytes] = {}
        self._calls: dict[str, _OutgoingCall] = {}
        self._lost = False
        self._invalid = f"{secrets.token_hex(6)}.invalid"

    async def __aenter__(self) -> Caller:
        self._scope = trio.open_nursery()
        self._nursery = await self._scope.__aenter__()
        try:
            self._link = await open_link(self._nursery, self.transport, self.edge, self._host, self._ca)
        except BaseException:
            self._nursery.cancel_scope.cancel()
            await self._scope.__aexit__(None, None, None)
            raise
        self._nursery.start_soon(self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
            await self._link.aclose()
        self._nursery.cancel_scope.cancel()
        # without the error, so that it is raised as it is and not in a group
        await self._scope.__aexit__(None, None, None)

    # --- calling -----------------------------------------------------------------------------------------

    async def call(self, user: str = "echo", packets: int = 25, interval: float = INTERVAL) -> CallResult:
        """Call ``user``, send ``packets`` packets of 20 ms, one each ``interval`` seconds, compare those that come
        back, and end the call."""
        call_id = secrets.token_hex(8)
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as media:
            await media.bind((self._host, 0))
            state = self._calls[call_id] = _OutgoingCall()
            try:
                return await self._call(user, call_id, media, state, packets, interval)
            finally:
                del self._calls[call_id]

    async def _call(
        self,
        user: str,
        call_id: str,
        media: trio.socket.SocketType,
        state: _OutgoingCall,
        packets: int,
        interval: float,
    ) -> CallResult:
        local = f"<sip:caller@{self._host}>;tag={secrets.token_hex(4)}"
        uri = f"sip:{user}@{host_port(*self.edge)}"
        invite = request(
            "INVITE",
            uri,
            via=self._via(),
            from_=local,
            to=f"<{uri}>",
            call_id=call_id,
            cseq=1,
            contact=self._contact(),
            fields=[("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")],
            body=describe(self._host, media.getsockname()[1]),
        )
        result = CallResult(call_id, self.transport, trio.current_time())
        answer = await self._ask(invite)
        now = trio.current_time()
        if answer is None:
            return attrs.evolve(result, ended=now, problem="no final answer to INVITE")
        result = attrs.evolve(result, status=answer.status, to_tag=answer.to_tag)
        if answer.status >= 300:
            await self._acknowledge(invite, ack_for(invite, answer))
            return attrs.evolve(result, ended=now, problem=f"INVITE was answered {answer.status} {answer.phrase}")
        result = attrs.evolve(result, answered=now)
        try:
            dialog = Dialog.of_caller(invite, answer)
            await self._acknowledge(invite, dialog.ack(via=self._via()))
            talk = await self._talk(media, media_address(answer.body), state, packets, interval)
        except WireError as error:
            return attrs.evolve(result, ended=trio.current_time(), problem=f"the answer cannot be used: {error}")
        bye_status = 0 if state.hung_up else await self._hang_up(dialog)
        return attrs.evolve(
            result,
            ended=trio.current_time(),
            sent=talk.packets,
            heard=talk.heard,
            verified=talk.verified,
            bye_status=bye_status,
            hung_up=state.hung_up,
            problem=_problem(talk, state, bye_status),
        )

    async def _talk(
        self, media: trio.socket.SocketType, remote: Source, state: _OutgoingCall, packets: int, interval: float
    ) -> Conversation:
        """Send and receive audio until all packets have come back, or a while after the last was sent."""
        talk = Conversation(secrets.randbits(32), packets)
        await media.connect(tuple(remote))
        start = trio.current_time()
        sent = 0
        while not state.hung_up and not (sent == packets and talk.complete):
            due = start + sent * interval if sent < packets else start + packets * interval + LAST_PACKET_SECONDS
            with trio.move_on_at(due) as waiting:
                try:
                    talk.receive(await media.recv(2048))
                except OSError:
                    await trio.sleep_until(due)  # the port is closed already (ICMP); send the rest all the same
            if waiting.cancelled_caught:
                if sent == packets:
                    break
                try:
                    await media.send(talk.packet(sent))
                except OSError:
                    pass  # as above; packets that do not come back are counted
                sent += 1
        return talk

    async def _hang_up(self, dialog: Dialog) -> int:
        answer = await self._ask(dialog.bye(via=self._via()))
        return 0 if answer is None else answer.status

    # --- transactions ------------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> Response | None:
        """Send a request, repeatedly over UDP, until its final response (RFC 3261 section 17.1); None without one."""
        if self._lost:
            return None
        branch, data, invite = request.via.branch, bytes(request), request.method == "INVITE"
        sender, receiver = trio.open_memory_channel[Response](16)
        self._waiting[branch] = sender
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                await self._send(data)
                interval = math.inf if self.transport.reliable else T1
                while True:
                    with trio.move_on_after(interval):
                        response = await receiver.receive()
                        if response.status >= 200:
                            return response
                        interval = math.inf if invite or self.transport.reliable else T2
                        continue
                    await self._send(data)
                    interval = 2 * interval if invite else min(2 * interval, T2)
        except trio.EndOfChannel:
            pass  # the connection has ended
        finally:
            del self._waiting[branch]
        return None

    async def _acknowledge(self, invite: Request, ack: Request) -> None:
        """Send the ACK of the final response to ``invite``, and keep it for repetitions of that response."""
        if len(self._acks) >= _KEPT_ACKS:
            del self._acks[next(iter(self._acks))]
        data = self._acks[invite.via.branch] = bytes(ack)
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        try:
            await self._link.send(data)
        except OSError:
            pass  # UDP: an earlier datagram was refused (ICMP); this one is repeated without a response
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end_pending()

    def _end_pending(self) -> None:
        """The connection has ended: end all pending requests."""
        self._lost = True
        for waiting in self._waiting.values():
            waiting.close()

    # --- receiving ---------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                messages = await self._link.receive()
            except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError, WireError):
                self._end_pending()
                return
            except OSError:
                continue  # UDP: an ICMP error; the request times out
            for data in messages:
                try:
                    message = parse_message(data)
                except WireError:
                    continue
                if isinstance(message, Response):
                    await self._take_response(message)
                else:
                    await self._answer(message)

    async def _take_response(self, response: Response) -> None:
        waiting = self._waiting.get(response.via.branch)
        if waiting is not None:
            try:
                waiting.send_nowait(response)
            except (trio.WouldBlock, trio.ClosedResourceError):
                pass  # sixteen responses wait already, and another adds nothing
        elif response.status >= 200 and response.cseq_method == "INVITE":
            ack = self._acks.get(response.via.branch)
            if ack is not None:
                await self._send(ack)

    async def _answer(self, request: Request) -> None:
        """Respond to a request from the edge; a BYE ends its call."""
        if request.method == "ACK":
            return
        call = self._calls.get(request.call_id)
        if request.method == "BYE" and call is not None:
            call.hung_up = True
        status = 200 if call is not None or request.method == "OPTIONS" else 481
        await self._send(bytes(response_to(request, status, tag=secrets.token_hex(4))))

    # --- addresses ---------------------------------------------------------------------------------------

    def _via(self) -> str:
        """A Via value with a new branch."""
        where = str(self._link.local) if self.transport in _NAMED else self._invalid
        return f"SIP/2.0/{self.transport.value.upper()} {where};branch={new_branch()};rport"

    def _contact(self) -> str:
        """The Contact of this caller; a browser has no address to put there (RFC 7118 section 5)."""
        if self.transport is Transport.UDP:
            return f"<sip:caller@{self._link.local}>"
        if self.transport in _NAMED:
            return f"<sip:caller@{self._link.local};transport={self.transport.value}>"
        return f"<sip:caller@{self._invalid};transport=ws>"


_NAMED = frozenset({Transport.UDP, Transport.TCP, Transport.TLS})


def _problem(talk: Conversation, state: _OutgoingCall, bye_status: int) -> str:
    if state.hung_up:
        return "the other side hung up"
    if not talk.verified:
        return f"the audio differs: {talk!r}"
    return "" if bye_status == 200 else f"BYE was answered {bye_status or 'by nobody'}"
