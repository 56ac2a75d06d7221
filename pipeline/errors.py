"""The exceptions that Orch raises for what a caller cannot expect; expected outcomes are values, not exceptions.

OrchError                    every one of ours; its text says what happened, to what, and what to do next
├── SettingsError            settings are missing or contradict each other
├── UnreadableDelivery       an inbound webhook cannot be understood (names the field)
├── BadSignature             an inbound webhook is unsigned or wrongly signed
├── CouldNotRun              a check or a step could not be carried out; says nothing about the item's work
│   ├── UnreadableDiff       a diff cannot be judged (`pipeline.integrity`)
│   ├── FromLaterVersion     a row of the database has a value that only a later version of Orch knows
│   └── Unavailable          an outside system did not answer usefully; the same call may succeed later
│       ├── InDoubt          ... in time: the call may have been carried out
│       └── TurnedAway       git was not let in, by the forge or by what stands between: the forge's API knows
├── Refused                  an outside system understood the call and said no; repeating it is pointless
│   └── Missing              ... because the thing named does not exist
├── StaleWrite               a compare-and-swap lost: somebody else moved the item on
├── LeaseLost                this run does not own the item any more and must not write
└── DatabaseTooNew           the database was written by a later version of Orch
"""


class OrchError(Exception):
    """Base of all of Orch's exceptions. The text is for people: what happened, to which item, what to do next."""


class SettingsError(OrchError):
    """Settings are missing or contradictory; lists every problem at once."""


class UnreadableDelivery(OrchError):
    """A webhook body lacks a field that its event must have, or is not JSON. Names the field."""


class BadSignature(OrchError):
    """The signature is missing, empty or wrong; nothing of the body was looked at."""


class CouldNotRun(OrchError):
    """A check or step could not be carried out (program missing, stand unreachable). Costs the item no attempt."""


class FromLaterVersion(CouldNotRun):
    """What is stored has a value that this version does not know. The row is left alone, and so is its item."""


class Unavailable(CouldNotRun):
    """An outside system was unreachable, overloaded or answered nonsense. Retrying later may help.

    `status` and `path` tell which call; `retry_after` is in seconds where the system said how long to wait.
    """

    def __init__(
        self, message: str, *, status: int | None = None, path: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.path = path
        self.retry_after = retry_after


class InDoubt(Unavailable):
    """A call was made and no answer came in time: nobody can tell whether it was carried out."""


class TurnedAway(Unavailable):
    """Git got a 401, 403, 404 or a redirect. Git tells no page of a proxy from the forge's own no: ask its API."""


class Refused(OrchError):
    """An outside system refused the call (4xx). `status` and `path` tell which; no secret is ever part of the text."""

    def __init__(self, message: str, *, status: int | None = None, path: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.path = path


class Missing(Refused):
    """The thing that was asked for does not exist, or is hidden from this token."""


class StaleWrite(OrchError):
    """The item is no longer at the stage and version that this write was made for; look again and decide anew."""


class LeaseLost(OrchError):
    """Another run has taken the item over; this one must stop without writing anything."""


class DatabaseTooNew(OrchError):
    """The database's schema is newer than this program."""
