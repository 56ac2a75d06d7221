"""What an agent finds in its worktree, confined or not, and what becomes of what it does there."""

import pytest

from pipeline.clients.agent import CommandAgent
from pipeline.clients.bubblewrap import Bubblewrap, unavailable
from pipeline.clients.process import safe_environment
from pipeline.errors import CouldNotRun
from pipeline.model import AgentEnd, AgentJob
from pipeline.stages import Role
from tests.pipeline.clients.origin import ARTIFACTS, BRANCH, CLEAN, ITEM, change, git

confined_only = pytest.mark.skipif(bool(unavailable()), reason=f"commands cannot be confined: {unavailable()}")
IDENTITY = {name: value for name, value in CLEAN.items() if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))}


@pytest.fixture
def at_work(origin, tmp_path):
    """Run a shell script as a confined agent in the item's worktree, as a stage does; the outcome and its log."""

    async def at_work(workspace, script, command=None):
        home, log = tmp_path / "state/home/WID-1", tmp_path / "state/runs/agent.log"
        home.mkdir(parents=True, exist_ok=True)
        tree = workspace.worktree(ITEM, BRANCH)
        sandbox = Bubblewrap("required", hidden=(tmp_path / "state",))
        room = workspace.room(ITEM, BRANCH, home=home, network=False)
        job = AgentJob(
            role=Role.DEVELOPER, work_item=ITEM, worktree=tree, prompt="Go.", log=log, timeout_s=30, idle_timeout_s=30,
            environment=safe_environment(home, IDENTITY),
            confine=lambda command, _prompt: sandbox.walls(command, room, cwd=tree),
        )  # fmt: skip
        outcome = await CommandAgent(command or ("/bin/sh", "-exc", script)).run(job, started=lambda _: None)
        workspace.take_commits(ITEM, BRANCH)
        return outcome, log.read_text()

    return at_work


@confined_only
async def test_a_confined_agent_commits_on_its_branch_and_what_it_left_is_committed_too(origin, at_work):
    workspace = origin.workspace()
    base = workspace.fetch()
    start = change(workspace, {"first.txt": "1"})
    outcome, _ = await at_work(workspace, "echo 2 >second.txt; git add -A; git commit -qm two; echo 3 >third.txt")
    assert outcome.end is AgentEnd.FINISHED
    tip = workspace.commit_all(ITEM, "the rest")
    assert workspace.is_ancestor(start, tip)
    assert workspace.files(tip, "") == ("app.txt", "first.txt", "second.txt", "third.txt")
    assert workspace.head(tip, ARTIFACTS) == tip
    assert workspace.remote_tip("main") == base


@confined_only
async def test_a_confined_agent_can_rebase_its_branch_onto_main(origin, at_work):
    workspace = origin.workspace()
    workspace.fetch()
    change(workspace, {"first.txt": "1"})
    moved = origin.commit({"other.txt": "theirs"})
    workspace.fetch()
    outcome, said = await at_work(workspace, f"git rebase -q {moved}")
    assert outcome.end is AgentEnd.FINISHED, said
    tip = workspace.tip(ITEM)
    assert workspace.is_ancestor(moved, tip)
    assert workspace.commit_all(ITEM, "nothing") == tip


@confined_only
async def test_it_reaches_no_other_items_branch_or_worktree_and_cannot_have_orch_run_its_programs(origin, at_work):
    workspace = origin.workspace()
    workspace.fetch()
    theirs = change(workspace, {"theirs.txt": "1"}, item="WID-2", branch="feature/WID-2-change")
    mirror = origin.mirror
    script = f"""
    git update-ref refs/heads/feature/WID-2-change HEAD || true
    ! echo '[core] fsmonitor = evil' >>{mirror}/config
    ! echo /tmp >{mirror}/worktrees/{ITEM}/commondir
    ! rm -f {mirror}/worktrees/{ITEM}/commondir
    ! ls {mirror.parent.parent}/worktrees/WID/WID-2
    ls {mirror}/worktrees
    """
    _, said = await at_work(workspace, script)
    assert said.splitlines()[-1] == ITEM
    assert workspace.tip("WID-2") == theirs
    assert workspace.is_ancestor(workspace.tip(ITEM), theirs)


@confined_only
async def test_a_branch_that_an_agent_broke_is_not_taken_over(origin, at_work):
    workspace = origin.workspace()
    workspace.fetch()
    with pytest.raises(CouldNotRun, match="stands on no commit"):
        await at_work(workspace, f"git rev-parse --git-common-dir; echo rubbish >{origin.mirror}/refs/heads/{BRANCH}")


