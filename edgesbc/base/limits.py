"""Every numeric bound of the program, with its reason: above all of what an attacker can make grow."""

from __future__ import annotations

from typing import Final

# --- SIP on the wire -------------------------------------------------------------------------------------

MESSAGE_BYTES: Final = 65_535
"""Largest SIP message, datagram or framed: the largest UDP payload; no legal signalling comes near it."""
DATAGRAM_BYTES: Final = 65_507
"""Largest request that is sent in a datagram: what an IPv4 packet of 65,535 bytes has room for. A request may have
come with fewer bytes, since the edge adds Via, Path and Contact."""
START_LINE_BYTES: Final = 2_048
"""Longest start line. The longest token needs a third of it."""
HEADER_BLOCK_BYTES: Final = 32_768
"""Start line and header fields together, before the blank line."""
HEADER_FIELD_BYTES: Final = 8_192
"""Longest header field, unfolded: Identity (RFC 8224) with a long passport is about 2 KiB."""
HEADER_FIELDS: Final = 192
"""Number of header fields. Twenty hops with Via and Record-Route each stay under 60."""
PARAMETERS: Final = 64
"""Parameters of one header value or URI: a Contact with all feature tags of RFC 3840 has about 20."""
DIGEST_PARAMETERS: Final = 24
"""Parameters of a challenge or of credentials: RFC 7616 has twelve."""
HEADER_LINES: Final = 1_024
"""Lines before the blank one, those by which fields are folded counted: five for each field that there may be."""
REMEMBERED_VALUES: Final = 2_048
"""Parsed header values of one kind that are cached: those of about five hundred live calls."""
REMEMBERED_LENGTH: Final = 256
"""Longest value that is cached; with its text, about 1 KiB each, 8 MiB in all."""
REDIRECTIONS: Final = 16
"""Contact values of a 3xx that cross; towards the public side each may cost a token."""
BODY_PARTS: Final = 16
"""Parts of a multipart body, those of the ones inside it counted: a description, ISUP, a location and a few more."""
BODY_DEPTH: Final = 2
"""Multipart bodies inside each other: a description and its alternative beside ISUP."""
PART_HEAD_BYTES: Final = 2_048
"""Header fields of one part of a body; five of them are usual."""
BODY_TYPES: Final = 64
"""Media types in one key of `[bodies]`."""
VIA_HOPS: Final = 70
"""Via values in one message: the default of Max-Forwards (RFC 3261 section 8.1.1.6)."""

# --- Transactions and calls ------------------------------------------------------------------------------

TRANSACTIONS: Final = 50_000
"""Transactions alive at once. 300 calls a second with 32 s of Timer B and J reach about 30,000."""
TRANSACTION_BYTES: Final = 512 * 1024 * 1024
"""Bytes of the messages that all transactions keep: five times those of as many as 300 calls a second have, and a
thirteenth of what the largest messages would take in each of them."""
TRANSACTION_PARTS: Final = 8
"""An account has one part in so many of these two bounds, with all its flows: thirteen phones at pike's density. All
accounts together leave one part to trunks and the private side."""
CALLS: Final = 20_000
"""Calls alive at once, at about 10 KiB each in the signalling plane; `[edge] max_calls` may change it."""
CALLS_MOST: Final = 100_000
"""Largest number of calls that a policy may allow: about a gigabyte, and more than one process can set up."""
CALLS_PER_CALL_ID: Final = 32
"""Calls of one address with one Call-ID, caller's tag and side: a proxy that forks sends one for each phone of a user,
Kamailio at most 31. It also ends a loop of servers that remove all by which a loop is seen."""
LOOP_MARKS: Final = 4
"""Marks of 12 characters in a branch, by which a loop is found: one for each time that a request passes an edge. A loop
over more edges ends by Max-Forwards."""
SAME_BRANCH: Final = 8
"""Requests with the branch, sent-by and method of a new one, from other addresses over streams, that it is compared
with: only a sender that has changed its address, or one that predicts branches, makes more than one."""
AMPLIFICATION: Final = 1.5
"""Longest answer of the edge's own to a datagram of an unproven source, in bytes for each byte of the datagram. An
answer repeats fields of its request; more would let an attacker with a forged source use the edge as an amplifier.
With the answers of destinations they have twice as much: a short INVITE has less than the 180 and 200 of its call."""
FORK_BRANCHES: Final = 8
"""Destinations tried for one request, one after the other."""
SET_UP_SECONDS: Final = 185
"""How long an INVITE may go without another provisional answer: Timer C is over three minutes (RFC 3261 section 16.6),
and a callee that needs longer sends one every minute (section 13.3.1.1)."""
RING_SECONDS: Final = 3600
"""How long a call may ring in all: a callee that goes on with provisional answers would keep it for ever."""
CALL_SECONDS: Final = 4 * 3600
"""Longest call: a call whose BYE was lost on both sides ends here."""
REGISTERED_SECONDS: Final = 7200
"""Longest registration that a sender hears of: a phone that has gone, whose address may be another's by now, counts as
registered until it ends."""
ENDED_CALLS: Final = 40_000
"""Ended calls whose tokens still open, at about 150 bytes each: 1,000 calls a second. The oldest is dropped."""
ENDED_CALL_SECONDS: Final = 32
"""For how long: 64*T1, the longest that a request may be on its way (RFC 3261 section 17.1.2.2)."""
ENDED_SUBSCRIPTIONS: Final = 10_000
"""The same for ended calls within which a REFER or SUBSCRIBE was sent, for its NOTIFY. The oldest is dropped."""
ENDED_SUBSCRIPTION_SECONDS: Final = 600
"""A transfer rings for three minutes at most; its NOTIFY comes after the call that asked for it has ended."""
REFERRED_SECONDS: Final = 600
"""For how long a peer that got a REFER of the private side may call whom it names: a user may be asked first."""
PENDING_MEDIA: Final = 16
"""Messages of one call that may wait for the media plane."""
MEDIA_REPLY_SECONDS: Final = 2.0
"""How long the media plane may take to answer a command before the message waiting for it is refused."""
ROUTE_SET: Final = 8
"""Record-Route values of one side that a token carries."""
TARGET_BYTES: Final = 1280
"""Contact and Record-Route of one side together, which a call keeps; no phone and no row of proxies needs as much."""
SEALED_TARGET_CHARS: Final = 320
"""Of these, what is sealed into a token: so a token has at most about 650 characters, whatever a peer's Contact is.
Longer texts are kept in memory, and the token names them. A Contact of another edge, and two proxies, need 300."""
LONG_TARGETS: Final = 4_096
"""Contacts with route sets that are kept so, of peers with an account, and of all others; 6 MiB each."""
LONG_TARGETS_OF_PEER: Final = 256
"""Of these, those of one account, or of one address without one: more than the calls that it may have by default."""

