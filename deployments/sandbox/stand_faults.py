"""Faults of staging and production on request: unhealthy, slow or outdated answers, and hooks that fail."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Literal, get_args

from deployments.sandbox.state import Hook, StandName

ProbeFault = Literal["unhealthy", "slow", "old_revision"]
HookFault = Literal["refuse", "could_not_run", "slow_hook"]
StandFaultKind = ProbeFault | HookFault


@dataclass(slots=True)
class StandFault:
    """What happens to the next `left` (None: all) answers or hooks of a stand.

    `hook` limits a hook fault to one of them; `after` carries the hook out first and spoils only its answer. `revision`
    limits a fault of answers to the time that the stand runs it.
    """

    kind: StandFaultKind
    left: int | None = None
    seconds: float = 0.0
    hook: Hook | None = None
    after: bool = False
    revision: str | None = None


class StandFaults:
    """The faults in force, each taking effect at once until it is used up or mended."""

    def __init__(self) -> None:
        self._faults: dict[StandName, list[StandFault]] = {stand: [] for stand in get_args(StandName)}
        self._mended = {stand: asyncio.Event() for stand in get_args(StandName)}

    def add(self, stand: StandName, fault: StandFault) -> None:
        """Put a fault in force; `ValueError` for one that does not exist or could never happen."""
        known = (*get_args(ProbeFault), *get_args(HookFault))
        if fault.kind not in known:
            raise ValueError(f"There is no fault {fault.kind} of a stand; there are {', '.join(known)}.")
        if fault.kind in get_args(ProbeFault) and (fault.hook or fault.after):
            raise ValueError(f"{fault.kind} is about answers of the stand; only hook faults know a hook and `after`.")
        self._faults[stand].append(fault)

    def clear(self, stand: StandName) -> None:
        """End all faults of a stand; what is slow goes on at once."""
        self._faults[stand].clear()
        self._mended[stand].set()
        self._mended[stand] = asyncio.Event()

    async def pause(self, stand: StandName, seconds: float) -> None:
        """Wait until the time is over or the stand is mended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._mended[stand].wait(), seconds)

    def take_probe(self, stand: StandName, revision: str | None) -> StandFault | None:
        """The fault that this answer of the stand, which runs `revision`, runs into, counted off."""
        kinds, known = get_args(ProbeFault), (None, revision)
        return self._take(stand, [one for one in self._faults[stand] if one.kind in kinds and one.revision in known])

    def take_hook(self, stand: StandName, hook: Hook) -> StandFault | None:
        """The fault that this hook runs into, counted off."""
        kinds = get_args(HookFault)
        return self._take(stand, [one for one in self._faults[stand] if one.kind in kinds and one.hook in (None, hook)])

    def _take(self, stand: StandName, fitting: list[StandFault]) -> StandFault | None:
        if not fitting:
            return None
        fault = fitting[0]
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                self._faults[stand].remove(fault)
        return fault
