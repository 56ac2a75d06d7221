"""What has to hold before something lands, and before it serves production."""

from pydantic import BaseModel, Field

from pipeline.settings.fields import Seconds, Words


class Delivery(BaseModel):
    """Gates, the merge gate, staging, deploy, and the labels that decide instead of a person."""

    # --- gates, merge and deploy
    min_description_chars: int = Field(default=30, ge=0, description="Shortest description that is worth analysing.")
    merge_gate_enabled: bool = Field(
        default=True,
        description="Off: nothing is rebased or tested anew before it lands. What Orch's own test run found green at "
        "testing lands as it is, while the default branch has not moved on from under it; else the item is blocked.",
    )
    merge_gate_repos: Words = Field(
        default=(), description="Repositories (`owner/name`) that the merge gate is limited to; empty: all."
    )
    premerge_rebase_always: bool = Field(
        default=True, description="Rebase before every validation; off = only when the default branch has moved."
    )
    merge_lock_timeout_s: Seconds = Field(
        default=5, description="How long a run tries to get the merge lock before it leaves."
    )
    merge_lock_lease_s: float = Field(
        default=60, ge=60, description="Lease of the merge lock; a dead holder frees it after that."
    )
    merge_defer_s: Seconds = Field(default=20, description="How soon a deferred merge looks again if nobody wakes it.")
    merge_defer_max: int = Field(default=200, ge=1, description="Deferrals in a row before the item is escalated.")
    max_revalidations: int = Field(
        default=20,
        ge=1,
        description="How often the default branch may move under a confirmed item before it is escalated.",
    )
    image_freshness_enabled: bool = Field(
        default=True, description="Off: nobody looks which revision staging runs; it is deployed every time."
    )
    image_freshness_repos: Words = Field(
        default=(), description="Repositories (`owner/name`) that the freshness check is limited to; empty: all."
    )
    deploy_deadline_s: Seconds = Field(
        default=600,
        description="Seconds that a self-hosting project's new version has to become healthy; then its detached hook "
        "restores the old one.",
    )
    deploy_look_again_s: Seconds = Field(default=5, description="How soon a detached deploy is looked at again.")
    auto_label_enabled: bool = Field(default=True, description="Off: labels lift no human gate, and none is read.")
    auto_label_repos: Words = Field(
        default=(), description="Repositories (`owner/name`) whose labels count; empty: all."
    )
    auto_approve_label: str = Field(default="autoApprove", description="Label that approves an item's analysis.")
    auto_deploy_label: str = Field(default="autoDeploy", description="Label that confirms an item's deploy.")
    auto_label_states_ttl_s: Seconds = Field(default=300, description="Seconds that a project's labels are cached.")
    confirm_survives_rebase: bool = Field(
        default=True, description="A confirmation stays good when the branch was rebased cleanly."
    )
