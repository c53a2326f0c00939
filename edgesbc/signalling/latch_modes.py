"""LatchModes: whether the media ports that face a peer follow the source of its packets, as the policy says."""

from __future__ import annotations

from edgesbc.base.address import Flow, Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.signalling.live_pipeline import LivePipeline

__all__ = ["LatchModes"]


class LatchModes:
    """The mode of a trunk, else that of the destination set with a member of the address, else ``default``."""

    __slots__ = ("_default", "_dispatcher", "_live", "_members_version", "_sets")

    def __init__(self, live: LivePipeline, dispatcher: Dispatcher, default: LatchMode) -> None:
        self._live = live
        self._dispatcher = dispatcher
        self._default = default
        self._sets: dict[str, str] = {}
        """The set of each address that members have; the first, if several sets have it."""
        self._members_version = -1

    def of(self, flow: Flow) -> LatchMode:
        """The mode for the peer at the other end of ``flow``."""
        mode: LatchMode | None = None
        if flow.listener.zone is Zone.PUBLIC:
            standings = self._live.standings
            name = standings.trunk(flow) if standings.trunks else None
            if name is None:
                return self._default
            mode = standings.trunks[name].latch
        if mode is None:
            mode = self._of_set(flow)
        return self._default if mode is None else mode

    def _of_set(self, flow: Flow) -> LatchMode | None:
        """The mode of the member's set. A call that a member makes over a connection comes from any port of it."""
        dispatcher = self._dispatcher
        member = dispatcher.member_at(flow.peer, flow.listener.transport)
        if member is not None:
            return dispatcher.settings(member.set_name).latch
        if dispatcher.members_version != self._members_version:
            self._members_version = dispatcher.members_version
            self._sets = {}
            for one in dispatcher.members():
                self._sets.setdefault(one.target.host, one.set_name)
        set_name = self._sets.get(flow.peer[0])
        return None if set_name is None else dispatcher.settings(set_name).latch
