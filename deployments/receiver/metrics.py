"""`GET /metrics`: the state of Orch and its totals for Prometheus, read from the store when it is asked."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlmodel import Session

from pipeline.store import counters, heartbeats, overview
from pipeline.store.overview import Overview
from tasks.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(session: Session, root: Services) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    last = heartbeats.last(session, heartbeats.TICK)
    found = overview.overview(session, root.now(), root.alive)
    registry.register(_Snapshot(found, dict(counters.totals(session)), last.timestamp() if last else None))
    return generate_latest(registry)


class _Snapshot(Collector):
    """What the store said a moment ago, as Prometheus' metrics."""

    def __init__(self, found: Overview, totals: dict[str, int], last_tick: float | None) -> None:
        self._found = found
        self._totals = totals
        self._last_tick = last_tick

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        for name, number in self._totals.items():
            yield CounterMetricFamily(f"orch_{name.removesuffix('_total')}", name.replace("_", " "), value=number)
        if self._last_tick is not None:
            yield GaugeMetricFamily("orch_last_tick_timestamp_seconds", "Last whole tick.", value=self._last_tick)
        yield _labelled("orch_items", "Items that are not ended, by stage.", "stage", self._found.stages)
        yield _labelled(
            "orch_held_items", "Items that a person must move on, by kind of hold.", "hold", self._found.holds
        )
        yield _labelled("orch_waiting_items", "Items that wait, by what for.", "wait", self._found.waits)
        for name, about, value in (
            ("orch_deliveries", "Webhooks that are stored.", self._found.deliveries),
            ("orch_pending_deliveries", "Webhooks that are not understood yet.", self._found.pending_deliveries),
            ("orch_unconsumed_signals", "Signals that nobody has applied yet.", self._found.unconsumed_signals),
            ("orch_unsent_letters", "Events, comments, statuses and messages to be sent.", self._found.unsent_letters),
            ("orch_leases", "Items that a run owns.", self._found.leases),
            ("orch_dead_leases", "Items whose owner is dead.", self._found.dead_leases),
        ):
            yield GaugeMetricFamily(name, about, value=value)


def _labelled(name: str, about: str, label: str, numbers: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
