"""A sandbox and a desk on it, whose settings are those of a staging stand."""

import pytest

from deployments.staging_check.mode import Mode
from deployments.staging_check.staging import Staging, staging_of
from tests.support.services import Desk


@pytest.fixture
def staging(desk: Desk) -> Staging:
    """The desk's stand; nothing runs there unless the test starts a receiver."""
    return staging_of(desk.settings, Mode.STUB, mark="m4rk")
