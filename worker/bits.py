"""A base model in fewer bits, for trainer and playground alike: what bitsandbytes is told, and how it is read."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel, modeling_utils


def bits_config(quantization: str, double: bool, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """What transformers is told for `none`, `int8` or `nf4`; `dtype` is what products are computed in."""
    if quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=dtype,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if quantization == "int8" else None


def _never_repacked(model: PreTrainedModel) -> PreTrainedModel:
    """`model` so that it can be trained, and an adapter can read its weights, also after it has answered.

    On a processor with bfloat16 instructions bitsandbytes repacks 4-bit weights for good at the first answer. No
    gradient goes through the repacked ones, so training would go on with wrong gradients and say nothing; and DoRA,
    which reads the base's weights, would read nonsense.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


@contextmanager
def _read_one_by_one() -> Iterator[None]:
    """Tensors are read from a file when they are packed, and are gone then.

    transformers maps whole files into memory, and offers no other way. The pages stay until the last tensor is read: a
    model of 1.5 billion weights took more while it was loaded in 4 bits than it ever takes in bfloat16.
    """
    mapped = modeling_utils.safe_open
    modeling_utils.safe_open = lambda file, **rest: mapped(file, **{**rest, "backend": "pread"})
    try:
        yield
    finally:
        modeling_utils.safe_open = mapped


def read_base(
    folder: Path, dtype: torch.dtype, device: str, bits: BitsAndBytesConfig | None = None, **more: Any
) -> PreTrainedModel:
    """The model of a local folder of safetensors on `device`: no code of its own, no network.

    In fewer bits it is packed tensor by tensor as it is read: the whole of it never stands in memory.
    """
    placed: dict[str, Any] = {} if bits is None else {"quantization_config": bits, "device_map": {"": device}}
    with nullcontext() if bits is None else _read_one_by_one():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            token=False,
            local_files_only=True,
            **placed,
            **more,
        )
    return _never_repacked(model) if bits is not None else model.to(device)
