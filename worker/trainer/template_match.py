"""An adapter that is continued must have learnt its chats in the same chat template. Light: no torch."""

from pathlib import Path

from studio.core.tokenizer import Chat, own_template
from worker.trainer.job import TrainingFailed


def check_template(adapter: Path, chat: Chat) -> None:
    """Raises `TrainingFailed` where the template beside the adapter is another than `chat`'s. Having none is fine."""
    learnt_in = own_template(adapter)
    if learnt_in is None or learnt_in.strip() == chat.template.source.strip():
        return
    problem = "The adapter to continue from has learnt its chats in another chat template than this run uses."
    remedy = "Choose the chat template of that run, or start a fresh adapter."
    raise TrainingFailed("template_mismatch", problem, remedy)