# --- Listeners and connections ---------------------------------------------------------------------------

CONNECTIONS: Final = 8_192
"""Connections in all: each costs a descriptor and about 25 KiB with TLS; `[edge] max_connections` may change it."""
CONNECTIONS_MOST: Final = 100_000
"""Largest number of connections that a policy may allow: more than two gigabytes with TLS."""
CONNECTIONS_SHARE: Final = 0.5
"""Part of the process's descriptors that accepted connections may have: the media of a call takes four to eight."""
CONNECTIONS_TRUSTED: Final = 1_024
"""Of these, the ones that only trunks and the private side may use: some dozens of peers, with room."""
CONNECTIONS_PER_ADDRESS: Final = 256
"""Connections of one address, or of one /64, over all listeners: an office behind one NAT."""
HANDSHAKE_SECONDS: Final = 10.0
"""From accept to the end of the TLS and WebSocket handshakes; bytes that trickle in do not extend it."""
MESSAGE_SECONDS: Final = 10.0
"""From the first byte of a message on a stream to its last."""
IDLE_SECONDS: Final = 900.0
"""A connection without any input for this long is closed; RFC 5626 clients ping every 120 s."""
FIRST_MESSAGE_SECONDS: Final = 30.0
"""A connection that the edge has accepted and that has never sent a whole message is closed after this long."""
IDLE_UNREGISTERED_SECONDS: Final = 60.0
"""The same where the peer has sent messages, but is neither registered, a trunk, of the private side nor in a call: no
transaction but INVITE takes longer than 32 s. `[[listen]] idle_unregistered` may change it."""
CONNECTIONS_OF_CALL: Final = 16
"""Connections that a call being set up keeps open, besides those of its legs: hops that it was sent to, and where the
devices there moved to."""
OUTBOX_BYTES: Final = 262_144
"""Bytes queued for a peer that does not read; beyond it, the connection is closed."""
CONNECT_SECONDS: Final = 5.0
"""How long opening a connection to a destination may take, TLS included."""
CONNECT_ATTEMPT_SECONDS: Final = 0.25
"""How long a request waits for a connection before one to another address of the same host is asked for as well: the
Connection Attempt Delay of RFC 8305 section 5."""
CONNECT_BACKOFF_SECONDS: Final = 0.5
"""How long calls leave an address alone after one failed connection; doubled with each that follows."""
CONNECT_BACKOFF_MOST: Final = 30.0
"""The longest such time: what calls may lose of a destination that returns, and has no probes that notice it."""
CONNECTION_WAITING: Final = 128
"""Requests that wait for one connection to a destination, those that are sent again by it included. Those of senders
without an account have half of it."""
CONNECTION_WAITING_BYTES: Final = 196_608
"""Their bytes, 1.5 KiB for each: a quarter of the outbox is left for ACKs and answers, and for the handshakes."""
UDP_BATCH: Final = 64
"""Datagrams taken from a socket before other tasks get their turn."""
ICMP_QUOTE_BYTES: Final = 1_280
"""Bytes that are read of the datagram that an ICMP error quotes: an error is no longer than that (RFC 4443 section 2.4;
RFC 1812 section 4.3.2.3 says 576)."""
UDP_UNTRUSTED_BATCH: Final = 16
"""Datagrams of untrusted sources that are read before trusted sources are read again: about a millisecond of a
flood."""
UDP_UNTRUSTED_LEAST: Final = 1
"""The same in a whole turn, after a turn with `UDP_BEHIND` datagrams of trusted sources or of the private side."""
UDP_BEHIND: Final = 16
"""So many in one turn of a listener are more than come while the edge keeps up, but in bursts: as many as a batch of
untrusted sources causes, if each is forwarded and answered."""
UDP_UNTRUSTED_SECONDS: Final = 0.005
"""How long datagrams of untrusted sources are read in a turn, and a batch more: 64 of a flood take less."""
UNPROVEN_TURN_SECONDS: Final = 0.01
"""How long connections of peers without an account are read before all others have their turn: about 130 messages."""
UNPROVEN_BEHIND_SHARE: Final = 0.05
"""Part of the time in which these connections are read after a turn with `UDP_BEHIND` datagrams."""
UNPROVEN_READS_SHARE: Final = 0.5
"""Part of the time of the event loop in which these connections are read, over any longer time. All that there may be
can still shake hands within `POSTPONED_SECONDS`: at a millisecond each, that is a quarter of a minute."""
UNPROVEN_GROUP_SECONDS: Final = 0.002
"""How long the reads of one turn may take once the time is spent: fewer go on where each is costly, as with messages of
40 KiB. A call that is set up takes three turns."""
UNPROVEN_TURN_READS: Final = 8
"""Such connections that go on in each turn once this time is spent."""
FAILED_HANDSHAKE_UNITS: Final = 20
"""What a handshake that fails counts as, in units of `[screen.work]`: up to half a millisecond of a signature."""
READ_COST_SECONDS: Final = 20e-6
"""What a read costs beside the work on what has come: waiting for the socket, and the switch of tasks."""
POSTPONED_SECONDS: Final = 30.0
"""By how much the deadlines of a connection may be later, in all, because it waited for its turn to be read: several
turns of all connections that there may be, each with a handshake."""
UDP_SEND_TRIES: Final = 8
"""Times that a datagram is given to the kernel, which refuses it once for each pending ICMP error of an earlier one."""
UDP_RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""Kernel receive buffer of a listener: half a second of a flood, so that a burst does not displace other datagrams."""

# --- Ledger ----------------------------------------------------------------------------------------------

DECISIONS_WAITING: Final = 10_000
"""Decisions that wait for a program that embeds the edge and reads them slowly, about 500 bytes each."""
DECISIONS: Final = 10_000
"""Decisions kept for `edgesbc why`, about 600 bytes each with their place in its index."""

# --- Dispatch and policy ---------------------------------------------------------------------------------

SET_MEMBERS: Final = 2_000
"""Members of one destination set; each costs a probe every few seconds."""
MEMBER_RESOURCES: Final = 16
"""Named resources of one member: a gateway has some kinds of channels."""
DAMPING: Final = 32
"""Largest factor by which a flapping member needs more good answers than `rise`: with probes every 5 s, some five
minutes."""
SLOW_START_SHARE: Final = 0.05
"""Part of its share that a returning member gets at once: with none, an idle set would never try it."""
REFUSAL_CALLS: Final = 100
"""Last calls of a member whose outcomes are kept, to see which part of them it refuses."""
REPEATED_SILENCES: Final = 10
"""Calls of trunks to one number that may meet silence in a row before the member, and not the number, is in trouble."""
REFUSAL_SECONDS: Final = 300.0
"""For how long such an outcome counts: older ones say nothing about the member's state."""
TARGETS: Final = 32
"""Addresses of one name: a carrier has some, and an answer of DNS could hold thousands."""
NAME_SERVERS: Final = 8
"""Name servers of a policy: they are asked one after the other, and more would not get their turn in time."""
DNS_QUESTIONS: Final = 100
"""Questions for one name: NAPTR, three SRV, both families of the most hosts that are used, and room. Without a bound,
records that lead to records could go on for ever."""
DNS_REMARKS: Final = 8
"""Remarks kept about one name, a line each: about records that were found and are not used."""
DNS_LOOKUPS: Final = 4
"""Names looked up at once: a name without an answer does not delay the others, and name servers are not flooded."""
DNS_QUESTION_SECONDS: Final = 4.0
"""How long one question may stay unanswered: two servers, or one twice, at the usual two seconds."""
DNS_LOOKUP_SECONDS: Final = 10.0
"""How long all questions for one name may take; those left then count as unanswered."""
DNS_START_SECONDS: Final = 1.0
"""How long an edge that starts waits for its names; then it starts with the ones that have addresses."""
DNS_SECONDS_LEAST: Final = 5.0
"""Shortest time between two look-ups of a name, whatever the TTL: 0 would be one question after the other."""
DNS_SECONDS_MOST: Final = 3_600.0
"""Longest time between two look-ups of a name: with a TTL of a week, calls would go to an old address for a week."""
DNS_SECONDS_NONE: Final = 60.0
"""How long a negative answer holds that has no TTL of its own."""
DNS_PAUSE_MOST: Final = 300.0
"""Longest pause between two tries of a name without an answer; pauses double up to it."""
MEMBER_WEIGHT: Final = 10_000
"""Largest weight of a member: shares finer than one in ten thousand cannot be measured."""
POLICY_BYTES: Final = 4 * 1024 * 1024
"""Largest policy file: two thousand members in many sets need a tenth of it."""
POLICY_LOG_ENTRIES: Final = 1_000
"""Entries of the audit log of policies that are kept: a reload an hour for six weeks."""
CHANGE_WHY_CHARS: Final = 1_000
"""Longest reason that an operator gives for a change: the policy log prints it."""
CHANGES_SHOWN: Final = 2_000
"""Changes between two policies that are listed one by one: as many as a large set has members."""
DIFF_VALUE_CHARS: Final = 120
"""Characters of one value in the sentence of a change; longer patterns seldom differ at their beginning."""
SETTLE_SECONDS: Final = 600.0
"""Longest probation of a change: a failure that shows later is hardly caused by the change."""
SETTLE_LOOK_SECONDS: Final = 0.25
"""How often a change on probation is judged: how long a bad one stays in force after it is known to be bad."""
ATTEMPTS_SLICE_SECONDS: Final = 1.0
"""Calls are counted by the second in which they began: a fraction of the shortest useful probation."""
ATTEMPTS_SECONDS: Final = 2 * SETTLE_SECONDS
"""How long these counts are kept: the longest time before a change that is compared with the longest time after it."""
ATTEMPTS_SLICES: Final = 2_048
"""Slices of these counts, about 100 bytes each: one a second, and one for each of many changes."""
CORE_PREFIXES: Final = 256
"""Prefixes in the policy from which core listeners accept messages; private networks are aggregates of a few."""
DOMAINS: Final = 1024
"""Domains in a policy; a server that hosts more than that has its own list, and the edge needs none."""
HEADER_NAMES: Final = 64
"""Names in one list of header fields that a policy admits: a carrier's fields of its own are a handful."""
BACKUP_FILES: Final = 32
"""Files in a backup: the policy, the files of the state directory, and secrets if asked for."""
BACKUP_FILE_BYTES: Final = 512 * 1024 * 1024
"""Largest file of a backup. The store keeps a thousand entries; with policies of 100 KiB each it has a fifth of it."""
BACKUP_MANIFEST_BYTES: Final = 65_536
"""Largest manifest of a backup: 32 files need a tenth of it."""
ROUTE_TEXT: Final = 256
"""Longest text of a peer that is matched against a route's pattern; longer texts match nothing. An operator's pattern
may backtrack, and this bounds the time that a peer can make it take."""

