"""Files of commands: text encodings, ownership, permissions and locks."""

from __future__ import annotations

import codecs
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from gateway_cli.private import NotOurs, locked, private_file
from gateway_cli.progress import read_text
from gateway_cli.session_file import NotSaved, SessionFile
from gateway_proto import Session
from tests.adapters.support import (
    PATIENCE,
    run_command,
    serve_process,
    short_trace,
    tail_process,
    wait_until,
)

ROOT = pathlib.Path(__file__).parents[2]
SESSION = Session(id="x", sequence=1, version=10, token_fingerprint="f")

WRITTEN = {
    "UTF-8": ("utf-8", b"", "\n"),
    "Notepad": ("utf-8", codecs.BOM_UTF8, "\r\n"),
    "PowerShell": ("utf-16-le", codecs.BOM_UTF16_LE, "\r\n"),
    "UTF-16, big endian": ("utf-16-be", codecs.BOM_UTF16_BE, "\n"),
}
"""How editors and shells write a text: its encoding, what stands first, and how lines end."""


def _write(path: pathlib.Path, text: str, how: str) -> pathlib.Path:
    encoding, mark, end = WRITTEN[how]
    path.write_bytes(mark + text.replace("\n", end).encode(encoding))
    return path


@pytest.mark.parametrize("how", WRITTEN)
def test_text_file_is_read_in_encodings_of_editors(how: str, tmp_path: pathlib.Path) -> None:
    file = _write(tmp_path / "text", "a\nä \U0001f389\n", how)

    assert read_text(file) == "a\nä \U0001f389\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", WRITTEN)
def test_every_file_of_a_command_is_read_in_encodings_of_editors(
    how: str, tmp_path: pathlib.Path
) -> None:
    token = _write(tmp_path / "token", "from-a-file\n", how)
    world = _write(tmp_path / "w.json", '{"guilds": [{"id": "5", "name": "the fünfth"}]}\n', how)
    scenario = _write(tmp_path / "s.yaml", "- what: close\n  code: 4009\n  after: 0.1\n", how)
    out, session = tmp_path / "out", tmp_path / "session"
    options = ("--intents", "guilds", "--token-file", str(token), "--session", str(session))
    serving_options = ("--token", "from-a-file", "--world", str(world), "--scenario", str(scenario))
    with serve_process(*serving_options) as serving:
        with tail_process(out, "--gateway", serving.gateway, *options) as tail:
            wait_until("RESUMED", lambda: "RESUMED" in out.read_text())
            tail.send_signal(signal.SIGINT)
            tail.communicate(timeout=PATIENCE)
        _write(session, session.read_text() + "\n", how)
        out.unlink()
        with tail_process(out, "--gateway", serving.gateway, *options):
            wait_until("RESUMED", lambda: "RESUMED" in out.read_text())

    assert "resume at" in out.read_text().splitlines()[0]


@pytest.mark.parametrize("how", WRITTEN)
def test_trace_is_read_in_encodings_of_editors(how: str, tmp_path: pathlib.Path) -> None:
    text = short_trace(tmp_path / "trace.jsonl").read_text()
    trace = _write(tmp_path / "trace.jsonl", text, how)

    result = run_command("replay", "--quiet", str(trace))

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        "tail --gateway ws://127.0.0.1:1 --token-file FILE",
        "tail --gateway ws://127.0.0.1:1 --session FILE",
        "serve --world FILE",
        "serve --scenario FILE",
        "replay FILE",
        "timeline FILE",
    ],
)
@pytest.mark.parametrize("content", [b"\xff\x00\x01", b"[" * 100_000, b"\x80"])
def test_unreadable_file_is_named_with_status_2(
    words: str, content: bytes, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)

    result = run_command(*words.replace("FILE", str(file)).split())

    assert result.returncode == 2, result.stderr
    assert str(file) in result.stderr or "--token-file" in words
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == content


def test_certificate_file_without_certificates_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing\n")

    result = run_command("tail", "--gateway", "wss://127.0.0.1:1", SSL_CERT_FILE=str(file))

    assert result.returncode == 2
    assert f"{file}: no certificates in PEM" in result.stderr


# ----- ownership -----


