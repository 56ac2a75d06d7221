"""All gates in stage order. A gate is a small object in a file of its own that answers with a sentence."""

from pipeline.gates import (
    analysis_approved,
    analysis_files,
    architecture_recorded,
    branch_mergeable,
    change_integrity,
    ci_green,
    coverage_held,
    deploy_verified,
    intake_complete,
    review_verdict,
    staging_healthy,
    staging_image_fresh,
    tests_passed,
)
from pipeline.gates.look import Gate

GATES: dict[str, Gate] = {
    "intake_complete": intake_complete.GATE,
    "analysis_files": analysis_files.GATE,
    "analysis_approved": analysis_approved.GATE,
    "architecture_recorded": architecture_recorded.GATE,
    "ci_green": ci_green.GATE,
    "review_verdict": review_verdict.GATE,
    "change_integrity": change_integrity.GATE,
    "tests_passed": tests_passed.GATE,
    "branch_mergeable": branch_mergeable.GATE,
    "coverage_held": coverage_held.GATE,
    "staging_image_fresh": staging_image_fresh.GATE,
    "staging_healthy": staging_healthy.GATE,
    "deploy_verified": deploy_verified.GATE,
}
"""Every gate by name: the entry gate, then those of `stages.TABLE` in its order."""
