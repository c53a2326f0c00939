"""``[headers]`` and ``[bodies]``: what crosses between the two sides besides what does anyway."""

from __future__ import annotations

from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.validation import at_most, described
from edgesbc.signalling.bodies import SDP
from edgesbc.signalling.header_rules import ASSERTED, OWN
from edgesbc.sip import grammar
from edgesbc.sip.multipart import media_type_of

__all__ = ["BodySettings", "HeaderSettings"]


def _field_names(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if not grammar.token(name):
            raise ValueError(f"{attribute.name}: expected names of header fields, found {described(name)}")
        known = grammar.CANONICAL.get(name.lower(), name)
        if known in OWN:
            raise ValueError(f"{attribute.name}: expected fields that can cross, found {name}: the edge writes its own")
        if known in ASSERTED:
            raise ValueError(
                f"{attribute.name}: expected fields that assert no identity, found {name}: the edge takes it from"
                " trunks, and from nobody else"
            )


def _media_types(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        media_type = media_type_of(name)
        if not media_type or ";" in name or name != name.strip():
            raise ValueError(
                f"{attribute.name}: expected media types as TYPE/SUBTYPE without parameters, found {described(name)}"
            )
        if media_type == SDP or media_type.startswith("multipart/"):
            raise ValueError(
                f"{attribute.name}: expected types of bodies besides descriptions, found {name}: the edge reads it"
            )


def _redirects(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for word in value:
        if word not in ("registered", "trunk"):
            raise ValueError(f'{attribute.name}: expected "registered" or "trunk", found {described(word)}')


_TYPES = [at_most(limits.BODY_TYPES, "media types"), _media_types]
_NAMES = [at_most(limits.HEADER_NAMES, "names"), _field_names]


@attrs.frozen
class HeaderSettings:
    """``[headers]``: header fields that the edge accepts from the public side besides those that it does anyway. Names
    are in any case."""

    unregistered: tuple[str, ...] = attrs.field(default=(), validator=_NAMES)
    """From peers that are neither registered nor a trunk."""
    registered: tuple[str, ...] = attrs.field(default=(), validator=_NAMES)
    trunk: tuple[str, ...] = attrs.field(default=(), validator=_NAMES)
    redirects: tuple[str, ...] = attrs.field(default=(), validator=_redirects)
    """Peers of the public side that learn the Contact of a 3xx: ``registered``, ``trunk``."""


@attrs.frozen
class BodySettings:
    """``[bodies]``: media types of bodies that cross between the private side and peers of a standing, besides those
    that do anyway. Names are in any case."""

    unregistered: tuple[str, ...] = attrs.field(default=(), validator=_TYPES)
    """For peers that are neither registered nor a trunk."""
    registered: tuple[str, ...] = attrs.field(default=(), validator=_TYPES)
    trunk: tuple[str, ...] = attrs.field(default=(), validator=_TYPES)
