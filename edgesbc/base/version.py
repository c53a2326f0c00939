"""The version of edgesbc, and the folder of the package. Modules inside import these instead of the package itself."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PACKAGE_FOLDER", "VERSION"]

VERSION = "0.1.0"

PACKAGE_FOLDER = Path(__file__).parent.parent
"""Where the package is installed, or its source in a checkout."""