@confined_only
def test_the_projects_tests_have_git_and_no_secret_of_orch(origin, tmp_path):
    sandbox = Bubblewrap("required", hidden=(tmp_path / "state",))
    script = f"git log --format=%s; cat {tmp_path}/state/prefect-auth; exit 1"
    workspace = origin.workspace("/bin/sh", "-c", script, sandbox=sandbox)
    commit = workspace.fetch()
    (tmp_path / "state/prefect-auth").write_text("s3cret")
    ran = workspace.run_tests(commit, log=tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert not ran.passed
    assert said.startswith("person changes app.txt\n")
    assert "s3cret" not in said


# --- files that configure agents --------------------------------------------------------------------------------------

HOOK = '{"hooks": {"PreToolUse": "evil"}}'


def worktree_of(workspace):
    return workspace.worktree(ITEM, BRANCH)


def as_agent(workspace, *arguments):
    return git(worktree_of(workspace), *arguments)


@pytest.fixture
def changed(origin):
    """A branch that has changed one such file, added one and left one alone; the workspace, its tip and main's."""
    base = origin.commit({"CLAUDE.md": "main's", "AGENTS.md": "main's", "pkg/.mcp.json": "{}"})
    workspace = origin.workspace()
    workspace.fetch()
    tip = change(workspace, {"CLAUDE.md": "branch's", ".claude/settings.json": HOOK, "code.py": "1"})
    return workspace, tip, base


def test_an_agent_finds_them_as_the_default_branch_has_them(changed):
    workspace, _, base = changed
    assert workspace.lay_agent_files(ITEM, base) == (".claude/settings.json", "CLAUDE.md")
    tree = worktree_of(workspace)
    assert (tree / "CLAUDE.md").read_text() == "main's"
    assert not (tree / ".claude/settings.json").exists()
    assert (tree / "code.py").read_text() == "1"
    assert as_agent(workspace, "status", "--porcelain") == ""


def test_what_the_branch_does_to_them_stays_in_its_diff_whoever_commits_everything(changed):
    workspace, _tip, base = changed
    names = workspace.lay_agent_files(ITEM, base)
    (worktree_of(workspace) / "code.py").write_text("2")
    as_agent(workspace, "add", "-A")
    as_agent(workspace, "commit", "-qam", "agent commits all")
    (worktree_of(workspace) / "code.py").write_text("3")
    workspace.take_back_agent_files(ITEM, base, names)
    after = workspace.commit_all(ITEM, "the rest")
    assert workspace.read(after, "code.py") == "3"
    assert workspace.read(after, "CLAUDE.md") == "branch's"
    assert workspace.read(after, ".claude/settings.json") == HOOK
    assert (worktree_of(workspace) / "CLAUDE.md").read_text() == "branch's"
    assert as_agent(workspace, "status", "--porcelain") == ""


def test_what_the_agent_itself_writes_into_them_is_its_change(changed):
    workspace, _, base = changed
    names = workspace.lay_agent_files(ITEM, base)
    (worktree_of(workspace) / "CLAUDE.md").write_text("agent's")
    (worktree_of(workspace) / "AGENTS.md").write_text("agent's")
    workspace.take_back_agent_files(ITEM, base, names)
    after = workspace.commit_all(ITEM, "agent's")
    assert workspace.read(after, "CLAUDE.md") == "agent's"
    assert workspace.read(after, "AGENTS.md") == "agent's"
    assert workspace.read(after, ".claude/settings.json") == HOOK


def test_ignored_ones_that_an_earlier_agent_left_are_gone(changed, origin):
    workspace, _, base = changed
    tree = worktree_of(workspace)
    (tree / ".gitignore").write_text("*.local.json\n")
    (tree / ".claude/settings.local.json").write_text(HOOK)
    workspace.commit_all(ITEM, "ignores")
    workspace.lay_agent_files(ITEM, base)
    assert not (tree / ".claude/settings.local.json").exists()


def test_a_branch_that_leaves_them_alone_is_left_alone(origin):
    base = origin.commit({"CLAUDE.md": "main's"})
    workspace = origin.workspace()
    workspace.fetch()
    change(workspace, {"code.py": "1"})
    assert workspace.lay_agent_files(ITEM, base) == ()
    workspace.take_back_agent_files(ITEM, base, ())


def test_a_killed_run_leaves_no_trace_of_it(changed):
    workspace, tip, base = changed
    workspace.lay_agent_files(ITEM, base)
    workspace.restore(ITEM, tip)
    (worktree_of(workspace) / "CLAUDE.md").write_text("seen again")
    assert "CLAUDE.md" in as_agent(workspace, "status", "--porcelain")


def test_a_link_in_their_place_is_not_followed(origin, tmp_path):
    base = origin.commit({"CLAUDE.md": "main's"})
    workspace = origin.workspace()
    workspace.fetch()
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = worktree_of(workspace)
    (tree / ".claude").symlink_to(outside)
    workspace.commit_all(ITEM, "a link")
    assert workspace.lay_agent_files(ITEM, base) == (".claude",)
    assert not (tree / ".claude").is_symlink()
    assert outside.is_dir()


def test_projects_can_name_further_ones(origin):
    base = origin.commit({"bots/rules.txt": "main's"})
    workspace = origin.workspace(agent_files=("bots/**",))
    workspace.fetch()
    change(workspace, {"bots/rules.txt": "branch's"})
    assert workspace.lay_agent_files(ITEM, base) == ("bots/rules.txt",)
