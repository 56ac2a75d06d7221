"""Alembic's entry: runs the migrations on the connection that `pipeline.store.schema` hands over."""

from alembic import context
from sqlmodel import SQLModel

from pipeline.store import tables as tables  # the metadata below is theirs

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
