"""Sealer: encrypts where a request inside a dialog goes into a token, which the peer carries and cannot read."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgesbc.base.address import Source, Zone

__all__ = ["SHORTEST_TOKEN", "RemoteTarget", "Sealer"]

_NONCE = 12
SHORTEST_TOKEN = 48
"""Characters: nonce, tag, and the least that a target needs. A shorter text is no token."""
# The alphabet of RFC 4648 section 5; no other character translates into it.
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/   ")
_SEPARATOR = "\x1f"  # a control byte: the parser lets none into a URI


class RemoteTarget:
    """Where a token leads.

    ``listener`` is the name of the listener to send from and ``peer`` the address to send to. ``serial``
    names a connection of the process whose ``epoch`` it is; 0 means any connection to that address, or
    UDP. ``uri`` is the Request-URI there (RFC 3261 section 12.1 *remote target*), "" to keep the
    request's own; ``routes`` the route set.
    """

    __slots__ = ("epoch", "listener", "peer", "routes", "serial", "uri")

    def __init__(
        self, listener: str, peer: Source, serial: int, epoch: str, uri: str, routes: Sequence[str] = ()
    ) -> None:
        self.listener = listener
        self.peer = peer
        self.serial = serial
        self.epoch = epoch
        self.uri = uri
        self.routes = tuple(routes)


class Sealer:
    """Seals targets with AES-GCM. The first key seals; all of them open, so that keys can be changed.

    The zone of the peer that holds the token is authenticated with it: a token that leaks to the other
    side is of no use there. ``keys`` are 16 or 32 bytes each; ``entropy`` gives random bytes.
    """

    __slots__ = ("_ciphers", "_entropy")

    def __init__(self, keys: Sequence[bytes], entropy: Callable[[int], bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]
        self._entropy = entropy

    def seal(self, target: RemoteTarget, holder: Zone) -> str:
        """The token for ``target``, to be given to a peer in the zone ``holder``: text for a URI's user part."""
        peer = target.peer
        parts = (target.listener, peer[0], str(peer[1]), str(target.serial), target.epoch, target.uri, *target.routes)
        plain = _SEPARATOR.join(parts).encode("utf-8", "surrogateescape")
        nonce = self._entropy(_NONCE)
        sealed = nonce + self._ciphers[0].encrypt(nonce, plain, holder.encode())
        return binascii.b2a_base64(sealed, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")

    def open(self, token: str, holder: Zone) -> RemoteTarget | None:
        """The target of a token that a peer in the zone ``holder`` presents; None where it is not one of ours."""
        try:
            sealed = binascii.a2b_base64(
                token.encode("ascii").translate(_FROM_URL) + b"=" * (-len(token) % 4), strict_mode=True
            )
        except (binascii.Error, ValueError):
            return None
        if len(sealed) < _NONCE + 16:
            return None
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], holder.encode())
            except InvalidTag:
                continue
            listener, host, port, serial, epoch, uri, *routes = plain.decode("utf-8", "surrogateescape").split(
                _SEPARATOR
            )
            return RemoteTarget(listener, Source(host, int(port)), int(serial), epoch, uri, routes)
        return None
