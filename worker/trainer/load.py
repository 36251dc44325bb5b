"""The base model in memory with what is trained on it, in the number format that is fastest here."""

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.import_utils import is_flash_attn_2_available
from transformers.utils.logging import disable_progress_bar

from studio.core.config import AdapterConfig, BaseModelConfig
from studio.core.config.machine_rules import machine_faults
from studio.core.errors import Faults
from worker import gpu
from worker.bits import bits_config, read_base
from worker.trainer.attach import Source, attach, begin_with, causal_of, linear_names, target_modules, trained, whole
from worker.trainer.job import Job
from worker.trainer.saving import Kept

__all__ = ["Loaded", "attach", "linear_names", "load", "target_modules"]

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to train. `speeds` are GFLOP/s by number format; `seconds` is what loading took.

    `first` are the trained weights as the run begins, of those that switching the adapter off does not undo.
    """

    model: PeftModel | PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: gpu.Device
    dtype: str
    threads: int
    speeds: dict[str, float]
    seconds: float
    folder: Path = Path()
    first: Weights = field(default_factory=dict)
    is_pissa: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every weight is trained and there is no adapter."""
        return not isinstance(self.model, PeftModel)

    @property
    def base(self) -> PreTrainedModel:
        """The language model itself, below the adapter where there is one."""
        return causal_of(self.model)

    @contextmanager
    def untuned(self) -> Iterator[None]:
        """The base model alone, for as long as the block lasts. Of a whole model it is read from disk once more."""
        values = self.first
        if self.is_whole:
            base = read_base(self.folder, self.model.dtype, self.device.name)
            values = {name: parameter.detach() for name, parameter in base.named_parameters()}
        _swap(self.model, values)
        try:
            with ExitStack() as stack, warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # PEFT's, about the biases that are put back here
                if not self.is_whole and not self.is_pissa:
                    stack.enter_context(self.model.disable_adapter())
                yield
        finally:
            _swap(self.model, values)


def _swap(model: torch.nn.Module, values: Weights) -> None:
    """Exchange weights of `model` with `values`: nothing is copied, and the same call undoes it."""
    own = dict(model.named_parameters())
    for name, value in values.items():
        if name in own:
            values[name], own[name].data = own[name].data, value


def load(job: Job, kept: Kept | None = None) -> Loaded:
    """Load, choose the number format and attach what is trained. Raises `Faults` for what this machine can not do.

    A run that goes on keeps the number format and the threads of its first attempt, or it would round differently.
    """
    start = time.monotonic()
    disable_progress_bar()  # it would fill the run's log
    config = job.config
    device = gpu.best_device()
    if found := machine_faults(config, {"devices": [{"kind": device.kind}], "flash_attention": flash_attention()}):
        raise Faults(found)
    threads = gpu.use_threads(kept.threads if kept else job.threads)
    speeds = gpu.speeds_of(device, job.machine, threads)
    wanted = kept.dtype if kept else config.base.dtype
    dtype = gpu.fastest_dtype(speeds) if wanted == "auto" else wanted
    base = read(job.model_folder, config.base, gpu.DTYPES[dtype], device)
    tokenizer = AutoTokenizer.from_pretrained(
        job.model_folder, trust_remote_code=False, token=False, local_files_only=True
    )
    if tokenizer.pad_token_id is None:  # `vocabulary.settle` decides by the rules
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    torch.manual_seed(config.training.seed)  # the adapter's first weights are random
    model = whole(base) if config.adapter.tuner == "full" else attach(base, config.adapter, job)
    if job.continue_folder is not None and isinstance(model, PeftModel):
        begin_with(model, Source(config.adapter.continue_from, job.continue_folder))
    is_pissa = config.adapter.tuner == "lora" and config.adapter.init_lora_weights == "pissa"
    seconds = time.monotonic() - start
    first = _first(model, config.adapter)
    return Loaded(model, tokenizer, device, dtype, threads, speeds, seconds, job.model_folder, first, is_pissa)


def read(folder: Path, config: BaseModelConfig, dtype: torch.dtype, device: gpu.Device) -> PreTrainedModel:
    """The frozen base model as the config wants it."""
    bits = bits_config(config.quantization, config.bnb_4bit_use_double_quant, dtype)
    attention = config.attn_implementation
    if attention == "auto":
        attention = "flash_attention_2" if device.kind == "cuda" and flash_attention() else "sdpa"
    base = read_base(folder, dtype, device.name, bits, attn_implementation=attention)
    base.config.use_cache = False
    return base


def flash_attention() -> bool:
    """Whether flash attention is installed and works here."""
    return bool(is_flash_attn_2_available())


def _first(model: PeftModel | PreTrainedModel, config: AdapterConfig) -> Weights:
    """PiSSA changes the base, so only its first adapter gives the base's answers; and biases are the base's own."""
    if config.tuner == "full":
        return {}
    undone = ("lora_",) if config.init_lora_weights == "pissa" else ()
    return {
        name: parameter.detach().clone()
        for name, parameter in trained(model).items()
        if any(part in name for part in undone) or (name.endswith("bias") and "modules_to_save" not in name)
    }
