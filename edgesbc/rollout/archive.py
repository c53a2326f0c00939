"""The archive of a backup: plain files in a tar whose first file, the manifest, lists the others.

Every tar program reads it. :func:`read_archive` reads only what :func:`write_archive` writes: no links, folders,
extensions or compression, nothing that is not in the manifest, nothing after the end.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import attrs

from edgesbc.base import limits
from edgesbc.policy.model import CONTROL_SOCKET

__all__ = [
    "MANIFEST",
    "POLICY",
    "STATE",
    "ArchivePart",
    "BackupError",
    "Manifest",
    "is_secret",
    "is_state_file",
    "read_archive",
    "write_archive",
]

MANIFEST = "manifest.json"
POLICY = "policy.toml"
STATE = "state/"
FORMAT = 1

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_CHUNK = 1024 * 1024
_NAME = re.compile(r"policy\.toml|state/(?:self-signed/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,81}")
_STATE_FILE = re.compile(
    r"state/(?:edgesbc\.sqlite|bans\.json|destination-orders\.json|token\.key"
    r"|destinations\.sqlite|destinations\.[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.json"
    r"|self-signed/(?:fullchain|privkey)\.pem)"
)
"""The files that an edge keeps in its state directory; ``tests/rollout/test_archive.py`` compares them."""
_OTHERS = (f"{STATE}self-signed", f"{STATE}{CONTROL_SOCKET}")
"""What a state directory has that is no plain file."""
_SECRET = re.compile(r"state/(?:self-signed/.*|.*\.(?:key|pem))")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BackupError(Exception):
    """A backup cannot be made or read; the text says what was found and expected."""


@attrs.frozen
class ArchivePart:
    """One file of a backup: ``policy.toml``, or one of the state directory under ``state/``."""

    name: str
    size: int
    sha256: str

    @property
    def secret(self) -> bool:
        return is_secret(self.name)


@attrs.frozen
class Manifest:
    """The table of contents of a backup."""

    made: str
    """The time in UTC, ISO 8601."""
    by: str
    """The version of edgesbc that made it."""
    secrets: bool
    parts: tuple[ArchivePart, ...]


def is_secret(name: str) -> bool:
    return _SECRET.fullmatch(name) is not None


def is_state_file(name: str) -> bool:
    """Whether an edge keeps a file of this name in its state directory. No other file is put into a backup, or written
    by a restore: a file with the name that another program looks for, as ``authorized_keys``, would be read by it."""
    return _STATE_FILE.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Whether an archive may have a file of this name. Backups of earlier versions have other files than
    :func:`is_state_file` knows; none of the names leads out of the folder."""
    return _NAME.fullmatch(name) is not None and name not in _OTHERS


# --- writing ---------------------------------------------------------------------------------------------


def write_archive(out: IO[bytes], manifest: Manifest, sources: Iterable[IO[bytes]]) -> None:
    """Write the parts of ``manifest`` from ``sources``, in its order.

    Raises :class:`BackupError` when one of them is not what the manifest says.
    """
    data = _manifest_bytes(manifest)
    out.write(_header(MANIFEST, len(data)) + data + _padding(len(data)))
    for part, source in zip(manifest.parts, sources, strict=True):
        out.write(_header(part.name, part.size))
        left, digest = part.size, hashlib.sha256()
        while left:
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                break
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        if left or digest.hexdigest() != part.sha256:
            raise BackupError(f"{part.name} was changed meanwhile; try again")
        out.write(_padding(part.size))
    out.write(_END)


def _manifest_bytes(manifest: Manifest) -> bytes:
    return json.dumps({"format": FORMAT, **attrs.asdict(manifest)}, indent=1).encode()


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


# --- reading ---------------------------------------------------------------------------------------------

Take = Callable[[ArchivePart, Iterator[bytes]], None]
"""Receives a part and its bytes, in pieces. Pieces that it does not take are skipped."""


