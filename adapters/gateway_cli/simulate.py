"""The command `simulate`: histories of seeds, on several processors."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from gateway_cli.escaping import json_line
from gateway_cli.options import JsonOption, finite
from gateway_cli.show import MISUSED, console, fail, print_verdict
from gateway_cli.start import ending_signals
from gateway_proto import LocalProtocolError

if TYPE_CHECKING:
    from gateway_proto.testing import FleetSimulation, InvariantViolation, Report, Simulation

__all__ = ["simulate"]

_SECONDS_PER_DAY = 86400.0
_DAYS_PER_YEAR = 365.0
_DAYS = 10.0
"""Days of a history of clients."""
_FLEET_DAYS = 1000.0 / _SECONDS_PER_DAY
"""Mean days of a history of a fleet, for the progress."""
_PARTS = 100
"""Parts of a history, after each of which the progress is shown."""
_LISTED = 5
"""Number of seeds up to which each digest is printed."""


def _seeds(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text)
    first, last = (0, -1) if match is None else (int(match[1]), int(match[2] or match[1]))
    if last < first:
        raise LocalProtocolError(
            f"invalid --seeds {text!r:.80}: expected a number or a range such as 0-99, of at most "
            "18 digits"
        )
    return range(first, last + 1)


@attrs.frozen
class _Histories:
    """The histories to simulate: of clients or of a fleet, with their length and faults."""

    fleet: bool
    days: float | None
    """Days of one history, summed over its clients; None means the usual length."""
    without: frozenset[str]

    @classmethod
    def of(cls, *, fleet: bool, days: float | None, without: str) -> _Histories:
        """Return the histories. Raises `LocalProtocolError` for unknown kinds of faults."""
        from gateway_proto.testing import FleetSimulationConfig, SimulationConfig

        config = FleetSimulationConfig if fleet else SimulationConfig
        kinds = frozenset(filter(None, without.split(",")))
        return cls(fleet, days, config(excluded_faults=kinds).excluded_faults)

    @property
    def usual_days(self) -> float:
        """Days of one history, approximately."""
        usual = _FLEET_DAYS if self.fleet else _DAYS
        return usual if self.days is None else self.days

    def begin(self, seed: int) -> tuple[Simulation | FleetSimulation, float, int]:
        """Return the simulation of a seed, its length in seconds, and its number of clients."""
        # Imported by this command alone: it takes a fifth of what a start of any other takes.
        from gateway_proto.testing import FleetSimulation, Simulation

        simulation: Simulation | FleetSimulation
        if self.fleet:
            simulation = fleet = FleetSimulation.for_seed(seed, excluded_faults=self.without)
            clients = fleet.config.shards
            if self.days is None:
                return simulation, fleet.config.cycle, clients
        else:
            simulation = Simulation.for_seed(seed, excluded_faults=self.without)
            clients = simulation.config.clients
        return simulation, self.usual_days * _SECONDS_PER_DAY / clients, clients


def _run_history(
    seed: int, histories: _Histories, advance: Callable[[float], None]
) -> Report | InvariantViolation:
    """Simulate one history, or until a violation. Calls `advance` with the days of each part."""
    from gateway_proto.testing import InvariantViolation

    simulation, seconds, clients = histories.begin(seed)
    days = seconds * clients / _SECONDS_PER_DAY / _PARTS
    try:
        for part in range(1, _PARTS):
            simulation.run(seconds * part / _PARTS - simulation.now)
            advance(days)
        while simulation.now < seconds:  # twice if the sum of the parts is rounded down
            simulation.run(seconds - simulation.now)
    except InvariantViolation as broken:
        return broken
    advance(days)
    return simulation.report


_advanced: Any = None
"""Days that all processes of a pool have simulated, in memory that they share."""


def _begin_process(advanced: Any) -> None:
    global _advanced
    _advanced = advanced
    # A terminal sends them to all its processes: the first one ends the others.
    for number in ending_signals():
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)


def _run_in_process(seed: int, histories: _Histories) -> Report | InvariantViolation:
    def advance(more: float) -> None:
        with _advanced.get_lock():
            _advanced.value += more

    return _run_history(seed, histories, advance)


def _run_histories(
    seeds: Iterable[int],
    histories: _Histories,
    jobs: int,
    advance: Callable[[float], None],
) -> Generator[Report | InvariantViolation, None, None]:
    """Return the histories as they end. Calls `advance` meanwhile with the days of each part."""
    if jobs == 1:
        return (_run_history(seed, histories, advance) for seed in seeds)
    # Not forked: a thread draws the progress.
    context = multiprocessing.get_context("spawn")
    # Made before the first history begins: a Ctrl-C in the code that `Value` generates would end
    # the process with the signal, not with a status.
    advanced = context.Value("d", 0.0)
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin_process, initargs=(advanced,)
    )
    return _run_in_pool(pool, seeds, histories, jobs, advanced, advance)


@contextlib.contextmanager
def _deferred_signals() -> Iterator[None]:
    """Handle signals after the block: a process that is half started would print a traceback."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in ending_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if received:
            signal.raise_signal(received[0])