DATABASE_ROWS: Final = 20_000
"""Rows of one table of destinations, those of unused sets included: ten times the largest set."""
DATABASE_TEXT: Final = 1_024
"""Longest text in such a row: the longest column of Kamailio and OpenSIPS has 255 characters."""
DATABASE_PAIRS: Final = 32
"""Pairs of name and value in one column of such a row."""
DATABASE_ERRORS_LOGGED: Final = 20
"""Bad rows of one reading that are logged one by one; their total number is logged too."""
DATABASE_START_SECONDS: Final = 5.0
"""How long the start, or a reload, waits for all databases together; then the edge goes on with the rows it has."""
DATABASE_RETRY_SECONDS: Final = 60.0
"""Longest pause between two tries of a database that does not answer, plus or minus jitter."""
DATABASE_COPY_BYTES: Final = 64 * 1024 * 1024
"""Largest local copy of a table that is read at the start: the most rows possible need about half of it."""
PEM_BYTES: Final = 4 * 1024 * 1024
"""Largest file of certificates or of a key: the authorities that a system trusts are a quarter of a megabyte."""
PASSWORD_BYTES: Final = 16_384
"""Largest file with a database's password: access tokens of clouds, which replace one, have about 2,000 bytes."""
LIST_BYTES: Final = 4 * 1024 * 1024
"""Largest dispatcher.list that is imported: as many lines as a table may have rows, of 200 characters."""

