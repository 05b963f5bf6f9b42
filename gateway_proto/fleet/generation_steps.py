"""Part of one process in the change between two generations, see `Generations`.

`GenerationFollower` turns the generations of the store into steps: which generation the process
runs, enters, leaves or closes. `GenerationRole` says what a process does with the shards of one.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet.generations import Generation, GenerationPhase, Generations
from gateway_proto.fleet.member_record import Stage
from gateway_proto.fleet.records import LogRecord
from gateway_proto.session import Session
from gateway_proto.state import State

__all__ = [
    "CancelChange",
    "EnterNext",
    "FinishChange",
    "GenerationFollower",
    "GenerationRole",
    "GenerationStep",
    "LeavePresent",
    "OpenNext",
]

LEAVE_RESUME_SECONDS = 15.0
"""Time that a resume may take before a shard of the present generation is closed for good."""


class GenerationRole(enum.Enum):
    """Use that a process makes of the shards of a generation, and of their events."""

    PRESENT = "present"
    """The events are handed out."""
    PREPARING = "preparing"
    """The events are dropped: the shards only become READY."""
    ENTERING = "entering"
    """The events are kept, and follow the last ones of the previous generation."""
    LEAVING = "leaving"
    """The shards close, and their logs end with a cutover. A shard that is acquired resumes before,
    as events may be missing in its log; without a session it does not dial."""

    @classmethod
    def of_present(cls, generations: Generations) -> GenerationRole:
        """Return the role of the present generation in a process that starts now."""
        is_leaving = generations.next is not None and generations.phase is GenerationPhase.LEAVING
        return cls.LEAVING if is_leaving else cls.PRESENT

    @property
    def keeps_events(self) -> bool:
        """Whether the events of a shard that is acquired now are kept."""
        return self is not GenerationRole.PREPARING

    def dials(self, session: Session | None) -> bool:
        """Whether a shard dials that is acquired with this session in its log."""
        return self is not GenerationRole.LEAVING or session is not None

    def must_look(self, session: Session | None) -> bool:
        """Whether to read the phase before a shard dials that is acquired with this session.

        The previous owner of a prepared shard may have kept its events already, since it knew a
        later phase. A shard without a session may have been closed for good: it must not identify.
        """
        if self is GenerationRole.PREPARING:
            return session is not None
        return self is GenerationRole.PRESENT and session is None


class OpenNext(msgspec.Struct, frozen=True):
    """Run the shards of a generation next to the present ones; report `opened`, or `ended`."""

    generation: Generation
    role: GenerationRole


class EnterNext(msgspec.Struct, frozen=True):
    """Keep the events of the next generation from now on, if they are not kept yet."""


class LeavePresent(msgspec.Struct, frozen=True):
    """Close the shards of the present generation, and end their logs with a cutover."""


class CancelChange(msgspec.Struct, frozen=True):
    """Close the shards of the next generation, which was cancelled."""


class FinishChange(msgspec.Struct, frozen=True):
    """Continue with the next generation as the present one, and close what is left of that."""


GenerationStep: TypeAlias = OpenNext | EnterNext | LeavePresent | CancelChange | FinishChange
"""Steps of a process in the change to another generation."""


class GenerationFollower:
    """Decides which generations one process runs. `known` is what it has read at its start.

    Pass each value of the store to `follow`, and do the steps that it returns, in order. A value
    must not be older than the one before.
    """

    def __init__(self, known: Generations) -> None:
        self._known = known
        self._present = known.present
        self._next: Generation | None = None
        self._opening: Generation | None = None
        self._opened: set[str] = set()
        self._has_entered = False
        self._is_leaving = False
        self._is_draining = False

    @property
    def known(self) -> Generations:
        """Last value whose steps were returned."""
        return self._known

    @property
    def present(self) -> Generation:
        """Generation that the process runs as the present one."""
        return self._present

    @property
    def next(self) -> Generation | None:
        """Generation that the process runs next to it, once `opened` was called."""
        return self._next

    def drain(self) -> None:
        """Open no further generation: the process gives its shards away."""
        self._is_draining = True

    def follow(self, known: Generations) -> list[GenerationStep]:
        """Return the steps that a value of the store asks for.

        Raises `LocalProtocolError` if the process cannot follow: the others were taken to another
        generation without it, or the store has lost the change.
        """
        steps: list[GenerationStep] = []
        if known.present != self._present:
            if self._next is None:
                steps = self._late_opening(known.present)
                if self._opening == known.present:
                    return steps  # pass the value again
            if self._is_draining and self._next != known.present:
                return []  # it takes no part in the change, and has given its shards to the others
            self._check_next(known.present)
            steps.append(FinishChange())
            self._present, self._next = known.present, None
            self._has_entered = self._is_leaving = False
        if self._next is not None and known.next != self._next:
            if self._has_entered:
                raise LocalProtocolError(
                    f"the store has lost the change to {self._next.count} shards: start again"
                )
            steps.append(CancelChange())
            self._next = None
        self._known = known
        if known.next is not None:
            steps += self._open(known.next, known.phase)
            steps += self._enter()
        return steps

    def opened(self, generation: Generation) -> list[GenerationStep]:
        """Report that the process runs the generation of `OpenNext`; return the first steps."""
        self._next, self._opening = generation, None
        return self._enter() if self._known.next == generation else []

    def ended(self, generation: Generation) -> None:
        """Report that the process no longer runs a generation, or could not open it."""
        if self._opening == generation:
            self._opening = None
        if self._next == generation:
            self._next = None

    def _late_opening(self, present: Generation) -> list[GenerationStep]:
        """Open a generation whose change ended before its shards were here.

        The process has just been started, for example.
        """
        if present != self._known.next or self._is_draining:
            return []
        return self._open(present, GenerationPhase.LEAVING)

    def _open(self, generation: Generation, phase: GenerationPhase) -> list[GenerationStep]:
        if generation.id in self._opened or self._is_draining:
            return []
        self._opened.add(generation.id)
        self._opening = generation
        # A process that starts later must not drop what others have kept.
        is_preparing = phase is GenerationPhase.PREPARING
        role = GenerationRole.PREPARING if is_preparing else GenerationRole.ENTERING
        return [OpenNext(generation, role)]

    def _enter(self) -> list[GenerationStep]:
        """Return the steps of the known phase.

        A process in which the next generation could not be opened leaves the present one with the
        others: else the change would never end.
        """
        phase, steps = self._known.phase, list[GenerationStep]()
        if self._next is not None and phase is not GenerationPhase.PREPARING:
            self._has_entered = True
            steps.append(EnterNext())
        may_leave = self._next is not None or not (self._opening or self._is_draining)
        if may_leave and phase is GenerationPhase.LEAVING and not self._is_leaving:
            self._is_leaving = True
            steps.append(LeavePresent())
        return steps

    def _check_next(self, present: Generation) -> None:
        if self._next != present:
            raise LocalProtocolError(
                f"other processes run {present.count} shards now: this one was taken for dead"
            )


def is_about_to_resume(session: Session | None, state: State | None) -> bool:
    """Whether the server will send what a connection has missed; `state` is None without one."""
    return session is not None and state is not State.READY


def stage_of(record: LogRecord) -> Stage | None:
    """Return the stage that a shard has reached with a record in its log, if any."""
    if record.cutover:
        return Stage.LEFT
    return Stage.ENTERED if record.entered else None
