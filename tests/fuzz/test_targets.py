"""A short run of every fuzz target, bounded in executions; both engines find a fault that is put in on purpose."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from fuzz import engine, run
from fuzz.engine import Finding, fuzz, read_seeds
from fuzz.mutation import mutations

CORPUS = run.ROOT / "corpus"

FRAGILE = """
def check(data):
    assert data[:1] != b"!"
"""


@pytest.mark.parametrize("target", run.TARGETS)
def test_a_target_passes_its_seeds_and_300_mutations(target: str) -> None:
    check = importlib.import_module(f"fuzz.{target}").check
    seeds = read_seeds(CORPUS / target)
    assert fuzz(check, seeds, seed=1, executions=len(seeds) + 300) == len(seeds) + 300


def test_every_target_has_seeds_a_list_of_invariants_and_a_row_in_the_readme() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(run.TARGETS)
    for target in run.TARGETS:
        docstring = importlib.import_module(f"fuzz.{target}").__doc__ or ""
        assert "For any input:" in docstring
        assert f"| `{target}` |" in (run.ROOT / "README.md").read_text()


def test_the_same_seed_number_gives_the_same_inputs() -> None:
    seeds = read_seeds(CORPUS / "parse_message")

    def begin(seed: int) -> list[bytes]:
        return list(islice(mutations(seeds, Random(seed)), 200))

    assert begin(1) == begin(1)
    assert begin(1) != begin(2)
    assert begin(1)[: len(seeds)] == seeds


def test_a_finding_has_the_input_and_the_error() -> None:
    def check(data: bytes) -> None:
        assert b"\x00" not in data

    with pytest.raises(Finding) as caught:
        fuzz(check, [b"a harmless seed"], seed=1, executions=10_000)
    assert b"\x00" in caught.value.data
    assert isinstance(caught.value.__cause__, AssertionError)


def test_the_plain_engine_stores_the_input_of_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "one").write_bytes(b"!")
    (tmp_path / "fragile.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    assert engine.main(["fragile", str(tmp_path / "seeds"), str(tmp_path), "--seed=1", "--executions=9"]) == 1
    (stored,) = tmp_path.glob("crash-*")
    assert stored.read_bytes() == b"!"
    printed = capfd.readouterr()
    assert str(stored) in printed.out
    assert "AssertionError" in printed.err


@pytest.mark.parametrize("option", ["--plain", "--jobs=1"])
def test_a_run_prints_its_executions(option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["sdp", "uri", option, "--executions=200", "--seed=5", f"--findings={tmp_path}"]
    assert run.main(arguments) == 0
    printed = capfd.readouterr().out
    assert re.search(r"^sdp: 2\d\d executions in \d+ s", printed, re.M)
    assert re.search(r"^uri: 2\d\d executions in \d+ s", printed, re.M)
    assert re.search(r"^4\d\d executions, nothing found$", printed, re.M)


def test_a_repeatable_run_counts_executions_instead_of_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["rtp", "--plain", "--repeatable", "--seconds=0.1", "--seed=5", f"--findings={tmp_path}"]
    assert [run.main(arguments), run.main(arguments)] == [0, 0]
    first, second = re.findall(r"^(\d+) executions, nothing found$", capfd.readouterr().out, re.M)
    assert first == second
    assert int(first) >= run.EXECUTIONS["rtp"] * 0.1


def test_a_run_fails_if_a_target_cannot_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "TARGETS", ("absent",))
    assert run.main(["--executions=20", f"--findings={tmp_path}"]) == 1
    printed = capfd.readouterr().out
    assert "absent: 0 executions" in printed
    assert printed.endswith("0 executions, broken: absent\n")
    assert "No module named 'fuzz.absent'" in printed, "the end of the log is printed too"
    assert "fuzz.absent" in (tmp_path / "absent.log").read_text()


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="there is no atheris for this Python")
def test_the_guided_engine_follows_branches_to_a_fault(tmp_path: Path) -> None:
    # Both engines are given one seed that is far from the fault; a branch in the package leads towards it.
    target = """
from edgesbc.base.errors import WireError
from edgesbc.sip.values import parse_require

def check(data):
    try:
        names = parse_require(data.decode("latin-1"))
    except WireError:
        return
    assert len(names) < 4
"""
    (tmp_path / "fragile.py").write_text(target)
    for folder in ("grown", "seeds", "kept"):
        (tmp_path / folder).mkdir()
    (tmp_path / "seeds" / "one").write_bytes(b"a")
    process = subprocess.run(
        [
            sys.executable, "-m", "fuzz.guided", "fragile", "-runs=200000", "-seed=1", "-only_ascii=1",
            f"-artifact_prefix={tmp_path}/kept/", str(tmp_path / "grown"), str(tmp_path / "seeds"),
        ],
        cwd=run.ROOT.parent, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert process.returncode != 0
    assert "AssertionError" in process.stdout + process.stderr
    (stored,) = (tmp_path / "kept").iterdir()
    assert stored.read_bytes().count(b",") >= 3


def test_an_unknown_target_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["stun"])
    assert "there is no target stun" in capsys.readouterr().err
