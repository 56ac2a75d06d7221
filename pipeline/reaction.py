"""What may follow from a signal: the answers of `pipeline.decide`, which somebody else carries out."""

from dataclasses import dataclass

from pipeline.model import Choice, Hold, WaitKind
from pipeline.stages import Role, Stage


@dataclass(frozen=True, slots=True)
class Start:
    """There is no such item yet: intake creates it."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The held item goes on where it stands."""

    why: str


@dataclass(frozen=True, slots=True)
class Look:
    """The stage should look again; nothing is known to have changed for good."""

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """It counts, but not yet: the signal waits until the item goes on."""

    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """A person's decision that counts, for this kind of wait and this commit."""

    kind: WaitKind
    choice: Choice
    commit: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Back:
    """The item goes back to an earlier stage; `spend` counts an attempt of that role.

    `text` is what a person said beyond `why`, for whoever works that stage.
    """

    to: Stage
    why: str
    spend: Role | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class HoldIt:
    """The item is held until a person moves it on."""

    why: str
    kind: Hold = Hold.BLOCKED


@dataclass(frozen=True, slots=True)
class Finish:
    """The item is done by a person's own hand."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The item is stopped and cancelled."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing follows; `tell` says whether a person should read why, in a comment."""

    why: str
    tell: bool = False


Reaction = Start | Resume | Look | Later | Record | Back | HoldIt | Finish | Stop | Ignore
