"""A typed client of the control API, for the demo and the tests."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import httpx

from deployments.sandbox.faults import Peer
from deployments.sandbox.options import Options
from deployments.sandbox.stand_faults import StandFaultKind
from deployments.sandbox.state import PRESSES, Hook, StandName, TelegramMessage
from deployments.sandbox.views import CardView, RepositoryView, StandView, StateView
from pipeline.clients.http import certificates

Who = Literal["person", "api"]


class SandboxError(Exception):
    """The control API refused a call; the text says why."""


class SandboxClient:
    """Talks to one running sandbox. Blocks; safe to use from several threads."""

    def __init__(self, url: str, options: Options | None = None) -> None:
        self.url = url.rstrip("/")
        self.options = options or Options()
        self._http = _client(f"{self.url}/sandbox")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- addresses ---

    @property
    def board_url(self) -> str:
        """The page for people."""
        return f"{self.url}/"

    @property
    def plane_url(self) -> str:
        """Plane's address, without `/api/v1`."""
        return f"{self.url}/plane"

    @property
    def gitea_url(self) -> str:
        """Gitea's address, without `/api/v1`."""
        return f"{self.url}/gitea"

    @property
    def telegram_url(self) -> str:
        """The Bot API's address, without `/bot<token>`."""
        return f"{self.url}/telegram"

    def stand_url(self, stand: StandName) -> str:
        """Where a stand is asked for `/health` and `/quote`; stays the same whatever it runs."""
        return f"{self.url}/stands/{stand}"

    def clone_url(self, repository: str = "acme/shop") -> str:
        """Where a repository is cloned from and pushed to, without credentials."""
        return f"{self.gitea_url}/{repository}.git"

    def clone_url_with_token(self, repository: str = "acme/shop", *, token: str | None = None) -> str:
        """A clone URL that carries a token (the person's unless given), for git in tests."""
        scheme, rest = self.clone_url(repository).split("://", 1)
        return f"{scheme}://git:{token or self.options.gitea_person_token}@{rest}"

    def gitea_api(self, token: str | None = None) -> httpx.Client:
        """A client of Gitea's API with a token (the person's unless given)."""
        header = {"Authorization": f"token {token or self.options.gitea_person_token}"}
        return _client(f"{self.gitea_url}/api/v1", header)

    def plane_api(self, token: str | None = None) -> httpx.Client:
        """A client of Plane's workspace API with a key (the bot's unless given)."""
        base = f"{self.plane_url}/api/v1/workspaces/{self.options.workspace}"
        header = {"X-API-Key": token or self.options.plane_bot_token}
        return _client(base, header)

    # --- looking ---

    def state(self) -> StateView:
        """Everything that the sandbox knows now."""
        return StateView.model_validate(self._call("GET", "/state"))

    def card(self, key: str) -> CardView:
        """A card as it is now; `KeyError` when there is none."""
        return self.state().card(key)

    def repository(self, name: str = "acme/shop") -> RepositoryView:
        """A repository as it is now; `KeyError` when there is none."""
        return self.state().repositories[name]

    def stand(self, stand: StandName) -> StandView:
        """A stand as it is now."""
        return self.state().stands[stand]

    def wait_until(self, seen: Callable[[StateView], object], *, timeout: float = 20.0) -> StateView:
        """Look again and again until `seen` is true of what is there; `TimeoutError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            state = self.state()
            if seen(state):
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"Not seen in the sandbox within {timeout} s.")
            time.sleep(0.05)

    def flush(self) -> None:
        """Have the snapshot written now."""
        self._call("POST", "/flush")

    # --- Plane ---

    def create_card(
        self,
        title: str,
        description: str = "",
        *,
        project: str = "SHOP",
        labels: Sequence[str] = (),
        state: str | None = None,
    ) -> str:
        """A person writes a card; its key."""
        fields = {"project": project, "title": title, "description": description, "labels": list(labels)}
        return str(self._call("POST", "/cards", fields | {"state": state})["key"])

    def move_card(self, key: str, state: str, *, who: Who = "person") -> None:
        """Move a card to a state by name, on the board (`person`) or through the API."""
        self._call("POST", f"/cards/{key}/move", {"state": state, "as": who})

    def comment(self, key: str, text: str, *, who: Who = "person") -> str:
        """Write a plain-text comment; its id."""
        return str(self._call("POST", f"/cards/{key}/comment", {"text": text, "as": who})["id"])

    def set_labels(self, key: str, labels: Sequence[str], *, who: Who = "person") -> None:
        """Replace a card's labels, by name."""
        self._call("POST", f"/cards/{key}/labels", {"labels": list(labels), "as": who})

    def block(self, key: str, *, by: Sequence[str]) -> None:
        """Say that a card is blocked by others."""
        self._call("POST", f"/cards/{key}/block", {"by": list(by)})

    def plane_webhook(self, url: str, secret: str) -> None:
        """Have Plane tell `url`; the same URL again only changes the secret."""
        self._call("POST", "/plane/webhook", {"url": url, "secret": secret})

    def plane_rate_limit(self, per_minute: int | None) -> None:
        """Limit Plane's API per key, or no longer."""
        self._call("POST", "/plane/rate-limit", {"per_minute": per_minute})

    # --- Gitea ---

    def add_project(self, identifier: str, repository: str, **more: object) -> str:
        """A further project with its repository (`name`, `files`, `test_command` are optional); its Plane id."""
        fields = {"identifier": identifier, "repository": repository} | more
        return str(self._call("POST", "/projects", fields)["id"])

    def gitea_webhook(self, url: str, secret: str, *, repository: str = "acme/shop") -> None:
        """Have Gitea tell `url` of everything in a repository."""
        self._call("POST", "/gitea/webhook", {"url": url, "secret": secret, "repository": repository})

    def protect(self, protection: Literal["", "push", "all"], *, repository: str = "acme/shop") -> None:
        """Protect the default branch from pushes, from merges too, or not at all."""
        self._call("POST", "/gitea/protect", {"protection": protection, "repository": repository})

    def commit(
        self,
        branch: str,
        files: Mapping[str, str | None],
        message: str = "A change",
        *,
        repository: str = "acme/shop",
        who: str = "person",
    ) -> str:
        """Commit files (None: removed) to a branch as if pushed by a person, `api` or a login; the commit."""
        fields = {"branch": branch, "files": dict(files), "message": message, "repository": repository, "as": who}
        return str(self._call("POST", "/gitea/commit", fields)["sha"])

    def review(
        self,
        number: int,
        event: Literal["APPROVED", "REQUEST_CHANGES", "COMMENT"],
        *,
        body: str = "",
        remarks: Sequence[tuple[str, int, str]] = (),
        repository: str = "acme/shop",
        who: str = "person",
    ) -> None:
        """Review a pull request as a person, `api` or a login; `remarks` are path, line and text."""
        comments = [{"path": path, "new_position": line, "body": text} for path, line, text in remarks]
        fields = {"event": event, "body": body, "comments": comments, "repository": repository, "as": who}
        self._call("POST", f"/pulls/{number}/review", fields)

    def close_pull(self, number: int, *, repository: str = "acme/shop", who: str = "person") -> None:
        """Close a pull request unmerged."""
        self._call("POST", f"/pulls/{number}/close", {"repository": repository, "as": who})

    def ci(self, mode: Literal["run", "hold", "off"]) -> None:
        """Let the CI run, hold it (statuses stay pending), or switch it off (no status at all)."""
        self._call("POST", "/ci", {"mode": mode})

    # --- Telegram and faults ---

    def press(
        self, message_id: int, data: str, *, person: int = PRESSES, username: str = "", is_bot: bool = False,
        again: bool = False,
    ) -> None:  # fmt: skip
        """A person presses a button below a message; `again` sends the last update id once more."""
        fields = {"message_id": message_id, "data": data, "person": person, "again": again}
        self._call("POST", "/telegram/press", fields | {"username": username, "is_bot": is_bot})

    def press_button(self, label: str, *, person: int = PRESSES, username: str = "") -> TelegramMessage:
        """A person presses the button with `label` in its text that came last; its message."""
        for message in reversed(self.state().telegram.messages):
            for button in (button for row in message.buttons for button in row):
                if label in button["text"] and not message.deleted:
                    self.press(message.message_id, button["callback_data"], person=person, username=username)
                    return message
        raise SandboxError(f"no message has a button {label!r}")

    def migrate_chat(self, chat: int, new: int) -> None:
        """A group becomes a supergroup with another id."""
        self._call("POST", "/telegram/chat", {"chat": chat, "migrate_to": new})

    def close_chat(self, chat: int, why: str = "Forbidden: bot was kicked from the group chat") -> None:
        """A chat lets the bot in no more, with Telegram's word for it; an empty one lets it in again."""
        self._call("POST", "/telegram/chat", {"chat": chat, "closed": why})

    def fail_next(
        self,
        peer: Peer,
        n: int = 1,
        *,
        status: int = 500,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        match: str = "",
        after: bool = False,
    ) -> None:
        """Answer the next `n` requests whose "METHOD path" contains `match` with an error.

        `after`: they are carried out all the same; only the answer is lost.
        """
        fields = {"status": status, "body": body, "headers": dict(headers or {}), "match": match, "after": after}
        self._fault("fail_next", peer=peer, n=n, **fields)

    def delay(self, peer: Peer, seconds: float, n: int | None = None, *, match: str = "") -> None:
        """Answer the next `n` requests (None: all) `seconds` late."""
        self._fault("delay", peer=peer, seconds=seconds, n=n, match=match)

    def hang(self, peer: Peer, n: int | None = None, *, match: str = "", after: bool = False) -> None:
        """Do not answer the next `n` requests (None: any) until `clear_faults`."""
        self._fault("hang", peer=peer, n=n, match=match, after=after)

    def drop_webhooks(self, n: int, *, peer: Peer | None = None) -> None:
        """Lose the next `n` webhooks."""
        self._fault("drop_next", n=n, peer=peer)

    def duplicate_webhooks(self, n: int, *, peer: Peer | None = None) -> None:
        """Send the next `n` webhooks twice."""
        self._fault("duplicate_next", n=n, peer=peer)

    def delay_webhooks(self, n: int, seconds: float, *, peer: Peer | None = None) -> None:
        """Send the next `n` webhooks `seconds` late."""
        self._fault("delay_next", n=n, seconds=seconds, peer=peer)

    def reorder_webhooks(self, n: int, *, peer: Peer | None = None) -> None:
        """Hold the next `n` webhooks and send them in reverse."""
        self._fault("reorder_next", n=n, peer=peer)

    def drop_all_webhooks(self, on: bool = True, *, peer: Peer | None = None) -> None:
        """Lose every webhook from now on, or no longer."""
        self._fault("drop_all", on=on, peer=peer)

    def break_stand(
        self,
        stand: StandName,
        fault: StandFaultKind,
        n: int | None = None,
        *,
        seconds: float = 0.0,
        hook: Hook | None = None,
        after: bool = False,
        revision: str | None = None,
    ) -> None:
        """Spoil the next `n` (None: all) answers of a stand, or hooks on it, until it is mended.

        Answers: `unhealthy` (500), `slow` (`seconds` late), `old_revision` (the one that ran before). Hooks, all or only
        `hook`: `refuse`, `could_not_run` (exit code 75), `slow_hook`; `after`: it is carried out all the same.
        `revision`: only answers while the stand runs it.
        """
        fields = {"kind": fault, "left": n, "seconds": seconds, "hook": hook, "after": after, "revision": revision}
        self._call("POST", f"/stands/{stand}/faults", fields)

    def mend_stand(self, stand: StandName) -> None:
        """End the faults of a stand; a service that died is started again by the next question."""
        self._call("DELETE", f"/stands/{stand}/faults")

    def clear_faults(self) -> None:
        """End all faults, the stands' too; what was held is sent, what hangs gets a 503."""
        self._call("DELETE", "/faults")

    def _fault(self, name: str, **arguments: object) -> None:
        self._call("POST", "/faults", {"fault": name} | arguments)

    def _call(self, method: str, path: str, fields: object = None) -> Any:
        answer = self._http.request(method, path, json=fields)
        if answer.is_error:
            raise SandboxError(f"{method} /sandbox{path}: {answer.status_code} {answer.text}")
        return answer.json()


def _client(base: str, headers: Mapping[str, str] | None = None) -> httpx.Client:
    known = certificates(trust_env=False)
    return httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False, verify=known)
