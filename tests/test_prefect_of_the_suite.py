"""What holds for Prefect in every test."""

from prefect.settings import get_current_settings


def test_a_call_that_no_test_has_given_a_server_starts_none() -> None:
    assert not get_current_settings().server.ephemeral.enabled