# --- Media and session descriptions ----------------------------------------------------------------------

SDP_BYTES: Final = 32_768
"""Largest session description: a browser's with video and 40 candidates is about 8 KiB."""
SDP_MEDIA: Final = 16
"""Media sections of one description; each active one takes four sockets."""
MEDIA_PROFILES: Final = 16
"""Names in `[media] unknown_profiles`."""
MEDIA_SECTIONS: Final = 4
"""Media sections that one call of a public peer may have relayed: audio, video, a presentation and real-time text; each
takes four sockets. Further ones are rejected."""
MEDIA_RESERVED_SHARE: Final = 0.1
"""Part of the media ports that only trunks and the private side may open."""
ONE_WAY_SECONDS: Final = 600
"""Default of `[media] one_way_timeout`: how long a side may send no RTP, whatever RTCP it sends."""
MEDIA_HOLD_SECONDS: Final = 1_800
"""Default for how long a call on hold may go without a packet and without a refresh: the session interval that RFC 4028
recommends."""
SDP_ATTRIBUTES: Final = 512
"""Attributes of one section: a browser's video section has about 120."""
SDP_FORMATS: Final = 64
"""Formats of one media section: RTP has 128 payload types, of which half are taken by RTCP with rtcp-mux."""
MEDIA_NAME_BYTES: Final = 1_024
"""Longest session identifier or dialog tag that the media plane keeps; identifiers are keys of its table."""
MEDIA_SESSIONS: Final = CALLS
"""Media sessions alive at once; ports run out earlier with most ranges."""
MEDIA_SESSION_BYTES: Final = 20_480
"""Memory of a media session with one audio stream, as `edgesbc check` tells it: objects, counters and four sockets."""
MEDIA_SESSIONS_PER_ID: Final = 8
"""Media sessions of different tags under one Call-ID: an attacker that has seen a Call-ID can open this many."""
MEDIA_PACKET_BYTES: Final = 2_047
"""Largest packet relayed. Media fits a path of 1,500 octets; a larger packet is dropped, never truncated."""
MEDIA_TURN_PACKETS: Final = 256
"""Packets that ports without a known peer have taken in one turn of the relay, before the others get theirs."""
MEDIA_POLL_EVENTS: Final = 128
"""Ports that one turn of the relay serves; all others have theirs in the next turns."""
RELAY_BATCH_BYTES: Final = 16_384
"""Commands of one datagram to a relay; a Unix socket carries 212,992 bytes by default."""
RELAY_BATCH_SOCKETS: Final = 64
"""Sockets of one datagram to a relay; the kernel takes 253."""
RELAY_BATCHES: Final = 16
"""Datagrams of commands that a relay carries out before packets get their turn."""
RELAY_QUEUE: Final = 1_024
"""Datagrams that wait for a relay that does not read: beyond them it is ended, and started again with all it has to
know."""
RELAY_EVENT_SECONDS: Final = 0.05
"""How long a relay collects events, such as learned peers, so that media control wakes up once for many calls."""
RELAY_SWITCH_SECONDS: Final = 0.0002
"""How long a relay's thread waits for another thread that computes, three times for each packet that comes alone."""
RELAYS: Final = 64
"""Relay processes; more cores than that have other work."""
RELAY_REPORTS: Final = 512
"""Channels whose RTCP a relay copies for media control in that time, one packet of each."""
RELAY_FAULT_BYTES: Final = 1_000
"""Longest text of an internal error that a relay reports."""
RELAY_PING_SECONDS: Final = 0.5
"""How often a relay process is asked whether it still reads commands."""
RELAY_SILENT_SECONDS: Final = 2.0
"""How long it may not have answered until it is ended and started again: a turn takes milliseconds."""
MEDIA_LEARN_PACKETS: Final = 64
"""Datagrams taken in one go at a port that has not learned its peer yet."""
MEDIA_STALE_PACKETS: Final = 100
"""Packets of the previous peer that a port ignores after its target changed: 2 s of audio."""
MEDIA_SIGNALLED_SECONDS: Final = 0.2
"""How long the signalled port has to be silent, while packets come from another port of its address, until that one is
taken: ten packets of audio, and no more, because a phone behind a NAT that changes ports is not heard meanwhile."""
MEDIA_ROAM_SECONDS: Final = 1.0
"""`latch = "roaming"`: how long the peer of a port has to be silent until another port of its address takes its place:
fifty packets of audio."""
MEDIA_ROAM_RTCP_SECONDS: Final = 15.0
"""The same for a port of RTCP, which a peer sends every five seconds (RFC 3550 section 6.2)."""
MEDIA_ROAMS: Final = 16
"""How often that may happen to a port until its peer describes its media again."""
MEDIA_PORT_LOWEST: Final = 1_024
"""Lowest media port accepted in a description of a public peer: lower ones belong to services other than RTP."""
MEDIA_PORT_REST_SECONDS: Final = 10.0
"""How long a closed port rests while others are free, so that late packets of one call do not reach the next."""
RANDOM_BYTES: Final = 4_096
"""Random bytes that are read from the kernel at once, for ports, branches and tags."""
MEDIA_PORT_TRIES: Final = 16
"""Ports tried for one pair when other programs hold ports of the range."""
RTCP_SENDER_REPORTS: Final = 8
"""Sender reports of one stream whose answers are waited for, to measure the round trip."""
NG_BYTES: Final = 65_535
"""Largest message of the NG protocol: the largest payload over UDP."""
NG_DEPTH: Final = 12
"""Depth of bencoding: rtpengine's deepest reply, to `query`, has 8."""
NG_ITEMS: Final = 16_384
"""Values in one message: about a megabyte of memory; rtpengine's `query` of a call with 16 sections has 3,000."""
NG_COOKIE_BYTES: Final = 128
"""Longest cookie: Kamailio sends its server number, process and a counter, OpenSIPS the same with a random number."""
NG_NAME_BYTES: Final = 1_000
"""Longest Call-ID of an NG command: the media plane keeps it with a number before it."""
NG_WORDS: Final = 256
"""Words in the flags, replacements and other lists of one NG command."""
NG_LABEL_BYTES: Final = 256
"""Longest label of a side that is kept."""
NG_METADATA_BYTES: Final = 4_096
"""Longest metadata of a call that are kept."""
NG_DIALOGS_PER_CALL: Final = 32
"""Branches with media of their own under one Call-ID: as many as a proxy may fork to (CALLS_PER_CALL_ID)."""
NG_REPLIES: Final = 65_536
"""Replies kept for commands that come again: 10 s of 600 calls a second, with reserve."""
NG_REPLY_BYTES: Final = 33_554_432
"""Bytes of these replies; the oldest give way."""
NG_REPLY_SECONDS: Final = 10.0
"""How long a reply is kept: Kamailio and OpenSIPS send a command up to five times, one second apart."""
NG_DELAY_SECONDS: Final = 3_600
"""Longest delay of a delete."""
NG_LIST: Final = 1_024
"""Most Call-IDs in the reply to `list`; as many as fit into a message."""
NG_STREAMS: Final = 64
"""Connections at the Unix socket of the NG protocol; Kamailio opens one for each command."""
NG_STREAM_SECONDS: Final = 10.0
"""How long such a connection may be silent."""
NG_RETRY_SECONDS: Final = 0.2
"""After which an rtpengine that has not replied gets a command again; the next times after twice as long."""
NG_TRY_SECONDS: Final = 0.7
"""For how long an rtpengine may not reply before a new call goes to another one, if there is one that replies."""
NG_GIVE_UP_SECONDS: Final = 1.8
"""For how long a command is tried in all: signalling waits MEDIA_REPLY_SECONDS. Then the rtpengine is down."""
NG_PING_SECONDS: Final = 5.0
"""Between two pings of an rtpengine that replies."""
NG_RECHECK_SECONDS: Final = 2.0
"""The same of one that does not. A ping is repeated as any command, so that at least one goes out every 0.6 seconds."""
NG_ENGINES: Final = 32
"""Rtpengines of a policy."""
NG_ENGINE_ADDRESSES: Final = 128
"""Addresses of rtpengines that are known from their descriptions."""
NG_ENGINE_WEIGHT: Final = 1_000
"""Largest weight of an rtpengine."""
NG_INTERFACES: Final = 32
"""Interface names of `edgesbc media`."""
MEDIA_LINK_FIELD_BYTES: Final = MESSAGE_BYTES
"""Longest field of a message between signalling and the media plane: a description or tag is part of a SIP message."""
MEDIA_LINK_BYTES: Final = 262_144
"""Longest such message: a session with two offers and two answers of 32 KiB each, and their tags."""
MEDIA_LINK_QUEUE: Final = 4_096
"""Messages that wait on that link while the other end does not read; beyond it new calls are refused."""
MEDIA_LINK_BATCH: Final = 64
"""Messages taken from that link before other tasks have their turn: about 5 ms."""
MEDIA_LINK_BACKLOG: Final = 4
"""Connections that wait until the media plane accepts them: that of signalling, and those of runs of it that ended."""
MEDIA_LINK_SECONDS_LEAST: Final = 0.05
"""Pause before signalling links with the media plane again."""
MEDIA_LINK_SECONDS_MOST: Final = 0.5
"""Longest such pause, to which it doubles: a call notices it."""
MEDIA_LINK_START_SECONDS: Final = 5.0
"""How long signalling waits at its start for the media plane; then it starts without."""
MEDIA_LINK_ITEMS: Final = 1_024
"""Addresses in one message about the private side, of at most 48 bytes each; more take several."""
KERNEL_ADDRESSES: Final = 4_096
"""Addresses of flows of the kernel relay that are kept as bytes, and routes to them; those that were used last."""
KERNEL_ROUTES_AT_ONCE: Final = 64
"""Flows whose routes are looked up again before other tasks get their turn, when routes have changed: about 1 ms."""
KERNEL_ROUTES_SECONDS: Final = 0.2
"""How long changes of routes are collected before: a link that fails changes many. Packets may be lost meanwhile."""

