"""Checks of the project, each a session: `nox -l` lists them, `nox -s NAME` runs one.

Arguments after `--` go to the session's main command, for example `nox -s tests-3.13 -- -k resume`.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import nox


def _runs(python: str) -> bool:
    """Whether a Python starts. A shim of pyenv may exist without its Python."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
NEWEST = next((v for v in reversed(PYTHONS) if v == CURRENT or _runs(f"python{v}")), CURRENT)
PACKAGES = (
    "gateway_proto",
    "gateway_dialing",
    "gateway_asyncio",
    "gateway_trio",
    "gateway_fleet",
    "gateway_pytest",
)
# The core has the loop-independent halves of the adapters; these modules run them on both loops.
ADAPTER_TESTS_OF_THE_CORE = (
    "tests/adapters/test_connect.py",
    "tests/adapters/test_driver_errors.py",
    "tests/adapters/test_many_shards.py",
    "tests/adapters/test_open_shards.py",
    "tests/adapters/test_shard_changes.py",
)
SLOW_TESTS_OF_THE_CORE = "tests/testing"
"""Folder whose slow tests run code that no other test runs."""
_EXTRAS = ("nats", "proxy", "pytest", "redis", "timeline", "trio", "zstd")
"""Extras whose lowest versions are tested."""
CLIENT_LIBRARIES = [
    "discord.py",
    "discord-py-interactions",
    "disnake",
    "hikari",
    "nextcord",
    "py-cord",
]
"""Libraries of bots. Some exclude each other: each gets an environment of its own."""
TESTS_OF_PAGES = tuple(
    f"test_{name}.py"
    for name in ("docs", "docs_proof", "docs_traces", "pages", "readme", "tutorial", "word_list")
)
"""Tests of the documentation: one old and one new Python suffice for them."""
ALL_TESTS = ("-m", "")
"""Select the tests that are marked slow, too."""

