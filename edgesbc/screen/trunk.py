"""Trunk: a peer that the policy lists. ``standing`` finds the trunk of a flow."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.validation import at_most, listed_addresses, optional, positive

__all__ = ["Trunk"]


@attrs.frozen
class Trunk:
    """A carrier or another peer that the policy lists.

    ``addresses`` are prefixes, addresses, or addresses with a port. The port is the *source* port: a
    trunk that connects over TCP or TLS from changing ports is listed by its address or by ``tls_names``,
    the DNS names of its verified client certificate.
    """

    name: str
    addresses: tuple[str, ...] = attrs.field(
        default=(), validator=[at_most(limits.TRUNK_ADDRESSES, "addresses"), listed_addresses]
    )
    tls_names: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    """Names of the listeners at which it is a trunk; elsewhere it is not. Empty: all public listeners."""
    max_calls: int | None = attrs.field(default=None, validator=optional(positive))
    """Calls from the trunk alive at once; None: no bound of its own."""
    max_cps: float | None = attrs.field(default=None, validator=optional(positive))
    """New calls a second from the trunk; None: no bound of its own."""
    latch: LatchMode | None = None
    """Whether media ports follow the source of its packets; None: as ``[media] latch`` says."""
