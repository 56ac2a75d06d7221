"""What the demo can show: the cards that a person writes, the scenario that the scripted agent plays on them, and how
production behaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.stages import Stage

FOLDER = Path(__file__).parent / "sandbox" / "scenarios"

WATCHED: Mapping[str, Any] = {"monitor_window_s": 6, "monitor_interval_s": 3, "verify_within_s": 20}
"""The demo's window is short: it is to be watched to its end."""


@dataclass(frozen=True, slots=True)
class Card:
    """An issue as a person writes it."""

    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One demo. `script` names the scenario file if it is not the scenario's own; `project` are its project settings."""

    name: str
    tells: str
    cards: tuple[Card, ...]
    script: str = ""
    project: Mapping[str, Any] = field(default_factory=lambda: WATCHED)
    degrades: bool = False
    """Whether production turns unhealthy as soon as it is watched."""
    last_first: bool = False
    """Whether the person confirms the first card only when all others are done."""

    @property
    def file(self) -> Path:
        """What the scripted agent plays."""
        return FOLDER / f"{self.script or self.name}.toml"

    def ended(self, item: WorkItem) -> bool:
        """Whether an item is where this scenario leaves it."""
        if self.degrades:
            return item.stage is Stage.DEPLOY and item.hold is Hold.BLOCKED and item.landed is not None
        return item.stage is Stage.DONE

    def holds_back(self, item: WorkItem, wait: Wait, others_are_done: bool) -> bool:
        """Whether the person does not decide yet."""
        return (
            self.last_first and wait.kind is WaitKind.CONFIRMATION and item.key.endswith("-1") and not others_are_done
        )


RECEIPT = Card("Print a receipt", "Customers want a receipt on paper: every price, the discount, shipping and total.")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("happy", "one issue goes from To Analyse to Done.", (RECEIPT,)),
        Scenario(
            "deploy",
            "one issue is staged, confirmed, landed, deployed and watched; the window is longer than in the first demo.",
            (RECEIPT,),
            script="happy",
            project={**WATCHED, "monitor_window_s": 20},
        ),
        Scenario(
            "deploy-degraded",
            "production turns unhealthy in the window: it is rolled back, main is reverted, one alert calls a person.",
            (RECEIPT,),
            script="happy",
            project={**WATCHED, "monitor_window_s": 60, "monitor_failures": 2, "revert_when_degraded": True},
            degrades=True,
        ),
        Scenario(
            "main-moves",
            "another item lands while one awaits its confirmation; that one is validated anew and lands, too.",
            (
                Card(
                    "Show another currency", "Visitors from abroad want to see what a price is in their own currency."
                ),
                Card("Wrap as a gift", "Some orders are presents: offer wrapping for 3.50 euros a piece."),
            ),
            last_first=True,
        ),
        Scenario(
            "two-conflicting",
            "two issues change the same line; the second is sent back, resolves the conflict and lands.",
            (
                Card(
                    "Raise the flat rate",
                    "Parcels have become dearer: the flat rate for shipping goes up to 5.90 euros.",
                ),
                Card(
                    "Offer express shipping",
                    "Some customers are in a hurry: offer express shipping for 9.90 euros, never free.",
                ),
            ),
        ),
        Scenario(
            "green-alone-red-together",
            "two issues are green alone and red together; main is never broken all the same.",
            (
                Card(
                    "Fair rounding of discounts",
                    "Discounts are always rounded down; half a cent and more should round up.",
                ),
                Card(
                    "Sell things in a bundle",
                    "Several things bought together should cost five per cent less as a bundle.",
                ),
            ),
        ),
    )
}
