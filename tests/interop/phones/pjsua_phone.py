"""A phone of PJSIP, driven by lines: runs as a program of its own, which imports nothing of the edge.

Arguments: the user, the password, the host to bind, the host and port of the edge, and the file for the log of PJSIP,
each message included. Lines in: ``call URI``, ``answer NUMBER``, ``hangup NUMBER``, ``transfer NUMBER URI`` (blind) and
``attended NUMBER OTHER``, ``heard NUMBER``, where the numbers are those of the lines out: ``registered STATUS``,
``incoming NUMBER``, ``call NUMBER STATE STATUS`` and ``heard NUMBER PACKETS``. All is done in one thread, because PJSIP
calls back while it holds locks.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import pjsua2 as pj

STATES = {
    pj.PJSIP_INV_STATE_CALLING: "CALLING",
    pj.PJSIP_INV_STATE_INCOMING: "INCOMING",
    pj.PJSIP_INV_STATE_EARLY: "EARLY",
    pj.PJSIP_INV_STATE_CONNECTING: "CONNECTING",
    pj.PJSIP_INV_STATE_CONFIRMED: "CONFIRMED",
    pj.PJSIP_INV_STATE_DISCONNECTED: "DISCONNECTED",
}


def say(*words: object) -> None:
    print(*words, flush=True)


class PhoneCall(pj.Call):
    """A call; ``phone`` keeps it, because PJSIP ends a call whose object is gone."""

    def __init__(self, phone: Phone, number: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone, number)
        self.phone = phone
        phone.calls.append(self)

    def answer_with(self, status: int) -> None:
        prm = pj.CallOpParam(True)
        prm.statusCode = status
        self.answer(prm)

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - the name is PJSIP's
        info = self.getInfo()
        say("call", info.id, STATES[info.state], info.lastStatusCode)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        prm.newCall = PhoneCall(self.phone)

    def onCallReplaced(self, prm: Any) -> None:  # noqa: N802
        prm.newCall = PhoneCall(self.phone, prm.newCallId)


class Phone(pj.Account):
    """The account and its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[PhoneCall] = []

    def call(self, number: str) -> PhoneCall:
        return next(call for call in reversed(self.calls) if call.getId() == int(number))

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        say("registered", prm.code)

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        PhoneCall(self, prm.callId).answer_with(180)
        say("incoming", prm.callId)

    def do(self, line: str) -> None:
        word, *rest = line.split()
        if word == "call":
            PhoneCall(self).makeCall(rest[0], pj.CallOpParam(True))
        elif word == "answer":
            self.call(rest[0]).answer_with(200)
        elif word == "hangup":
            self.call(rest[0]).hangup(pj.CallOpParam())
        elif word == "transfer":
            self.call(rest[0]).xfer(rest[1], pj.CallOpParam())
        elif word == "attended":
            self.call(rest[0]).xferReplaces(self.call(rest[1]), pj.CallOpParam())
        elif word == "heard":
            say("heard", rest[0], self.call(rest[0]).getStreamStat(0).rtcp.rxStat.pkt)


def run(user: str, password: str, host: str, edge: str, log: str) -> None:
    endpoint, config = pj.Endpoint(), pj.EpConfig()
    endpoint.libCreate()
    config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
    config.logConfig.level, config.logConfig.consoleLevel, config.logConfig.msgLogging = 5, 0, 1
    config.logConfig.filename = log
    config.medConfig.noVad = True  # it sends silence, too
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = host
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    settings = pj.AccountConfig()
    settings.idUri, settings.regConfig.registrarUri = f"sip:{user}@{edge}", f"sip:{edge}"
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    phone = Phone()
    phone.create(settings)
    rest = b""
    while True:
        endpoint.libHandleEvents(10)
        if select.select([0], [], [], 0)[0]:
            data = os.read(0, 4096)
            if not data:
                os._exit(0)  # its parent has ended; PJSIP would wait for answers
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                phone.do(line.decode())


if __name__ == "__main__":
    run(*sys.argv[1:])
