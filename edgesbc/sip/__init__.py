"""The SIP wire, sans-I/O: bytes to values and back, framing and transactions."""
