"""Smart HTTP git: `git http-backend` as a CGI program, with token authentication before it."""

import asyncio
import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from deployments.sandbox.git import environment


def unauthorised() -> Response:
    """What git gets without a token; it then asks its credential helper."""
    return Response("Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="Gitea"'}, "text/plain")


async def backend(request: Request, root: Path, path_info: str, user: str) -> Response:
    """Answer one git request for the repositories below `root`; `path_info` starts with a slash."""
    body = await request.body()
    process = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        env=_cgi(request, root, path_info, user, len(body)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate(body)
    return _parse(out)


def _cgi(request: Request, root: Path, path_info: str, user: str, length: int) -> dict[str, str]:
    given = request.headers
    return environment(
        {
            "GIT_PROJECT_ROOT": os.fspath(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path_info,
            "QUERY_STRING": request.url.query,
            "CONTENT_TYPE": given.get("content-type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": given.get("content-encoding", ""),
            "GIT_PROTOCOL": given.get("git-protocol", ""),
            "REMOTE_USER": user,
            "REMOTE_ADDR": "127.0.0.1",
        }
    )


def _parse(out: bytes) -> Response:
    """The CGI program's headers and body as a response."""
    head, found, body = out.partition(b"\r\n\r\n")
    if not found:
        return Response("git http-backend gave no answer\n", 500)
    response = Response(body)
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "status":
            response.status_code = int(value.split()[0])
        elif name.lower() != "content-length":
            response.headers[name] = value.strip()
    return response
