import multiprocessing
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from sqlmodel import Session, select

from pipeline.errors import SettingsError
from pipeline.store import heartbeats
from pipeline.store.engine import Store
from pipeline.store.tables import HeartbeatRow, OutboxRow
from tests.pipeline.store.helpers import NOW


def _letters(session: Session) -> int:
    return len(session.exec(select(OutboxRow.id)).all())


def _put(session: Session, name: str) -> None:
    session.add(OutboxRow(kind="event", item_key=name, payload={}, created_at=NOW, not_before=NOW))


def _write_fifty(argument: tuple[str, int]) -> int:
    url, number = argument
    store = Store(url)
    for count in range(50):
        store.write(_put, f"{number}-{count}")
    return number


def test_twenty_processes_write_at_once_and_nothing_is_lost(store_url: str, store: Store) -> None:
    with ProcessPoolExecutor(20, mp_context=multiprocessing.get_context("fork")) as pool:
        assert len(list(pool.map(_write_fifty, [(store_url, n) for n in range(20)]))) == 20
    assert store.read(_letters) == 1000


def test_a_failing_transaction_leaves_nothing_behind(store: Store) -> None:
    def half_done(session: Session) -> None:
        _put(session, "half")
        session.flush()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        store.write(half_done)
    assert store.read(_letters) == 0


def test_a_reader_is_not_held_up_by_a_writer(store: Store) -> None:
    writing, done = threading.Event(), threading.Event()

    def slowly(session: Session) -> None:
        _put(session, "slow")
        session.flush()
        writing.set()
        done.wait(10)

    writer = threading.Thread(target=store.write, args=(slowly,))
    writer.start()
    writing.wait(10)
    assert store.read(_letters) == 0
    done.set()
    writer.join()
    assert store.read(_letters) == 1


def test_a_read_of_several_selects_sees_one_moment(store: Store) -> None:
    def twice(session: Session) -> tuple[int, int]:
        before = _letters(session)
        store.write(_put, "meanwhile")
        return before, _letters(session)

    assert store.read(twice) == (0, 0)
    assert store.read(_letters) == 1


def test_times_come_back_as_aware_utc(store: Store) -> None:
    store.write(heartbeats.beat, "tick", NOW)
    assert store.read(heartbeats.last, "tick") == NOW


def test_a_naive_time_is_refused(store: Store) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  that is the point

    def put(session: Session) -> None:
        session.add(HeartbeatRow(name="tick", at=naive))

    with pytest.raises(Exception, match="without time zone"):
        store.write(put)


def test_another_database_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="mysql"):
        Store("mysql://root@127.0.0.1/orch")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is not the address of a database"),
        ("postgresql+psycopg//orch@host/orch", "is not the address of a database"),
        ("postgresql+psycopg://orch:s3cret@host:port/orch", "is not the address of a database"),
        ("postgresql://orch@host/orch", "must begin with .* not postgresql://"),
        ("postgresql+asyncpg://orch@host/orch", r"must begin with .* not postgresql\+asyncpg://"),
    ],
)
def test_an_address_that_orch_cannot_use_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"ORCH_DATABASE_URL {said}") as refused:
        Store(url)
    assert "s3cret" not in str(refused.value)


def test_a_driver_that_is_not_installed_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        SettingsError, match=r"driver cannot be used here: .*psycopg.* Install Orch with it: pip install"
    ):
        Store("postgresql+psycopg://orch@host/orch")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be made: .*file.* Correct ORCH_STATE_DIR"):
        Store(f"sqlite:///{tmp_path}/file/orch.db")
