"""Settings for all tests: hypothesis does not fail an example for the time that it took on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("edgesbc", deadline=None)
settings.load_profile("edgesbc")
