"""The chats of the playground: a question, what each pane answered, what the person made of the answers.

A turn is one question to all panes. Its answers are rows of `messages`; the question is the row without a pane.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select

from studio.core.artifacts import new_id
from studio.core.db import Database
from studio.core.errors import NotFound
from studio.core.tables import chats, messages, votes

ALIKE = -1
"""The vote that no answer is better than another."""
MOST_TITLE = 120
_ASKED = ""  # the pane of a question: it went to all


@dataclass(frozen=True)
class Said:
    """One answer. `edited` is the person's own version of it; `facts` are finish, timings and token counts."""

    content: str
    edited: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What counts: the person's version where there is one."""
        return self.content if self.edited is None else self.edited


@dataclass(frozen=True)
class Turn:
    """One question and its answers by pane. `best` is the pane that a person voted for, or `ALIKE`."""

    number: int
    asked: str
    answers: Mapping[int, Said]
    best: int | None = None


@dataclass(frozen=True)
class Chat:
    """One chat. `panes` names who answers in each; `turns` is empty in a list of chats."""

    id: str
    owner: str
    run_id: str | None
    title: str
    panes: tuple[str, ...]
    system: str
    created_at: float
    updated_at: float
    turns: tuple[Turn, ...] = ()

    def history(self, pane: int, before: int) -> list[dict[str, str]]:
        """What pane `pane` was asked and has answered before turn `before`, as messages."""
        found = []
        for turn in self.turns:
            if turn.number < before and pane in turn.answers:
                found.append({"role": "user", "content": turn.asked})
                found.append({"role": "assistant", "content": turn.answers[pane].text})
        return found

    def turn(self, number: int) -> Turn | None:
        """The turn of that number; none where there is none."""
        return next((one for one in self.turns if one.number == number), None)


def told_first(system: str) -> list[dict[str, str]]:
    """The system prompt as the first message of a chat; none where it is empty."""
    return [{"role": "system", "content": system}] if system.strip() else []


