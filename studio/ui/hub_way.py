"""The second way to a dataset: by its id on the Hub. Looked up, a split chosen, then read like a dropped file.

The token goes with the two requests that need it and is kept nowhere.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from studio.core.hub_datasets import HubDataset
from studio.core.services import Services
from studio.core.use_cases import hub_data
from studio.shell.session import owner_of
from studio.ui.fields import Choice, told
from studio.ui.frame import QUIET
from studio.ui.mapping import meaning_of, odd_columns, read_seen, seen_of, understood
from studio.ui.markup import Markup, html, join, muted
from studio.ui.notices import note_of
from studio.ui.units import count, file_size

MOST_SPLITS = 200
REPO_INFO = "As it stands in its address."
TOKEN_INFO = "Only for datasets that ask for one. It is kept nowhere."  # noqa: S105 - words, not a token


class HubWay:
    """The components, folded away."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Accordion("From the Hub", open=False, elem_classes="ts-drawer"):
            with gr.Row(elem_classes="ts-fields"):
                self.repo = gr.Textbox(label="Dataset id", info=REPO_INFO, placeholder="owner/name", max_lines=1)
                self.token = gr.Textbox(label="Token", info=TOKEN_INFO, type="password", max_lines=1)
            self.look = gr.Button("Look it up", size="sm", elem_classes="ts-cancel")
            self.words = html(visible=False)
            with gr.Column(visible=False) as self.box:
                with gr.Row(elem_classes="ts-fields"):
                    self.config = Choice([], label="Configuration", interactive=True)
                    self.split = Choice([], label="Learn from", interactive=True)
                    self.check = Choice([], label="Check with", interactive=True)
                self.first = html()
                self.bring = gr.Button("Bring it here", size="md", elem_classes="ts-cancel")
            self.found = gr.Textbox("", visible=False)

    @property
    def inputs(self) -> list[Any]:
        """What bringing takes, see `choice_of`."""
        return [self.found, self.token, self.config, self.split, self.check]

    def wire(self, services: Services) -> None:
        """Looking up and choosing; what bringing does is the intake's."""
        outputs = [self.words, self.box, self.found, self.config, self.split, self.check]
        busy = gr.on([self.look.click, self.repo.submit], looking, None, outputs, **QUIET)
        found = busy.then(looked(services), [self.repo, self.token], outputs, **QUIET)
        chosen = self.config.input(splits_of, [self.found, self.config], [self.split, self.check], **QUIET)
        for event in (found.then, chosen.then, self.split.input):
            event(first_rows(services), self.inputs, self.first, trigger_mode="always_last", **QUIET)


def looking() -> list[Any]:
    """While the Hub is asked."""
    return [told(muted("Looking it up…")), gr.update(visible=False), "", *(gr.skip() for _ in range(3))]


def looked(services: Services) -> Callable[..., list[Any]]:
    """The handler that asks the Hub."""

    def handler(repo: Any, token: Any, request: gr.Request) -> list[Any]:
        try:
            name = str(repo or "").strip()
            found = hub_data.look(services, owner_of(request), name, str(token or "").strip() or None)
            first = hub_data.suggested(found)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return [told(note_of(error)), gr.update(visible=False), "", *(gr.skip() for _ in range(3))]
        kept = remembered(found)
        split, check = choices(kept, first.config, first.split, first.check_split)
        config = gr.update(choices=list(kept["configs"]), value=first.config, visible=len(kept["configs"]) > 1)
        return [told(about(found)), gr.update(visible=True), json.dumps(kept), config, split, check]

    return handler


def first_rows(services: Services) -> Callable[..., Iterator[str]]:
    """The handler that shows what the first rows are, before all of them are brought."""

    def handler(request: gr.Request, found: str, token: Any, config: Any, split: Any, check: Any) -> Iterator[str]:
        if not read_seen(found):
            yield ""
            return
        yield str(muted("Reading the first rows…"))
        try:
            choice = choice_of(found, config, split, check)
            seen = seen_of(hub_data.head(services, owner_of(request), choice, str(token or "").strip() or None))
            yield str(join([muted(understood(seen)), meaning_of(seen, seen["mapping"]), odd_columns(seen)]))
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            yield str(note_of(error))

    return handler


def remembered(found: HubDataset) -> dict[str, Any]:
    """What the page remembers of a dataset."""
    configs = {name: list(splits)[:MOST_SPLITS] for name, splits in list(found.configs.items())[:MOST_SPLITS]}
    return {"repo": found.repo, "commit": found.commit, "configs": configs}


def choices(kept: Mapping[str, Any], config: str, split: str = "", check: str = "") -> list[Any]:
    """The dropdowns of the splits of one part."""
    splits = list(kept.get("configs", {}).get(config, []))
    learnt = split or ("train" if "train" in splits else next(iter(splits), None))
    others = [("A share of the examples", ""), *((name, name) for name in splits)]
    return [gr.update(choices=splits, value=learnt), gr.update(choices=others, value=check, visible=len(splits) > 1)]


def splits_of(found: Any, config: Any) -> list[Any]:
    """The splits when another part is chosen."""
    return choices(read_seen(found), str(config or ""))


def choice_of(found: Any, config: Any, split: Any, check: Any) -> hub_data.Choice:
    """What is to be brought: at the commit that was looked at."""
    kept = read_seen(found)
    repo, commit = str(kept.get("repo", "")), str(kept.get("commit", "main"))
    return hub_data.Choice(repo, str(config or ""), str(split or ""), str(check or ""), commit)


def about(found: HubDataset) -> Markup:
    """How much it is, under which licence, and what can not be read of it."""
    files = sum(len(some) for splits in found.configs.values() for some in splits.values())
    licence = f" Licence: {found.licence}." if found.licence else " It names no licence."
    first = muted(
        Markup("<b>{}</b> {} in {}.{}").format(found.repo, file_size(found.total), count(files, "file"), licence)
    )
    return join([first, *(muted(words) for words in found.warnings)])
