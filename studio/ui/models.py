"""Base models on a page: what can be chosen, what a chosen one is, in words. The Hub is asked only by `Book.ask`."""

import threading
import time

from studio.core.errors import StudioError
from studio.core.models import ModelFacts, here, is_path, is_starter, look_up
from studio.core.settings import Settings
from studio.ui.markup import Markup, facts, join, muted
from studio.ui.units import count, file_size

KEPT_SECONDS = 600.0
MOST_KEPT = 200
LICENCES = {"apache-2.0": "Apache 2.0", "mit": "MIT"}


class Book:
    """What was looked up in the last minutes, for the panel that follows every knob. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        """Empty."""
        self._settings = settings
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, ModelFacts]] = {}

    def ask(self, repo: str, revision: str) -> ModelFacts:
        """The model's facts now; may ask the Hub. Raises as `look_up`."""
        found = look_up(repo, revision, self._settings)
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[repo, revision] = (time.monotonic(), found)
        return found

    def known(self, repo: str, revision: str) -> ModelFacts | None:
        """The facts as far as no network is needed for them; None where it would be. Raises as `look_up`."""
        repo, revision = repo.strip(), revision.strip() or "main"
        if is_path(repo) or is_starter(repo, revision, self._settings):
            return look_up(repo, revision, self._settings)
        with self._lock:
            at, found = self._kept.get((repo, revision), (0.0, None))
        if found is not None and time.monotonic() - at < KEPT_SECONDS:
            return found
        is_here = any((ref.repo, ref.revision) == (repo, revision) for ref in here(self._settings))
        return look_up(repo, revision, self._settings) if is_here else None


def choices(settings: Settings) -> list[tuple[str, str]]:
    """(name, repo) of the models on this machine, the starter model first, each repo once."""
    return list({ref.repo: (ref.name, ref.repo) for ref in here(settings)}.values())


def about_model(found: ModelFacts) -> Markup:
    """The row of facts under the choice, and whether anything has to be fetched."""
    pairs = [("Size", size_words(found.parameters))] if found.parameters else []
    if found.context:
        pairs.append(("Reads up to", count(found.context, "token")))
    if found.licence:
        pairs.append(("Licence", LICENCES.get(found.licence, found.licence)))
    return join([facts(pairs), muted(place_words(found))])


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


def facts_or_none(book: Book, repo: str, revision: str) -> ModelFacts | None:
    """`Book.known`, with None for a model that can not be used: the place of the model says why."""
    try:
        return book.known(repo, revision)
    except StudioError:
        return None
