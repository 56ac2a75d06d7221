"""Staging and production of one item: hooks run, services looked at, and every answer recorded."""

import asyncio
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.clients.deploy_guard import same_revision
from pipeline.clients.hooks import run_hook
from pipeline.clients.probe import probe
from pipeline.model import Baseline, CoverageRun, Health, Hook, HookRun, Probed, Stand, WorkItem
from pipeline.projects import Project
from pipeline.store import stands
from tasks import progress
from tasks.branch import log_file
from tasks.services import Services

LOOK_AGAIN_S = 1.0
"""Pause between two looks at a service that is still coming up."""


@dataclass(frozen=True, slots=True)
class ItemStands:
    """Fills `pipeline.ports.Stands`. Hooks come from the registry and see an allow-listed environment."""

    root: Services
    item: WorkItem
    project: Project

    async def coverage(self, commit: str) -> CoverageRun | None:
        """The recorded measurement of this commit."""
        return await self.root.store.aread(stands.coverage_of, self.item.id, commit)

    async def baseline(self) -> Baseline | None:
        """The coverage that the project has reached."""
        return await self.root.store.aread(stands.baseline, self.project.key)

    async def hook(self, hook: Hook, commit: str, *, since: datetime | None = None) -> HookRun | None:
        """The last run of a hook for this commit since then, by default since the item came to its stage."""
        return await self.root.store.aread(
            stands.last_hook, self.item.id, hook, commit, since=since or self.item.entered_at
        )

    async def check(self, commit: str) -> HookRun:
        """Run the staging check now."""
        return await self.run(Hook.CHECK, commit)

    async def run(self, hook: Hook, commit: str) -> HookRun:
        """Run a hook for this commit and record how it ended. Not idempotent. Never raises for how the hook ended."""
        command = {
            Hook.STAGE: self.project.staging_deploy,
            Hook.CHECK: self.project.staging_check,
            Hook.DEPLOY: self.project.deploy_hook,
            Hook.ROLLBACK: self.project.rollback_hook,
        }[hook]
        async with progress.shown(f"The hook {hook} of {self.item.key}", self.project.hook_timeout_s):
            ran = await run_hook(
                command,
                cwd=self.folder,
                home=self.folder,
                facts=self.facts(commit),
                log=log_file(self.root, self.item, f"{hook.replace(' ', '-')}-{commit[:12]}"),
                timeout_s=self.project.hook_timeout_s,
            )
        await self.record(hook, commit, ran)
        return ran

    async def record(self, hook: Hook, commit: str, ran: HookRun) -> None:
        """Put a run of a hook on record."""
        await self.root.store.awrite(stands.hook_ran, self.item.id, hook, commit, ran, self.root.now())

    async def probe(self, stand: Stand, commit: str, *, within_s: float = 0) -> Probed:
        """Look at a stand; again and again for at most `within_s` seconds until it is healthy with this commit."""
        how = self.project.staging_probe if stand is Stand.STAGING else self.project.health_probe
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            seen = await probe(
                how,
                timeout_s=self.project.probe_timeout_s,
                cwd=self.folder,
                home=self.folder,
                facts=self.facts(commit),
            )
            seen = _in_full(seen, commit)
            there = seen.health is Health.HEALTHY and seen.revision == commit
            if there or asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        await self.root.store.awrite(stands.probed, self.item.id, stand, commit, seen, self.root.now())
        return seen

    @property
    def folder(self) -> Path:
        """Working folder and home of the project's hooks; nothing of the task branch is in it."""
        folder = self.root.settings.state_dir / "hooks" / self.project.key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def facts(self, commit: str) -> dict[str, str]:
        """What a hook is told, and the variables that the project lets through to it."""
        let_through = {name: os.environ[name] for name in self.project.hook_pass_env if name in os.environ}
        return let_through | {
            "ORCH_EXPECTED_REVISION": commit,
            "ORCH_WORK_ITEM": self.item.key,
            "ORCH_ARTIFACT": self.project.artifact_of(commit),
        }


def _in_full(seen: Probed, commit: str) -> Probed:
    """A service may tell its revision abbreviated; one that is this commit is told in full."""
    return replace(seen, revision=commit) if seen.revision and same_revision(seen.revision, commit) else seen
