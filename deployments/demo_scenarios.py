"""What the demo can show: the cards that a person writes, and the scenario that the scripted agent plays on them."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "sandbox" / "scenarios"


@dataclass(frozen=True, slots=True)
class Card:
    """An issue as a person writes it."""

    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One demo."""

    name: str
    tells: str
    cards: tuple[Card, ...]

    @property
    def file(self) -> Path:
        """What the scripted agent plays."""
        return FOLDER / f"{self.name}.toml"


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "happy",
            "one issue goes from To Analyse to Done.",
            (
                Card(
                    "Print a receipt",
                    "Customers want a receipt on paper: every price, the discount, shipping and total.",
                ),
            ),
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
