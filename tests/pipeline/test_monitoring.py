"""What a series of looks at production means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import Health, Probed
from pipeline.monitoring import Watched, judge

LOOKS = {"h": Health.HEALTHY, "d": Health.DEGRADED, "?": Health.INCONCLUSIVE}


def looks(text: str) -> list[Probed]:
    return [Probed(LOOKS[letter], None, "") for letter in text]


@pytest.mark.parametrize(
    ("seen", "over", "expected"),
    [
        ("", False, Watched.WATCHING),
        ("hhh", False, Watched.WATCHING),
        ("hhh", True, Watched.HEALTHY),
        ("hdd", False, Watched.WATCHING),
        ("hddd", False, Watched.DEGRADED),
        ("hd?dd", False, Watched.DEGRADED),
        ("ddhdd", True, Watched.WATCHING),
        ("ddhddh", True, Watched.HEALTHY),
        ("???", False, Watched.WATCHING),
        ("???", True, Watched.INCONCLUSIVE),
        ("h??", True, Watched.HEALTHY),
    ],
)
def test_looks_amount_to(seen: str, over: bool, expected: Watched) -> None:
    assert judge(looks(seen), failures=3, over=over) is expected


@given(st.text("hd?"), st.integers(1, 4), st.booleans())
def test_production_is_never_called_healthy_right_after_an_unhealthy_look(seen: str, failures: int, over: bool) -> None:
    telling = seen.replace("?", "")
    verdict = judge(looks(seen), failures=failures, over=over)
    if telling.endswith("d" * failures):
        assert verdict is Watched.DEGRADED
    if verdict is Watched.HEALTHY:
        assert over
        assert telling.endswith("h")
