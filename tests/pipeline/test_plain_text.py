"""HTML to text, whatever the HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plain_text import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Make it <strong>spin</strong>.</p><p>Twice</p>", "Make it spin.\nTwice"),
        ("one<br/>two<br>three<BR>four", "one\ntwo\nthree\nfour"),
        ("<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ("<h2 class='x'>Title</h2>text", "Title\ntext"),
        ("&lt;b&gt; &amp; &#128640;", "<b> & 🚀"),
        ("plain text & <unclosed", "plain text & <unclosed"),
        ("1 < 2 and a <3 b", "1 < 2 and a <3 b"),
        ("<![x[ hi", "<![x[ hi"),
        ("a <!-- hidden --> b", "a b"),
        ("  \n <p> </p> ", ""),
    ],
)
def test_the_text_of(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(st.text())
def test_no_input_raises(html: str) -> None:
    assert "\n\n" not in html_to_text(html)


@given(st.text(alphabet=st.characters(exclude_characters="<>&", exclude_categories=("C", "Z"))))
def test_text_without_markup_stays_as_it_is(text: str) -> None:
    assert html_to_text(text) == text
