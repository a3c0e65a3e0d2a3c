"""A small FastAPI application on SQLite. It expects its tables to be there: `alembic upgrade head` makes them."""
import os

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from database import Note, sessions

app = FastAPI(title="notes")


class NewNote(BaseModel):
    text: str


def session():
    with sessions() as opened:
        yield opened


@app.get("/")
def whoami():
    """Which worker answered."""
    return {"pid": os.getpid(), "slot": os.environ.get("SUPERVISE_SLOT"), "worker": os.environ.get("SUPERVISE_WORKER")}


@app.get("/notes")
def list_notes(db: Session = Depends(session)):
    return [{"id": note.id, "text": note.text, "pinned": note.pinned} for note in db.scalars(select(Note).order_by(Note.id))]


@app.post("/notes", status_code=201)
def add_note(new: NewNote, db: Session = Depends(session)):
    note = Note(text=new.text)
    db.add(note)
    db.commit()
    return {"id": note.id, "text": note.text, "pinned": note.pinned}


@app.delete("/notes/{note_id}", status_code=204)
def delete_note(note_id: int, db: Session = Depends(session)):
    note = db.get(Note, note_id)
    if note is None:
        raise HTTPException(404, "no such note")
    db.delete(note)
    db.commit()
