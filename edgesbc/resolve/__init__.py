"""Locating SIP servers (RFC 3263): the procedure without I/O, and the resolver that asks name servers."""
