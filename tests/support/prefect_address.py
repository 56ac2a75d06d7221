"""Which Prefect server the clients of this process talk to."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import SettingsContext, get_settings_context
from pydantic import SecretStr


@contextmanager
def talking_to(url: str, auth: str = "") -> Iterator[None]:
    """Have Prefect's clients talk to the server at `url`, by this secret, while the body runs.

    As Prefect's own `temporary_settings` does it, but for reading all of its settings anew, which takes longer than
    most of the tests.
    """
    known = get_settings_context()
    api = known.settings.api.model_copy(update={"url": url, "auth_string": SecretStr(auth) if auth else None})
    with SettingsContext(profile=known.profile, settings=known.settings.model_copy(update={"api": api})):
        yield