def _run_in_pool(
    pool: concurrent.futures.ProcessPoolExecutor,
    seeds: Iterable[int],
    histories: _Histories,
    jobs: int,
    advanced: Any,
    advance: Callable[[float], None],
) -> Generator[Report | InvariantViolation, None, None]:
    waiting = iter(seeds)
    shown = 0.0
    try:
        with _deferred_signals():
            running = {
                pool.submit(_run_in_process, seed, histories)
                for seed in itertools.islice(waiting, jobs)
            }
        while running:
            more, shown = advanced.value - shown, advanced.value
            advance(more)
            done, running = concurrent.futures.wait(
                # Ctrl-C just before the wait would not end it.
                running,
                timeout=0.5,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            for future in done:
                with _deferred_signals():
                    running |= {
                        pool.submit(_run_in_process, seed, histories)
                        for seed in itertools.islice(waiting, 1)
                    }
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


@attrs.define
class _Sum:
    """Sums over all histories so far."""

    histories: int = 0
    years: float = 0.0
    events: int = 0
    fault_counts: Counter[str] = attrs.Factory(Counter)

    @property
    def in_words(self) -> str:
        """Number of histories and of events."""
        histories = "history" if self.histories == 1 else "histories"
        return f"{self.histories} {histories}, {self.events} events"

    def add(self, report: Report) -> None:
        self.histories += 1
        self.years += report.years
        self.events += report.events
        self.fault_counts += report.fault_counts


@attrs.define
class _FleetSum(_Sum):
    """Sums over all histories of fleets so far."""

    records: int = 0
    claims: int = 0
    identifies: int = 0

    @property
    def in_words(self) -> str:
        """Number of histories, of events, and of what the fleet did."""
        fleet = f"{self.records} records, {self.claims} claims, {self.identifies} Identifies"
        return f"{super().in_words}, {fleet}"

    def add(self, report: Any) -> None:
        super().add(report)
        self.records += report.records
        self.claims += report.claims
        self.identifies += report.identifies


def _simulate(
    console: Console,
    page: _Page,
    *,
    seeds: str | None,
    years: float | None,
    histories: _Histories,
    jobs: int,
) -> bool:
    """Simulate seeds, such as 0-99, or seeds from 0 for `years`; return whether all held.

    Reports the result. For a violation it reports the command that reproduces it, and the fewest
    kinds of faults. Raises `LocalProtocolError` for invalid seeds.
    """
    from gateway_proto.testing import InvariantViolation

    chosen = None if seeds is None else _seeds(seeds)
    total = _FleetSum() if histories.fleet else _Sum()
    began = time.monotonic()
    columns = (
        TextColumn("{task.completed:.2f} of {task.total:g} days, {task.description}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    wanted = (
        (years or 0.0) * _DAYS_PER_YEAR if chosen is None else len(chosen) * histories.usual_days
    )
    task = progress.add_task(total.in_words, total=wanted)
    outcomes = _run_histories(
        chosen or itertools.count(), histories, jobs, partial(progress.advance, task)
    )
    broken: InvariantViolation | None = None
    try:
        page.begin(f"{years:g} years" if chosen is None else f"{len(chosen)} histories")
        with contextlib.closing(outcomes), progress:
            for outcome in outcomes:
                if isinstance(outcome, InvariantViolation):
                    broken = outcome
                    progress.stop()
                    page.broken(outcome, histories)
                    return False
                total.add(outcome)
                if chosen is not None and len(chosen) <= _LISTED:
                    page.history(outcome)
                progress.update(task, description=total.in_words)
                if years is not None and total.years >= years:
                    break
    except KeyboardInterrupt:
        # A long run that is interrupted has shown something too.
        if broken is None:
            page.total(total, time.monotonic() - began, interrupted=True)
        else:
            page.violation(broken)
        raise
    page.total(total, time.monotonic() - began, interrupted=False)
    return True


class _Page:
    """Output of the histories, as text or as JSON."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json

    def begin(self, what: str) -> None:
        """Report that the first history begins."""
        if not self._as_json:
            self._console.print(f"simulating {what}; Ctrl-C ends it")

    def history(self, report: Report) -> None:
        """Report the end of one of a few histories."""
        if self._as_json:
            fields = {"seed": report.seed, "events": report.events, "digest": report.digest}
            self._put(fields)
        else:
            self._console.print(f"seed {report.seed}: {report.events} events, {report.digest}")

    def total(self, total: _Sum, seconds: float, *, interrupted: bool) -> None:
        """Report the sums, and the verdict in the last line."""
        if self._as_json:
            fields = {"good": None if interrupted else True, "interrupted": interrupted}
            self._put({**fields, "seconds": round(seconds, 3), **attrs.asdict(total)})
            return
        for kind, count in sorted(total.fault_counts.items(), key=lambda item: (-item[1], item[0])):
            self._console.print(f"  {kind:22} {count}")
        histories = "1 history" if total.histories == 1 else f"{total.histories} histories"
        if isinstance(total, _FleetSum):
            self._console.print(total.in_words)
        self._console.print(
            f"{total.years:.2f} years of one client in {histories}, {seconds:.0f} s: "
            f"{total.years / seconds * 3600:.1f} years an hour"
        )
        count = sum(total.fault_counts.values())
        verdict = f"nothing broken: {total.events} events, {count} faults"
        if not interrupted:
            print_verdict(self._console, verdict, good=True)
        elif total.histories:
            self._console.print(f"interrupted; {verdict}", style="bold")
        else:
            self._console.print("interrupted before the first history ended", style="bold")

    def broken(self, broken: InvariantViolation, histories: _Histories) -> None:
        """Report a violation, and then the shrunk case."""
        from gateway_proto.testing import FleetSimulation, Simulation, shrink

        shrunk = partial(
            shrink,
            broken,
            excluded_faults=histories.without,
            simulation=FleetSimulation if histories.fleet else Simulation,
        )
        if self._as_json:
            self.violation(shrunk())
            return
        self._console.print(str(broken))
        with self._console.status("omitting kinds of faults while the violation remains ..."):
            fewest = shrunk()
        self._console.print("\nwith the fewest kinds of faults:")
        self._console.print(str(fewest))
        self.violation(fewest)

    def violation(self, broken: InvariantViolation) -> None:
        """Report the verdict, in the last line."""
        if self._as_json:
            names = ("name", "what", "at", "seed", "replay", "trace")
            self._put({"good": False, **{name: getattr(broken, name) for name in names}})
        else:
            print_verdict(self._console, f"{broken.name} is violated: {broken.replay}", good=False)

    def _put(self, fields: dict[str, Any]) -> None:
        sys.stdout.write(json_line(fields))
        sys.stdout.flush()


def simulate(
    seeds: Annotated[
        str | None,
        typer.Option("--seed", "--seeds", metavar="SEEDS", help="One history, or several: 0-99."),
    ] = None,
    years: Annotated[
        float | None,
        typer.Option(
            metavar="YEARS",
            help="Run seeds until they add up to YEARS of one client.",
            min=0.0,
            callback=finite,
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            help="Length of one history, summed over its clients. Default: 10, or four minutes of "
            "each shard of a fleet.",
            min=0.001,
            callback=finite,
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="NUMBER", help="Number of histories that run in parallel.", min=1)
    ] = 1,
    without: Annotated[
        str,
        typer.Option(metavar="KINDS", help="Kinds of faults to omit, separated by commas."),
    ] = "",
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Simulate the shards of a bot on several machines.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate years of faults between clients and servers, and check invariants.

    The exit status is 0 if the invariants held. Else it is 1, and the output has a command that
    repeats the run, and what happened.

    \b
    Example:
      gateway-proto simulate --years 10 --jobs 2
    """
    if (seeds is None) == (years is None):
        fail("missing option: pass either --seed or --years", status=MISUSED)
    screen = console()
    try:
        page = _Page(screen, as_json=as_json)
        histories = _Histories.of(fleet=fleet, days=days, without=without)
        good = _simulate(screen, page, seeds=seeds, years=years, histories=histories, jobs=jobs)
    except LocalProtocolError as error:
        fail(str(error), status=MISUSED)
    except concurrent.futures.BrokenExecutor:
        fail("a process of the simulation was killed, or had too little memory: use fewer --jobs")
    if not good:
        raise typer.Exit(1)
