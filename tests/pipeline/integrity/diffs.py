"""Diffs without git, for what needs none: one file, whole, added or changed completely."""


def added(path: str, text: str) -> str:
    """The diff that adds a file."""
    return _headed(path, "new file mode 100644", "/dev/null", f"b/{path}", "-0,0 +1,{}", "+", text)


def removed(path: str, text: str) -> str:
    """The diff that removes a file."""
    return _headed(path, "deleted file mode 100644", f"a/{path}", "/dev/null", "-1,{} +0,0", "-", text)


def changed(path: str, old: str, new: str) -> str:
    """The diff that replaces every line of a file."""
    before, after = old.split("\n"), new.split("\n")
    lines = [f"-{line}" for line in before] + [f"+{line}" for line in after]
    header = [f"diff --git a/{path} b/{path}", "index 1111111..2222222 100644", f"--- a/{path}", f"+++ b/{path}"]
    return "\n".join([*header, f"@@ -1,{len(before)} +1,{len(after)} @@", *lines, ""])


def _headed(path: str, mode: str, old: str, new: str, span: str, sign: str, text: str) -> str:
    lines = text.split("\n")
    header = [f"diff --git a/{path} b/{path}", mode, "index 1111111..2222222", f"--- {old}", f"+++ {new}"]
    return "\n".join([*header, f"@@ {span.format(len(lines))} @@", *(f"{sign}{line}" for line in lines), ""])
