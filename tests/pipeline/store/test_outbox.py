from pipeline.store import outbox
from pipeline.store.engine import Store
from pipeline.store.outbox import Kind
from tests.pipeline.store.helpers import NOW, later


def test_a_letter_with_the_same_dedupe_is_put_once_even_after_it_went(store: Store) -> None:
    put = {"kind": Kind.MESSAGE, "item_key": "WID-1", "payload": {"html": "x"}, "dedupe": "done:1"}
    assert store.write(lambda s: outbox.put(s, now=NOW, **put))  # type: ignore[arg-type]
    [letter] = store.write(outbox.claim, NOW)
    store.write(outbox.sent, letter.id, later(1))
    assert not store.write(lambda s: outbox.put(s, now=later(2), **put))  # type: ignore[arg-type]


def test_the_same_announcement_is_not_put_twice_while_it_waits(store: Store) -> None:
    assert store.write(outbox.wake, "WID-1", NOW)
    assert not store.write(outbox.wake, "WID-1", NOW)
    assert store.write(outbox.wake, "WID-2", NOW)
    assert len(store.write(outbox.claim, NOW)) == 2


def test_a_claimed_letter_is_nobody_elses_until_the_claim_runs_out(store: Store) -> None:
    store.write(outbox.wake, "WID-1", NOW)
    assert len(store.write(outbox.claim, NOW)) == 1
    assert store.write(outbox.claim, later(59)) == []
    assert len(store.write(outbox.claim, later(61))) == 1


def test_a_failed_letter_is_tried_again_with_growing_pauses(store: Store) -> None:
    store.write(outbox.wake, "WID-1", NOW)
    [letter] = store.write(outbox.claim, NOW)
    store.write(outbox.failed, letter.id, "503", NOW)
    assert store.write(outbox.claim, later(1)) == []
    [letter] = store.write(outbox.claim, later(3))
    assert letter.tries == 1
    store.write(outbox.failed, letter.id, "429", later(3), wait_s=60)
    assert store.write(outbox.claim, later(40)) == []
    assert len(store.write(outbox.claim, later(64))) == 1


def test_a_refused_letter_is_not_sent_again(store: Store) -> None:
    store.write(outbox.wake, "WID-1", NOW)
    [letter] = store.write(outbox.claim, NOW)
    store.write(outbox.refused, letter.id, "403", NOW)
    assert store.write(outbox.claim, later(9999)) == []
    assert store.read(outbox.unsent) == 0
