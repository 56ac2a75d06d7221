"""Whether Gitea is reached, its repositories can be worked on and landed on, and its webhooks tell Orch."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from deployments.checkup.finding import Finding, Grade, fine, missing
from pipeline.clients import git
from pipeline.clients.gitea import GiteaClient
from pipeline.errors import Missing, OrchError, Refused
from pipeline.model import ForgeAccess
from pipeline.projects import Project
from pipeline.settings import Settings

PATIENCE_S = 15.0
"""How long git may take to list a repository's branches."""

TOKEN = "as Orch's user: Settings, Applications: write for repositories and issues, read for users"  # noqa: S105  advice


async def look_at_gitea(
    client: GiteaClient, projects: Iterable[Project], settings: Settings, *, create_webhook: bool = False
) -> list[Finding]:
    """Everything about Gitea; only the first finding when nothing can be asked.

    Changes nothing, unless `create_webhook`: then each repository gets the webhook that it lacks, or a good one instead.
    """
    try:
        login = await client.own_login()
    except Refused as error:
        return [missing("Gitea", str(error), f"Make a token {TOKEN}; then set ORCH_GITEA_TOKEN.")]
    except OrchError as error:
        return [missing("Gitea", str(error), "Correct ORCH_GITEA_URL, or start Gitea.")]
    found = [fine("Gitea", f"The token is user {login}'s.")]
    for project in projects:
        found += [finding async for finding in _project(client, project, login)]
        found.append(await _webhook(client, project, settings, login, create=create_webhook))
    return found


async def _project(client: GiteaClient, project: Project, login: str) -> AsyncIterator[Finding]:
    about = f"Gitea {project.repository}"
    try:
        access = await client.access(project)
    except Missing as error:
        step = f"Make {login} a collaborator of {project.repository} with write access, or correct the registry."
        yield missing(about, str(error), step)
        return
    except Refused as error:
        yield missing(about, str(error), f"Make a token {TOKEN}.")
        return
    except OrchError as error:
        step = "Try again in a moment; if it was renamed, correct `repository` in the registry."
        yield missing(about, str(error), step)
        return
    yield _permission(about, access, login)
    yield _landing(about, access, project, login)
    yield await _clone(about, client, project)


def _permission(about: str, access: ForgeAccess, login: str) -> Finding:
    if access.push:
        return fine(about, f"{login} may push.")
    return missing(about, f"{login} may not push.", f"Give {login} write access to the repository.")


def _landing(about: str, access: ForgeAccess, project: Project, login: str) -> Finding:
    branch = project.default_branch
    if access.push_default is None:
        return missing(about, f"There is no branch {branch}.", "Push a first commit, or correct default_branch.")
    if access.fast_forward_only:
        return fine(about, f"Changes land on {branch} by the fast-forward-only merge.")
    if access.push_default:
        return fine(about, f"Changes land on {branch} by a push; the fast-forward-only merge is not switched on.")
    step = f"Allow the merge style fast-forward only (Gitea 1.22 on), or let {login} push to {branch}."
    return missing(about, f"Nothing can land on {branch}.", step)


async def _clone(about: str, client: GiteaClient, project: Project) -> Finding:
    """Git itself, with the credentials that clones and pushes use."""
    try:
        count = await asyncio.to_thread(_branches, client, project)
    except OrchError as error:
        return missing(about, f"Git cannot read it: {error}", "Check the address and the token with `git ls-remote`.")
    return fine(about, f"Git can clone it ({count} {'branch' if count == 1 else 'branches'}).")


def _branches(client: GiteaClient, project: Project) -> int:
    with tempfile.TemporaryDirectory(prefix="orch-") as folder:
        home = Path(folder)
        remote = git.Remote(
            project.repository, client.clone_url(project), client.git_credentials(), home, timeout_s=PATIENCE_S
        )
        asked = git.Repository(remote, home).talk("ls-remote", "--heads", remote.url)
    if asked.code != 0:
        raise git.remote_error(remote, asked.error)
    return len(asked.text.splitlines())


async def _webhook(client: GiteaClient, project: Project, settings: Settings, login: str, *, create: bool) -> Finding:
    about, url = f"Gitea {project.repository}", settings.webhook_url("gitea")
    secret = settings.gitea_webhook_secret
    if not secret.get_secret_value():
        return missing(about, "ORCH_GITEA_WEBHOOK_SECRET is not set.", "Set it to any long random text.")
    step = f"`orch connect gitea --create-webhook` makes it; {login} has to administrate the repository for that."
    try:
        found = await client.hook_state(project, url=url)
        if create and (found is None or found.faults):
            found = await client.ensure_hook(project, url=url, secret=secret)
    except Missing as error:
        return missing(about, f"Its webhooks cannot be seen: {error}", step)
    except Refused as error:
        grade = Grade.MISSING if create else Grade.LESS
        return Finding(
            about, grade, f"{login} may not see its webhooks: {error}", f"Look for one to {url} there. {step}"
        )
    except OrchError as error:
        return missing(about, str(error), "Try again in a moment.")
    if found is None:
        return missing(about, f"No webhook tells {url}.", step)
    if found.faults:
        return missing(about, f"The webhook to {url}: {'; '.join(found.faults)}.", step)
    return fine(about, f"A webhook tells {url}.")
