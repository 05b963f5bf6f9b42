"""The operator of a simulated fleet, who changes the number of its shards."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet import Generations
from gateway_proto.testing.simulation.fleet.store import SimulatedStore, StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess
from gateway_proto.testing.simulation.scheduler import Scheduler

__all__ = ["Operator"]


class Operator(SimulatedProcess):
    """Commands that change the generations in the store. One that gets no answer is given up."""

    alive: bool

    def __init__(self, number: int, *, scheduler: Scheduler, store: SimulatedStore) -> None:
        super().__init__(scheduler)
        self.alive = True
        self._bot = StoreClient(store, number, self)
        self._announced = 1

    def reshard(self, count: int) -> None:
        """Announce the change to another number of shards."""
        self._announced += 1
        id_ = f"g{self._announced}"
        self._change(lambda generations: generations.announced(id_, count))

    def cancel(self) -> None:
        """Cancel the change."""
        self._change(Generations.cancelled)

    def _change(self, change: Callable[[Generations], Generations]) -> None:
        def answered(answer: tuple[bytes | None, int]) -> None:
            value, revision = answer
            try:
                wanted = change(Generations.from_bytes(value or b""))
            except LocalProtocolError:
                return  # it is too late: the phase is another one
            self._bot.write_generations(wanted.to_bytes(), revision, lambda _: None, _give_up)

        self._bot.read_generations(answered, _give_up)


def _give_up() -> None:
    pass
