"""Every numeric bound of the program, in one place, each with its reason. What an attacker can grow is here."""

from __future__ import annotations

from typing import Final

# --- SIP on the wire -------------------------------------------------------------------------------------

MESSAGE_BYTES: Final = 65_535
"""Largest SIP message, datagram or framed: the largest UDP payload; no legal signalling comes near it."""
START_LINE_BYTES: Final = 2_048
"""Longest start line. A sealed token with a route set needs about 700."""
HEADER_BLOCK_BYTES: Final = 32_768
"""Start line and header fields together, before the blank line."""
HEADER_FIELD_BYTES: Final = 8_192
"""Longest header field, unfolded: Identity (RFC 8224) with a long passport is about 2 KiB."""
HEADER_FIELDS: Final = 192
"""Number of header fields. Twenty hops with Via and Record-Route each stay under 60."""
VIA_HOPS: Final = 70
"""Via values in one message: the default of Max-Forwards (RFC 3261 section 8.1.1.6)."""

# --- Transactions and calls ------------------------------------------------------------------------------

TRANSACTIONS: Final = 50_000
"""Transactions alive at once. 300 calls a second with 32 s of Timer B and J reach about 30,000."""
CALLS: Final = 20_000
"""Calls alive at once in one process, at about 10 KiB each in the signalling plane."""
FORK_BRANCHES: Final = 8
"""Destinations tried for one request, one after the other."""
SET_UP_SECONDS: Final = 180
"""How long a call may ring: Timer C is over three minutes (RFC 3261 section 16.6)."""
CALL_SECONDS: Final = 4 * 3600
"""Longest call; what is forgotten by both sides ends here."""
PENDING_MEDIA: Final = 16
"""Messages of one call that may wait for the media plane."""
MEDIA_REPLY_SECONDS: Final = 2.0
"""How long the media plane may take to answer a command before the message waiting for it is refused."""
ROUTE_SET: Final = 8
"""Record-Route values of one side that a token carries."""

# --- Listeners and connections ---------------------------------------------------------------------------

CONNECTIONS: Final = 8_192
"""Connections in all: each costs a descriptor and about 40 KiB with TLS."""
CONNECTIONS_PER_ADDRESS: Final = 256
"""Connections of one address: an office behind one NAT."""
HANDSHAKE_SECONDS: Final = 10.0
"""From accept to the end of the TLS and WebSocket handshakes, whatever trickles in."""
MESSAGE_SECONDS: Final = 10.0
"""From the first byte of a message on a stream to its last."""
IDLE_SECONDS: Final = 900.0
"""A connection on which nothing came for this long is closed; RFC 5626 clients ping every 120 s."""
FIRST_MESSAGE_SECONDS: Final = 30.0
"""A connection that has never sent a whole message is closed after this long."""
OUTBOX_BYTES: Final = 262_144
"""What may wait for a peer that does not read; beyond it, the connection is closed."""
CONNECT_SECONDS: Final = 5.0
"""How long opening a connection to a destination may take, TLS included."""
UDP_BATCH: Final = 64
"""Datagrams taken from a socket before other tasks get their turn."""
UDP_RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Kernel receive buffer of a listener: half a second of a flood, so that its bursts harm nobody."""

# --- Ledger ----------------------------------------------------------------------------------------------

DECISIONS: Final = 10_000
"""Decisions kept for `edgesbc why`, about 300 bytes each."""
