"""Looks at a running sandbox as a whole, for `GET /sandbox/state`."""

from deployments.sandbox import views
from deployments.sandbox.core import Core
from deployments.sandbox.gitea import Gitea
from deployments.sandbox.gitea_state import Repository
from deployments.sandbox.plane import Plane
from deployments.sandbox.plane_state import Card
from deployments.sandbox.stands import STANDS, Stands


async def look(core: Core, plane: Plane, gitea: Gitea, stands: Stands) -> views.StateView:
    """Everything that the sandbox knows at this moment."""
    return views.StateView(
        cards=[_card(plane, one) for one in plane.world.cards],
        projects=[
            views.ProjectView(
                key=one.identifier,
                id=one.id,
                name=one.name,
                states={state.name: state.id for state in one.states},
                labels={label.name: label.id for label in one.labels},
            )
            for one in plane.world.projects
        ],
        plane_webhooks=[views.HookView(url=one.url, active=one.active) for one in plane.world.webhooks],
        repositories={one.full_name: await _repository(gitea, one) for one in gitea.world.repositories},
        telegram=views.TelegramView(
            messages=core.world.telegram.messages, answered_callbacks=core.world.telegram.answered_callbacks
        ),
        stands={one: await stands.view(one) for one in STANDS},
        artifacts=stands.world.artifacts,
        requests=dict(core.requests),
        calls=dict(core.calls),
        deliveries=[views.DeliveryView.model_validate(one) for one in core.webhooks.report()],
    )


def _card(plane: Plane, card: Card) -> views.CardView:
    project = plane.project(card.project)
    state = next(one for one in project.states if one.id == card.state)
    names = {one.id: one.display_name for one in plane.world.users}
    return views.CardView(
        key=plane.key(card),
        id=card.id,
        project=project.identifier,
        title=card.name,
        description=card.description_html,
        state=state.name,
        group=state.group,
        labels=[one.name for one in project.labels if one.id in card.labels],
        blocked_by=[plane.key(one) for one in plane.world.cards if one.id in card.blocked_by],
        comments=[
            views.CommentView(
                id=one.id,
                actor=names[one.actor],
                html=one.comment_html,
                external_id=one.external_id,
                created_at=one.created_at,
            )
            for one in plane.comments_of(card)
        ],
        updated_at=card.updated_at,
    )


async def _repository(gitea: Gitea, one: Repository) -> views.RepositoryView:
    bare = gitea.bare(one)
    refs = await bare.refs()
    prefix = "refs/heads/"
    return views.RepositoryView(
        main_tips=await bare.default_tips(),
        branches={ref.removeprefix(prefix): sha for ref, sha in refs.items() if ref.startswith(prefix)},
        default_pushes=one.default_pushes,
        pulls=one.pulls,
        statuses=one.statuses,
        protection=one.protection,
        hooks=[views.HookView(url=hook.url, active=hook.active, events=hook.events) for hook in one.hooks],
    )
