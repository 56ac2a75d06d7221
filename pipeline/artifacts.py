"""Reading artifacts: Markdown whose YAML front matter carries a verdict and the commit that it is about.

Artifacts are written by agents, so nothing about them is trusted: what is missing, unreadable or contradictory comes
back as `Unreadable`, with a sentence, and never as an empty front matter that could be mistaken for an answer.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import yaml
from frontmatter.default_handlers import YAMLHandler

MIN_COMMIT_CHARS = 12
"""The shortest abbreviated commit that is taken for a name: 48 bits, which no two commits of a repository share."""

MAX_HEADER_CHARS = 65_536
"""A longer front matter is refused unread: parsing one takes seconds a megabyte."""

_HANDLER = YAMLHandler()
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A readable front matter and the text below it. Scalars are strings exactly as they were written."""

    fields: Mapping[str, object]
    body: str

    @property
    def verdict(self) -> str | None:
        """The word under `verdict`, None when there is none."""
        return self.text("verdict")

    @property
    def commit(self) -> str | None:
        """The commit that the verdict is about, in lower case, None when it is not said."""
        commit = self.text("commit")
        return None if commit is None else commit.lower()

    def text(self, name: str) -> str | None:
        """The field `name` when it is non-blank text, else None."""
        value = self.fields.get(name)
        return value.strip() or None if isinstance(value, str) else None

    def about(self, commit: str) -> bool:
        """Whether the artifact names `commit`: in full, or by its first `MIN_COMMIT_CHARS` characters or more."""
        named = self.commit
        return (
            named is not None
            and len(named) >= MIN_COMMIT_CHARS
            and _HEX.fullmatch(named) is not None
            and commit.startswith(named)
        )


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why no front matter could be read; `line` counts from 1 in the whole file where the place is known."""

    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return self.reason if self.line is None else f"{self.reason} (line {self.line})"


class _StrictLoader(yaml.BaseLoader):
    """YAML without surprises: a key given twice is an error, and every scalar stays the string that was written.

    YAML's own typing would read the abbreviated commit `1234567890e12` as a number and `no` as False.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            if key is not None:
                seen.add(key)
        return super().construct_mapping(node, deep)


def has_front_matter(text: str) -> bool:
    """Whether the text opens with a `---` line, so that a front matter was at least meant."""
    return _HANDLER.detect(text)


def read_front_matter(text: str) -> FrontMatter | Unreadable:
    """The front matter of an artifact, or why there is none that can be relied on. Never raises."""
    opening = YAMLHandler.FM_BOUNDARY.match(text) if YAMLHandler.FM_BOUNDARY else None
    if opening is None:
        return Unreadable("there is no front matter: the first line must be ---", 1)
    try:
        header, body = _HANDLER.split(text)
    except ValueError:
        return Unreadable("the front matter is not closed by a second --- line")
    if len(header) > MAX_HEADER_CHARS:
        return Unreadable(f"the front matter is longer than {MAX_HEADER_CHARS} characters")
    above = text.count("\n", 0, opening.end())
    try:
        fields = _HANDLER.load(header, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        return Unreadable(f"the front matter is not valid YAML: {_problem(error)}", _line(error, above))
    except RecursionError:
        return Unreadable("the front matter is nested too deeply")
    if not isinstance(fields, dict):
        return Unreadable("the front matter is not a mapping of names to values")
    return FrontMatter(fields, body.strip())


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    return str(problem) if problem else type(error).__name__


def _line(error: yaml.YAMLError, above: int) -> int | None:
    mark = getattr(error, "problem_mark", None)
    return above + mark.line + 1 if mark is not None else None