# --- Screening and kernel filters -----------------------------------------------------------------------

TRACKER_ENTRIES: Final = 16_384
"""Sources that the pike tracker counts, for unproven sources and for proven flows each, at 300 to 600 bytes."""
TRACKER_DENSITY: Final = 10_000
"""Largest `reqs_density_per_unit`: the tracker keeps a time stamp of 8 bytes for each request of a window."""
BUCKET_KEYS: Final = 16_384
"""Keys of one token bucket before the older half is forgotten, at about 150 bytes each."""
REACHABLE_FLOWS: Final = 32_768
"""UDP flows with reachable standing; beyond it the one proven longest ago loses it."""
REGISTERED_FLOWS: Final = 65_536
"""Registered flows; beyond it the account with the most flows loses its oldest. Where none has more than one, a new
flow gets no standing, so that it cannot displace a registered user."""
SWEEP_SECONDS: Final = 10.0
"""How often a full table of registered flows is searched for expired ones: a search takes milliseconds."""
ACCOUNTS_OF_FLOW: Final = 16
"""Accounts that one flow is registered as at once, at about 150 bytes each: a phone has some lines, and a gateway is a
trunk."""
FLOWS_OF_ACCOUNT: Final = 64
"""Flows registered as one account at once: the phones of a large family, or a shared line."""
ADDRESSES_OF_ACCOUNT: Final = 32
"""Addresses, or /64 of IPv6, of these flows: a phone that moves between networks leaves some behind until they expire.
"""
FLOWS_OF_PROOF: Final = 16
"""Flows that may register with one digest response, one after the other: a phone that keeps a nonce, and connects again
and again while the nonce is valid."""
PROOFS: Final = 16_384
"""Digest responses whose flows are counted, at about 250 bytes each; the one used longest ago is forgotten."""
CHALLENGES_OF_FLOW: Final = 32
"""Nonces of the last challenges to a registered UDP flow that are remembered: those of two seconds at pike's density,
in which a phone answers its own. With the accepted ones about 2 KiB for each flow that is challenged so often."""
ACCEPTED_NONCES_OF_FLOW: Final = 16
"""Nonces of its last credentials that were accepted: a phone uses that of its registration again at the next one, after
some calls."""
GIVEN_NONCES: Final = 16_384
"""Nonces of the last challenges to all flows, with the flow that got each, at about 250 bytes: those of many times the
seconds that a phone takes to answer one. The oldest is forgotten."""
SECRET_BYTES: Final = 3_072
"""Bytes of a datagram beyond the density in which a secret of its flow is looked for: a phone's header fields have
about 1,500."""
DEVICES: Final = 65_536
"""Devices of registered users that are known again on another flow, about 500 bytes each; those beyond it are not."""
DEVICES_OF_ACCOUNT: Final = 64
"""Of these, devices of one account, as `FLOWS_OF_ACCOUNT`: the oldest is forgotten."""
DEVICES_OF_CONNECTION: Final = 16
"""Devices that register by one connection, as `ACCOUNTS_OF_FLOW`; nothing waits for a connection with more."""
FORMER_CONNECTIONS: Final = 4
"""Lost connections of a device that requests inside a dialog may still name; a call seldom outlives more of them."""
RECONNECT_SECONDS: Final = 30.0
"""Longest wait for a device's new connection: after 64*T1 = 32 s its transactions have timed out anyway."""
AWAITED_ACKS: Final = 16
"""ACKs that wait for the new connection of a device: one for each call that it answered just before."""
AWAITED_ACK_BYTES: Final = 65_536
"""Bytes of these ACKs: sixteen with SDP."""
AWAITED_ACK_BYTES_IN_ALL: Final = 8 * 1024 * 1024
"""Bytes of ACKs that wait for all devices: ten thousand of the usual length."""
CLOSED_TRUNKS: Final = 1_024
"""Closed connections of trunks whose names are remembered for calls that go on, as `CONNECTIONS_TRUSTED`."""
REACHABLE_SECONDS: Final = 600.0
"""How long a UDP flow stays reachable after its last proof: a NAT binding rarely outlives ten minutes."""
UNPROVEN_BAN_SECONDS: Final = 60.0
"""Longest ban of a source that may be forged; renewed while the flood goes on."""
BAN_SECONDS: Final = 86_400.0
"""Longest ban that repeated offences double to: the address may belong to somebody else the next day."""
OFFENCE_SECONDS: Final = 3_600.0
"""How long the last offence of an address makes its next ban longer."""
OFFENDERS: Final = 8_192
"""Addresses whose offences over streams are counted; beyond it the count of the one that offended longest ago is
dropped."""
OFFENCES_OF_ADDRESS: Final = 3
"""The offence from which on the address is banned, and not only the connection."""
BANS_OF_PREFIX: Final = 4
"""Banned addresses that make a banned /24 or /64, and banned /64 that make a banned /48."""
OPERATOR_BANS: Final = 4_096
"""Bans and exemptions set by operators: as many as a list of a provider's bad prefixes may hold."""
STATE_BYTES: Final = 16 * 1024 * 1024
"""Largest file of bans or of operator overrides that is read at the start: the largest possible tables need a quarter
of it."""
CHANGED_FLOWS: Final = 131_072
"""UDP flows whose proofs have changed and are not stored yet, as on a full disk; beyond it all are stored again."""
FLOWS_STORED_AT_ONCE: Final = 2048
"""UDP flows whose proofs are stored in one step: what delays signalling by a few milliseconds."""
REACHABLE_STORED_SECONDS: Final = 60.0
"""By how much a proof of reachability has to last longer than the stored one to be stored again."""
RESTORED_FLOW_SECONDS: Final = 86_400.0
"""For how long a stored registration is valid at most after a restart, because the wall clock may have been wrong."""
STATE_KEPT_SECONDS: Final = 5.0
"""How often changed bans and operator overrides are written to disk: what a crash may lose."""
BANS_LISTED: Final = 200
"""Bans in one answer to `bans list`, the newest: more would delay signalling, and no reader needs them."""
SOURCES_LISTED: Final = 20
"""Busiest sources in one answer to `bans list`."""
ORDER_SECONDS: Final = 10 * 365 * 86_400.0
"""Longest ban or exemption of an operator that ends by itself; a permanent one has no end."""
PENALTIES_WAITING: Final = 4_096
"""Bans queued for the kernel filter until the shell takes them; the filter holds no more than that."""
REMEMBERED_ADDRESSES: Final = 4_096
"""Cached results of prefix look-ups, and denied addresses whose first packet was recorded."""
TRUNK_ADDRESSES: Final = 1_024
"""Addresses and prefixes of one trunk; a carrier lists a few dozen."""
USER_AGENT_CHARACTERS: Final = 256
"""Characters of a User-Agent that are compared with the scanners' names, which are its first word."""
RETRY_AFTER_SECONDS: Final = 30
"""Longest Retry-After of screening: a caller that is given a longer one does not try again."""
GUESS_KEYS: Final = 8_192
"""Sources, addresses and users each whose refused passwords are counted; the longest idle one is dropped. About 400
bytes each."""
CREDENTIALS: Final = 8
"""Credentials of one request of a peer that is no trunk: one for each realm on its way, of which there are two or
three. Each is counted as an attempt on its user."""
GUESS_TRIES: Final = 1_000
"""Largest number of attempts that a policy may allow: the time of each is kept, in 16 bytes."""
REGISTER_ANSWER_SECONDS: Final = 0.1
"""Shortest time from a REGISTER to its refusal: a database that does not know a name answers faster or slower than one
that does, by less than that."""
CHALLENGED_DOMAINS: Final = 32
"""Challenges of one destination set that are remembered, by the domains that the request named: the latest of them."""
SCANNER_TEXTS: Final = 256
"""User-Agents in the list of scanners, and shapes: each is compared with each message of a public peer that is no
trunk."""
LAG_SECONDS: Final = 0.5
"""How often the timer task measures its lag again while it was late."""
SHADOW_EXAMPLES: Final = 5
"""Messages kept of each pair of differing verdicts of the live and the shadow policy."""
SHADOW_REFUSED: Final = 20_000
"""Pending requests that the shadow policy would have refused, about 100 bytes each. The shadow policy sees the answer
to one that was dropped as if it had let it pass."""
FILTER_INSTRUCTIONS: Final = 4_096
"""BPF_MAXINSNS: the kernel takes no longer classic BPF program."""
FILTER_SECONDS: Final = 0.1
"""Shortest time between two programs for one socket: building one takes a few milliseconds."""

