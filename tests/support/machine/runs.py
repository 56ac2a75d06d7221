"""What stands in for Prefect: runs that are scheduled, begun, suspended and resumed, some of them never.

`replaced` puts it, and what else is outside, in the place of what the flows call; the flows themselves are Orch's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError
from prefect.exceptions import Pause
from prefect.logging import disable_run_logger
from prefect.tasks import Task

from pipeline.model import ProcessIdentity
from pipeline.stages import WORKED
from tasks import prefect_api
from tests.support.machine.actors import CURRENT, Actor, pause

BEGUN = (StateType.SCHEDULED, StateType.RUNNING)


@dataclass
class MadeUpRun:
    """One flow run; `keys` are those of its suspensions, `forms` what a person has filled in."""

    id: str
    flow: str
    key: str
    state: StateType
    since: datetime
    due: datetime
    keys: set[str] = field(default_factory=set)
    forms: dict[str, Mapping[str, str]] = field(default_factory=dict)
    resumable: bool = False

    @property
    def shown(self) -> FlowRun:
        """The run as Prefect's client has it."""
        state: State[Any] = State(type=self.state, timestamp=self.since)
        if self.state is StateType.PAUSED:  # by a flow that asks a person
            state.state_details.run_input_keyset = {"response": "r", "schema": "s"}
        return FlowRun(
            id=UUID(self.id),
            flow_id=UUID(int=0),
            parameters={"work_item": self.key},
            state_type=self.state,
            state=state,
        )


class MadeUpPrefect:
    """Runs by id, and the merge locks. Nothing starts by itself: a worker has to take it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.runs: dict[str, MadeUpRun] = {}
        self.locks: dict[str, Actor] = {}

    # --- for the world

    def scheduled(self) -> list[MadeUpRun]:
        """Runs that a worker may take, oldest first."""
        return [run for run in self.runs.values() if run.state is StateType.SCHEDULED and run.due <= self.now()]

    def suspended(self, key: str) -> list[MadeUpRun]:
        """Runs of an item that wait for a person."""
        return [run for run in self.runs.values() if run.key == key and run.state is StateType.PAUSED]

    def put(self, run: MadeUpRun, state: StateType) -> None:
        """Have a run in another state."""
        run.state, run.since = state, self.now()

    # --- `tasks.prefect_api`

    async def start(
        self, flow: str, parameters: Mapping[str, Any], *, at: datetime | None = None, **_shown: Any
    ) -> UUID:
        pause(f"prefect: start {flow}")
        number = UUID(int=len(self.runs) + 1)
        self.runs[str(number)] = MadeUpRun(
            str(number), flow, parameters["work_item"], StateType.SCHEDULED, self.now(), at or self.now()
        )
        return number

    async def resume(self, run_id: str) -> prefect_api.Resumed | prefect_api.NotResumed:
        pause("prefect: resume")
        run = self.runs.get(run_id)
        if run is None:
            return prefect_api.NotResumed("the run does not exist", ended=True)
        if run.state is not StateType.PAUSED or not run.resumable:
            return prefect_api.NotResumed("it does not wait, or has no form")
        self.put(run, StateType.SCHEDULED)
        return prefect_api.Resumed()

    async def cancel(self, run_id: str, _message: str) -> None:
        pause("prefect: cancel")
        if run_id in self.runs:
            self.put(self.runs[run_id], StateType.CANCELLED)

    async def ask_to_cancel(self, run_id: str, _message: str) -> None:
        pause("prefect: ask to cancel")
        if run_id in self.runs:
            self.put(self.runs[run_id], StateType.CANCELLING)

    async def crashed(self, run_id: str, _message: str) -> None:
        pause("prefect: crashed")
        if run_id in self.runs:
            self.put(self.runs[run_id], StateType.CRASHED)

    async def rename(self, _run_id: str, **_shown: Any) -> None:
        """Nobody looks."""

    async def states_of(self, run_ids: Iterable[str]) -> dict[str, FlowRun]:
        pause("prefect: look")
        return {run_id: self.runs[run_id].shown for run_id in set(run_ids) if run_id in self.runs}

    async def begun_stage_runs(self) -> tuple[list[FlowRun], bool]:
        return self._stages(*BEGUN), False

    async def active_stage_runs(self) -> list[FlowRun]:
        return self._stages(*BEGUN, StateType.PAUSED)

    async def suspended_stage_runs(self, page: int) -> list[FlowRun]:
        return self._stages(StateType.PAUSED) if page == 0 else []

    async def runs_at_work(self, tag: str) -> list[FlowRun]:
        found = self._stages if tag == prefect_api.STAGE_TAG else self._control
        return found(StateType.PENDING, StateType.RUNNING)

    async def begun_runs_of(self, flow: str) -> tuple[list[FlowRun], bool]:
        pause("prefect: look")
        return [run.shown for run in self.runs.values() if run.flow == flow and run.state in BEGUN], False

    async def suspended_run_of(self, _key: str) -> FlowRun | None:
        """Nobody here suspends runs in Prefect."""
        return None

    async def cancelled_by_people(self) -> list[FlowRun]:
        """Nobody here cancels runs in Prefect."""
        return []

    def _control(self, *states: StateType) -> list[FlowRun]:
        pause("prefect: look")
        return [run.shown for run in self.runs.values() if run.flow not in WORKED and run.state in states]

    def _stages(self, *states: StateType) -> list[FlowRun]:
        pause("prefect: look")
        return [run.shown for run in self.runs.values() if run.flow in WORKED and run.state in states]

    # --- what else of Prefect the flows use

    async def form(self, key: str, *, flow_run_id: UUID) -> Mapping[str, str] | None:
        """What a person has filled in, by the key under which Prefect keeps it."""
        pause("prefect: read the form")
        run = self.runs.get(str(flow_run_id))
        return run.forms.get(key.removeprefix("suspended-").removesuffix("-response")) if run else None

    async def suspend(self, *, wait_for_input: type[Any], key: str) -> Any:
        """Suspend the run; with a key that it was resumed with before: what the person has filled in."""
        actor = CURRENT.get()
        assert actor is not None
        actor.pause("prefect: suspend")
        run = self.runs[actor.run_id]
        if key in run.keys:
            return wait_for_input(**run.forms.get(key, {}))
        run.keys.add(key)
        run.resumable = False
        self.put(run, StateType.PAUSED)
        actor.pause("prefect: suspended, without its form")
        run.resumable = True
        raise Pause

    @asynccontextmanager
    async def concurrency(self, name: str, **_: Any) -> AsyncIterator[None]:
        """The merge lock, which its holder's death frees."""
        actor = CURRENT.get()
        assert actor is not None
        actor.pause("prefect: merge lock")
        if name in self.locks:
            raise AcquireConcurrencySlotTimeoutError
        self.locks[name] = actor
        try:
            yield
        finally:
            if self.locks.get(name) is actor:
                del self.locks[name]


