"""A short run of every fuzz target, bounded in executions; and that the engine finds what is broken."""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from fuzz import engine, run
from fuzz.engine import Finding, fuzz, seeds_of
from fuzz.mutation import mutations


@pytest.mark.parametrize("target", run.TARGETS)
def test_a_target_stands_a_thousand_mutations(target: str) -> None:
    check = importlib.import_module(f"fuzz.{target}").check
    seeds = seeds_of(target)
    assert fuzz(check, seeds, seed=1, executions=len(seeds) + 1000) == len(seeds) + 1000


def test_every_folder_of_seeds_has_its_target() -> None:
    assert {path.name for path in (engine.ROOT / "corpus").iterdir()} == set(run.TARGETS)


def test_a_target_says_what_it_holds() -> None:
    for target in run.TARGETS:
        assert "For whatever bytes come:" in (importlib.import_module(f"fuzz.{target}").__doc__ or "")


def test_the_same_number_gives_the_same_inputs() -> None:
    seeds = seeds_of("parse_message")

    def begin(seed: int) -> list[bytes]:
        return list(islice(mutations(seeds, Random(seed)), 200))

    assert begin(1) == begin(1)
    assert begin(1) != begin(2)
    assert begin(1)[: len(seeds)] == seeds


def test_a_fault_is_found_and_its_input_with_it() -> None:
    def check(data: bytes) -> None:
        assert b"\x00" not in data

    with pytest.raises(Finding) as caught:
        fuzz(check, [b"a harmless seed"], seed=1, executions=10_000)
    assert b"\x00" in caught.value.data
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_run_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["sdp", "--executions", "20", "--seed", "5"]) == 0
    assert capsys.readouterr().out == "sdp: 20 executions with seed 5, nothing found\n"


def test_a_run_that_finds_something_fails_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = seeds_of("sdp")

    def check(data: bytes) -> None:
        raise ValueError

    monkeypatch.setattr("fuzz.sdp.check", check)
    monkeypatch.setattr("fuzz.run.seeds_of", lambda target: seeds)
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    assert run.main(["sdp", "--executions", "20", "--seed", "5"]) == 1
    (kept,) = (tmp_path / "findings" / "sdp").iterdir()
    assert kept.read_bytes() == seeds[0]
    assert str(kept) in capsys.readouterr().out


def test_an_unknown_target_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["rtp"])
    assert "there is no target rtp" in capsys.readouterr().err
