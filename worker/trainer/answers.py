"""Greedy answers of base and tuned model to the held-out examples, and how many match the reference exactly."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import PeftModel

from studio.core.estimate.checks import AT_ONCE, SPARE_TOKENS
from studio.core.examples import Example
from studio.core.template import render
from studio.core.tokenizer import Chat
from worker.trainer.attach import causal_of
from worker.trainer.load import Loaded
from worker.trainer.prepare import by_length

KEPT = 20
PROMPTS = 12


@dataclass(frozen=True)
class Question:
    """A held-out example up to its last answer: `ids` is the prompt in tokens, `asked` its last user message."""

    asked: str
    reference: str
    ids: list[int]
    reference_tokens: int


@dataclass(frozen=True)
class Answered:
    """One question with both answers, as it is kept in `result.json`."""

    asked: str
    reference: str
    base: str
    tuned: str


def questions(held_out: list[Example], chat: Chat, context: int) -> list[Question]:
    """A question for each example that ends in an answer with words; prompts that fill the context are left out."""
    found = []
    for example in held_out:
        messages = example.messages
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=0)
        reference = str(messages[last].get("content") or "").strip()
        if not last or not reference:
            continue
        prompt = render(chat.template, messages[:last], add_generation_prompt=True, tools=example.tools).text
        ids, wanted = chat.encoder.encode(prompt).ids, len(chat.encoder.encode(reference).ids)
        asked = next((str(m.get("content") or "") for m in reversed(messages[:last]) if m["role"] == "user"), "")
        if len(ids) + wanted + SPARE_TOKENS <= context:
            found.append(Question(asked, reference, ids, wanted))
    return found


def prompts(held_out: list[Example]) -> list[dict[str, str]]:
    """The first held-out examples of one question and one answer, for the playground's buttons."""
    found = []
    for example in held_out:
        texts = {str(message["role"]): str(message.get("content") or "") for message in example.messages}
        roles = [message["role"] for message in example.messages if message["role"] != "system"]
        if roles == ["user", "assistant"]:
            system = {"system": texts["system"]} if texts.get("system") else {}
            found.append({"asked": texts["user"], "reference": texts["assistant"].strip(), **system})
    return found[:PROMPTS]


class Answerer:
    """Answers in batches of about the same length, padded on the left, so that all go on at the same place."""

    def __init__(self, loaded: Loaded, stops: frozenset[int], between: Callable[[], None]) -> None:
        """`stops` are the special tokens that were learnt as ends; `between` is called before each batch."""
        own = loaded.model.generation_config.eos_token_id
        known = own if isinstance(own, list) else [] if own is None else [own]
        self._stops = sorted({*known, *stops})
        self._loaded, self._between = loaded, between
        self._pad = int(loaded.tokenizer.pad_token_id)

    def answer(self, asked: list[Question]) -> list[str]:
        """The answers in the order of `asked`, stripped."""
        model, answers = self._loaded.model, [""] * len(asked)
        was_training = model.training
        model.eval()
        try:
            for indices in by_length([len(question.ids) for question in asked], AT_ONCE):
                self._between()
                for index, text in zip(indices, self._batch(model, [asked[i] for i in indices]), strict=True):
                    answers[index] = text
        finally:
            model.train(was_training)
        return answers

    @torch.inference_mode()
    def _batch(self, model: PeftModel, asked: list[Question]) -> list[str]:
        longest = max(len(question.ids) for question in asked)
        rows = [[self._pad] * (longest - len(question.ids)) + question.ids for question in asked]
        mask = [[0] * (longest - len(question.ids)) + [1] * len(question.ids) for question in asked]
        device = causal_of(model).device
        out = model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=max(question.reference_tokens for question in asked) + SPARE_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=None,
            use_cache=True,
            eos_token_id=self._stops or None,
            pad_token_id=self._pad,
        )
        texts = self._loaded.tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
        return [str(text).strip() for text in texts]


class Untuned:
    """The same, as the base model answers."""

    def __init__(self, loaded: Loaded, answerer: Answerer) -> None:
        """`answerer` speaks for the model in training."""
        self._loaded, self._answerer = loaded, answerer

    def answer(self, asked: list[Question]) -> list[str]:
        """The base model's answers in the order of `asked`."""
        with self._loaded.untuned():
            return self._answerer.answer(asked)


def compare(asked: list[Question], base: list[str], tuned: list[str]) -> dict[str, Any]:
    """Share of exact matches of each (0 to 1), and the first answers for people to read."""
    kept = [Answered(q.asked, q.reference, b, t) for q, b, t in zip(asked, base, tuned, strict=True)][:KEPT]
    return {
        "base": exact_match(asked, base),
        "tuned": exact_match(asked, tuned),
        "answers": [asdict(answer) for answer in kept],
    }


def exact_match(asked: list[Question], answers: list[str]) -> float:
    """Share of answers whose stripped text is the reference's."""
    right = sum(answer == question.reference for question, answer in zip(asked, answers, strict=True))
    return round(right / max(1, len(asked)), 4)
