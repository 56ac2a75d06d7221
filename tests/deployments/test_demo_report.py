"""The demo's own look at every commit that the default branch ever was."""

import subprocess
from pathlib import Path

from deployments.demo_report import _passes

TEST = """import unittest
from pathlib import Path

from shop.price import PRICE


class PriceTest(unittest.TestCase):
    def test_it_is_what_this_commit_says(self) -> None:
        self.assertEqual(int(Path("price.txt").read_text()), PRICE)
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, price: int) -> str:
    for name, text in {"shop/price.py": f"PRICE = {price}\n", "tests/test_price.py": TEST}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).with_name("__init__.py").touch()
    (folder / "price.txt").write_text(str(price))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", f"It costs {price}")
    return git(folder, "rev-parse", "HEAD").strip()


def test_commits_whose_files_differ_in_nothing_but_content_are_told_apart(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    commits = [commit(tmp_path, price) for price in (1, 2)]
    assert [_passes(tmp_path, sha) for sha in commits * 4] == [True] * 8