# --- Observation -----------------------------------------------------------------------------------------

OPERATOR_OVERRIDES: Final = 4_096
"""Operator overrides of destinations that are kept; an operator who needs more changes the policy."""
OVERRIDE_GONE_SECONDS: Final = 86_400.0
"""How long an override is kept for a destination that is no longer in the policy: a rollback brings it back."""
DESTINATIONS_LISTED: Final = 500
"""Members in one answer to `destinations list`: more would delay signalling, and a set may be named."""
DESTINATIONS_NAMED: Final = 20
"""Members that an error names if a command matches none of them, or too many."""
DIFFERENCES_LISTED: Final = 100
"""Differences in one answer to `destinations audit`: more than that have one cause."""
LEDGER_TEXT_CHARS: Final = 256
"""Characters that the ledger keeps of a peer's text; a Call-ID seldom has more than 100."""
LEDGER_ANSWERS: Final = 200
"""Decisions in one answer of the ledger: more would delay signalling, and no reader needs them."""
CONTROL_CONNECTIONS: Final = 16
"""Connections to the control socket at once: operators and their scripts, each for the time of one request."""
CONTROL_SECONDS: Final = 5.0
"""How long a client of the control socket may take to send its request, and to read its answer."""
CONTROL_QUESTION_BYTES: Final = 3 * POLICY_BYTES + 16_384
"""Longest request on the control socket: the largest policy, escaped as JSON, with the reason of the change."""
CONTROL_ANSWER_BYTES: Final = CONTROL_QUESTION_BYTES
"""Longest answer: the text of the policy in force; the ledger's stays under 3 MiB."""
CONTROL_READ_BYTES: Final = 65_536
"""Bytes of a request read in one turn."""
POLICY_READ_SECONDS: Final = 120.0
"""How long a running edge waits for a policy and the files that it names: the largest policy takes some seconds."""
CONTROL_ANSWER_SECONDS: Final = 30.0
"""How long a command line waits for its answer: a reload reads a policy and its certificates."""
LOG_VALUE_CHARS: Final = 2_048
"""Longest value in a log record: a traceback keeps its end, which says what happened."""
LOG_KINDS: Final = 512
"""Kinds of internal error counted at once; a program has some dozens of places that can fail."""
LOG_KIND_SECONDS: Final = 60.0
"""Shortest time between two records of one kind of error or decision; the metrics have the true number."""
LOG_SAMPLES: Final = 200
"""Records of errors and decisions of all kinds in that time: room for every reason, with some left for errors."""
LOG_LIBRARY_SECONDS: Final = 1.0
"""Shortest time between two records of one place of a library, which may say the same at every connection."""
METRIC_SERIES: Final = 1_000
"""Series of one metric; the others are added up in one labelled `other`; `[observe] max_series` may change it."""
METRIC_SERIES_MOST: Final = 100_000
"""Largest number of series that a policy may allow: a scrape of so many takes a second, of which calls are late."""
HTTP_READ_SECONDS: Final = 10
"""From the acceptance of an HTTP connection to the end of its request; bytes that trickle in do not extend it."""
HTTP_HEAD_BYTES: Final = 8_192
"""Request line and header fields of an HTTP request: scrapers send some hundred bytes, browsers with cookies more."""
HTTP_HEAD_LINES: Final = 64
"""Lines of these: browsers send about twenty. Thousands of short ones would take longer to parse than an answer."""
DESCRIPTORS_OWN: Final = 200
"""Descriptors of a process beside those of connections and media: listeners, HTTP, the control socket, databases."""
HTTP_SECONDS: Final = 30.0
"""From the acceptance of an HTTP connection to its end: metrics of many members over a slow tunnel take seconds."""
HTTP_CONNECTIONS: Final = 32
"""HTTP connections at once, of monitoring and of people; beyond it the oldest ends: any local user may connect."""
LOCAL_ACCEPT_SECONDS: Final = 0.1
"""Pause after `ACCEPT_BATCH` connections at once to HTTP or the control socket: any more come from a loop."""
HTTP_TIME_SHARE: Final = 0.2
"""Part of the time in which HTTP answers are made, in the same thread as calls: a scrape takes some milliseconds."""
HTTP_STALL_MILLISECONDS: Final = 5_000
"""How long the reader of an HTTP answer may take nothing before the kernel ends the connection."""

