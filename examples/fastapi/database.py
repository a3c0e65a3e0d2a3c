"""The tables, and where they are kept. The application and the migrations share this file."""
import os
from pathlib import Path

from sqlalchemy import Boolean, Column, Integer, Text, create_engine, false
from sqlalchemy.orm import declarative_base, sessionmaker

url = os.environ.get("DATABASE_URL", f"sqlite:///{Path(__file__).with_name('notes.db')}")
engine = create_engine(url, connect_args={"timeout": 10})
sessions = sessionmaker(engine)
Base = declarative_base()


class Note(Base):
    __tablename__ = "notes"

    id = Column(Integer, primary_key=True)
    text = Column(Text, nullable=False)
    pinned = Column(Boolean, nullable=False, default=False, server_default=false())
