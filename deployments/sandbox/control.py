"""The control API below `/sandbox`: what a person would do by hand, faults, and a look at everything. All JSON."""

import html
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.sandbox.faults import Faults
from deployments.sandbox.gitea import GiteaError
from deployments.sandbox.gitea_state import Repository
from deployments.sandbox.look import look
from deployments.sandbox.options import SAMPLE
from deployments.sandbox.plane import PlaneError
from deployments.sandbox.plane_state import Card, PlaneUser
from deployments.sandbox.stands import STANDS
from deployments.sandbox.state import PRESSES
from deployments.sandbox.telegram import TelegramError

if TYPE_CHECKING:
    from deployments.sandbox.app import Sandbox

Fields = dict[str, Any]
Handler = Callable[[Request, Fields], Awaitable[object]]

PERSON = "ada"
BOT = {"plane": "pipeline-bot", "gitea": "orch-bot"}


class Control:
    """The routes below `/sandbox`. A wrong request gets a 400 or 404 whose `error` says what is wrong."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """All routes, relative to `/sandbox`."""
        return [
            _route("/state", GET=self._state),
            _route("/flush", POST=self._flush),
            _route("/projects", POST=self._add_project),
            _route("/cards", POST=self._create_card),
            _route("/cards/{key}/move", POST=self._move_card),
            _route("/cards/{key}/comment", POST=self._comment),
            _route("/cards/{key}/labels", POST=self._labels),
            _route("/cards/{key}/block", POST=self._block),
            _route("/plane/webhook", POST=self._plane_webhook),
            _route("/plane/rate-limit", POST=self._rate_limit),
            _route("/gitea/webhook", POST=self._gitea_webhook),
            _route("/gitea/protect", POST=self._protect),
            _route("/gitea/commit", POST=self._commit),
            _route("/pulls/{number:int}/review", POST=self._review),
            _route("/pulls/{number:int}/close", POST=self._close_pull),
            _route("/ci", POST=self._ci),
            _route("/telegram/press", POST=self._press),
            _route("/telegram/chat", POST=self._telegram_chat),
            _route("/faults", POST=self._fault, DELETE=self._clear_faults),
        ]

    async def _state(self, _request: Request, _fields: Fields) -> object:
        sandbox = self._sandbox
        return (await look(sandbox.core, sandbox.plane, sandbox.gitea, sandbox.stands)).model_dump(mode="json")

    async def _flush(self, _request: Request, _fields: Fields) -> object:
        await self._sandbox.core.save()
        return {}

    async def _add_project(self, _request: Request, fields: Fields) -> object:
        files = Path(fields["files"]) if fields.get("files") else SAMPLE
        project = await self._sandbox.add_project(
            fields["identifier"],
            fields.get("name") or fields["identifier"].title(),
            fields["repository"],
            files=files,
            test_command=fields.get("test_command"),
        )
        return {"id": project.id, "key": project.identifier}

    # --- Plane ---

    def _person(self, fields: Fields) -> PlaneUser:
        return self._sandbox.plane.user(BOT["plane"] if fields.get("as") == "api" else PERSON)

    def _card(self, request: Request) -> Card:
        return self._sandbox.plane.card_by_key(request.path_params["key"])

    async def _create_card(self, _request: Request, fields: Fields) -> object:
        plane = self._sandbox.plane
        project = plane.project_named(fields["project"])
        labels = [label.id for name in fields.get("labels", []) if (label := project.label_named(name))]
        text = fields.get("description", "")
        wanted = {"name": fields["title"], "description_html": f"<p>{html.escape(text)}</p>", "labels": labels}
        if fields.get("state"):
            wanted["state"] = self._state_id(project.identifier, fields["state"])
        card = plane.create_card(project, wanted, self._person(fields))
        return {"id": card.id, "sequence_id": card.sequence_id, "key": plane.key(card)}

    def _state_id(self, project: str, name: str) -> str:
        state = self._sandbox.plane.project_named(project).state_named(name)
        if state is None:
            raise KeyError(f"Project {project} has no state {name}.")
        return state.id

    async def _move_card(self, request: Request, fields: Fields) -> object:
        plane, card = self._sandbox.plane, self._card(request)
        state = plane.project(card.project).state_named(fields["state"])
        if state is None:
            raise KeyError(f"There is no state {fields['state']}.")
        plane.move_card(card, state, self._person(fields), ui=fields.get("as", "person") == "person")
        return {"state": state.name}

    async def _comment(self, request: Request, fields: Fields) -> object:
        text = f"<p>{html.escape(fields['text'])}</p>"
        comment = self._sandbox.plane.add_comment(self._card(request), {"comment_html": text}, self._person(fields))
        return {"id": comment.id}

    async def _labels(self, request: Request, fields: Fields) -> object:
        plane, card = self._sandbox.plane, self._card(request)
        project = plane.project(card.project)
        ids = []
        for name in fields["labels"]:
            label = project.label_named(name)
            if label is None:
                raise KeyError(f"There is no label {name}.")
            ids.append(label.id)
        plane.update_card(card, {"labels": ids}, self._person(fields), ui=fields.get("as", "person") == "person")
        return {"labels": fields["labels"]}

    async def _block(self, request: Request, fields: Fields) -> object:
        plane = self._sandbox.plane
        plane.block(self._card(request), [plane.card_by_key(key) for key in fields["by"]])
        return {}

    async def _plane_webhook(self, _request: Request, fields: Fields) -> object:
        return {"id": self._sandbox.plane.set_webhook(fields["url"], fields["secret"]).id}

    async def _rate_limit(self, _request: Request, fields: Fields) -> object:
        self._sandbox.plane.world.rate_limit = fields["per_minute"]
        return {}

    # --- Gitea ---

    def _repository(self, fields: Fields) -> Repository:
        owner, _, name = str(fields.get("repository") or "acme/shop").partition("/")
        return self._sandbox.gitea.repository(owner, name)

    def _login(self, fields: Fields) -> str:
        return {"api": BOT["gitea"], "person": PERSON}.get(fields.get("as", "person"), str(fields.get("as")))

    async def _gitea_webhook(self, _request: Request, fields: Fields) -> object:
        repository, hooks = self._repository(fields), self._sandbox.gitea.hooks
        wanted = fields.get("events", ["create", "delete", "push", "pull_request", "issue_comment", "status"])
        config = {"url": fields["url"], "content_type": "json", "secret": fields["secret"]}
        found = next((one for one in repository.hooks if one.url == fields["url"]), None)
        hook = hooks.put(repository, found, {"config": config, "events": wanted, "active": True})
        return {"id": hook.id, "events": hook.events}

    async def _protect(self, _request: Request, fields: Fields) -> object:
        self._sandbox.gitea.protect(self._repository(fields), fields["protection"])
        return {}

    async def _commit(self, _request: Request, fields: Fields) -> object:
        sha = await self._sandbox.gitea.commit(
            self._repository(fields), fields["branch"], fields["files"], fields["message"], self._login(fields)
        )
        return {"sha": sha}

    async def _review(self, request: Request, fields: Fields) -> object:
        repository, pulls = self._repository(fields), self._sandbox.pulls
        pull = pulls.find(repository, request.path_params["number"])
        review = await pulls.review(repository, pull, fields, self._sandbox.gitea.user(self._login(fields)))
        return {"id": review.id, "state": review.state}

    async def _close_pull(self, request: Request, fields: Fields) -> object:
        repository, pulls = self._repository(fields), self._sandbox.pulls
        pull = pulls.find(repository, request.path_params["number"])
        await pulls.edit(repository, pull, {"state": "closed"}, self._login(fields))
        return {}

    async def _ci(self, _request: Request, fields: Fields) -> object:
        self._sandbox.ci.set_mode(fields["mode"])
        return {}

    # --- Telegram and faults ---

    async def _press(self, _request: Request, fields: Fields) -> object:
        number = self._sandbox.telegram.press(
            fields["message_id"],
            fields["data"],
            fields.get("person", PRESSES),
            username=fields.get("username", ""),
            is_bot=fields.get("is_bot", False),
            again=fields.get("again", False),
        )
        return {"update_id": number}

    async def _telegram_chat(self, _request: Request, fields: Fields) -> object:
        if "migrate_to" in fields:
            self._sandbox.telegram.migrate(fields["chat"], fields["migrate_to"])
        else:
            self._sandbox.telegram.close(fields["chat"], fields["closed"])
        return {}

    async def _fault(self, _request: Request, fields: Fields) -> object:
        apply_fault(self._sandbox.core.faults, fields)
        return {}

    async def _clear_faults(self, _request: Request, _fields: Fields) -> object:
        self._sandbox.core.faults.clear()
        self._sandbox.core.webhooks.release_held()
        for stand in STANDS:
            self._sandbox.stands.mend(stand)
        return {}


def apply_fault(faults: Faults, fields: Fields) -> None:
    """Put one fault in force: `{"fault": name, ...its arguments}`; `KeyError` for a name that is not known."""
    arguments = {name: value for name, value in fields.items() if name != "fault"}
    name = fields["fault"]
    if name in ("fail_next", "delay", "hang"):
        getattr(faults, name)(**arguments)
    elif name == "drop_all":
        faults.drop_all(arguments["on"], peer=arguments.get("peer"))
    elif name in ("drop_next", "duplicate_next", "delay_next", "reorder_next"):
        kind = name.removesuffix("_next")
        faults.webhook(kind, arguments["n"], peer=arguments.get("peer"), seconds=arguments.get("seconds", 0.0))
    else:
        raise KeyError(f"There is no fault {name}.")


def _route(path: str, **handlers: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            raw = await request.body()
            return JSONResponse(await handlers[request.method](request, json.loads(raw) if raw else {}))
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)
        except PlaneError as error:
            return JSONResponse({"error": str(error.body)}, error.status)
        except GiteaError as error:
            return JSONResponse({"error": error.message}, error.status)
        except TelegramError as error:
            return JSONResponse({"error": error.description}, error.code)

    return Route(path, endpoint, methods=list(handlers))