def read_archive(stream: IO[bytes], take: Take) -> Manifest:
    """Read an archive to its end, and hand each part to ``take``. The archive is known to be sound only after the
    return.

    Raises :class:`BackupError` for anything but a whole archive as :func:`write_archive` writes it.
    """
    manifest = _manifest(_read_exactly(stream, _size_of_manifest(stream), MANIFEST))
    _padded(stream, len(_manifest_bytes(manifest)), MANIFEST)
    for part in manifest.parts:
        if _read_exactly(stream, _BLOCK, part.name) != _header(part.name, part.size):
            raise BackupError(f"expected the file {part.name} of {part.size} bytes, found another header")
        pieces = _Pieces(stream, part)
        take(part, iter(pieces))
        pieces.finish()
        _padded(stream, part.size, part.name)
    if _read_exactly(stream, len(_END), "the end") != _END or stream.read(1):
        raise BackupError("expected the end, found more than the manifest tells")
    return manifest


class _Pieces:
    """The bytes of one part, compared with the manifest."""

    def __init__(self, stream: IO[bytes], part: ArchivePart) -> None:
        self._stream = stream
        self._part = part
        self._left = part.size
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            chunk = _read_exactly(self._stream, min(self._left, _CHUNK), self._part.name)
            self._left -= len(chunk)
            self._digest.update(chunk)
            yield chunk

    def finish(self) -> None:
        for _ in self:
            pass
        if self._digest.hexdigest() != self._part.sha256:
            raise BackupError(f"{self._part.name} is damaged: its sha256 is not the one in the manifest")


def _size_of_manifest(stream: IO[bytes]) -> int:
    block = _read_exactly(stream, _BLOCK, MANIFEST)
    octal = block[124:135]
    size = int(octal, 8) if re.fullmatch(rb"[0-7]{11}", octal) else -1
    if not 0 < size <= limits.BACKUP_MANIFEST_BYTES or block != _header(MANIFEST, size):
        raise BackupError(f"expected a backup, which begins with {MANIFEST}, found something else")
    return size


def _manifest(data: bytes) -> Manifest:
    try:
        fields = json.loads(data)
        if fields["format"] != FORMAT:
            raise BackupError(f"expected a backup of format {FORMAT}, found {fields['format']!r}")
        parts = tuple(_part(part) for part in fields["parts"])
        manifest = Manifest(str(fields["made"]), str(fields["by"]), fields["secrets"] is True, parts)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackupError(f"the manifest cannot be read: {type(error).__name__}") from None
    if _manifest_bytes(manifest) != data:
        raise BackupError("the manifest is not as edgesbc writes it")
    names = [part.name for part in parts]
    if len(parts) > limits.BACKUP_FILES or len(set(names)) != len(names):
        raise BackupError(f"expected at most {limits.BACKUP_FILES} files, each once, found {len(names)}")
    if names[:1] != [POLICY]:
        raise BackupError(f"expected {POLICY} as the first file, found {names[:1]}")
    if not manifest.secrets and any(part.secret for part in parts):
        raise BackupError("expected no secrets, as the manifest says, found some")
    return manifest


def _part(fields: dict[str, Any]) -> ArchivePart:
    name, size, digest = fields["name"], fields["size"], fields["sha256"]
    if not isinstance(name, str) or not is_name(name):
        raise BackupError(f"expected {POLICY} or the name of a file under {STATE}, found {name!r:.80}")
    if type(size) is not int or not 0 <= size <= (limits.POLICY_BYTES if name == POLICY else limits.BACKUP_FILE_BYTES):
        raise BackupError(f"{name}: expected at most {limits.BACKUP_FILE_BYTES} bytes, found {size!r:.80}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise BackupError(f"{name}: expected a sha256, found {digest!r:.80}")
    return ArchivePart(name, size, digest)


def _padded(stream: IO[bytes], size: int, name: str) -> None:
    padding = _padding(size)
    if _read_exactly(stream, len(padding), name) != padding:
        raise BackupError(f"expected nothing behind {name}, found something")


def _read_exactly(stream: IO[bytes], size: int, name: str) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise BackupError(f"it breaks off in {name}")
    return data
