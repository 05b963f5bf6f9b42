"""Fuzz targets: they accept the corpus, and findings are reproducible."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from gateway_proto.encoding import etf
from tests.fuzzing import __main__ as command
from tests.fuzzing import frames as frames_target
from tests.fuzzing.chunks import joined, pieces
from tests.fuzzing.seeds import seeds
from tests.fuzzing.targets import CORPUS, TARGETS, corpus

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the sdist has no fuzz corpus")


@needs_corpus
def test_corpus_folders_match_the_targets() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    assert all(len(corpus(name)) >= 4 for name in TARGETS)


@needs_corpus
@pytest.mark.parametrize("name", TARGETS)
def test_targets_accept_every_corpus_input(name: str) -> None:
    if name == "etf" and not etf.available():
        pytest.skip("the extra etf is not installed")
    for path in corpus(name):
        TARGETS[name](path.read_bytes())


@needs_corpus
@pytest.mark.skipif(not etf.available(), reason="the extra etf is not installed")
def test_corpus_equals_the_output_of_the_seed_script() -> None:
    """Compare only inputs that do not depend on the version of zlib or zstd."""
    kept = {
        (name, path.read_bytes()) for name in ("json", "etf", "scenario") for path in corpus(name)
    }

    assert {(name, data) for name, data in seeds() if name in ("json", "etf", "scenario")} == kept


def test_joined_chunks_are_split_again() -> None:
    assert pieces(joined([b"a", b"", b"bc"])) == [b"a", b"", b"bc"]
    assert pieces(b"\0\5ab") == [b"ab"]
    assert pieces(b"") == [b""]


def test_one_command_reproduces_a_finding(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"\0" + joined([b"x"]))

    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", "frames", str(path)],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"{path}: nothing is wrong\n")


def test_defect_is_found_and_reported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parser that returns pings as messages differs from wsproto."""
    monkeypatch.setattr("gateway_proto.wire.fast_frames._WHOLE", (0x81, 0x82, 0x89))
    path = tmp_path / "found"
    path.write_bytes(b"\0" + joined([b"\x89\x02hi"]))
    monkeypatch.setattr(sys, "argv", ["fuzzing", "frames", str(path)])

    assert command.main() == 1
    assert "AssertionError" in capsys.readouterr().err
    assert frames_target.frames is TARGETS["frames"]


def test_missing_atheris_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["fuzzing", "--seconds", "1"])

    assert command.main() == 0
    assert "nothing is fuzzed: atheris is not installed" in capsys.readouterr().out
