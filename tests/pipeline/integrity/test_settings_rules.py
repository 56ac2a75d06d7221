"""When a setting is weaker than it was."""

import pytest

from pipeline.integrity import settings_rules as rules

ABSENT = None


@pytest.mark.parametrize(
    ("weaker", "old", "new"),
    [
        (rules.lower, 85.0, 84.9),
        (rules.lower, "85%", "80%"),
        (rules.lower, 85.0, ABSENT),
        (rules.lower, "85%", "auto"),
        (rules.higher, "1%", "5%"),
        (rules.higher, ABSENT, 5.0),
        (rules.off, True, False),
        (rules.off, "True", "no"),
        (rules.off, True, ABSENT),
        (rules.off, ABSENT, False),
        (rules.on, ABSENT, True),
        (rules.on, "false", "true"),
        (rules.fewer, ("E", "F"), ("F",)),
        (rules.fewer, ("E",), ("E5",)),
        (rules.fewer, "E, F", "E"),
        (rules.fewer, ("E",), ABSENT),
        (rules.more, ("E501",), ("E501", "S101")),
        (rules.more, ("E501",), ("E",)),
        (rules.more, ABSENT, "shop/*"),
        (rules.chosen, ABSENT, ("tests/unit",)),
        (rules.chosen, ("tests", "contract"), ("tests",)),
        (rules.changed, "a", "b"),
        (rules.changed, "a", ABSENT),
        (rules.milder, "error", "warn"),
        (rules.milder, 2.0, 0.0),
        (rules.milder, ("error", "always"), "off"),
        (rules.milder, ABSENT, "off"),
        (rules.milder, "error", ABSENT),
        (rules.errors_fewer, ("error", "ignore::X"), ("ignore::X",)),
        (rules.options, "-q", "-q -k fast"),
        (rules.options, "-q", "-q -m 'not slow'"),
        (rules.options, "-q", "-q --ignore=tests/a"),
        (rules.options, "-q", "-q -p no:randomly"),
        (rules.options, "-k fast", "-k faster"),
        (rules.options, "-q --strict-markers", "-q"),
        (rules.options, ABSENT, "--deselect tests/a.py::b"),
    ],
)
def test_this_is_weaker(weaker, old, new):
    assert weaker(old, new)


@pytest.mark.parametrize(
    ("weaker", "old", "new"),
    [
        (rules.lower, 85.0, 85.0),
        (rules.lower, 85.0, "90"),
        (rules.lower, ABSENT, 10.0),
        (rules.lower, "auto", "80%"),
        (rules.higher, "5%", "1%"),
        (rules.higher, "5%", ABSENT),
        (rules.off, False, True),
        (rules.off, False, ABSENT),
        (rules.on, True, ABSENT),
        (rules.fewer, ("E", "F"), ("F", "E", "B")),
        (rules.fewer, ("E501",), ("E",)),
        (rules.fewer, ("E", "F"), ("ALL",)),
        (rules.more, ("E501", "S101"), ("E501",)),
        (rules.more, ("E",), ("E501",)),
        (rules.chosen, ("tests",), ("tests", "contract")),
        (rules.chosen, ("tests",), ABSENT),
        (rules.changed, ABSENT, "a"),
        (rules.milder, "warn", "error"),
        (rules.milder, ABSENT, "error"),
        (rules.errors_fewer, ("error",), ("error", "ignore::X")),
        (rules.options, "-q", "-q -x --strict-markers"),
        (rules.options, "-k fast", "-q"),
        (rules.options, "-q", "-m slow"),
        (rules.options, 'an unclosed "quote', "-q"),
    ],
)
def test_this_is_not_weaker(weaker, old, new):
    assert weaker(old, new) is None
