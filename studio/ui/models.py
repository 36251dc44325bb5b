"""Base models on a page: what can be chosen, what a chosen one is, in words. The Hub is asked only by `Book.ask`."""

import threading
import time

from studio.core.errors import StudioError
from studio.core.hub_models import HubModel
from studio.core.hub_search import Found
from studio.core.models import ModelFacts, here, is_path, is_starter, look_up
from studio.core.settings import Settings
from studio.core.use_cases.model_check import check_model
from studio.ui.markup import NOTHING, Markup, facts, join, muted
from studio.ui.units import count, file_size

KEPT_SECONDS = 600.0
MOST_KEPT = 200
NO_TEMPLATE = (
    "A base model: it has no chat template. Chats are written as User: and Assistant: lines, and every answer ends "
    "with the model's own end of text. Another one stands under Chat template."
)
LICENCES = {
    "apache-2.0": "Apache 2.0", "mit": "MIT", "llama2": "Llama 2", "llama3": "Llama 3", "llama3.1": "Llama 3.1",
    "llama3.2": "Llama 3.2", "llama3.3": "Llama 3.3", "llama4": "Llama 4", "gemma": "Gemma", "qwen": "Qwen",
    "qwen-research": "Qwen Research", "cc-by-nc-4.0": "CC BY-NC 4.0", "cc-by-4.0": "CC BY 4.0",
}  # fmt: skip


class Book:
    """What was looked up in the last minutes, for the panel that follows every knob. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        """Empty."""
        self._settings = settings
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str, str], tuple[float, ModelFacts]] = {}

    def ask(self, repo: str, revision: str, owner: str) -> ModelFacts:
        """The model's facts now, its tokenizer and template tried; may ask the Hub. Raises as `look_up`."""
        found = look_up(repo, revision, self._settings, owner)
        check_model(self._settings, found)
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[repo, revision, owner] = (time.monotonic(), found)
        return found

    def known(self, repo: str, revision: str, owner: str) -> ModelFacts | None:
        """The facts as far as no network is needed for them; None where it would be. Raises as `look_up`."""
        repo, revision = repo.strip(), revision.strip() or "main"
        if is_path(repo) or is_starter(repo, revision, self._settings):
            return look_up(repo, revision, self._settings, owner)
        with self._lock:
            at, found = self._kept.get((repo, revision, owner), (0.0, None))
        if found is not None and time.monotonic() - at < KEPT_SECONDS:
            return found
        is_here = any((ref.repo, ref.revision) == (repo, revision) for ref in here(self._settings, owner))
        return look_up(repo, revision, self._settings, owner) if is_here else None


def choices(settings: Settings, owner: str) -> list[tuple[str, str]]:
    """(name, repo) of the models on this machine, the starter model first, each repo once."""
    return list({ref.repo: (ref.name, ref.repo) for ref in here(settings, owner)}.values())


def about_model(found: ModelFacts) -> Markup:
    """The row of facts under the choice, and whether anything has to be fetched."""
    pairs = [("Size", size_words(found.parameters))] if found.parameters else []
    if found.context:
        pairs.append(("Reads up to", count(found.context, "token")))
    if found.licence:
        pairs.append(("Licence", licence_words(found.licence)))
    if found.downloads:
        pairs.append(("Downloads", downloads_words(found.downloads)))
    if found.gated or found.private:
        pairs.append(("Access", f"{'Gated' if found.gated else 'Private'}, opened with your token"))
    return join([facts(pairs), muted(place_words(found)), NOTHING if found.has_template else muted(NO_TEMPLATE)])


def about_hub(found: HubModel) -> Markup:
    """What the Hub tells of a model that is closed."""
    pairs = [("Size", size_words(found.parameters))] if found.parameters else []
    pairs += [("Licence", licence_words(found.licence))] if found.licence else []
    pairs += [("Downloads", downloads_words(found.downloads))] if found.downloads else []
    return facts([*pairs, ("Access", "Gated")])


def row_words(found: Found) -> str:
    """A row of the type-ahead: "Qwen/Qwen2.5-0.5B · 494 M parameters · Apache 2.0 · 1.2 M downloads · gated"."""
    size = f"{short(found.parameters)} parameters" if found.parameters else ""
    parts = [found.repo, size, licence_words(found.licence)]
    parts += [f"{short(found.downloads)} downloads" if found.downloads else "", "gated" if found.gated else ""]
    return " · ".join(part for part in parts if part)


def short(number: float) -> str:
    """ "494 M", "1.54 B", "812"."""
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            return f"{number / size:.3g} {name}"
    return f"{number:.0f}"


def downloads_words(number: int) -> str:
    """ "1.2 M a month": the Hub counts those of the last one."""
    return f"{short(number)} a month"


def licence_words(licence: str) -> str:
    """A licence's short name as people write it."""
    return LICENCES.get(licence, licence)


def size_words(parameters: int) -> str:
    """ "135 million parameters", "3.09 billion parameters"."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.3g} billion parameters"
    return f"{parameters / 1e6:.3g} million parameters"


def place_words(found: ModelFacts) -> str:
    """Where the model is, and what has to come."""
    first = "The starter model. " if found.ref.source.startswith("starter") else ""
    if found.is_here:
        return first + ("A folder on this machine." if found.ref.source == "local" else "Already on this machine.")
    return f"{first}{file_size(found.bytes_to_fetch)} are fetched first, with the first run."


def facts_or_none(book: Book, repo: str, revision: str, owner: str) -> ModelFacts | None:
    """`Book.known`, with None for a model that can not be used: the place of the model says why."""
    try:
        return book.known(repo, revision, owner)
    except StudioError:
        return None
