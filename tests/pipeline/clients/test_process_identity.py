"""Whether exactly that process runs, and that no other is ever signalled."""

import contextlib
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

from pipeline.clients.process_identity import alive, identity, kill_group, went_with_its_host
from pipeline.errors import CouldNotRun
from tests.support.processes import becomes, exists

SPAWN = multiprocessing.get_context("spawn")


@pytest.mark.parametrize("other", [{"boot": "another"}, {"started": 1.0}])
def test_a_recycled_number_is_never_signalled(other: dict[str, str | float]) -> None:
    child = SPAWN.Process(target=time.sleep, args=(60,))
    child.start()
    assert child.pid is not None
    try:
        stale = replace(identity(child.pid), **other)  # type: ignore[arg-type]
        assert (alive(stale), kill_group(stale)) == (False, False)
        assert child.is_alive()
    finally:
        child.kill()
        child.join()


def test_a_group_of_another_host_is_refused_with_its_name() -> None:
    with pytest.raises(CouldNotRun, match="elsewhere"):
        kill_group(replace(identity(os.getpid()), host="elsewhere"))


def test_our_own_process_is_alive() -> None:
    assert alive(identity(os.getpid()))


@pytest.mark.parametrize(
    ("other", "went"), [({}, False), ({"boot": "another"}, True), ({"boot": "another", "host": "elsewhere"}, False)]
)
def test_only_what_ran_here_before_this_boot_went_with_its_host(other: dict[str, str], went: bool) -> None:
    assert went_with_its_host(replace(identity(os.getpid()), **other)) is went  # type: ignore[arg-type]


def test_a_zombie_is_not_alive() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    with contextlib.suppress(ProcessLookupError):
        assert becomes(lambda: not exists(pid))
    os.waitpid(pid, 0)
