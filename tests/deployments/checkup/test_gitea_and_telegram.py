"""Gitea's permissions, clones and webhooks, and Telegram's bot, chat and buttons, over real HTTP."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from pydantic import SecretStr

from deployments.checkup.finding import Finding, Grade
from deployments.checkup.gitea import look_at_gitea
from deployments.checkup.telegram import look_at_telegram
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.telegram import TelegramClient
from pipeline.projects import Project
from pipeline.settings import Settings
from tests.support.faulty import faulty_server, page

DEFAULTS = Settings.model_construct(
    **{name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
)
SETTINGS = DEFAULTS.model_copy(update={"gitea_webhook_secret": SecretStr("hush"), "public_url": "http://127.0.0.1:9"})


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    """One for each test: they make webhooks."""
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


async def gitea(
    sandbox: SandboxClient, *, token: str = Options().gitea_bot_token, create: bool = False, **fields: str
) -> dict[str, Finding]:
    """What is found, by its sentence."""
    terms = {"repository": "acme/shop", **fields}
    project = Project(key="SHOP", plane_project=UUID(int=1), test_command=("true",), **terms)
    async with GiteaClient(sandbox.gitea_url, SecretStr(token)) as client:
        found = await look_at_gitea(client, [project], SETTINGS, create_webhook=create)
    return {one.sentence: one for one in found}


def saying(found: dict[str, Finding], words: str) -> Finding:
    """The one finding whose sentence has these words."""
    [one] = [finding for sentence, finding in found.items() if words in sentence]
    return one


async def telegram(
    sandbox: SandboxClient, *, chat: str = "1", set_webhook: bool = False, **changes: object
) -> list[Finding]:
    settings = SETTINGS.model_copy(update=changes)
    async with TelegramClient(sandbox.telegram_url, SecretStr(Options().telegram_bot_token), chat) as client:
        return await look_at_telegram(client, settings, set_webhook=set_webhook)


async def test_the_webhook_that_is_missing_is_made_on_request_and_then_found(sandbox: SandboxClient) -> None:
    before = await gitea(sandbox)
    assert [one.sentence for one in before.values() if one.grade is Grade.MISSING] == [
        "No webhook tells http://127.0.0.1:9/webhooks/gitea."
    ]
    assert "`orch connect gitea --create-webhook`" in saying(before, "No webhook").next_step
    made, after = await gitea(sandbox, create=True), await gitea(sandbox)
    assert {one.grade for one in (*made.values(), *after.values())} == {Grade.OK}


async def test_git_itself_reads_the_repository_with_the_token(sandbox: SandboxClient) -> None:
    assert "Git can clone it (1 branch)." in await gitea(sandbox)


async def test_a_reader_may_not_push(sandbox: SandboxClient) -> None:
    found = await gitea(sandbox, token=Options().gitea_reader_token)
    push = saying(found, "may not push.")
    assert push.grade is Grade.MISSING
    assert "write access" in push.next_step


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"repository": "acme/nothing"}, "404"), ({"default_branch": "trunk"}, "There is no branch trunk.")],
)
async def test_a_repository_or_branch_that_is_not_there_is_named(
    sandbox: SandboxClient, fields: dict[str, str], sentence: str
) -> None:
    found = (await gitea(sandbox, **fields)).values()
    assert any(sentence in one.sentence for one in found if one.grade is Grade.MISSING)


async def test_a_wrong_token_is_the_only_finding_and_is_not_shown(sandbox: SandboxClient) -> None:
    [found] = (await gitea(sandbox, token="wrong-token")).values()
    assert (found.grade, "wrong-token" in found.sentence) == (Grade.MISSING, False)


async def test_an_address_where_something_else_answers_is_not_taken_for_a_wrong_token() -> None:
    with faulty_server([page(404)]) as other:
        async with GiteaClient(other.url, SecretStr("t")) as client:
            [found] = await look_at_gitea(client, [], SETTINGS)
    assert found.next_step == "Correct ORCH_GITEA_URL, or start Gitea."


async def test_a_branch_that_nobody_may_push_to_needs_the_fast_forward_merge(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_sandbox(tmp_path_factory.mktemp("old"), options=Options(fast_forward_only=False)) as sandbox:
        assert saying(await gitea(sandbox), "land on main by a push").grade is Grade.OK
        sandbox.protect("push")
        assert saying(await gitea(sandbox), "Nothing can land").grade is Grade.MISSING


async def test_a_bot_and_its_chat_are_reached_and_buttons_are_left_out_until_wanted(sandbox: SandboxClient) -> None:
    bot, chat, buttons = await telegram(sandbox)
    assert (bot.grade, chat.grade, buttons.grade) == (Grade.OK, Grade.OK, Grade.LESS)
    assert "ORCH_TELEGRAM_WEBHOOK_SECRET" in buttons.sentence
    assert "sendMessage" not in "".join(sandbox.state().calls), "looking writes nothing"


async def test_the_webhook_of_the_buttons_is_set_on_request(sandbox: SandboxClient) -> None:
    wanted = {"telegram_webhook_secret": SecretStr("hush"), "telegram_allowed_user_ids": (42,)}
    assert [one.grade for one in await telegram(sandbox, **wanted)][2] is Grade.MISSING
    after = (await telegram(sandbox, set_webhook=True, **wanted))[2]
    assert after.sentence == "Pressed buttons are told to http://127.0.0.1:9/webhooks/telegram."
    assert (await telegram(sandbox, **{**wanted, "telegram_allowed_user_ids": ()}))[2].grade is Grade.LESS


async def test_a_chat_that_the_bot_is_not_in_is_missing(sandbox: SandboxClient) -> None:
    _, chat, _ = await telegram(sandbox, chat="@nobody")
    assert (chat.grade, "chat not found" in chat.sentence) == (Grade.MISSING, True)
