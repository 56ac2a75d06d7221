"""The tables of Orch's own database. Rows stay inside `pipeline.store`; the rest of Orch sees `pipeline.model`."""

from pipeline.store.tables.evidence import (
    AgentRunRow,
    BaselineRow,
    CheckRunRow,
    CoverageRow,
    EffectRow,
    GateResultRow,
    HookRow,
    ProbeRow,
)
from pipeline.store.tables.traffic import CardRow, DeliveryRow, OutboxRow, SightingRow, SignalRow, WatermarkRow
from pipeline.store.tables.upkeep import CounterRow, CrashRow, DrainRow, FreezeRow, HeartbeatRow, LeaseRow, SuspicionRow
from pipeline.store.tables.work import (
    DecisionRow,
    DependencyRow,
    PlaceRow,
    TicketRow,
    TransitionRow,
    WaitRow,
    WorkItemRow,
)

__all__ = [
    "AgentRunRow",
    "BaselineRow",
    "CardRow",
    "CheckRunRow",
    "CounterRow",
    "CoverageRow",
    "CrashRow",
    "DecisionRow",
    "DeliveryRow",
    "DependencyRow",
    "DrainRow",
    "EffectRow",
    "FreezeRow",
    "GateResultRow",
    "HeartbeatRow",
    "HookRow",
    "LeaseRow",
    "OutboxRow",
    "PlaceRow",
    "ProbeRow",
    "SightingRow",
    "SignalRow",
    "SuspicionRow",
    "TicketRow",
    "TransitionRow",
    "WaitRow",
    "WatermarkRow",
    "WorkItemRow",
]