class ChatStore:
    """Reads and writes are filtered by owner here, in one place."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def add(self, owner: str, run_id: str | None, panes: Sequence[str], title: str) -> str:
        """The id of a new chat without turns."""
        chat_id, now = new_id(), time.time()
        short = " ".join(title.split())[:MOST_TITLE]
        row = {"id": chat_id, "owner": owner, "run_id": run_id, "title": short, "panes": list(panes)}
        with self._db.write("chat.add", chat=chat_id) as connection:
            connection.execute(chats.insert().values(**row, created_at=now, updated_at=now))
        return chat_id

    def get(self, chat_id: str, owner: str) -> Chat:
        """One chat with all its turns. Raises `NotFound`."""
        found = self._fetch(_mine(owner).where(chats.c.id == chat_id))
        if not found:
            raise NotFound("There is no such chat.", "Look in the list of earlier chats.")
        return found[0]

    def of(self, owner: str, limit: int = 100) -> list[Chat]:
        """A person's chats, the newest first, without their turns."""
        query = _mine(owner).order_by(func.coalesce(chats.c.updated_at, chats.c.created_at).desc()).limit(limit)
        with self._db.read() as connection:
            return [_chat(row, ()) for row in connection.execute(query).mappings()]

    def whole(self, owner: str) -> list[Chat]:
        """All of a person's chats with their turns, the oldest first."""
        return self._fetch(_mine(owner).order_by(chats.c.created_at))

    def judged(self, owner: str) -> list[Chat]:
        """The chats in which a person voted or edited an answer, with all turns, the oldest first."""
        voted = exists(select(votes.c.turn).where(votes.c.chat_id == chats.c.id))
        changed = exists(
            select(messages.c.id).where(and_(messages.c.chat_id == chats.c.id, messages.c.edited.is_not(None)))
        )
        return self._fetch(_mine(owner).where(or_(voted, changed)).order_by(chats.c.created_at))

    def put_turn(self, chat_id: str, owner: str, system: str, turn: Turn) -> None:
        """Write a turn in place of the one with its number and all after it, their votes with them.

        Raises `NotFound` where the chat is gone.
        """
        now = time.time()
        row = {"owner": owner, "chat_id": chat_id, "turn": turn.number, "created_at": now}
        rows: list[dict[str, Any]] = [
            {**row, "pane": _ASKED, "role": "user", "content": turn.asked, "edited": None, "facts": None}
        ]
        for pane, said in sorted(turn.answers.items()):
            more = {"pane": str(pane), "role": "assistant", "edited": said.edited, "facts": dict(said.facts)}
            rows.append({**row, **more, "content": said.content})
        with self._db.write("chat.turn", chat=chat_id, turn=turn.number) as connection:
            _touch(connection, chat_id, owner, system=system, updated_at=now)
            for table in (messages, votes):
                after = and_(table.c.chat_id == chat_id, table.c.turn >= turn.number)
                connection.execute(table.delete().where(after))
            connection.execute(messages.insert(), rows)

    def edit(self, chat_id: str, owner: str, number: int, pane: int, text: str | None) -> None:
        """Keep the person's own version of an answer beside it; none takes it back. Raises `NotFound`."""
        row = and_(
            messages.c.chat_id == chat_id, messages.c.owner == owner,
            messages.c.turn == number, messages.c.pane == str(pane),
        )  # fmt: skip
        with self._db.write("chat.edit", chat=chat_id, turn=number) as connection:
            if connection.execute(messages.update().where(row).values(edited=text)).rowcount != 1:
                raise NotFound("There is no such answer.", "Open the chat again.")

    def vote(self, chat_id: str, owner: str, number: int, best: int | None) -> None:
        """Keep which answer is best in place of an earlier vote; none takes it back. Raises `NotFound`."""
        with self._db.write("chat.vote", chat=chat_id, turn=number) as connection:
            _touch(connection, chat_id, owner)
            connection.execute(votes.delete().where(and_(votes.c.chat_id == chat_id, votes.c.turn == number)))
            if best is not None:
                row = {"chat_id": chat_id, "turn": number, "owner": owner, "best": best}
                connection.execute(votes.insert().values(**row, created_at=time.time()))

    def delete(self, chat_id: str, owner: str) -> None:
        """Delete a chat with all that was said in it, for good. Raises `NotFound`."""
        with self._db.write("chat.delete", chat=chat_id) as connection:
            _touch(connection, chat_id, owner)
            for table in (messages, votes):
                connection.execute(table.delete().where(table.c.chat_id == chat_id))
            connection.execute(chats.delete().where(chats.c.id == chat_id))

    def _fetch(self, query: Any) -> list[Chat]:
        with self._db.read() as connection:
            rows = list(connection.execute(query).mappings())
            ids = [row["id"] for row in rows]
            said: dict[str, list[Any]] = {one: [] for one in ids}
            for line in connection.execute(
                select(messages).where(messages.c.chat_id.in_(ids)).order_by(messages.c.id)
            ).mappings():
                said[line["chat_id"]].append(line)
            best = {
                (line.chat_id, line.turn): line.best
                for line in connection.execute(select(votes).where(votes.c.chat_id.in_(ids)))
            }
        return [_chat(row, _turns(row["id"], said[row["id"]], best)) for row in rows]


def _mine(owner: str) -> Any:
    return select(chats).where(chats.c.owner == owner, chats.c.deleted_at.is_(None))


def _touch(connection: Connection, chat_id: str, owner: str, **values: Any) -> None:
    """Change the chat's row, inside the caller's transaction. Raises `NotFound` where it is not this person's."""
    query = chats.update().where(chats.c.id == chat_id, chats.c.owner == owner, chats.c.deleted_at.is_(None))
    if connection.execute(query.values(**(values or {"owner": owner}))).rowcount != 1:
        raise NotFound("There is no such chat.", "Look in the list of earlier chats.")


def _chat(row: Mapping[Any, Any], turns: tuple[Turn, ...]) -> Chat:
    names = ("id", "owner", "run_id", "title", "system", "created_at")
    panes, at = tuple(row["panes"] or ()), row["updated_at"] or row["created_at"]
    return Chat(**{name: row[name] for name in names}, panes=panes, updated_at=at, turns=turns)


def _turns(chat_id: str, lines: Sequence[Mapping[Any, Any]], best: Mapping[tuple[str, int], int]) -> tuple[Turn, ...]:
    asked: dict[int, str] = {}
    answers: dict[int, dict[int, Said]] = {}
    for line in lines:
        number = line["turn"]
        if line["pane"] == _ASKED:
            asked[number] = line["content"]
        else:
            said = Said(line["content"], line["edited"], line["facts"] or {})
            answers.setdefault(number, {})[int(line["pane"])] = said
    return tuple(
        Turn(number, asked[number], answers.get(number, {}), best.get((chat_id, number))) for number in sorted(asked)
    )
