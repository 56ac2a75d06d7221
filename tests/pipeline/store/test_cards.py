from dataclasses import replace

from pipeline.store import cards, outbox
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later, new_item


def test_a_card_is_one_writers_at_a_time(store: Store) -> None:
    item = new_item(store)
    first = store.write(cards.take, item.id, NOW)
    assert first is not None
    assert first.message is None
    assert store.write(cards.take, item.id, later(1)) is None
    store.write(cards.point, replace(first, message="7/42", says="x"))
    store.write(cards.put_back, item.id)
    again = store.write(cards.take, item.id, later(1))
    assert again is not None
    assert (again.message, again.says) == ("7/42", "x")


def test_a_writer_that_died_loses_the_card_after_a_while(store: Store) -> None:
    item = new_item(store)
    store.write(cards.take, item.id, NOW)
    assert store.write(cards.take, item.id, later(cards.TAKEN.total_seconds())) is not None


def test_news_of_one_item_are_one_letter_until_somebody_sends_it(store: Store) -> None:
    new_item(store)
    assert store.write(outbox.live_card, "WID-1", NOW)
    assert not store.write(outbox.live_card, "WID-1", NOW)
    [letter] = store.write(outbox.claim, later(5))
    assert store.write(outbox.live_card, "WID-1", later(5))  # what is being sent may have been read before this
    store.write(outbox.sent, letter.id, later(6))
    assert [one.kind for one in store.write(outbox.claim, later(9))] == ["card"]
