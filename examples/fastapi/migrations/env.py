"""How alembic reaches the database: the same engine as the application's."""
from logging.config import fileConfig

from alembic import context

from database import Base, engine

fileConfig(context.config.config_file_name)

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
