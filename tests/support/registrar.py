"""A registrar behind the edge that checks passwords (RFC 3261 section 22), with a choice of responses for unknown
users."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from support.ua import Ua

from edgesbc.sip.digest import parse_digest
from edgesbc.sip.message import Request

__all__ = ["Registrar", "credentials"]

REALM = "inside"


class Registrar:
    """Responds to the requests of ``ua``; ``passwords`` are those of its users, ``requests`` all it got, in order."""

    def __init__(self, ua: Ua, passwords: Mapping[str, str]) -> None:
        self._ua = ua
        self._passwords = passwords
        self._nonces: set[str] = set()
        self.requests: list[Request] = []

    async def run(self) -> None:
        """Respond until cancelled."""
        while True:
            request = await self._ua.hear(patience=float("inf"))
            if isinstance(request, Request) and request.method != "ACK":
                self.requests.append(request)
                await self._answer(request)

    async def _answer(self, request: Request) -> None:
        if request.method != "REGISTER":
            await self._ua.answer(request, 486, tag="busy")
            return
        user = request.to.uri.user or ""
        if user not in self._passwords:
            await self._ua.answer(request, 404, tag=secrets.token_hex(4), extra=("Reason: SIP;cause=404",))
        elif self._authenticated(user, request):
            binding = f"Contact: {request.get('Contact')};expires=600"
            await self._ua.answer(request, 200, tag=secrets.token_hex(4), extra=(binding,))
        else:
            nonce = secrets.token_hex(16)
            self._nonces.add(nonce)
            challenge = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5'
            await self._ua.answer(request, 401, tag=secrets.token_hex(4), extra=(challenge, "Allow: REGISTER, INVITE"))

    def _authenticated(self, user: str, request: Request) -> bool:
        digest = parse_digest(request.get("Authorization") or "")
        nonce, uri = digest.text("nonce") or "", digest.text("uri") or ""
        if nonce not in self._nonces or digest.text("username") != user:
            return False
        return digest.text("response") == _response(user, REALM, self._passwords[user], nonce, uri)


def credentials(user: str, password: str, challenge: str) -> str:
    """The Authorization field of a REGISTER that answers ``challenge``."""
    digest = parse_digest(challenge)
    realm, nonce, uri = digest.text("realm") or "", digest.text("nonce") or "", "sip:edge"
    response = _response(user, realm, password, nonce, uri)
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}",'
        f' response="{response}", algorithm=MD5'
    )


def _response(user: str, realm: str, password: str, nonce: str, uri: str) -> str:
    """RFC 2617 section 3.2.2, without qop."""
    return _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'REGISTER:{uri}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