# With uv, which `pip install nox[uv]` brings, an environment takes seconds instead of a minute.
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "docs", "tests"]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group (pip before 25.1 cannot read groups)."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install(session: nox.Session, *requirements: str) -> None:
    """Install the project with its test extra, requirements, and erlpack if it can be compiled."""
    session.install("-q", ".[test]", *requirements)
    session.install("-q", ".[etf]", success_codes=[0, 1, 2], silent=True)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, without those of the documentation and those that are marked slow."""
    install(session)
    ignored = [f"--ignore=tests/{name}" for name in (*TESTS_OF_PAGES, "test_benchmarks.py")]
    session.run("python", "-m", "pytest", "-q", *ignored, *session.posargs)


@nox.session(python=NEWEST)
def adapters(session: nox.Session) -> None:
    """Run all tests of the adapters, slow ones included, and slow tests that cover nothing new."""
    install(session)
    session.run("python", "-m", "pytest", "-q", *ALL_TESTS, "tests/adapters", *session.posargs)
    elsewhere = ("tests/adapters", "tests/test_typing.py", SLOW_TESTS_OF_THE_CORE)
    ignored = [f"--ignore={name}" for name in elsewhere]
    session.run("python", "-m", "pytest", "-q", "-m", "slow", *ignored, *session.posargs)


@nox.session(python=NEWEST)
def uvloop(session: nox.Session) -> None:
    """Run the fast tests of the asyncio adapter in the event loop of uvloop."""
    install(session, "uvloop")
    run = ("python", "-m", "pytest", "-q", "-k", "asyncio", "tests/adapters")
    session.run(*run, *session.posargs, env={"GATEWAY_TEST_LOOP": "uvloop"})


@nox.session(python=NEWEST)
@nox.parametrize("library", CLIENT_LIBRARIES)
def clients(session: nox.Session, library: str) -> None:
    """Run the newest version of another client library in each situation."""
    session.install("-q", ".[cli,pytest]", "hypothesis", "pytest-timeout", "pytest-xdist")
    session.install("-q", "zstandard", library)
    matrix = "tests/adapters/test_client_matrix.py"
    session.run("python", "-m", "pytest", "-q", *ALL_TESTS, matrix, *session.posargs)


@nox.session(python=NEWEST)
def coverage(session: nox.Session) -> None:
    """Run the tests of the core, and the slow ones that add to it; fail below 100 % of branches."""
    install(session)
    session.run("coverage", "erase")
    measured = ("coverage", "run", "-m", "pytest", "-q")
    ignored = [f"--ignore={name}" for name in ("tests/adapters", SLOW_TESTS_OF_THE_CORE)]
    session.run(*measured, *ignored, *session.posargs)
    session.run(*measured, *ADAPTER_TESTS_OF_THE_CORE)
    session.run(*measured, *ALL_TESTS, SLOW_TESTS_OF_THE_CORE)
    session.run("coverage", "combine", "-q")
    # erlpack is compiled on installation. Without a compiler the tests of ETF are skipped.
    program = "from gateway_proto.encoding import etf; print(etf.available())"
    has_etf = str(session.run("python", "-c", program, silent=True)).strip() == "True"
    omitted = () if has_etf else ("--omit", "*/encoding/*,*/wire/payload.py")
    session.run("coverage", "report", *omitted)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests of the core with the lowest versions that pyproject.toml allows."""
    session.install("-q", "uv")
    extras = [f"--extra={extra}" for extra in _EXTRAS]
    pins = str(pathlib.Path(session.create_tmp()) / "lowest.txt")
    session.run(
        *("uv", "pip", "compile", "-q", "--resolution", "lowest-direct", *extras),
        *("pyproject.toml", "-o", pins),
    )
    # Packages that only the tests need are not held back.
    session.run(
        *("uv", "pip", "install", "-q", "-c", pins, f".[{','.join(_EXTRAS)}]"),
        *("anyio", "hypothesis", "pytest-timeout", "pytest-xdist", "zstandard"),
    )
    session.run("uv", "pip", "install", "-q", "erlpack==1.0.0", success_codes=[0, 1, 2])
    session.run("gateway-proto", "tail", "--help", silent=True)
    session.run("gateway-proto", "demo", "--adapter", "trio")
    # Old libraries use what new Pythons deprecate; the examples are written for new libraries, and
    # the pages are checked with these.
    ignored = (
        "adapters",
        *TESTS_OF_PAGES,
        "test_benchmarks.py",
        "test_example_proxy.py",
        "test_examples.py",
        "test_fuzzing.py",
        "test_reference_client.py",
        "testing",
    )
    session.run(
        *("python", "-m", "pytest", "-q", "-W", "ignore::DeprecationWarning"),
        *(f"--ignore=tests/{name}" for name in ignored),
        *session.posargs,
    )


@nox.session(python=NEWEST)
def lint(session: nox.Session) -> None:
    """Check format, lint rules and spelling, and the schemas of workflows and issue forms."""
    session.install("-q", *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    files = session.run("git", "ls-files", "-z", external=True, silent=True)
    tracked = [name for name in str(files).split("\0") if pathlib.Path(name).is_file()]
    # Without the log, which would show the name of each file.
    session.run("check-merge-conflict", "--assume-in-merge", *tracked, log=False)
    github = pathlib.Path(".github")
    for schema, paths in (
        ("github-workflows", github.glob("workflows/*.yml")),
        ("github-issue-config", github.glob("ISSUE_TEMPLATE/config.yml")),
        ("github-issue-forms", github.glob("ISSUE_TEMPLATE/[!c]*.yml")),
    ):
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths))


@nox.session(python=NEWEST)
def types(session: nox.Session) -> None:
    """Check types of the code, the README, docs/ and public names, with mypy and pyright."""
    install(session, *group("bench"), *group("types"))
    session.run("mypy", "--python-executable", shutil.which("python", path=session.bin) or "python")
    untyped = []
    # Pyright prefers sources in the working directory to the installed package.
    with tempfile.TemporaryDirectory() as elsewhere, session.chdir(elsewhere):
        for package in PACKAGES:
            text = session.run(
                *("pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson"),
                success_codes=[0, 1],
                silent=True,
            )
            assert isinstance(text, str)
            report = json.loads(text[text.index("{") :])["typeCompleteness"]
            session.log(f"{package}: {report['completenessScore']:.0%} of public names are typed")
            untyped += [
                symbol["name"]
                for symbol in report["symbols"]
                if symbol["isExported"] and not symbol["isTypeKnown"]
            ]
    if untyped:
        session.error(f"not typed: {', '.join(untyped)}")
    tests_of_types = (*ALL_TESTS, "tests/test_typing.py")
    session.run("python", "-m", "pytest", "-q", *tests_of_types, *session.posargs)


