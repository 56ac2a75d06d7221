from string import Formatter

import pytest

from pipeline.messages import CATALOGUES, Markup, Texts, as_comment, lines, link


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", CATALOGUES)
def test_every_language_has_the_same_texts_with_the_same_values(language: str) -> None:
    english = CATALOGUES["en"]
    assert {key: fields(text) for key, text in CATALOGUES[language].items()} == {
        k: fields(t) for k, t in english.items()
    }


def test_hostile_values_stay_text() -> None:
    html = Texts("en")("blocked", key="WID-1", title="<script>alert(1)</script>", stage="review", reason="{key} & <b>")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "{key} &amp; &lt;b&gt;" in html


def test_an_unknown_language_reads_english() -> None:
    assert Texts("xx")("ignored", why="so") == "so"


def test_a_link_without_an_address_is_its_label() -> None:
    assert link("", "a<b") == "a&lt;b"
    assert link('https://x/"', "here") == '<a href="https://x/&quot;">here</a>'


def test_lines_leave_out_what_is_empty() -> None:
    assert lines(Markup("a"), Markup(""), Markup("b")) == "a\nb"


def test_a_comment_has_a_paragraph_for_each_line() -> None:
    assert as_comment("a\n\nb") == "<p>a</p><p>b</p>"
