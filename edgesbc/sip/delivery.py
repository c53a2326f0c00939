"""What the transport reports of a request that was given to it: why it was never sent, and which request it was."""

from __future__ import annotations

import enum

__all__ = ["SendFailure", "transaction_of"]

_VIA_BRANCH = b";branch="


class SendFailure(enum.Enum):
    """Why a request was never sent. It shows nothing about the receiver, which has not seen it."""

    TOO_LARGE = "is too large for a datagram"
    BODY = "may not get a body that the sender of the request requires"
    NO_ROUTE = "cannot be reached from this machine"
    NO_RESOURCES = "got no request, because the machine had no descriptor, memory or buffer"
    """It may pass: over datagrams the request is sent again by its timer."""
    CLOSED = "got no request, because its connection had closed"
    CROWDED = "got no request, because too many wait for its connection"


def transaction_of(data: bytes) -> tuple[str, str] | None:
    """The branch and the method of a request that was built here, from its first bytes.

    ``data`` may be cut off, as in an ICMP error: None where the branch is not whole in it, or where it is no request
    whose first header field is Via.
    """
    end = data.find(b"\r\n")
    if end < 0 or data.startswith(b"SIP/2.0 ") or not data.startswith(b"Via: ", end + 2):
        return None
    stop = data.find(b"\r\n", end + 2)
    via = data[end + 2 :] if stop < 0 else data[end + 2 : stop + 1]
    begin = via.find(_VIA_BRANCH)
    if begin < 0:
        return None
    begin += len(_VIA_BRANCH)
    ends = [at for at in (via.find(b";", begin), via.find(b"\r", begin)) if at >= 0]
    if not ends:
        return None
    branch = via[begin : min(ends)].decode("latin-1")
    return branch, data[: data.find(b" ")].decode("latin-1")
