"""What a process of the edge is told at its start, in its command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from edgesbc.kernel_relay.flow_map import RelayMaps
from edgesbc.media.plane_settings import MediaPlaneSettings
from edgesbc.observe import logs

__all__ = ["ChildArguments", "LogSettings"]


@attrs.frozen
class LogSettings:
    """How the processes of an edge log; all of them write to the same standard error."""

    form: logs.Format = "console"
    level: str = "info"


@attrs.frozen
class ChildArguments:
    """What a process gets from the supervisor; numbers are inherited descriptors, -1 for none."""

    link: int
    log: LogSettings
    state_dir: str
    policy_file: str = ""
    started_with: int = -1
    """Memory with the text of the policy that the supervisor was started with."""
    in_force: int = -1
    """Memory with the text of the policy in force."""
    control: int = -1
    """Listens at the control socket of the edge, or of the media plane."""
    media: int = -1
    """Listens where signalling links with the media plane."""
    listeners: tuple[tuple[int, int], ...] = ()
    """For each ``[[listen]]`` its socket, and the one for untrusted sources."""
    media_settings: MediaPlaneSettings | None = None
    kernel: RelayMaps | None = None
    """The maps of a kernel relay, which the supervisor holds."""
    spare: bool = False
    """Whether it waits until it is told to run."""
    http: str = ""
    """Where to serve HTTP."""
    kernel_links: tuple[int, ...] = ()
    """What keeps the program of the kernel relay attached, for the next supervisor."""
    lock: int = -1
    """The lock that says that a process of the edge is left."""

    def as_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ChildArguments:
        values = json.loads(text)
        values["log"] = LogSettings(**values["log"])
        if values["media_settings"] is not None:
            values["media_settings"] = MediaPlaneSettings(**_with_tuples(values["media_settings"]))
        if values["kernel"] is not None:
            values["kernel"] = RelayMaps(**values["kernel"] | {"devices": tuple(values["kernel"]["devices"])})
        values["listeners"] = tuple((first, second) for first, second in values["listeners"])
        values["kernel_links"] = tuple(values["kernel_links"])
        return cls(**values)

    @property
    def descriptors(self) -> list[int]:
        """Those that the process inherits."""
        return [descriptor for descriptor in (self.link, *self._handed_on) if descriptor >= 0]

    @property
    def handed_on(self) -> list[int]:
        """Those that the next supervisor gets: all but the link."""
        return [descriptor for descriptor in self._handed_on if descriptor >= 0]

    @property
    def _handed_on(self) -> tuple[int, ...]:
        maps = () if self.kernel is None else (self.kernel.flows, self.kernel.counters)
        of_listeners = (descriptor for pair in self.listeners for descriptor in pair)
        named = (self.started_with, self.in_force, self.control, self.media, self.lock)
        return (*named, *of_listeners, *maps, *self.kernel_links)

    def with_descriptors(self, received: Sequence[int]) -> ChildArguments:
        """The same with other numbers for :attr:`handed_on`, in its order. Raises ``ValueError`` where there are more
        or fewer of them."""
        numbers = dict(zip(self.handed_on, received, strict=True)) | {-1: -1}
        maps = self.kernel
        return attrs.evolve(
            self,
            link=-1,
            started_with=numbers[self.started_with],
            in_force=numbers[self.in_force],
            control=numbers[self.control],
            media=numbers[self.media],
            lock=numbers[self.lock],
            listeners=tuple((numbers[first], numbers[second]) for first, second in self.listeners),
            kernel=None
            if maps is None
            else attrs.evolve(maps, flows=numbers[maps.flows], counters=numbers[maps.counters]),
            kernel_links=tuple(numbers[descriptor] for descriptor in self.kernel_links),
        )


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """What JSON has made of settings, with tuples again, so that equal ones are equal."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
