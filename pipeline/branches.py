"""Names of task branches."""

from slugify import slugify

PREFIX = "feature/"
MAX_SLUG = 40


def branch_name(key: str, title: str) -> str:
    """The task branch of a work item: `feature/WID-12-fix-login`. Pure; ASCII, never empty, safe as a git ref.

    The title is hostile text, so only letters, digits and dashes of it survive; `feature/WID-12-change` when none do.
    """
    slug = slugify(title, max_length=MAX_SLUG, word_boundary=True, save_order=True) or "change"
    return f"{PREFIX}{key}-{slug}"
