"""A security-hardened SIP edge."""

__version__ = "0.1.0"
