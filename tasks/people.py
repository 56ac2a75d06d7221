"""Asking people: forms that can be filled in Prefect's UI, and the rows and messages around them."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal
from uuid import UUID

import httpx
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_paused_state
from prefect.states import Suspended
from sqlmodel import Session

from pipeline.errors import StaleWrite
from pipeline.messages import Markup, Texts, lines, link
from pipeline.model import Choice, Decision, Wait, WaitKind, WorkItem
from pipeline.outcomes import Ask
from pipeline.settings import Settings
from pipeline.stages import ROWS
from pipeline.store import items, leases, outbox, reactions, waits
from pipeline.store.due import Standing
from tasks import buttons, links, prefect_api
from tasks.ownership import Claimed
from tasks.services import Services

UI_ACTOR = "prefect-ui"
"""Who decides by filling the form of a suspended run."""


class ApprovalForm(RunInput):
    """Approve or reject the analysis."""

    decision: Literal["undecided", "approve", "reject"] = "undecided"
    comment: str = ""

    def choice(self) -> tuple[Choice, str] | None:
        """What was decided, with its comment."""
        if self.decision == "undecided":
            return None
        return (Choice.APPROVE if self.decision == "approve" else Choice.REJECT), self.comment


class ConfirmationForm(RunInput):
    """Confirm the deploy to production."""

    decision: Literal["undecided", "confirm"] = "undecided"

    def choice(self) -> tuple[Choice, str] | None:
        """What was decided."""
        return None if self.decision == "undecided" else (Choice.CONFIRM, "")


class IntegrityForm(RunInput):
    """Accept the findings about the change's own checks, or send it back."""

    decision: Literal["undecided", "accept", "reject"] = "undecided"
    comment: str = ""

    def choice(self) -> tuple[Choice, str] | None:
        """What was decided, with its comment."""
        if self.decision == "undecided":
            return None
        return (Choice.APPROVE if self.decision == "accept" else Choice.REJECT), self.comment


class AnswerForm(RunInput):
    """Answer the agent's question."""

    answer: str = ""

    def choice(self) -> tuple[Choice, str] | None:
        """The answer, if one was written."""
        return (Choice.ANSWER, self.answer) if self.answer.strip() else None


class BudgetForm(RunInput):
    """Let one more agent run start although the budget is used up."""

    decision: Literal["undecided", "go on"] = "undecided"

    def choice(self) -> tuple[Choice, str] | None:
        """What was decided."""
        return None if self.decision == "undecided" else (Choice.APPROVE, "")


Form = ApprovalForm | ConfirmationForm | IntegrityForm | AnswerForm | BudgetForm

FORMS: dict[
    WaitKind,
    type[ApprovalForm] | type[ConfirmationForm] | type[IntegrityForm] | type[AnswerForm] | type[BudgetForm],
] = {
    WaitKind.APPROVAL: ApprovalForm,
    WaitKind.CONFIRMATION: ConfirmationForm,
    WaitKind.INTEGRITY: IntegrityForm,
    WaitKind.ANSWER: AnswerForm,
    WaitKind.BUDGET: BudgetForm,
}
"""The form of each human wait. Fields all have defaults, and only ever gain more: a wake carries no input."""

TEXTS: dict[WaitKind, str] = {
    WaitKind.APPROVAL: "approval_asked",
    WaitKind.CONFIRMATION: "confirmation_asked",
    WaitKind.INTEGRITY: "integrity_asked",
    WaitKind.ANSWER: "question_asked",
    WaitKind.BUDGET: "budget_asked",
}


NOT_ON_THE_CARD = (WaitKind.INTEGRITY, WaitKind.BUDGET)
"""What the card's state does not say and no agent has written there: a comment says what is asked, and how to answer."""


async def begin(root: Services, claimed: Claimed, ask: Ask, run_id: str) -> Wait:
    """Write the wait row, the message and the card's status, all in one transaction.

    Raises `StaleWrite` or `LeaseLost` when the item is not this run's to ask about any more.
    """
    return await root.store.awrite(_begin, root, claimed, ask, run_id)