# --- Stream listeners ------------------------------------------------------------------------------------

TIMER_GRAIN_SECONDS: Final = 0.02
"""Shortest sleep of the timer task: SIP's timers begin at 500 ms, and a wake-up costs as much as a message."""
COLLECT_SECONDS: Final = 0.05
"""Pause between two runs of the garbage collector, each of which visits what was made meanwhile: in two milliseconds,
of a thousand messages a second."""
COLLECT_AGAIN_SECONDS: Final = 0.01
"""Time of such runs after which what they left is visited once more, in about the same time: as a flood of datagrams
delays a trunk."""
BACKLOG: Final = 512
"""Connections that the kernel holds ready for a listener to accept."""
STREAM_READ_BYTES: Final = 16_384
"""Bytes read from a connection in one turn: a TLS record; more, in the smallest messages, would delay the others."""
CONNECTION_TURN_SECONDS: Final = 0.001
"""How long messages of one read are passed on before all other tasks have their turn: a read may have hundreds of
requests, or thousands of keep-alives, which together take longer than a call may wait."""
LAST_ANSWERS_SECONDS: Final = 5.0
"""How long a closing connection may take to send its outbox: a peer that does not read would keep it open."""
LINGER_SECONDS: Final = 1.0
"""How long a connection that the edge has ended waits for the end of its peer: a round trip, with room."""
LINGER_BYTES: Final = 65_536
"""Bytes that are discarded meanwhile: about those on their way when the edge ended the connection."""
WRITE_SECONDS: Final = 30.0
"""How long a peer may leave bytes unread that the kernel cannot take any more; the outbox is full sooner, if busy."""
ACCEPT_BATCH: Final = 16
"""Connections accepted before other tasks get their turn."""
ACCEPT_PAUSE_SECONDS: Final = 0.1
"""How long accepting waits when the process has no descriptor left, or the kernel no memory."""
TCP_KEEPALIVE_SECONDS: Final = 60
"""Silence after which the kernel asks whether a peer is still there."""
TCP_USER_TIMEOUT_SECONDS: Final = 30
"""How long the kernel sends unacknowledged bytes again before the connection is lost (RFC 5482)."""
PING_SECONDS_LEAST: Final = 5.0
"""Shortest silence after which a policy may have a Ping sent to the peer of a WebSocket: more often would be load."""
PING_SECONDS_MOST: Final = 600.0
"""Longest such silence: after `IDLE_SECONDS` the connection is closed without a Ping."""
PONG_SECONDS: Final = 10.0
"""How long the peer may take to answer that: several round trips of a mobile network."""
TLS_HANDSHAKE_BYTES: Final = 65_536
"""Bytes of a peer until the TLS handshake is complete: five certificates of a chain, at 4 KiB each, several times."""
EMPTY_RECORDS: Final = 32
"""TLS records without data until a SIP message is whole: OpenSSL allows as many empty ones in a row, and any number of
KeyUpdate and of refused renegotiations. A peer renews its keys after millions of records."""
MESSAGE_RECORDS: Final = 2_048
"""TLS records until a SIP message is whole: the largest one in records of 32 bytes, or two pings of a WebSocket a
second for as long as a connection may be idle."""
PROXY_HEADER_BYTES: Final = 2_048
"""Addresses and extensions in the PROXY header of a balancer: those of the large clouds take a few hundred bytes."""
UPGRADE_BYTES: Final = 16_384
"""The request that opens a WebSocket: cookies of a page included."""
WEBSOCKET_FRAMES: Final = 2_048
"""Frames, control frames too, until a message is whole: the largest one in fragments of 32 bytes, or two pings a second
for as long as a connection may be idle."""

