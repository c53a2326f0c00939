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
    """A member at ``target``, or at the literal address of ``uri``; usable, as if its group had counted it."""
    settings = MemberSettings(uri=uri, **fields)  # type: ignore[arg-type]
    where = target or settings.target
    assert where is not None
    member = Member(set_name, settings, health or HealthSettings(), where)
    member.usable = True
    return member