def _begin(session: Session, root: Services, claimed: Claimed, ask: Ask, run_id: str) -> Wait:
    now = root.now()
    item = items.update(session, claimed.item, claimed.lease.token, now)
    if item.version != claimed.item.version or item.hold is not None:
        raise StaleWrite(f"{item.key} was moved or held while this run was about to ask.")
    wait = waits.begin(
        session,
        item,
        ask.kind,
        key=f"{ask.kind}-{item.id}-{secrets.token_hex(6)}",
        sentence=ask.sentence,
        now=now,
        commit=ask.commit,
        flow_run_id=run_id,
        deadline=now + timedelta(seconds=root.settings.person_deadline_s),
    )
    html = _message(root.texts, root.settings, root.project(item.project).repository, item, ask)
    once = f"{ask.kind}:{item.id}:{item.visit}:{ask.commit}:{_topic(ask)}"
    reactions.say(session, item.key, html, once, now, buttons=buttons.below(root.settings, root.texts, wait))
    if ask.kind in NOT_ON_THE_CARD:
        reactions.tell(session, item.key, html, once, now)
    outbox.status(session, item.key, now)
    return wait


def _topic(ask: Ask) -> str:
    return reactions.hash_of(ask.sentence) if ask.kind is WaitKind.ANSWER else ""


def _message(texts: Texts, settings: Settings, repository: str, item: WorkItem, ask: Ask) -> str:
    return texts(
        TEXTS[ask.kind],
        key=item.key,
        title=item.title,
        commit=ask.commit[:12],
        role=ROWS[item.stage].role,
        question=ask.sentence,
        markup=lines(*_links(texts, settings, repository, item, ask.kind)),
    )


def _links(texts: Texts, settings: Settings, repository: str, item: WorkItem, kind: WaitKind) -> Iterator[Markup]:
    """What a person reads before deciding, and the card; an address that others cannot open is left out."""
    reads = {
        WaitKind.APPROVAL: ("link_brd", links.brd(settings, repository, item)),
        WaitKind.ANSWER: ("link_artifacts", links.artifacts(settings, repository, item)),
        WaitKind.CONFIRMATION: ("link_pull", links.pull(settings, repository, item)),
        WaitKind.INTEGRITY: ("link_pull", links.pull(settings, repository, item)),
        WaitKind.BUDGET: ("link_artifacts", links.artifacts(settings, repository, item)),
    }
    key, url = reads[kind]
    for label, address in ((key, url), ("link_issue", links.issue(settings, item))):
        if address:
            yield link(address, texts(label, key=item.key))


def already_decided(session: Session, item: WorkItem, wait: Wait) -> bool:
    """Whether a decision that counts for this wait is on record."""
    return any(
        decision.kind is wait.kind
        and decision.commit == wait.commit
        and (wait.kind is not WaitKind.ANSWER or decision.at >= wait.since)
        for decision in waits.decisions(session, item.id)
    )


async def gone_run(root: Services, found: Standing) -> str | None:
    """The run in which the item waits for a person, when it will never go on; None when it may, or nobody can tell.

    That is one that has ended, and one that Prefect believes to be at work although its process is dead. What a person
    has cancelled is the tick's to see: the item is held then.
    """
    run_id = found.wait.flow_run_id if found.wait is not None else None
    if run_id is None:
        return None
    try:
        run = (await prefect_api.states_of([run_id])).get(run_id)
    except httpx.HTTPError:
        return None
    if run is None or run.state_type in prefect_api.OVER:
        return run_id
    return run_id if run.state_type in prefect_api.AT_WORK and _has_died(root, found.owner, run_id) else None


def _has_died(root: Services, owner: leases.Owner | None, run_id: str) -> bool:
    """Whether the run still owns the item and its process is dead."""
    return owner is not None and owner.flow_run_id == run_id and not leases.lives(owner, root.now(), root.alive)


async def hear_form(root: Services, item: WorkItem, wait: Wait) -> None:
    """Record what a person has written into the form of the wait's run, if anything.

    Only Prefect knows that until then, so it is read before anything can close the wait. A run that Prefect has lost, or
    that was resumed without a word, says nothing.
    """
    if wait.flow_run_id is None:
        return
    keys = keyset_from_paused_state(Suspended(pause_key=wait.key))
    form = await FORMS[wait.kind].aload(keys, flow_run_id=UUID(wait.flow_run_id))
    await root.store.awrite(take_form, item, wait, form, root)


def take_form(session: Session, item: WorkItem, wait: Wait, form: Form, root: Services) -> bool:
    """Record what the form says, if it says anything and its wait is still the open one; whether it did."""
    chosen = form.choice()
    current = waits.open_wait(session, item.id)
    if chosen is None or current is None or current.key != wait.key or wait.commit is None:
        return False
    choice, text = chosen
    return waits.decide(session, item, Decision(wait.kind, choice, wait.commit, UI_ACTOR, text, root.now()))
