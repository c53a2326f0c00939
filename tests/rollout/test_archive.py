"""The archive of a backup: it is read as it was written, and a changed or broken one is refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.rollout.archive import ArchivePart, BackupError, Manifest, read_archive, write_archive

FILES = {"policy.toml": b"[edge]\n", "state/edgesbc.sqlite": b"x" * 1500, "state/bans.json": b""}


def part(name: str, data: bytes) -> ArchivePart:
    return ArchivePart(name, len(data), hashlib.sha256(data).hexdigest())


def manifest(files: dict[str, bytes], secrets: bool = False) -> Manifest:
    return Manifest("2026-01-01T00:00:00+00:00", "1", secrets, tuple(part(*file) for file in files.items()))


def packed(files: dict[str, bytes], secrets: bool = False) -> bytes:
    out = io.BytesIO()
    write_archive(out, manifest(files, secrets), [io.BytesIO(data) for data in files.values()])
    return out.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}

    def take(of: ArchivePart, pieces: Iterator[bytes]) -> None:
        parts[of.name] = b"".join(pieces)

    read_archive(io.BytesIO(data), take)
    return parts


WHOLE = packed(FILES)


def test_an_archive_is_read_back() -> None:
    assert unpacked(WHOLE) == FILES
    assert read_archive(io.BytesIO(WHOLE), lambda _part, _pieces: None) == manifest(FILES)


def test_every_tar_program_can_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        assert tar.getnames() == ["manifest.json", *FILES]
        stream = tar.extractfile("policy.toml")
        assert stream is not None
        assert stream.read() == b"[edge]\n"


@pytest.mark.parametrize("length", [*range(0, len(WHOLE), 97), len(WHOLE) - 1])
def test_a_truncated_archive_is_refused(length: int) -> None:
    with pytest.raises(BackupError):
        unpacked(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, by: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= by
    try:
        files = unpacked(bytes(changed))
    except BackupError:
        return
    assert files == FILES, "only the date and the version may differ"
    assert place < 2 * 512


@given(st.binary(max_size=2048))
def test_garbage_is_refused(data: bytes) -> None:
    for hostile in (data, WHOLE[:512] + data, WHOLE[:1536] + data, WHOLE + data[:1] + b"x"):
        with pytest.raises(BackupError):
            unpacked(hostile)


@pytest.mark.parametrize(
    "name",
    [
        "../policy.toml", "/etc/passwd", "state/../../x", "state/", "state/.hidden", "state/..", "state/a/b", "other",
        "state/self-signed/../x", "state/a\n", "state/" + "x" * 83, "", "state/self-signed",
        "state/control.sock", "policy.toml/", "state//x",
    ],
)  # fmt: skip
def test_a_name_outside_the_state_directory_is_refused(name: str) -> None:
    with pytest.raises(BackupError, match="or the name of a file under state/"):
        unpacked(forged({**FILES, name: b"x"}))


def forged(files: dict[str, bytes], **changed: Any) -> bytes:
    """An archive whose manifest has ``changed`` fields, with headers that agree with it."""
    fields = {"format": 1, **attrs.asdict(manifest(files)), **changed}
    data = json.dumps(fields, indent=1).encode()
    out = io.BytesIO()
    for name, content in {"manifest.json": data, **files}.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o600
        out.write(info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512))
    return out.getvalue() + bytes(1024)


def test_an_archive_without_changes_is_read() -> None:
    assert unpacked(forged(FILES)) == FILES


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"format": 2}, "expected a backup of format 1, found 2"),
        ({"parts": []}, "expected policy.toml as the first file"),
        ({"parts": 5}, "cannot be read"),
        ({"parts": [5]}, "cannot be read"),
        ({"parts": [{"name": "policy.toml", "size": -1, "sha256": "0" * 64}]}, "expected at most"),
        ({"parts": [{"name": "policy.toml", "size": True, "sha256": "0" * 64}]}, "expected at most"),
        ({"parts": [{"name": "policy.toml", "size": limits.POLICY_BYTES + 1, "sha256": "0" * 64}]}, "expected at most"),
        ({"parts": [{"name": "policy.toml", "size": 0, "sha256": "0"}]}, "expected a sha256"),
        ({"more": 1}, "not as edgesbc writes it"),
    ],
)
def test_another_manifest_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(BackupError, match=why):
        unpacked(forged(FILES, **changed))


def test_the_bounds() -> None:
    big = {"name": "state/x", "size": limits.BACKUP_FILE_BYTES + 1, "sha256": "0" * 64}
    first = attrs.asdict(part("policy.toml", b"[edge]\n"))
    with pytest.raises(BackupError, match=f"expected at most {limits.BACKUP_FILE_BYTES} bytes"):
        unpacked(forged(FILES, parts=[first, big]))
    many = {"policy.toml": b"", **{f"state/{number}": b"" for number in range(limits.BACKUP_FILES)}}
    with pytest.raises(BackupError, match=f"expected at most {limits.BACKUP_FILES} files"):
        unpacked(forged(many))
    with pytest.raises(BackupError, match="expected a backup, which begins with"):
        unpacked(forged(FILES, made="x" * limits.BACKUP_MANIFEST_BYTES))


def test_secrets_are_read_only_if_the_manifest_announces_them() -> None:
    files = {**FILES, "state/token.key": b"k" * 32}
    assert unpacked(packed(files, secrets=True)) == files
    with pytest.raises(BackupError, match="expected no secrets"):
        unpacked(packed(files))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.XHDTYPE])
def test_anything_but_a_plain_file_is_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("policy.toml")
    info.size, info.mode, info.type, info.linkname = 7, 0o600, kind, "/etc/passwd"
    at = WHOLE.index(b"policy.toml\0")
    with pytest.raises(BackupError, match="found another header"):
        unpacked(WHOLE[:at] + info.tobuf(tarfile.USTAR_FORMAT) + WHOLE[at + 512 :])


def test_a_file_that_changes_while_it_is_read_is_noticed() -> None:
    out = io.BytesIO()
    with pytest.raises(BackupError, match="was changed meanwhile"):
        write_archive(out, manifest({"policy.toml": b"longer"}), [io.BytesIO(b"long")])
