"""The stages of screening, one file each; the file's name is the stage's policy key and metric label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesbc.screen.stage import Stage
from edgesbc.screen.stages.acl import Acl
from edgesbc.screen.stages.admission import Admission
from edgesbc.screen.stages.guess import BruteForceGuard
from edgesbc.screen.stages.method import Method
from edgesbc.screen.stages.overload import Overload
from edgesbc.screen.stages.pike import Pike
from edgesbc.screen.stages.ratelimit import RateLimit
from edgesbc.screen.stages.sanity import Sanity
from edgesbc.screen.stages.scanner import Scanner

__all__ = ["STAGES"]

STAGES: dict[str, Callable[[Any, Any], Stage]] = {
    stage.name: stage for stage in (Acl, Pike, RateLimit, Sanity, Scanner, Method, BruteForceGuard, Admission, Overload)
}
"""Every stage by its name, in the default order. A new stage is added here, and its settings as an attribute of
``ScreenSettings``."""
