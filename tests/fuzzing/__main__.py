"""Fuzz each named target for a time; exit with 1 if there is a finding.

    python -m tests.fuzzing [NAME ...] [--seconds 60] [--jobs 2]
    python -m tests.fuzzing NAME FILE ...      run files through a target; needs no atheris
    python -m tests.fuzzing --seeds            write the corpus again, from real conversations

Findings are written to fuzz-findings/, and inputs with new coverage to fuzz-corpus/, both in the
current folder and ignored by git.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import pathlib
import re
import subprocess
import sys
import traceback

from tests.fuzzing.targets import CORPUS, TARGETS

_MEGABYTES = 1024
"""What one process may take."""
_SLOWEST = 30
"""Seconds for one input, of a clock: a process behind others may take long for little."""
_LONGEST = 8192
"""Bytes of one input; traces have longer lines."""
_LINES = 60
"""Of what libFuzzer says of a finding."""
_FINDINGS, _FOUND = pathlib.Path("fuzz-findings"), pathlib.Path("fuzz-corpus")


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TARGETS)}, or one and files")
    parser.add_argument("--seconds", type=int, default=60, help="for each (60)")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (2)")
    parser.add_argument("--seeds", action="store_true", help="write the corpus again, and exit")
    given = parser.parse_args()
    if given.seeds:
        from tests.fuzzing.seeds import write

        write()
        return 0
    names = [name for name in given.names if name in TARGETS]
    files = [pathlib.Path(name) for name in given.names if name not in TARGETS]
    if files:
        if len(names) != 1 or not all(path.is_file() for path in files):
            parser.error(f"{given.names}: give names of targets, or one and files that there are")
        return _reproduce(names[0], files)
    if importlib.util.find_spec("atheris") is None:
        print("nothing is fuzzed: atheris is not installed, and has no wheel for every Python")
        return 0
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        runs = pool.map(lambda name: _fuzz(name, given.seconds), names or TARGETS)
        return max([bool(failed) for failed in runs])


def _reproduce(name: str, files: list[pathlib.Path]) -> int:
    failed = 0
    for path in files:
        try:
            TARGETS[name](path.read_bytes())
        except Exception:
            failed = 1
            print(f"{path}:")
            traceback.print_exc()
        else:
            print(f"{path}: nothing is wrong")
    return failed


def _fuzz(name: str, seconds: int) -> int:
    own = _FOUND / name
    own.mkdir(parents=True, exist_ok=True)
    _FINDINGS.mkdir(exist_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzzing.run_target", name, str(own), str(CORPUS / name)),
            f"-max_total_time={seconds}",
            f"-rss_limit_mb={_MEGABYTES}",
            f"-timeout={_SLOWEST}",
            f"-max_len={65536 if name == 'trace' else _LONGEST}",
            f"-artifact_prefix={_FINDINGS}/{name}-",
            "-print_final_stats=1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + 300,
    )
    runs = re.search(r"^Done (\d+) runs in (\d+) second", done.stdout, re.M)
    peak = re.search(r"^stat::peak_rss_mb: +(\d+)", done.stdout, re.M)
    if done.returncode == 0 and runs is not None:
        count, spent = map(int, runs.groups())
        memory = f", {peak[1]} MB" if peak else ""
        print(f"{name}: {count} inputs in {spent} s, {count // spent} a second{memory}", flush=True)
        return 0
    output = [line for line in done.stdout.splitlines() if not line.startswith(("#", "INFO"))]
    print(f"{name}: FINDING", *output[-_LINES:], sep="\n")
    for path in re.findall(r"Test unit written to (\S+)", done.stdout):
        print(f"{name}: to see it again: python -m tests.fuzzing {name} {path}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
