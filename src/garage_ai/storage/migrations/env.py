"""Run by Alembic, inside the transaction that storage opened."""

from alembic import context

from garage_ai.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Storage begins transactions itself, so that on SQLite too a step is whole or not at all.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
