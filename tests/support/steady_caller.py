"""A caller that keeps calling while the edge is under attack, and its callee. Its calls must all succeed."""

from __future__ import annotations

import trio
from support.ua import Dialog, Ua, UdpWire

from edgesbc.base.address import Source
from edgesbc.sip.message import Request, Response

T1 = 0.5
SILENCE = 0
"""The outcome, instead of a status, of a call without a final response."""
USER = "100"
"""The user that is called; the callee refuses calls to any other."""
SDP = b"v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def sdp(host: str) -> bytes:
    return SDP % (host.encode(), host.encode())


async def take_calls(ua: Ua) -> None:
    """Answer the calls of a :class:`SteadyCaller` until cancelled, and refuse all other requests."""
    while True:
        try:
            message = await ua.hear()
        except trio.TooSlowError:
            continue
        ua.heard.clear()
        if not isinstance(message, Request) or message.method == "ACK":
            continue
        wanted = f"sip:{USER}@" in message.to.uri_text
        if message.method == "INVITE" and wanted:
            dialog = ua.taken(message)
            await dialog.answer(message, 180)
            await dialog.answer(message, 200, sdp(ua.wire.host))
        else:
            await ua.answer(message, 200 if message.method in ("BYE", "CANCEL") else 403, tag="t")


class SteadyCaller:
    """Calls ``edge`` from ``host``, ``rate`` times a second, each time from another port.

    ``outcomes`` are the final statuses: that of the BYE where the call was answered.
    """

    def __init__(self, host: str, edge: Source, rate: float) -> None:
        self.host = host
        self.outcomes: list[int] = []
        self._edge = edge
        self._pause = 1 / rate

    async def place_calls(self, calls: int) -> None:
        """Place the calls; returns when the last of them has ended."""
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(self._call)
                await trio.sleep(self._pause)

    async def _call(self) -> None:
        async with Ua(await UdpWire.open(self.host, peer=self._edge), "caller") as ua:
            dialog = ua.dialog(f"sip:{USER}@{self._edge}")
            final = await ask(ua, dialog, "INVITE", sdp(self.host))
            if final is not None and final.status == 200:
                dialog.learn(final)
                await dialog.send("ACK")
                final = await ask(ua, dialog, "BYE")
            self.outcomes.append(final.status if final is not None else SILENCE)


async def ask(ua: Ua, dialog: Dialog, method: str, body: bytes = b"") -> Response | None:
    """The final response to a request that is retransmitted until there is one (Timers A and E); None without one."""
    data = dialog.build(method, body)
    wait = T1
    while wait < 32 * T1:
        await ua.wire.send(data)
        with trio.move_on_after(wait):
            while True:
                message = await ua.hear()
                if isinstance(message, Response) and message.status >= 200 and message.cseq_method == method:
                    return message
        wait *= 2
    return None
