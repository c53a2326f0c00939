"""The settings of a media plane as values that cross to another process."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from edgesbc.base.address import Zone
from edgesbc.kernel_relay.flow_map import RelayMaps
from edgesbc.media.commands import MediaSilence, MediaTimeout
from edgesbc.media.plane import MediaPlane
from edgesbc.media.side_activity import OneWay
from edgesbc.tasks.containment import Containment

__all__ = ["MediaPlaneSettings"]


@attrs.frozen
class MediaPlaneSettings:
    """See :class:`edgesbc.media.plane.MediaPlane`."""

    public: tuple[str, ...]
    """The literal addresses to bind on the public side."""
    core: tuple[str, ...]
    first_port: int
    last_port: int
    max_sessions: int
    media_timeout: float
    hold_timeout: float
    one_way: str
    """A value of :class:`OneWay`."""
    one_way_timeout: float
    relays: int
    """Relay processes; 0: a thread."""
    max_series: int
    """Of one metric."""
    advertised_public: tuple[str, ...] = ()
    """What descriptions show in place of the addresses of the same family on the public side."""
    advertised_core: tuple[str, ...] = ()
    opaque_profiles: tuple[str, ...] = ()

    @property
    def addresses(self) -> set[str]:
        """Every address that it binds."""
        return {*self.public, *self.core}

    @property
    def capacity(self) -> int:
        """How many ports there are on all addresses."""
        return len(self.addresses) * (self.last_port - self.first_port + 1)

    def build(
        self,
        on_event: Callable[[MediaTimeout | MediaSilence], None],
        containment: Containment,
        inside: Callable[[str], bool],
        max_streams: int | None,
        kernel: RelayMaps | None,
    ) -> MediaPlane:
        """The media plane with these settings. Raises ``ValueError`` for addresses or ports that cannot be used."""
        return MediaPlane(
            {Zone.PUBLIC: self.public, Zone.CORE: self.core},
            (self.first_port, self.last_port),
            on_event,
            containment=containment,
            advertise={Zone.PUBLIC: self.advertised_public, Zone.CORE: self.advertised_core},
            inside=inside,
            max_sessions=self.max_sessions,
            media_timeout=self.media_timeout,
            hold_timeout=self.hold_timeout,
            one_way=OneWay(self.one_way),
            one_way_timeout=self.one_way_timeout,
            opaque_profiles=self.opaque_profiles,
            max_streams=max_streams,
            relays=self.relays,
            kernel=kernel,
        )
