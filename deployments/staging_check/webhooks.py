"""Checks 7 and 8: the receiver believes who has the secret, and nobody else."""

import secrets

from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.receiver import WEBHOOKS, send, send_signed
from deployments.staging_check.staging import Staging
from pipeline.inbound.signature import sign

REFUSALS = (401, 403)


async def signed(staging: Staging) -> Finding:
    """Correctly signed deliveries, from which nothing follows, are accepted."""
    for hook in WEBHOOKS:
        await send_signed(staging, hook)
    return fine("Signed deliveries of Plane and Gitea are accepted.")


async def unsigned(staging: Staging) -> Finding:
    """Unsigned and wrongly signed deliveries are refused."""
    for hook in WEBHOOKS:
        for kind, signature in (("an unsigned", ""), ("a wrongly signed", sign(hook.body, secrets.token_hex(16)))):
            answer = await send(staging, hook, signature)
            if answer.status_code not in REFUSALS:
                return wrong(
                    f"The receiver answers {answer.status_code} to {kind} delivery of {hook.source}, not 401: stop it,"
                    " for anybody can tell it anything, and see what listens on ORCH_PORT."
                )
    return fine("Unsigned and wrongly signed deliveries of Plane and Gitea are refused.")
