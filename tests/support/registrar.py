"""A registrar behind the edge that checks passwords (RFC 3261 section 22), with a choice of responses for unknown
users."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping

from support.ua import Ua

from edgesbc.sip.digest import parse_digest
from edgesbc.sip.message import Request

__all__ = ["Registrar", "credentials", "expires"]

REALM = "inside"
_EXPIRES = re.compile(r";expires=(\d+)")


class Registrar:
    """Responds to the requests of ``ua``; ``passwords`` are those of its users, ``requests`` all that :meth:`run` got,
    in order. ``qop`` is that of its challenges, if any."""

    def __init__(self, ua: Ua, passwords: Mapping[str, str], qop: str = "") -> None:
        self._ua = ua
        self._passwords = passwords
        self._qop = f', qop="{qop}"' if qop else ""
        self._nonces: set[str] = set()
        self.requests: list[Request] = []

    async def run(self) -> None:
        """Respond until cancelled."""
        while True:
            request = await self._ua.hear(patience=float("inf"))
            if isinstance(request, Request) and request.method != "ACK":
                self.requests.append(request)
                await self.answer(request)

    async def answer(self, request: Request) -> int:
        """Respond to one request. Returns the status."""
        if request.method != "REGISTER":
            await self._ua.answer(request, 486, tag="busy")
            return 486
        user = request.to.uri.user or ""
        if user not in self._passwords:
            status, more = 404, ("Reason: SIP;cause=404",)
        elif self._authenticated(user, request):
            contact = _EXPIRES.sub("", request.get("Contact") or "")
            status, more = 200, (f"Contact: {contact};expires={expires(request)}",)
        else:
            nonce = secrets.token_hex(16)
            self._nonces.add(nonce)
            challenge = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5{self._qop}'
            status, more = 401, (challenge, "Allow: REGISTER, INVITE")
        await self._ua.answer(request, status, tag=secrets.token_hex(4), extra=more)
        return status

    def _authenticated(self, user: str, request: Request) -> bool:
        digest = parse_digest(request.get("Authorization") or "")
        nonce, uri = digest.text("nonce") or "", digest.text("uri") or ""
        if nonce not in self._nonces or digest.text("username") != user:
            return False
        between = "".join(f"{digest.text(name)}:" for name in ("nc", "cnonce", "qop") if digest.text("qop"))
        return digest.text("response") == _response(user, REALM, self._passwords[user], nonce, uri, between)


def expires(request: Request) -> str:
    """For how many seconds a REGISTER with one Contact asks (RFC 3261 section 10.2.1.1)."""
    parameter = _EXPIRES.search(request.get("Contact") or "")
    return parameter[1] if parameter else request.get("Expires") or "600"


def credentials(user: str, password: str, challenge: str) -> str:
    """The Authorization field of a REGISTER that answers ``challenge``."""
    digest = parse_digest(challenge)
    realm, nonce, uri = digest.text("realm") or "", digest.text("nonce") or "", "sip:edge"
    response = _response(user, realm, password, nonce, uri)
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}",'
        f' response="{response}", algorithm=MD5'
    )


def _response(user: str, realm: str, password: str, nonce: str, uri: str, between: str = "") -> str:
    """RFC 2617 section 3.2.2; ``between`` are nc, cnonce and qop, each with a colon, if there is a qop."""
    return _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{between}{_md5(f'REGISTER:{uri}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
