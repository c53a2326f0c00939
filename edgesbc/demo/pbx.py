"""The process of an embedded PBX: answers every call and echoes its RTP."""

from __future__ import annotations

import argparse
import json
import secrets

import trio

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.errors import WireError
from edgesbc.demo.children import loopback
from edgesbc.demo.messages import describe, media_address, new_branch
from edgesbc.sip.build import response_to
from edgesbc.sip.dialog import Dialog
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["Pbx"]

T1 = 0.1
"""Seconds; a 200 without an ACK is given up after 64 times as long (RFC 3261 section 13.3.1.4). On one
machine the round trip time that T1 estimates is far below the 500 ms of section 17.1.1.1."""
BYE_TRIES = 6


class _AnsweredCall:
    __slots__ = ("acknowledged", "answer", "dialog", "done", "source")

    def __init__(self, answer: bytes, dialog: Dialog, source: Source) -> None:
        self.answer = answer
        self.dialog = dialog
        self.source = source
        self.acknowledged = trio.Event()
        self.done = trio.CancelScope()


class Pbx:
    """A PBX at ``host`` and ``port`` (0: any free port, which :attr:`port` then has). It has at most
    ``limits.DEMO_PBX_CALLS`` calls at once and responds 486 to more. Its tags begin with ``name``, so that a caller
    knows which PBX has answered."""

    def __init__(self, name: str, host: str, port: int = 0) -> None:
        self.name = name
        self.host = host
        self.port = port
        self._calls: dict[tuple[str, str], _AnsweredCall] = {}
        self._answered: dict[str, trio.Event] = {}
        self._sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self._sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, limits.UDP_RECEIVE_BUFFER)

    async def run(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; started with the port."""
        with self._sock:
            await self._sock.bind((self.host, self.port))
            self.port = self._sock.getsockname()[1]
            async with trio.open_nursery() as nursery:
                task_status.started(self.port)
                while True:
                    try:
                        data, address = await self._sock.recvfrom(limits.MESSAGE_BYTES)
                        message = parse_message(data)
                    except (OSError, WireError):
                        continue
                    await self._take(nursery, message, Source(*address[:2]))

    async def _take(self, nursery: trio.Nursery, message: Request | Response, source: Source) -> None:
        if isinstance(message, Response):
            waiting = self._answered.get(message.via.branch)
            if waiting is not None and message.status >= 200:
                waiting.set()
            return
        call = self._calls.get((message.call_id, message.from_tag))
        if message.method == "ACK":
            if call is not None:
                call.acknowledged.set()
        elif message.method == "INVITE":
            await self._invited(nursery, message, source, call)
        elif message.method == "BYE":
            if call is not None:
                call.done.cancel()
            await self._send(bytes(response_to(message, 481 if call is None else 200, tag=self._tag())), source)
        else:
            status = 200 if message.method == "OPTIONS" else 501
            await self._send(bytes(response_to(message, status, tag=self._tag())), source)

    async def _invited(
        self, nursery: trio.Nursery, invite: Request, source: Source, call: _AnsweredCall | None
    ) -> None:
        if call is not None:
            await self._send(call.answer, source)  # retransmitted
            return
        if len(self._calls) >= limits.DEMO_PBX_CALLS:
            await self._send(bytes(response_to(invite, 486, tag=self._tag())), source)
            return
        media = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        try:
            remote = media_address(invite.body)
            tag = self._tag()
            dialog = Dialog.of_callee(invite, tag)
            await media.bind((self.host, 0))
        except (OSError, WireError):
            media.close()
            await self._send(bytes(response_to(invite, 488, tag=self._tag())), source)
            return
        await self._send(bytes(response_to(invite, 180, tag=tag)), source)
        body = describe(self.host, media.getsockname()[1])
        contact = f"<sip:{self.name}@{self.host}:{self.port}>"
        answer = bytes(response_to(invite, 200, tag=tag, contact=contact, body=body))
        call = self._calls[invite.call_id, invite.from_tag] = _AnsweredCall(answer, dialog, source)
        nursery.start_soon(self._converse, (invite.call_id, invite.from_tag), call, media, remote)
        await self._send(answer, source)

    async def _converse(
        self, key: tuple[str, str], call: _AnsweredCall, media: trio.socket.SocketType, remote: Source
    ) -> None:
        """Echo until the call ends. A call without an ACK is ended by a BYE."""
        acknowledged = True
        with media, call.done:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_echo, media, remote)
                acknowledged = await self._repeat_answer(call)
                if not acknowledged:
                    nursery.cancel_scope.cancel()
        del self._calls[key]
        if not acknowledged:
            await self._hang_up(call)

    async def _repeat_answer(self, call: _AnsweredCall) -> bool:
        """Repeat the 200 until its ACK arrives; false if it does not."""
        interval = T1
        with trio.move_on_after(64 * T1):
            while True:
                with trio.move_on_after(interval):
                    await call.acknowledged.wait()
                    return True
                await self._send(call.answer, call.source)
                interval = min(2 * interval, 8 * T1)
        return False

    async def _hang_up(self, call: _AnsweredCall) -> None:
        branch = new_branch()
        bye = bytes(call.dialog.bye(via=f"SIP/2.0/UDP {self.host}:{self.port};branch={branch};rport"))
        answered = self._answered[branch] = trio.Event()
        for attempt in range(BYE_TRIES):
            await self._send(bye, call.source)
            with trio.move_on_after(2.0**attempt / 2):
                await answered.wait()
                break
        del self._answered[branch]

    async def _send(self, data: bytes, peer: Source) -> None:
        try:
            await self._sock.sendto(data, tuple(peer))
        except OSError:
            pass  # the edge has ended

    def _tag(self) -> str:
        return f"{self.name}-{secrets.token_hex(4)}"


async def _echo(media: trio.socket.SocketType, remote: Source) -> None:
    while True:
        try:
            data, address = await media.recvfrom(2048)
            if address[0] == remote.host:
                await media.sendto(data, tuple(remote))
        except OSError:
            continue  # the other end has closed already (ICMP)


async def _main(name: str, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        print(json.dumps({"port": await nursery.start(Pbx(name, host, port).run)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="pbx")
    parser.add_argument("--host", type=loopback, default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    trio.run(_main, options.name, options.host, options.port)