# --- Tasks -----------------------------------------------------------------------------------------------

RESTART_SECONDS_LEAST: Final = 0.1
"""Pause before a task that failed runs again: a call does not notice it, and a fault that stays costs no CPU."""
RESTART_SECONDS_MOST: Final = 30.0
"""Longest such pause, to which it doubles: what was short, as descriptors or memory, may be back."""
RELAYS_SHOWN_SECONDS: Final = 1.0
"""How often media control looks whether a relay process was started again, for those who look at the processes."""
SUPERVISOR_AWAY_SECONDS: Final = 30.0
"""How long the processes of an edge go on without a supervisor: a service manager starts the next one sooner."""
SUPERVISOR_ASKED_SECONDS: Final = 0.05
"""Pause between two attempts to find the next supervisor."""
SUPERVISOR_SIGNAL_SECONDS: Final = 2.0
"""How long before the end of the supervisor a signal was for the process itself: service managers send it to what is
left of an edge whose supervisor has died, and it may come before the end is noticed."""
LEFT_PROCESSES_SECONDS: Final = 5.0
"""How long a supervisor waits for further processes of an earlier one, since the first; then it kills them."""
HANDED_ON_DESCRIPTORS: Final = 253
"""Descriptors in one message between processes (SCM_MAX_FD of Linux): about 120 listeners."""
OBSERVE_PAUSE_SECONDS: Final = 0.2
"""Longest pause of the observing process between two questions to the others, of which each takes some milliseconds."""
PROCESS_END_SECONDS: Final = 5.0
"""How long a process of the edge has to end after SIGTERM; then it is killed."""

# --- Demo ------------------------------------------------------------------------------------------------

DEMO_FLOOD_RATE: Final = 50_000
"""Packets a second that the demo's attacker may send, to loopback only: what one core can pace in Python."""
DEMO_FLOOD_SECONDS: Final = 60
"""Longest flood of the demo, which is for watching and not for load tests."""
DEMO_PBX_CALLS: Final = 2_000
"""Calls at once in an embedded PBX; the demo's own callers have about a dozen."""
DEMO_CALLS: Final = 5_000
"""Calls in one job of the demo's callers: 20 a second for as long as the longest flood, and room."""

# --- Replay ----------------------------------------------------------------------------------------------

CAPTURE_PACKET_BYTES: Final = 262_144
"""Largest packet of a capture: the largest snap length that capture programs use."""
CAPTURE_BLOCK_BYTES: Final = 1024 * 1024
"""Largest pcapng block that is read into memory: a packet with its options. Blocks of other kinds are skipped in
pieces."""
CAPTURE_INTERFACES: Final = 1_024
"""Interfaces of one pcapng section."""
REPLAY_FRAGMENTED: Final = 1_024
"""IP packets with a missing fragment, at most 64 KiB each; the oldest is dropped."""
REPLAY_STREAMS: Final = 4_096
"""TCP connections followed at once; each holds an incomplete message and the data behind a missing segment."""
REPLAY_STREAM_BYTES: Final = 65_536
"""Bytes kept behind a missing segment: a window without scaling, after which it would have been sent again."""
REPLAY_STREAM_SEGMENTS: Final = 512
"""Segments kept behind a missing one; many empty ones would take more than their bytes."""
REPLAY_DIALOGS: Final = CALLS
"""Dialogs of a replay whose tags are kept, about 500 bytes each."""
REPLAY_PENDING: Final = 10_000
"""Requests to simulated destinations that wait for the captured answer."""
REPLAY_SOURCES: Final = 65_536
"""Addresses whose verdicts are counted one by one; beyond it the less busy half becomes one line."""
