"""RegistrationRules: what a policy says about registered phones and browsers (``[registrations]``)."""

from __future__ import annotations

from typing import NamedTuple

from edgesbc.signalling.edge_contacts import RegisteredContact
from edgesbc.signalling.keep_alives import NO_KEEP_ALIVES, KeepAliveSettings

__all__ = ["RegistrationRules"]


class RegistrationRules(NamedTuple):
    """``reconnect_wait`` is for how many seconds messages wait for a new connection of a device; 0: they do not.
    ``keep_alive`` says what is sent to phones behind NAT. ``gone_status`` is the status for a request of the private
    side to a flow that is gone. ``contact`` is what registrars bind. ``ring_limit`` and ``call_limit`` are how many
    seconds a call to a registered phone may ring, and last; None: as long as any."""

    reconnect_wait: float = 10.0
    keep_alive: KeepAliveSettings = NO_KEEP_ALIVES
    gone_status: int = 480
    contact: RegisteredContact = RegisteredContact.PATH
    ring_limit: float | None = None
    call_limit: float | None = None
