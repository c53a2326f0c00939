"""Profiles of Hypothesis without a deadline: on a busy machine a test must not fail because an example took long."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("patient"), max_examples=10)  # make check
settings.load_profile("patient")
