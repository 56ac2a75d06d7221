"""How long anything waits, and what wakes or heals it."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from pipeline.settings.fields import Pauses, Seconds


class Upkeep(BaseModel):
    """Ownership, deadlines, looks, dependencies, STOP, and the reconciler."""

    # --- waiting and waking
    lease_ttl_s: float = Field(default=30, gt=0, description="Life of a run's ownership of an item without renewal.")
    lease_renew_s: float = Field(default=10, gt=0, description="How often ownership is renewed.")
    person_deadline_s: Seconds = Field(
        default=86400, description="How long a person may take before one reminder is sent."
    )
    ci_deadline_s: Seconds = Field(default=3600, description="How long CI may take before a person is told.")
    ci_look_again_s: Seconds = Field(default=60, description="How soon CI is asked again when no webhook came.")
    outage_look_again_s: Seconds = Field(
        default=60, description="How soon a stage is tried again after a neighbour stayed away for all of its retries."
    )
    republish_s: Pauses = Field(
        default=(30, 120, 600),
        description="Ages at which an unconsumed signal is announced again; at the last one the tick applies it itself.",
    )
    task_deps_enabled: bool = Field(
        default=True,
        description="Off: no dependency holds an item back, and no call is made about any; those on record are kept.",
    )
    task_deps_source: Literal["plane", "db"] = Field(
        default="plane",
        description="Where dependencies come from: `plane` = the cards' `blocked by` relations and `orch depend`; "
        "`db` = `orch depend` alone, without any call to Plane.",
    )
    stop_status_enabled: bool = Field(
        default=True, description="Off: moving a card to Stop means nothing; `orch stop` still stops an item."
    )
    transition_lease_enabled: bool = Field(
        default=True,
        description="Off: a living run of an item keeps no other from starting; the later one takes the item over and "
        "the earlier one's next write is refused. Stage writes stay compare-and-swap.",
    )
    reconcile_enabled: bool = Field(default=True, description="Off: the scheduled tick does nothing at all.")
    reconcile_plane_enabled: bool = Field(
        default=True,
        description="Off: the tick does not look through Plane for moves and answers that no webhook told.",
    )
    subscriptions_enabled: bool = Field(
        default=True,
        description="Off: the tick neither looks at Gitea's webhooks nor makes them anew, and says nothing of Plane's. "
        "Without ORCH_PUBLIC_URL and ORCH_GITEA_WEBHOOK_SECRET Gitea's are left alone anyway.",
    )
    reconcile_skip_blocked_enabled: bool = Field(
        default=True,
        description="Off: the tick starts what is due without asking in which state its card stands. Items that Orch "
        "itself holds are left alone all the same.",
    )
    reconcile_grace_analysis: Seconds = Field(
        default=20, description="Seconds that an item may stand at analysis without a run before the tick starts one."
    )
    reconcile_grace_architecture: Seconds = Field(default=20, description="The same at architecture.")
    reconcile_grace_development: Seconds = Field(default=20, description="The same at development.")
    reconcile_grace_review: Seconds = Field(default=20, description="The same at review.")
    reconcile_grace_testing: Seconds = Field(default=20, description="The same at testing.")
    reconcile_grace_deploy_staging: Seconds = Field(default=20, description="The same at staging.")
    reconcile_grace_deploy: Seconds = Field(default=20, description="The same at deploy.")
    run_max_s: Seconds = Field(
        default=14400,
        description="Longest that one run may own an item, above the longest step there is; then it is killed and the "
        "item taken from it.",
    )

    @model_validator(mode="after")
    def _lease_outlives_renewal(self) -> Self:
        if self.lease_renew_s * 2 > self.lease_ttl_s:
            raise ValueError("ORCH_LEASE_RENEW_S must be at most half of ORCH_LEASE_TTL_S")
        return self
