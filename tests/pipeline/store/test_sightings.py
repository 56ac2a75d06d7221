from pipeline.store import sightings
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later


def test_a_thing_has_moved_when_its_state_is_another_one(store: Store) -> None:
    assert store.write(sightings.stands, "plane:WID", "card", "one", changed_at=NOW, polled=True)
    assert not store.write(sightings.stands, "plane:WID", "card", "one", changed_at=later(5))
    seen = store.read(sightings.last, "plane:WID", ["card", "never"])
    assert seen == {"card": sightings.Sighting("one", later(5), True)}
    assert store.write(sightings.stands, "plane:WID", "card", "two", changed_at=None)
    assert store.read(sightings.last, "plane:WID", ["card"])["card"] == sightings.Sighting("two", None, False)


def test_places_are_apart_and_a_watermark_never_falls(store: Store) -> None:
    store.write(sightings.stands, sightings.board("WID"), "#1", "one", changed_at=NOW)
    assert store.read(sightings.last, sightings.repository("WID"), ["#1"]) == {}
    assert store.read(sightings.watermark, "plane:WID") is None
    for at in (later(5), NOW):
        store.write(sightings.reached, "plane:WID", at)
    assert store.read(sightings.watermark, "plane:WID") == later(5)