@nox.session(python=NEWEST)
def docs(session: nox.Session) -> None:
    """Check the generated pages, and build the site in build/site, or `-- serve` it."""
    session.install("-q", ".[nats,pytest,redis,trio,zstd]", *group("docs"))
    session.run("python", "docs/generate.py", "--check")
    # The site contains mermaid if npm can download it. Otherwise browsers load it from unpkg.com.
    folder = pathlib.Path(session.create_tmp()).resolve()
    script = folder / "package" / "dist" / "mermaid.min.js"
    if not script.exists() and shutil.which("npm"):
        with session.chdir(folder):
            session.run_install(
                *("npm", "pack", "--silent", "mermaid@11"), external=True, success_codes=[0, 1]
            )
        for archive in folder.glob("mermaid-*.tgz"):
            shutil.unpack_archive(archive, folder, filter="data")
    session.run(
        *("python", "-m", "mkdocs", *(session.posargs or ["build", "--strict"])),
        env={
            "NO_MKDOCS_2_WARNING": "1",
            "MERMAID": str(script) if script.exists() else "",
        },
    )


@nox.session(python=NEWEST)
def examples(session: nox.Session) -> None:
    """Run every example and every code block of the documentation; check types of the examples."""
    install(session, *group("bench"), *group("types"))
    session.run(
        *("python", "-m", "pytest", "-q", *ALL_TESTS),
        *("tests/test_examples.py", "tests/test_example_proxy.py", "tests/test_typing.py"),
        "tests/test_pages.py",
        *session.posargs,
    )


@nox.session(python=NEWEST)
def fuzz(session: nox.Session) -> None:
    """Fuzz every target for five seconds, or as the arguments say."""
    install(session)
    session.install(
        *("-q", "--only-binary", ":all:", "atheris"), success_codes=[0, 1, 2], silent=True
    )
    found = session.run(
        "python", "-c", "import importlib.util as u; print(u.find_spec('atheris'))", silent=True
    )
    if str(found).strip() == "None":
        session.warn(f"atheris has no wheel for Python {session.python}: nothing is fuzzed")
        return
    arguments = session.posargs or ["--seconds", "5", "--jobs", "2"]
    session.run("python", "-m", "tests.fuzzing", *arguments)


@nox.session(python=NEWEST)
def simulate(session: nox.Session) -> None:
    """Simulate a twentieth of a year of a client, and 200 fleets, or as the arguments say."""
    session.install("-q", ".[cli]")
    if session.posargs:
        session.run("gateway-proto", "simulate", *session.posargs)
        return
    session.run("gateway-proto", "simulate", "--years", "0.05", "--jobs", "2")
    session.run("gateway-proto", "simulate", "--fleet", "--seeds", "0-199", "--jobs", "2")


@nox.session(python=NEWEST)
def bench(session: nox.Session) -> None:
    """Run the short benchmark, or as the arguments say; fail at twice a target ratio."""
    install(session, *group("bench"))
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--short"]))


@nox.session(python=NEWEST)
def mutation(session: nox.Session) -> None:
    """Run the tests against mutants of the core (about two hours)."""
    install(session, *group("mutation"))
    session.run("mutmut", "run", *session.posargs)


@nox.session(python=NEWEST)
def build(session: nox.Session) -> None:
    """Build sdist and wheel, check them, and install the wheel alone on every Python."""
    session.install("-q", ".", *group("build"))
    found = [path for v in PYTHONS if (path := shutil.which(f"python{v}")) and _runs(path)]
    session.run(
        *(".ci/release", *session.posargs),
        external=True,
        env={"PYTHON": f"{session.bin}/python", "PYTHONS": " ".join(found) or sys.executable},
    )
