"""Freezes: who, when and why; a thaw wakes those that were kept out."""

from pipeline.model import WaitKind
from pipeline.store import freezes, outbox, waits
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later, new_item


def freeze(store: Store, project: str, why: str = "release day") -> bool:
    return store.write(freezes.freeze, project, actor="ada", why=why, now=NOW)


def test_a_freeze_says_who_when_and_why(store: Store) -> None:
    assert freeze(store, "WID")
    found = store.read(freezes.in_the_way, "WID")
    assert found is not None
    assert found.sentence == "WID is frozen by ada since 2026-11-21 03:00 UTC: release day"
    assert store.read(freezes.in_the_way, "OTH") is None


def test_a_freeze_of_everything_holds_for_every_project(store: Store) -> None:
    freeze(store, freezes.EVERYTHING)
    found = store.read(freezes.in_the_way, "WID")
    assert found is not None
    assert found.sentence.startswith("Everything is frozen by ada")


def test_freezing_again_replaces_the_reason_and_keeps_the_time(store: Store) -> None:
    freeze(store, "WID")
    assert not store.write(freezes.freeze, "WID", actor="bob", why="still", now=later(60))
    [found] = store.read(freezes.all_of_them)
    assert (found.actor, found.why, found.since) == ("bob", "still", NOW)


def test_a_thaw_wakes_those_that_it_kept_out_and_nobody_else(store: Store) -> None:
    freeze(store, "WID")
    kept, other = new_item(store, "WID-1"), new_item(store, "WID-2")
    store.write(waits.begin, kept, WaitKind.FREEZE, key="f-1", sentence="frozen", now=NOW)
    store.write(waits.begin, other, WaitKind.CI, key="c-2", sentence="CI", now=NOW)
    assert store.write(freezes.thaw, "WID", later(5))
    assert [letter.item_key for letter in store.write(outbox.claim, later(9))] == ["WID-1"]
    assert store.read(freezes.in_the_way, "WID") is None


def test_thawing_what_is_not_frozen_says_so(store: Store) -> None:
    assert not store.write(freezes.thaw, "WID", NOW)
