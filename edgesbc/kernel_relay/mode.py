"""Whether the kernel relays packets. Without I/O."""

from __future__ import annotations

import enum

__all__ = ["KernelMode"]


class KernelMode(enum.StrEnum):
    """``[media] kernel``."""

    AUTO = "auto"
    """It does where it can; a line of the log says why where it cannot."""
    OFF = "off"
    REQUIRE = "require"
    """An edge whose kernel cannot does not start."""
