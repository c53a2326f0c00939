"""Connections without I/O: layers for TLS, WebSocket and SIP over a byte stream, and the session that they make."""
