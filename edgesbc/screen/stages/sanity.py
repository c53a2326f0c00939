"""Stage ``sanity``: the checks of RFC 3261 section 16.3 on a parsed request, before it is routed."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between
from edgesbc.screen.stage import PASS, Phase, Reject, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.build import COOKIE
from edgesbc.sip.message import Request
from edgesbc.sip.values import unsupported

__all__ = ["Sanity", "SanitySettings"]


@attrs.frozen
class SanitySettings:
    """``[screen.sanity]``."""

    schemes: tuple[str, ...] = ("sip", "sips", "tel")
    """Schemes of a Request-URI that can be routed; others get 416."""
    proxy_require: tuple[str, ...] = ()
    """Option tags that are accepted in Proxy-Require; others get 420."""
    via_hops: int = attrs.field(default=limits.VIA_HOPS, validator=between(1, limits.VIA_HOPS))
    """Via values that a request may have."""

    def unsupported(self, request: Request) -> list[str]:
        """The option tags of the request's Proxy-Require that are not supported, in lower case."""
        return unsupported(request.get_all("Proxy-Require"), [tag.lower() for tag in self.proxy_require])


class Sanity:
    name = "sanity"
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: SanitySettings, standings: Standings) -> None:
        self._schemes = frozenset(scheme.lower() for scheme in settings.schemes)
        self._settings = settings
        self._via_hops = settings.via_hops

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request = subject.request
        assert request is not None  # noqa: S101 - the phase comes with one
        if request.uri.scheme not in self._schemes:  # RFC 3261 section 16.3, check 2
            return Reject(416, Reason.SANITY, detail="the scheme of the Request-URI")
        if request.max_forwards == 0:  # check 3; a missing field passes it
            return Reject(483, Reason.TOO_MANY_HOPS, limit=1, value=0)
        if request.method == "INVITE" and request.get("Contact") is None and request.via.branch.startswith(COOKIE):
            # Section 8.1.1.8. A branch without the cookie is that of an RFC 2543 client, which need not send Contact.
            return Reject(400, Reason.SANITY, detail="an INVITE without Contact")
        if request.get("Proxy-Require") is not None and self._settings.unsupported(request):  # check 5
            return Reject(420, Reason.EXTENSION)
        if subject.standing is not Standing.TRUNK:
            credentials = len(request.get_all("Authorization")) + len(request.get_all("Proxy-Authorization"))
            if credentials > limits.CREDENTIALS:
                return Reject(400, Reason.SANITY, limit=limits.CREDENTIALS, value=credentials, detail="credentials")
        hops = len(request.get_all("Via"))
        if hops > self._via_hops:
            return Reject(483, Reason.TOO_MANY_HOPS, limit=self._via_hops, value=hops)
        return PASS
