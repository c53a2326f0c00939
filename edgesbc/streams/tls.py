"""TLS without I/O: an OpenSSL session between two buffers, around the layer that it protects (RFC 8446, RFC 5246)."""

from __future__ import annotations

import ssl
from typing import Final

from edgesbc.base import limits
from edgesbc.streams.layer import StreamCounts, StreamEnd, StreamLayer

__all__ = ["TlsContext", "TlsLayer", "peer_names"]

TlsContext = ssl.SSLContext

_RECORD_HEADER: Final = 5  # bytes: type, version, length (RFC 8446 section 5.1)
_RECORD_DATA: Final = 16_384  # bytes of data in a record at most (RFC 8446 section 5.1)
_STEP_BYTES: Final = limits.EMPTY_RECORDS * 22
"""Bytes that are decrypted at once where records are short: as many as ``limits.EMPTY_RECORDS`` of the shortest."""


class TlsLayer(StreamLayer):
    """Protects ``inner``. With ``server_name`` it is a client, which verifies that the peer's certificate is for this
    name or address. Raises ``ValueError`` for a text that is neither, such as the empty one.

    The work that a peer causes without a whole SIP message is bounded by ``limits.TLS_HANDSHAKE_BYTES`` and, after the
    handshake, by ``limits.EMPTY_RECORDS`` and ``limits.MESSAGE_RECORDS``.
    """

    __slots__ = (
        "_close_written", "_closing", "_empty_records", "_handshake_bytes", "_handshake_done", "_header", "_incoming",
        "_inner", "_left", "_message_records", "_outgoing", "_tls",
    )  # fmt: skip

    def __init__(
        self, counts: StreamCounts, inner: StreamLayer, context: ssl.SSLContext, server_name: str | None = None
    ) -> None:
        super().__init__(counts)
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._handshake_done = False
        self._handshake_bytes = 0
        self._closing = False  # whether close_notify follows the output of the inner layer
        self._close_written = False  # whether close_notify is written: nothing can follow it
        self._message_records = 0  # since the last whole message
        self._empty_records = 0  # of these, the ones without data
        self._left = 0  # bytes of the current record that have not come
        self._header = b""  # the beginning of an incomplete record header

    @property
    def pending(self) -> bool:
        """Whether only a part of a message, or of a TLS record, has come."""
        return self._inner.pending or self._left > 0 or self._header != b""

    @property
    def peer_names(self) -> tuple[str, ...]:
        try:
            return peer_names(self._tls.getpeercert() if self._handshake_done else None)
        except ValueError:  # Python cannot read a certificate with a name that is not UTF-8
            return ()

    def start(self) -> None:
        if not self._tls.server_side:
            self._do_handshake()

    def receive(self, data: bytes) -> list[bytes]:
        if len(data) <= _STEP_BYTES or (self._handshake_done and not self._has_many_records(data)):
            return self._receive(data)
        messages: list[bytes] = []
        for at in range(0, len(data), _STEP_BYTES):
            messages += self._receive(data[at : at + _STEP_BYTES])
        return messages

    def _has_many_records(self, data: bytes) -> bool:
        """Whether ``data`` completes so many records that the bounds must be looked at before all are decrypted: 600
        KeyUpdates take 10 ms."""
        begun = self._left, self._header
        records = self._records(data)
        self._left, self._header = begun
        return records > limits.EMPTY_RECORDS

    def _receive(self, data: bytes) -> list[bytes]:
        if self.ended:
            return []
        self._incoming.write(data)
        if self._handshake_done:
            records = self._records(data)
        else:
            self._handshake_bytes += len(data)
            if not self._do_handshake():
                if self.end is None and self._handshake_bytes > limits.TLS_HANDSHAKE_BYTES:
                    self.end = StreamEnd("handshake", "a TLS handshake of too many bytes")
                return []
            # OpenSSL reads whole records: what it has not read begins with one.
            records = self._records(data[len(data) - self._incoming.pending :])
        messages = self._read(records)
        inner = self._inner
        if inner.end is not None and self.end is None:
            self.end = inner.end
        self.is_open = inner.is_open
        return messages

    def receive_end(self) -> None:
        super().receive_end()
        self._inner.receive_end()

    def send(self, message: bytes) -> bytes:
        return self._write(self._inner.send(message))

    def ping(self) -> bytes:
        return self._write(self._inner.ping())

    def close(self) -> None:
        self._inner.close()
        self._closing = True

    def take_output(self) -> bytes:
        inner_output = self._inner.take_output()
        output = self._write(inner_output) if inner_output else b""
        if self._closing and self._handshake_done and not self._close_written:
            self._close_written = True
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # close_notify is written, if TLS allows it; the peer's is not waited for
        return output + self._outgoing.read() if self._outgoing.pending else output

    # --- OpenSSL -------------------------------------------------------------------------------------------

    def _do_handshake(self) -> bool:
        """Continue the handshake. Returns whether it is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._fail(error, "handshake")
            return False
        self._handshake_done = True
        self.is_open = self._inner.is_open
        return True

    def _read(self, records: int) -> list[bytes]:
        """Decrypt what has come, which has ``records`` complete records, and pass it to the inner layer."""
        tls, incoming, inner = self._tls, self._incoming, self._inner
        messages: list[bytes] = []
        with_data = 0
        try:
            while incoming.pending or tls.pending():
                data = tls.read(limits.STREAM_READ_BYTES)  # OpenSSL returns the data of one record
                if not data:
                    self.end = StreamEnd("" if inner.is_open else "handshake", "the peer closed TLS")
                    break
                with_data += 1
                received = inner.receive(data)
                messages = messages + received if messages else received
                if inner.end is not None:
                    records = with_data  # the records after this one are not decrypted
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error, "tls" if inner.is_open else "handshake")
        self._note(records, records - with_data, len(messages))
        return messages

    def _note(self, records: int, empty: int, messages: int) -> None:
        """Count records. A peer that sends many of them without whole messages is refused: only messages are screened,
        and a record costs as much as a short one."""
        counts = self.counts
        counts.records += records
        counts.empty_records += empty
        counts.new_work += empty
        self._message_records += records
        self._empty_records += empty
        if self.end is None and (
            self._empty_records > limits.EMPTY_RECORDS * (messages + 1)
            or self._message_records > limits.MESSAGE_RECORDS * (messages + 1)
        ):
            self.end = StreamEnd("tls", "too many TLS records without a whole message")
        if messages:
            self._message_records = self._empty_records = 0

    def _write(self, data: bytes) -> bytes:
        """Encrypt ``data``, and return all that is to be written; OpenSSL takes none after a fatal error. The buffer
        between never shrinks, so it gets the data of one record at a time: the largest message would leave 87 KiB in
        each connection."""
        tls, outgoing = self._tls, self._outgoing
        records: list[bytes] = []
        written, size = 0, len(data) if not self._close_written else 0
        try:
            while written < size:
                written += tls.write(data[written : written + _RECORD_DATA])
                records.append(outgoing.read())
        except ssl.SSLError as error:
            if self.end is None:
                self._fail(error, "tls")
        if written < size or not records:
            records.append(outgoing.read())  # what OpenSSL sends on its own, as an alert
        return records[0] if len(records) == 1 else b"".join(records)

    def _fail(self, error: ssl.SSLError, reason: str) -> None:
        # Its type says that ``reason`` is a text; for an error within OpenSSL it is None.
        self.end = StreamEnd(reason, getattr(error, "reason", None) or str(error), cause=error)

    def _records(self, data: bytes) -> int:
        """The number of TLS records that ``data`` completes, by their headers."""
        complete = 0
        size = len(data)
        at = self._left
        if self._header:
            missing = _RECORD_HEADER - len(self._header)
            header = self._header + data[:missing]
            if len(header) < _RECORD_HEADER:
                self._header = header
                return 0
            self._header = b""
            at = missing + (header[3] << 8 | header[4])
            complete = 1
        elif at:
            complete = 1
        if at > size:
            self._left = at - size
            return 0
        while size - at >= _RECORD_HEADER:
            at += _RECORD_HEADER + (data[at + 3] << 8 | data[at + 4])
            if at > size:
                self._left = at - size
                return complete
            complete += 1
        self._left = 0
        self._header = data[at:]
        return complete


def peer_names(certificate: object) -> tuple[str, ...]:
    """The DNS names of a verified certificate in the form of ``getpeercert`` (RFC 5922 section 7.1)."""
    if not isinstance(certificate, dict):
        return ()
    return tuple(value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
