"""From votes and edited answers to examples: a new dataset, or the next version of one that takes them."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from studio.core.artifacts import new_id, sha256_file
from studio.core.errors import Conflict, Refused
from studio.core.recipes import Part, Recipe
from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat, Turn, told_first
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.building import Target, build, read_recipe

Kind = Literal["preferences", "answers"]
Row = dict[str, Any]
SIDES = ("chosen", "rejected")
NAMES: dict[Kind, str] = {"preferences": "Playground votes", "answers": "Edited answers"}
MAPPINGS: dict[Kind, dict[str, str]] = {
    "preferences": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "answers": {"messages": "messages"},
}


@dataclass(frozen=True)
class Judged:
    """What a person's chats give: pairs to prefer by, answers to learn, votes in all and those that found all alike."""

    preferences: tuple[Row, ...]
    answers: tuple[Row, ...]
    votes: int
    alike: int


def judged(chats: Iterable[Chat]) -> Judged:
    """The examples in `chats`. A vote pairs the best answer with each other one, an edit with what it came from."""
    turns = [(chat, turn) for chat in chats for turn in chat.turns]
    pairs = unlike(pair for chat, turn in turns for pair in pairs_of(chat, turn))
    answers = unlike(row for chat, turn in turns for row in corrections_of(chat, turn))
    votes = [turn.best for _, turn in turns if turn.best is not None]
    return Judged(tuple(pairs), tuple(answers), len(votes), votes.count(ALIKE))


def unlike(rows: Iterable[Row]) -> list[Row]:
    """The rows in their order, each once."""
    return list({json.dumps(row, sort_keys=True): row for row in rows}.values())


def pairs_of(chat: Chat, turn: Turn) -> list[Row]:
    """(prompt, chosen, rejected) of one turn; answers that are equal or empty give none.

    Rejected is what a model said, never what the person wrote in its place.
    """
    found: list[Row] = []
    best = turn.answers.get(turn.best) if turn.best is not None else None
    if best is not None and turn.best is not None:
        prompt = prompt_of(chat, turn, turn.best)
        others = [said.content for pane, said in sorted(turn.answers.items()) if pane != turn.best]
        found = [{"prompt": prompt, "chosen": best.text, "rejected": text} for text in others]
    for pane, said in sorted(turn.answers.items()):
        if said.edited is not None:
            pair = {"chosen": said.edited, "rejected": said.content}
            found.append({"prompt": prompt_of(chat, turn, pane), **pair})
    return [row for row in found if row["chosen"] != row["rejected"] and all(row[name].strip() for name in SIDES)]


def corrections_of(chat: Chat, turn: Turn) -> list[Row]:
    """The whole chat up to each edited answer; what was answered before it is read, not learnt."""
    found = []
    for pane, said in sorted(turn.answers.items()):
        if said.edited is not None and said.edited.strip():
            before = [
                {**message, "weight": 0} if message["role"] == "assistant" else message
                for message in prompt_of(chat, turn, pane)
            ]
            found.append({"messages": [*before, {"role": "assistant", "content": said.edited}]})
    return found


def prompt_of(chat: Chat, turn: Turn, pane: int) -> list[dict[str, Any]]:
    """What pane `pane` was asked in this turn: the system prompt, what was said before, the question."""
    return [*told_first(chat.system), *chat.history(pane, turn.number), {"role": "user", "content": turn.asked}]


def takes(version: DatasetVersion, kind: Kind) -> bool:
    """Whether a dataset can hold such examples, by what its columns mean; a mix has none of its own."""
    roles = {role for role, column in version.mapping.items() if column}
    if kind == "preferences":
        return {"prompt", "chosen", "rejected"} <= roles
    return "label" not in roles and ("messages" in roles or {"prompt", "completion"} <= roles)


