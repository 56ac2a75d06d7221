"""The stands over HTTP: their own answers below `/stands`, and what hooks and tests ask for below `/sandbox`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.sandbox.artifacts import StandError
from deployments.sandbox.stand_faults import StandFault
from deployments.sandbox.stands import STANDS, Stands
from deployments.sandbox.state import Deploy, StandName

Handler = Callable[[Request], Awaitable[Response]]


class StandsApi:
    """All routes of the stands. A refusal is JSON whose `error` is a sentence."""

    def __init__(self, stands: Stands) -> None:
        self._stands = stands

    def routes(self) -> list[Route]:
        """What a stand answers, relative to `/stands`."""
        return [_route(f"/{{stand}}/{path}", GET=self._ask) for path in ("health", "quote")]

    def control(self) -> list[Route]:
        """What is done to stands and artifacts, relative to `/sandbox`."""
        return [
            _route("/artifacts/{name:path}", GET=self._artifact, PUT=self._build),
            _route("/stands/{stand}/run", POST=self._run),
            _route("/stands/{stand}/check", POST=self._check),
            _route("/stands/{stand}/faults", POST=self._break, DELETE=self._mend),
        ]

    async def _ask(self, request: Request) -> Response:
        question = f"/{request.url.path.rpartition('/')[2]}?{request.url.query}"
        status, fields = await self._stands.ask(_stand(request), question)
        return JSONResponse(fields, status)

    async def _artifact(self, request: Request) -> Response:
        return JSONResponse(self._stands.artifacts.named(request.path_params["name"]).model_dump(mode="json"))

    async def _build(self, request: Request) -> Response:
        built = await self._stands.artifacts.put(request.path_params["name"], await request.body())
        return JSONResponse(built.model_dump(mode="json"))

    async def _run(self, request: Request) -> Response:
        stand, fields = _stand(request), await request.json()
        async with self._stands.attempt(stand, fields["hook"]):
            found = await self._stands.find(fields["revision"], fields.get("artifact"))
            entry = Deploy(stand=stand, **(fields | {"artifact": found.name}))
            await self._stands.run(stand, found)
            self._stands.note(entry)
        return JSONResponse(entry.model_dump(mode="json"))

    async def _check(self, request: Request) -> Response:
        async with self._stands.attempt(_stand(request), "check"):
            return JSONResponse({})

    async def _break(self, request: Request) -> Response:
        self._stands.faults.add(_stand(request), StandFault(**await request.json()))
        return JSONResponse({})

    async def _mend(self, request: Request) -> Response:
        self._stands.mend(_stand(request))
        return JSONResponse({})


def _stand(request: Request) -> StandName:
    for stand in STANDS:
        if stand == request.path_params["stand"]:
            return stand
    raise StandError(404, f"There is no stand {request.path_params['stand']}; there are {', '.join(STANDS)}.")


def _route(path: str, **handlers: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return await handlers[request.method](request)
        except StandError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return Route(path, endpoint, methods=list(handlers))
