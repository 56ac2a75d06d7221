"""Every text that a person reads in Telegram or in a tracker comment: one catalogue a language, the same keys in each.

Values are HTML-escaped when they are put in, so that issue titles and agents' words stay text. `Markup` values (made
here only) go in as they are.
"""

from html import escape
from typing import NewType

from pipeline.messages.en import EN
from pipeline.messages.ru import RU

CATALOGUES: dict[str, dict[str, str]] = {"en": EN, "ru": RU}

Markup = NewType("Markup", str)
"""HTML that was made here, from escaped parts."""


class Texts:
    """The catalogue of one language."""

    def __init__(self, language: str) -> None:
        """Unknown languages read English."""
        self._texts = CATALOGUES.get(language, EN)

    def __call__(self, key: str, /, *, markup: Markup = Markup(""), **values: object) -> str:
        """The text `key` as HTML, with escaped values; `markup` fills a placeholder of that name unescaped."""
        shown = {name: escape(str(value), quote=False) for name, value in values.items()}
        return self._texts[key].format(markup=markup, **shown).strip()


def link(url: str, label: str) -> Markup:
    """A link, or the bare label when there is no address worth linking to."""
    if not url:
        return Markup(escape(label, quote=False))
    return Markup(f'<a href="{escape(url)}">{escape(label, quote=False)}</a>')


def lines(*parts: Markup) -> Markup:
    """Parts below one another; empty ones are left out."""
    return Markup("\n".join(part for part in parts if part))


def as_comment(html: str) -> str:
    """A message's HTML as a tracker comment, where line ends mean nothing."""
    return "".join(f"<p>{line}</p>" for line in html.splitlines() if line.strip())