def make(services: Services, owner: str, kind: Kind, dataset_id: str = "") -> DatasetVersion:
    """All examples of this kind as a new dataset, or in the next version of one.

    Those that it got from here before are replaced, so none stands there twice. Raises `Refused` where there are none,
    `Conflict` where nothing is new, `NotFound`.
    """
    found = judged(services.chats.judged(owner))
    rows = found.preferences if kind == "preferences" else found.answers
    if not rows:
        raise Refused("There is no example in your votes yet.", "Vote for one of two unlike answers, or edit one.")
    folder = services.artifacts.upload_dir() / new_id()
    folder.mkdir(parents=True, mode=0o700)
    try:
        if not dataset_id:
            return build(services, fresh(folder, kind, rows), folder, Target(owner, NAMES[kind]))
        before = services.datasets.get(dataset_id, owner)
        return build(services, grown(services, folder, before, kind, rows), folder, Target(owner, before.name, before))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh(folder: Path, kind: Kind, rows: Sequence[Row]) -> Recipe:
    """The recipe of a new dataset of these rows alone."""
    write_rows(folder / "original", rows)
    return Recipe((Part("original", file_name(kind)),), dict(MAPPINGS[kind]))


def grown(services: Services, folder: Path, before: DatasetVersion, kind: Kind, rows: Sequence[Row]) -> Recipe:
    """The recipe of `before` with these rows in it, its files brought into `folder`."""
    recipe = read_recipe(services, before)
    if not takes(before, kind) or any(part.kind == "version" for part in recipe.parts):
        raise Refused(f"{before.name} holds examples of another kind.", "Make a new dataset of them.")
    name = file_name(kind)
    ours = next((part for part in recipe.parts if part.name == name), None)
    part = ours or Part(f"playground-{kind}", name)
    write_rows(folder / part.file, [as_mapped(row, recipe.mapping) for row in rows])
    old = services.artifacts.dataset_dir(before.id)
    if ours is not None and sha256_file(old / ours.file) == sha256_file(folder / part.file):
        raise Conflict(f"{before.name} has all of these already.", "Vote or edit first.")
    kept = tuple(one for one in recipe.parts if one is not ours)
    for one in kept:
        shutil.copyfile(old / one.file, folder / one.file)
    return replace(recipe, parts=(*kept, part))


def as_mapped(row: Row, mapping: Mapping[str, str]) -> Row:
    """A row in the columns of a dataset."""
    columns = {role: column for role, column in mapping.items() if column}
    if "chosen" in row:
        return {columns[role]: row[role] for role in ("prompt", "chosen", "rejected")}
    messages: list[dict[str, Any]] = row["messages"]
    if "messages" in columns:
        return {columns["messages"]: messages}
    *before, answer = messages
    found: Row = {}
    if before[0]["role"] == "system" and "system" in columns:
        found[columns["system"]], before = before[0]["content"], before[1:]
    plain = before[0]["content"] if len(before) == 1 and before[0]["role"] == "user" else before
    return {**found, columns["prompt"]: plain, columns["completion"]: answer["content"]}


def file_name(kind: Kind) -> str:
    """What the file of such examples is called in a dataset; by this name it is found again."""
    return f"{NAMES[kind]}.jsonl"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        out.flush()
        os.fsync(out.fileno())


def exported(chats: Iterable[Chat], title: Callable[[str], str]) -> Iterator[str]:
    """Chats as lines of JSON: one line a chat and pane, as messages, with who answered and the votes.

    `title` says who answers in a pane of a name.
    """
    for chat in chats:
        for pane, name in enumerate(chat.panes):
            turns = [turn for turn in chat.turns if pane in turn.answers]
            if turns:
                said = [*told_first(chat.system), *chat.history(pane, turns[-1].number + 1)]
                votes = {turn.number: vote_word(turn.best, pane) for turn in turns if turn.best is not None}
                about = {"chat": chat.id, "title": chat.title, "model": title(name)}
                yield json.dumps({**about, "messages": said, "votes": votes}, ensure_ascii=False) + "\n"


def vote_word(best: int, pane: int) -> str:
    """A vote as one pane sees it."""
    return "same" if best == ALIKE else "better" if best == pane else "worse"
