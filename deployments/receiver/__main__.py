"""`python -m deployments.receiver`: the receiver as a process of its own."""

import asyncio
import logging

import uvicorn

from deployments.receiver.app import create_app
from tasks.services import services


async def serve() -> None:
    """Serve on ORCH_HOST:ORCH_PORT until told to stop."""
    root = await services()
    config = uvicorn.Config(
        create_app(root), host=root.settings.host, port=root.settings.port, access_log=False, log_config=None
    )
    await uvicorn.Server(config).serve()


logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
asyncio.run(serve())
