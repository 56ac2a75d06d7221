"""Names of task branches."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.branches import branch_name


def test_a_branch_is_named_after_key_and_title() -> None:
    assert branch_name("WID-12", "Fix the login, please!") == "feature/WID-12-fix-the-login-please"


def test_other_scripts_are_transliterated() -> None:
    assert branch_name("WID-12", "Поиск по ключу") == "feature/WID-12-poisk-po-kliuchu"


def test_a_title_without_letters_still_gives_a_name() -> None:
    assert branch_name("WID-12", "!!!") == "feature/WID-12-change"


@given(st.text())
def test_any_title_gives_a_safe_name_of_limited_length(title: str) -> None:
    assert re.fullmatch(r"feature/WID-12-[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", branch_name("WID-12", title))
