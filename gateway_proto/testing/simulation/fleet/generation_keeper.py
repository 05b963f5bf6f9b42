"""Generations that one simulated process runs: the present one, and the next one of a change."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet import (
    CancelChange,
    EnterNext,
    Generation,
    GenerationFollower,
    GenerationRole,
    Generations,
    GenerationStep,
    LeavePresent,
    OpenNext,
    Resharding,
)
from gateway_proto.testing.simulation.fleet.generation_member import GenerationMember
from gateway_proto.testing.simulation.fleet.store import StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess

__all__ = ["GenerationKeeper"]

_CHANGE_SECONDS = 0.25
"""Seconds between two looks at the generations during a change."""


class GenerationKeeper:
    """Follows the generations in the store, and advances them, as the adapters' keeper does.

    `open_member` runs the shards of a generation. `failed` ends the process, which cannot follow.
    `left` is called when a generation no longer runs while the process drains.
    """

    def __init__(
        self,
        process: SimulatedProcess,
        bot: StoreClient,
        open_member: Callable[[Generation, GenerationRole], GenerationMember],
        failed: Callable[[str], None],
        left: Callable[[], None],
        *,
        known: Generations,
        interval: float,
    ) -> None:
        self.next: GenerationMember | None = None
        """The member of the generation that is prepared or entered."""
        self.present: GenerationMember = open_member(
            known.present, GenerationRole.of_present(known)
        )
        """The member of the present generation."""
        self._process = process
        self._bot = bot
        self._open_member = open_member
        self._failed = failed
        self._left = left
        self._is_draining = False
        self._follower = GenerationFollower(known)
        self._resharding = Resharding()
        self._seconds = interval
        self._is_looking = False
        self._looks = 0
        self._waiting: list[Callable[[], None]] = []
        self._look()

    @property
    def members(self) -> list[GenerationMember]:
        """The members of all generations that run."""
        return [self.present] if self.next is None else [self.present, self.next]

    def drain(self) -> None:
        """Give the shards of all generations away."""
        self._is_draining = True
        self._follower.drain()
        for member in self.members:
            member.drain()

    def look(self, then: Callable[[], None]) -> None:
        """Call a function after a look at the generations that begins from now on."""
        self._waiting.append(then)
        self._look()

    def _look(self) -> None:
        if self._is_looking:  # an answer that is late must not follow a newer one
            return
        self._is_looking = True
        served, self._waiting = self._waiting, []

        def answered(answer: tuple[bytes | None, int]) -> None:
            if self._follow(answer[0]):
                self._advance(answer[1])
                for then in served:
                    then()

        def failed() -> None:
            self._waiting = served + self._waiting
            self._done()

        self._bot.read_generations(answered, failed)

    def _follow(self, value: bytes | None) -> bool:
        """Do what the generations in the store ask for; return False if that is not possible."""
        try:
            steps = self._follower.follow(Generations.from_bytes(value or b""))
        except LocalProtocolError as error:
            self._failed(str(error))
            return False
        self._do(steps)
        if steps or self._follower.known.next is not None:
            for member in self.members:
                member.report()
        return True

    def _advance(self, revision: int) -> None:
        """Write the next phase if all shards are ready for it, and look again later."""
        wanted = None
        if self.next is not None:
            wanted = self._resharding.wanted(
                self._follower.known,
                self.present.membership.stages,
                self.next.membership.stages,
                now=self._process.clock(),
            )
        if wanted is None:
            self._done()
            return

        def written(answer: tuple[bytes | None, int]) -> None:
            self._follow(answer[0])
            self._done()

        self._bot.write_generations(wanted.to_bytes(), revision, written, self._done)

    def _done(self) -> None:
        """Look again after a while, or now if something waits for it."""
        self._is_looking = False
        self._looks += 1
        number = self._looks

        def look() -> None:
            if number == self._looks:
                self._look()

        seconds = self._seconds
        if self._waiting or self._follower.known.next is not None:
            seconds = min(seconds, _CHANGE_SECONDS)
        self._process.after(seconds, look)

    def _do(self, steps: list[GenerationStep]) -> None:
        for step in steps:
            match step:
                case OpenNext(generation, role):
                    self.next = self._open_member(generation, role)
                    self._do(self._follower.opened(generation))
                case EnterNext():
                    self._running_next().enter()
                case LeavePresent():
                    self.present.leave()
                case CancelChange():
                    cancelled, self.next = self._running_next(), None
                    cancelled.retire()
                case _:
                    over, self.present, self.next = self.present, self._running_next(), None
                    self.present.complete()
                    over.retire()
        if steps and self._is_draining:
            self._left()

    def _running_next(self) -> GenerationMember:
        assert self.next is not None
        return self.next