class _OwnRun:
    """`prefect.runtime.flow_run` of whoever runs just now."""

    @property
    def id(self) -> str | None:
        actor = CURRENT.get()
        return actor.run_id if actor else None


def _whoever_runs(_pid: int) -> ProcessIdentity:
    actor = CURRENT.get()
    assert actor is not None
    return ProcessIdentity(actor.host, actor.boot, actor.pid, 1.0)


async def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """Letters are sent by the world, or are not; nobody looks at pages."""


async def _no_time(seconds: float) -> None:
    pause(f"sleep {seconds:g}")


@contextmanager
def replaced(prefect: MadeUpPrefect, end_process: Callable[..., None], others: Mapping[str, Any]) -> Iterator[None]:
    """Orch's flows on this world: what is replaced is Prefect, the process table, and `others` by their names."""
    runtime = SimpleNamespace(flow_run=_OwnRun())
    names: dict[str, Any] = {
        **{f"tasks.prefect_api.{name}": getattr(prefect, name) for name in CALLS},
        **{f"flows.{flow}.deliver": _nothing for flow in ("stage", "stop", "intake", "wake", "deploy")},
        **{f"{module}.runtime": runtime for module in ("flows.stage", "flows.intake", "tasks.stopping")},
        **{f"{module}.end_process": end_process for module in ("tasks.ownership", "tasks.stopping", "tasks.healing")},
        **{f"{module}.identity": _whoever_runs for module in ("tasks.ownership", "tasks.stopping")},
        "flows.stage.asuspend_flow_run": prefect.suspend,
        "prefect.input.run_input.aread_flow_run_input": prefect.form,
        "flows.stage.acreate_table_artifact": _nothing,
        "flows.agent_page.acreate_markdown_artifact": _nothing,
        "flows.stage.asyncio": _asyncio_without_sleep(),
        "tasks.reverting.asyncio": _asyncio_without_sleep(),
        "tasks.landing.concurrency": prefect.concurrency,
        "flows.stage.OWN_PREDECESSOR_S": 1,
        "tasks.stop_listener.LOOK_S": 3600.0,
        **others,
    }
    with pytest.MonkeyPatch.context() as patch, disable_run_logger():
        patch.setattr(Task, "__call__", lambda task, *args, **kwargs: task.fn(*args, **kwargs))
        for name, value in names.items():
            patch.setattr(name, value)
        yield


CALLS = (
    "start", "resume", "cancel", "ask_to_cancel", "crashed", "rename", "states_of", "begun_stage_runs", "active_stage_runs",
    "suspended_stage_runs", "begun_runs_of", "runs_at_work", "suspended_run_of", "cancelled_by_people",
)  # fmt: skip


def _asyncio_without_sleep() -> SimpleNamespace:
    return SimpleNamespace(**{**vars(asyncio), "sleep": _no_time})
