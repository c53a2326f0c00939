"""Locating SIP servers (RFC 3263): the procedure, sans-I/O, and the resolver that sends its questions."""
