"""``[[media.rtpengine]]``: an rtpengine that relays the media of calls."""

from __future__ import annotations

import ipaddress
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.base.validation import between, described, matching

__all__ = ["RtpengineSettings"]

_INTERFACE = matching(r"[!-.0-~]{0,64}", "the name of an interface of the rtpengine")


def _address(value: Any) -> Source:
    try:
        host, port = split_host_port(value if isinstance(value, str) else "")
        address = ipaddress.ip_address(host.strip("[]"))
        if not port or address.is_unspecified or address.is_multicast:
            raise ValueError
        return Source(str(address), port)
    except ValueError:
        raise ValueError(f"expected a literal address and port, found {described(value)}") from None


@attrs.frozen
class RtpengineSettings:
    """``[[media.rtpengine]]``: one rtpengine, controlled by the NG protocol over UDP."""

    address: Source = attrs.field(metadata={"structure": _address})
    """Where it listens for the NG protocol."""
    weight: int = attrs.field(default=1, validator=between(1, limits.NG_ENGINE_WEIGHT))
    """Its share of the calls, relative to the others."""
    public: str = attrs.field(default="", validator=_INTERFACE)
    """The name of its interface for the public side; empty: it chooses."""
    core: str = attrs.field(default="", validator=_INTERFACE)
    """The name of its interface for the private side; empty: it chooses."""
