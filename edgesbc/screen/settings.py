"""The settings of screening, with every stage on by default. ``policy`` reads them from a file."""

from __future__ import annotations

import attrs

from edgesbc.base.validation import between, one_of, prefixes
from edgesbc.screen.misbehaviour import MisbehaviourSettings
from edgesbc.screen.stages import STAGES
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.guess import GuessSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.overload import OverloadSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.ratelimit import DEFAULT_BUCKETS, BucketSettings
from edgesbc.screen.stages.sanity import SanitySettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.work import WorkSettings

__all__ = ["ScreenSettings"]


def _stages(instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    unknown = [name for name in value if name not in STAGES]
    if unknown:
        raise ValueError(f"{attribute.name}: expected stages among {', '.join(STAGES)}; found {unknown[0]!r}")
    if len(set(value)) != len(value):
        raise ValueError(f"{attribute.name}: expected each stage once, found {', '.join(value)}")


def _distinct(
    instance: object, attribute: attrs.Attribute[tuple[BucketSettings, ...]], value: tuple[BucketSettings, ...]
) -> None:
    names = [bucket.name for bucket in value]
    if len(set(names)) != len(names):
        raise ValueError(f"{attribute.name}: expected buckets of different names, found {', '.join(names)}")


@attrs.frozen
class ScreenSettings:
    """``[screen]``."""

    mode: str = attrs.field(default="enforce", validator=one_of("enforce", "shadow"))
    """``shadow``: every stage records what it would have refused, and lets it pass."""
    stages: tuple[str, ...] = attrs.field(default=tuple(STAGES), validator=_stages)
    """The stages that are on, in the order in which they judge."""
    shadow: tuple[str, ...] = attrs.field(default=(), validator=_stages)
    """Stages that only record, in mode ``enforce``."""
    max_ban_share: float = attrs.field(default=0.5, validator=between(0.0, 1.0))
    """Share of the tracked sources that may be banned at once; more are refused message by message."""
    exempt: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes that are never banned; messages over a threshold are refused there too, one by one."""
    conduct: MisbehaviourSettings = attrs.field(factory=MisbehaviourSettings)
    work: WorkSettings = attrs.field(factory=WorkSettings)
    acl: AclSettings = attrs.field(factory=AclSettings)
    pike: PikeSettings = attrs.field(factory=PikeSettings)
    ratelimit: tuple[BucketSettings, ...] = attrs.field(default=DEFAULT_BUCKETS, validator=_distinct)
    sanity: SanitySettings = attrs.field(factory=SanitySettings)
    scanner: ScannerSettings = attrs.field(factory=ScannerSettings)
    method: MethodSettings = attrs.field(factory=MethodSettings)
    guess: GuessSettings = attrs.field(factory=GuessSettings)
    admission: AdmissionSettings = attrs.field(factory=AdmissionSettings)
    overload: OverloadSettings = attrs.field(factory=OverloadSettings)
