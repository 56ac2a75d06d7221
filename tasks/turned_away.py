"""What the forge itself says where git was turned away: git cannot tell the forge's no from a proxy's."""

from pipeline.errors import Refused, TurnedAway, Unavailable
from pipeline.projects import Project
from tasks.services import Services


async def refusal(root: Services, project: Project, error: TurnedAway) -> str | None:
    """Why git will be turned away again, by the word of the forge's API; None where that lets Orch in or is away, too."""
    try:
        access = await root.forge.access(project)
    except Refused as refused:
        return f"{error} {refused}"
    except Unavailable:
        return None
    return None if access.push else f"{error} Gitea says that Orch's user may not push to {project.repository}."
