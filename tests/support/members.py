"""Members of destination sets for tests, without a policy around them."""

from __future__ import annotations

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import HealthSettings, MemberSettings
from edgesbc.sip.server_uri import ResolvedAddress

__all__ = ["a_member"]


def a_member(
    uri: str = "sip:10.0.0.1",
    set_name: str = "set",
    health: HealthSettings | None = None,
    target: ResolvedAddress | None = None,
    **fields: object,
) -> Member:
    """A usable member at ``target``, or at the literal address of ``uri``."""
    settings = MemberSettings(uri=uri, **fields)  # type: ignore[arg-type]
    address = target or settings.target
    assert address is not None
    member = Member(set_name, settings, health or HealthSettings(), address)
    member.usable = True
    return member
