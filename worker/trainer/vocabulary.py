"""Tokens and template as the rules have them: the pad token, no token without a place in the model, for the record."""

from dataclasses import asdict
from typing import Any

from transformers import PreTrainedTokenizerBase

from studio.core.tokenizer import Chat
from worker.trainer.job import TrainingFailed
from worker.trainer.prepare import Prepared


def settle(tokenizer: PreTrainedTokenizerBase, chat: Chat, data: Prepared) -> None:
    """Set the pad token of the rules. Raises `TrainingFailed` where an example needs a token too many."""
    rules = chat.rules
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(rules.pad_id)
    if not rules.beyond:
        return
    for part in (data.train, data.held_out):
        for ids in part.data["input_ids"]:
            lost = next((number for number in ids if not rules.has_room_for(number)), None)
            if lost is not None:
                text = str(tokenizer.convert_ids_to_tokens(lost))[:40]
                raise TrainingFailed(
                    "vocabulary_mismatch",
                    f"The examples use the token {text!r} ({lost:,}); the model has room for {rules.embedding:,}.",
                    "Choose another model, or examples without it.",
                )


def text_rules(chat: Chat) -> dict[str, Any]:
    """For the run's spec: the template's name and source, and the rules of its tokens."""
    return {"chat_template": chat.written, "template_source": chat.template.source, "token_rules": asdict(chat.rules)}
