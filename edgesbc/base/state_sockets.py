"""Names of the sockets in the state directory, and of the lock of its processes."""

from __future__ import annotations

from typing import Final

__all__ = ["CONTROL_SOCKET", "MEDIA_CONTROL_SOCKET", "MEDIA_SOCKET", "PROCESSES_LOCK", "SUPERVISOR_SOCKET"]

CONTROL_SOCKET: Final = "control.sock"
"""Of the commands for a running edge."""
MEDIA_SOCKET: Final = "media.sock"
"""Where signalling links with a media plane in another process."""
MEDIA_CONTROL_SOCKET: Final = "media_control.sock"
"""Where that media plane answers questions for its metrics."""
SUPERVISOR_SOCKET: Final = "supervisor.sock"
"""Where a supervisor finds the processes of an earlier one; it is there at the start alone."""
PROCESSES_LOCK: Final = "processes.lock"
"""A file that is locked while a process of an edge of several lives."""
