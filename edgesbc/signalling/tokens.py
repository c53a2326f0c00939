"""Sealer: encrypts where a request inside a dialog goes into a token, which the peer carries and cannot read."""

from __future__ import annotations

import binascii
import enum
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone

__all__ = ["SHORTEST_TOKEN", "RemoteTarget", "Sealer", "TokenKind", "dialog_digest", "holder_digest"]

_NONCE = 12
SHORTEST_TOKEN = 48
"""Characters: nonce, tag, and the least that a target needs. A shorter text is no token."""
# The alphabet of RFC 4648 section 5; no other character translates into it.
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/   ")
_SEPARATOR = "\x1f"  # a control byte: the parser lets none into a URI
_DIALOG_BYTES: Final = 8
_HOLDER_BYTES: Final = 6
_FORM: Final = b"2"
"""Authenticated with a token, before the zone: tokens of the first form, without kind, dialog and holders, have no such
byte."""
_AUTHENTICATED: Final = {zone: _FORM + zone.encode() for zone in Zone}


class TokenKind(enum.Enum):
    """What a token was made for."""

    CALL = "c"
    """The Contact of one side of a dialog that an INVITE sets up."""
    EVENT = "e"
    """That of any other dialog, such as a subscription: the edge keeps nothing of it."""
    REFERRED = "r"
    """A peer that a REFER names: new requests of the peer that was referred to it."""
    PATH = "p"
    """The Path of a registration: requests outside a dialog, from the private side."""
    BINDING = "b"
    """The edge's Contact in the place of a phone's: as PATH, and always the same for one flow and Contact."""
    FIRST_FORM = ""
    """The token was made before tokens had a kind: it may be any of them."""

    __hash__ = object.__hash__  # members are singletons


_WRITTEN: Final = {kind: kind.value.encode() for kind in TokenKind if kind.value}
_KINDS: Final = {written: kind for kind, written in _WRITTEN.items()}


class RemoteTarget:
    """Where a token leads, and what it was made for.

    ``listener`` is the name of the listener to send from and ``peer`` the address to send to. ``serial``
    names a connection of the process whose ``epoch`` it is; 0 means any connection to that address, or
    UDP. ``uri`` is the Request-URI there (RFC 3261 section 12.1 *remote target*), "" to keep the
    request's own; ``routes`` the route set.

    ``call`` is the number of the call that a token of the kind CALL or REFERRED belongs to, in the process of that
    ``epoch``; the latter ends at ``until`` (seconds, the plane's clock).
    ``dialog`` is the :func:`dialog_digest` of the requests that may have the token, empty for a Path. ``holders`` are
    the :func:`holder_digest` of the peers that may send them, one of which suffices; empty for any peer of the zone.
    """

    __slots__ = ("call", "dialog", "epoch", "holders", "kind", "listener", "peer", "routes", "serial", "until", "uri")

    def __init__(
        self,
        listener: str,
        peer: Source,
        serial: int,
        epoch: str,
        uri: str,
        routes: Sequence[str] = (),
        kind: TokenKind = TokenKind.PATH,
        dialog: bytes = b"",
        holders: Sequence[bytes] = (),
        call: int = 0,
        until: int = 0,
    ) -> None:
        self.listener = listener
        self.peer = peer
        self.serial = serial
        self.epoch = epoch
        self.uri = uri
        self.routes = tuple(routes)
        self.kind = kind
        self.dialog = dialog
        self.holders = tuple(holders)
        self.call = call
        self.until = until


def dialog_digest(call_id: str, tag: str) -> bytes:
    """What the requests of a dialog to one of its sides have in common: the Call-ID, and the tag of that side, which is
    in their To (RFC 3261 section 12.2.1.1). 8 bytes: who knows a token can search for another Call-ID with the
    same digest."""
    text = f"{call_id}{_SEPARATOR}{tag}"
    return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=_DIALOG_BYTES).digest()


@lru_cache(limits.REMEMBERED_ADDRESSES)
def holder_digest(kind: str, name: str) -> bytes:
    """A peer that may use a token: ``kind`` says what ``name`` is, such as an address. 6 bytes: a peer cannot choose
    among as many addresses, trunks or accounts."""
    text = f"{kind}{_SEPARATOR}{name}"
    return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=_HOLDER_BYTES).digest()


