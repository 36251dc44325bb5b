"""Many examples to tokens and labels, in batches: the next batch is rendered while the last one is tokenised."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice

from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.learnt import UNSAFE, Encoded, Learnt, Plan, label, plan_example
from studio.core.tokenizer import Chat

_BATCH = 1024
_SWITCH_S = 0.05
_Rendered = list[Plan | Refused]


def learn_all(
    examples: Iterable[Example],
    chat: Chat,
    max_length: int | None = None,
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    learn: str = "answers",
) -> Iterator[Learnt | Refused]:
    """For each example what is learnt of it, or why the template refuses it. Id for id what `learn_example` gives.

    `learn` is the config's (`studio.core.learnt.narrowed`).

    `guard` is held while a template runs. Raises `Refused` where the template is unsafe.
    """
    left = iter(examples)
    with _seldom_switching(), ThreadPoolExecutor(1, thread_name_prefix="tokens") as pool:
        waiting: tuple[_Rendered, Future[list[Encoded]]] | None = None
        while batch := list(islice(left, _BATCH)):
            planned = [_planned(example, chat, guard, learn) for example in batch]
            texts = [one.text for one in planned if isinstance(one, Plan)]
            encoding = pool.submit(chat.encoder.encode_batch, texts)
            if waiting is not None:
                yield from _labelled(*waiting, chat, max_length)
            waiting = planned, encoding
        if waiting is not None:
            yield from _labelled(*waiting, chat, max_length)


@contextmanager
def _seldom_switching() -> Iterator[None]:
    """Python hands over between threads ten times less often: here each hand-over costs more than it gives (8 %)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _planned(
    example: Example, chat: Chat, guard: Callable[[], AbstractContextManager[None]], learn: str
) -> Plan | Refused:
    try:
        with guard():
            return plan_example(example, chat.template, chat.encoder.bos, learn)
    except Refused as refused:
        if refused.problem == UNSAFE:
            raise
        return refused


def _labelled(
    planned: _Rendered, encoding: "Future[list[Encoded]]", chat: Chat, max_length: int | None
) -> Iterator[Learnt | Refused]:
    encoded = iter(encoding.result())
    for one in planned:
        yield one if isinstance(one, Refused) else label(one, next(encoded), chat.encoder, max_length, spans=False)