def _is_ours(head: bytes) -> bool:
    return head.startswith(b"ours")


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("content", ["", "\n", "ours, and old"])
def test_written_file_is_private_before_its_first_byte(
    content: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    path.chmod(0o644)

    with private_file(path, is_ours=_is_ours):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text() == ""


def test_file_of_another_kind_is_not_overwritten(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("notes")
    path.chmod(0o644)

    with pytest.raises(NotOurs, match="another file"):
        private_file(path, is_ours=_is_ours)

    assert path.read_text() == "notes"
    assert path.stat().st_mode & 0o777 == 0o644


def test_two_writers_of_one_file_exclude_each_other(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"

    with private_file(path, is_ours=_is_ours), pytest.raises(NotOurs, match="another process"):
        private_file(path, is_ours=_is_ours)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no named pipes")
def test_named_pipe_is_rejected_without_waiting(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(NotOurs, match="not a regular file"):
        private_file(tmp_path / "pipe", is_ours=_is_ours)


def test_record_and_timeline_keep_files_of_another_kind(tmp_path: pathlib.Path) -> None:
    notes, trace, page = tmp_path / "notes", tmp_path / "index.jsonl", tmp_path / "index.html"
    notes.write_text("notes")
    short_trace(trace)
    page.write_text("<html>")

    record = run_command("tail", "--gateway", "ws://127.0.0.1:1", "--record", str(notes))
    timeline = run_command("timeline", str(trace))

    assert (record.returncode, timeline.returncode) == (2, 2)
    assert f"--record {notes}: there is another file" in record.stderr
    assert f"{page}: there is another file" in timeline.stderr
    assert (notes.read_text(), page.read_text()) == ("notes", "<html>")


def test_own_trace_and_page_are_overwritten(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("plotly")
    trace = tmp_path / "trace.jsonl"
    for _ in range(2):
        assert (
            run_command("tail", "--gateway", "ws://127.0.0.1:1", "--record", str(trace)).returncode
            == 1
        )
        result = run_command("timeline", str(trace))
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f"{tmp_path / 'trace.html'}\n"

    assert trace.read_text().count("gateway_proto trace") == 1


# ----- sessions -----


def test_lock_excludes_another_until_it_is_released(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "session"

    with locked(path), pytest.raises(NotOurs, match="another process uses it"), locked(path):
        pass
    with locked(path):
        pass

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["text", "link", "folder"])
def test_file_with_the_name_of_a_lock_is_kept(kind: str, tmp_path: pathlib.Path) -> None:
    path, lock, other = tmp_path / "session", tmp_path / ".session.lock", tmp_path / "other"
    if kind == "text":
        lock.write_text("mine")
    elif kind == "link":
        lock.symlink_to(other)
    else:
        lock.mkdir()
    before = lock.lstat()

    with pytest.raises(NotOurs, match=r"its lock \.session\.lock is another file"), locked(path):
        pass

    assert lock.lstat().st_ino == before.st_ino
    assert not other.exists()


def test_two_processes_with_one_session_file_exclude_each_other(tmp_path: pathlib.Path) -> None:
    file, out = tmp_path / "session", tmp_path / "out"
    with (
        serve_process() as serving,
        tail_process(out, "--gateway", serving.gateway, "--session", str(file)),
    ):
        wait_until("a session", file.exists)
        second = run_command("tail", "--gateway", serving.gateway, "--session", str(file))

    assert second.returncode == 2
    assert f"--session {file}: another process uses it" in second.stderr


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_session_file_is_private_and_replaces_the_link_target(tmp_path: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "session", tmp_path / "link"
    link.symlink_to(target)
    out = tmp_path / "out"
    with (
        serve_process() as serving,
        tail_process(out, "--gateway", serving.gateway, "--session", str(link)),
    ):
        wait_until("a session", target.exists)

    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600


def test_failed_save_leaves_no_temporary_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SessionFile(tmp_path / "session")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)

    with pytest.raises(NotSaved, match=r"session: No space left on device"):
        file.save(SESSION)

    assert not list(tmp_path.iterdir())
    assert file.session is None


def test_session_of_the_longest_lockable_name_is_saved(tmp_path: pathlib.Path) -> None:
    """The name of the temporary file is not longer than that of the lock."""
    path = tmp_path / ("x" * 249)

    with locked(path):
        SessionFile(path).save(SESSION)

    assert Session.from_json(path.read_text()) == SESSION


def test_lost_session_removes_its_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "session"
    file = SessionFile(path)

    file.save(SESSION)
    written = Session.from_json(path.read_text())
    file.save(None)

    assert written == SESSION
    assert not path.exists()


# ----- full disk -----


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "words",
    ["--version", "tail --help", "replay TRACE", "demo", "doctor --gateway ws://127.0.0.1:1"],
)
def test_full_disk_is_reported_with_status_1(words: str, tmp_path: pathlib.Path) -> None:
    words = words.replace("TRACE", str(short_trace(tmp_path / "trace.jsonl")))
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "gateway_cli", *words.split()],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'adapters'}"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert result.stderr == (
        "gateway-proto: cannot write to the standard output: No space left on device\n"
    )
    assert result.returncode == 1