class Sealer:
    """Seals targets with AES-GCM. The first key seals; all of them open, so that keys can be changed.

    The zone of the peer that holds the token is authenticated with it: a token that leaks to the other
    side is of no use there. ``keys`` are 16 or 32 bytes each; ``entropy`` gives random bytes.
    """

    __slots__ = ("_ciphers", "_entropy", "_nonce_key")

    def __init__(self, keys: Sequence[bytes], entropy: Callable[[int], bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]
        self._nonce_key = hashlib.blake2s(b"nonces of bindings", key=keys[0]).digest()
        self._entropy = entropy

    def seal(self, target: RemoteTarget, holder: Zone) -> str:
        """The token for ``target``, to be given to a peer in the zone ``holder``: text for a URI's user part.

        Raises ``ValueError`` for a target of the first form.
        """
        if target.kind is TokenKind.FIRST_FORM:
            raise ValueError("expected a target with a kind: tokens of the first form are not made any more")
        peer = target.peer
        parts = (target.listener, peer[0], str(peer[1]), str(target.serial), target.epoch, target.uri, *target.routes)
        plain = _binding(target) + _SEPARATOR.join(parts).encode("utf-8", "surrogateescape")
        if target.kind is TokenKind.BINDING:
            # From the content, so that no two contents have the same nonce: a registrar compares Contacts.
            nonce = hashlib.blake2s(plain, key=self._nonce_key, digest_size=_NONCE).digest()
        else:
            nonce = self._entropy(_NONCE)
        sealed = nonce + self._ciphers[0].encrypt(nonce, plain, _AUTHENTICATED[holder])
        return binascii.b2a_base64(sealed, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")

    def open(self, token: str, holder: Zone) -> RemoteTarget | None:
        """The target of a token that a peer in the zone ``holder`` presents; None where it is not one of ours.

        Whether that peer, and that dialog, may use it is not checked here.
        """
        try:
            sealed = binascii.a2b_base64(
                token.encode("ascii").translate(_FROM_URL) + b"=" * (-len(token) % 4), strict_mode=True
            )
        except (binascii.Error, ValueError):
            return None
        if len(sealed) < _NONCE + 16:
            return None
        plain = self._decrypt(sealed, _AUTHENTICATED[holder])
        if plain is not None:
            return _bound_target(plain)
        plain = self._decrypt(sealed, holder.encode())
        return None if plain is None else _target(plain, TokenKind.FIRST_FORM, b"", ())

    def _decrypt(self, sealed: bytes, authenticated: bytes) -> bytes | None:
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], authenticated)
            except InvalidTag:
                continue
        return None


def _binding(target: RemoteTarget) -> bytes:
    """What a token was made for, as its first bytes: the kind, the number of holders, the digests, and the numbers."""
    head = _WRITTEN[target.kind] + bytes((len(target.holders),))
    tail = _number(target.call) if target.kind is TokenKind.CALL else b""
    if target.kind is TokenKind.REFERRED:
        tail = _number(target.call) + _number(target.until)
    return head + target.dialog + b"".join(target.holders) + tail


def _number(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


def _bound_target(plain: bytes) -> RemoteTarget:
    kind, count = _KINDS[plain[:1]], plain[1]
    at = 2 + _DIALOG_BYTES if kind is TokenKind.CALL or kind is TokenKind.EVENT else 2
    end = at + count * _HOLDER_BYTES
    holders = tuple(plain[start : start + _HOLDER_BYTES] for start in range(at, end, _HOLDER_BYTES))
    text = end + (4 if kind is TokenKind.CALL else 8 if kind is TokenKind.REFERRED else 0)
    target = _target(plain[text:], kind, plain[2:at], holders)
    if text > end:
        target.call = int.from_bytes(plain[end : end + 4], "big")
        target.until = int.from_bytes(plain[end + 4 : text], "big")
    return target


def _target(plain: bytes, kind: TokenKind, dialog: bytes, holders: tuple[bytes, ...]) -> RemoteTarget:
    listener, host, port, serial, epoch, uri, *routes = plain.decode("utf-8", "surrogateescape").split(_SEPARATOR)
    return RemoteTarget(listener, Source(host, int(port)), int(serial), epoch, uri, routes, kind, dialog, holders)
