"""Names of the sockets in the state directory."""

from __future__ import annotations

from typing import Final

__all__ = ["CONTROL_SOCKET", "MEDIA_CONTROL_SOCKET", "MEDIA_SOCKET"]

CONTROL_SOCKET: Final = "control.sock"
"""Of the commands for a running edge."""
MEDIA_SOCKET: Final = "media.sock"
"""Where signalling links with a media plane in another process."""
MEDIA_CONTROL_SOCKET: Final = "media_control.sock"
"""Where that media plane answers questions for its metrics."""
