"""Rows of any lengths, one behind the other, through torch's attention for accelerators: no padding and no mask.

Where rows begin is told to every layer by `cu_seq_lens_q` and `max_length_q`, made once a batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from worker.trainer.attention import is_plain

NAME = "tunesmith_rows"
AMPERE = (8, 0)  # the oldest accelerators with flash attention
CLOSE = 0.05  # of the output's length, after all layers in bfloat16
SEEN = "reads_packed_rows"
# Heads may share their keys: what torch 2.11 took unasked, 2.13 wants to be told.
SHARED_KEYS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
_packed: list[bool] = []  # not empty while packed rows go through a model that makes no mask for them


def attend(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **rest: Any
) -> tuple[torch.Tensor, None]:
    """As transformers calls its attentions. All but packed rows goes to torch's own, which is faster for one length."""
    has_window = rest.get("sliding_window") is not None
    if not is_plain(module, mask, rest) or has_window or rest.get("cu_seq_lens_q") is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **rest)
        return found
    starts, longest = rest["cu_seq_lens_q"], rest["max_length_q"]
    scale = rest.get("scaling") or query.shape[-1] ** -0.5
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))  # (tokens, heads, d)
    mixed = varlen_attn(
        query, key, value, starts, starts, longest, longest, scale=scale, window_size=(-1, 0), **SHARED_KEYS
    )
    assert isinstance(mixed, torch.Tensor)
    return mixed[None], None


@contextmanager
def packed_rows() -> Iterator[None]:
    """What goes through the model meanwhile is packed: no mask is made for it."""
    _packed.append(True)
    try:
        yield
    finally:
        _packed.pop()


def mask(*args: Any, **rest: Any) -> torch.Tensor | None:
    """As transformers calls the makers of masks."""
    return None if _packed else sdpa_mask(*args, **rest)


def reads_packed(model: Any) -> bool:
    """Whether `model` was seen to read packed rows without a mask."""
    return bool(getattr(model, SEEN, False))


@torch.no_grad()
def try_packed(model: Any) -> bool:
    """Let `model` read two short rows both ways; from now on it reads them packed if the same comes out.

    Models with windows, sinks or other additions to attention fail this, and are padded.
    """
    if model.device.type != "cuda" or torch.cuda.get_device_capability(model.device) < AMPERE:
        return False
    ids = torch.arange(8, device=model.device) % model.config.get_text_config().vocab_size
    places = torch.cat([torch.arange(5), torch.arange(3)]).to(model.device)[None]
    starts = torch.tensor([0, 5, 8], dtype=torch.int32, device=model.device)
    given = {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": 5, "max_length_k": 5}
    body, training = model.base_model, model.training
    model.eval()
    try:
        wanted = torch.cat([body(row[None], use_cache=False).last_hidden_state for row in (ids[:5], ids[5:])], 1)
        with packed_rows():
            found = body(ids[None], position_ids=places, use_cache=False, **given).last_hidden_state
    except Exception:  # whatever a stranger's code does: then it is padded
        return False
    finally:
        model.train(training)
    setattr(model, SEEN, float((wanted - found).float().norm()) <= CLOSE * float(wanted.float().norm()))
    return reads_packed(model)
