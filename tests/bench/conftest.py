"""Certificates of an authority that lives as long as the test run."""

from support.certificates import certificates

__all__ = ["certificates"]
