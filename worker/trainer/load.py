"""The base model in memory with a fresh adapter on it, in the number format that is fastest here."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from studio.core.config import AdapterConfig
from studio.core.errors import Refused
from worker import gpu
from worker.trainer.job import Job
from worker.trainer.saving import Kept

MOST_NAMES = 12


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to train. `speeds` are GFLOP/s by number format; `seconds` is what loading took."""

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    device: gpu.Device
    dtype: str
    threads: int
    speeds: dict[str, float]
    seconds: float

    @contextmanager
    def untuned(self) -> Iterator[None]:
        """The base model alone, for as long as the block lasts."""
        with self.model.disable_adapter():
            yield


def load(job: Job, kept: Kept | None = None) -> Loaded:
    """Load, choose the number format and attach the adapter. Raises `Refused` for layers that do not exist.

    A run that goes on keeps the number format and the threads of its first attempt, or it would round differently.
    """
    start = time.monotonic()
    disable_progress_bar()  # it would fill the run's log
    threads = gpu.use_threads(kept.threads if kept else job.threads)
    device = gpu.best_device()
    speeds = gpu.speeds_of(device, job.machine, threads)
    wanted = kept.dtype if kept else job.config.base.dtype
    dtype = gpu.fastest_dtype(speeds) if wanted == "auto" else wanted
    base = AutoModelForCausalLM.from_pretrained(
        job.model_folder,
        dtype=gpu.DTYPES[dtype],
        use_safetensors=True,
        trust_remote_code=False,
        token=False,
        local_files_only=True,
        attn_implementation="sdpa",
    ).to(device.name)
    base.config.use_cache = False
    tokenizer = AutoTokenizer.from_pretrained(
        job.model_folder, trust_remote_code=False, token=False, local_files_only=True
    )
    if tokenizer.pad_token_id is None:  # `vocabulary.settle` decides by the rules
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    torch.manual_seed(job.config.training.seed)  # the adapter's first weights are random
    model = attach(base, job.config.adapter, job)
    return Loaded(model, tokenizer, device, dtype, threads, speeds, time.monotonic() - start)


def attach(base: PreTrainedModel, config: AdapterConfig, job: Job) -> PeftModel:
    """A fresh LoRA adapter on `base`, in the base's own number format.

    PEFT's default, a float32 adapter on a bfloat16 base, costs 57 % more activation memory and a conversion in every
    layer; the optimizer keeps float32 masters instead (`masters.py`).
    """
    lora = LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=target_modules(base, config.target_modules),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5.23 for a property that is being renamed
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(base, lora, autocast_adapter_dtype=False)
    for settings in model.peft_config.values():  # what is published names the model, never a folder of this machine
        settings.base_model_name_or_path = job.model_repo if job.model_source != "local" else job.model_folder.name
        settings.revision = job.model_revision if job.model_source == "hub" else None
    return model


def target_modules(base: PreTrainedModel, wanted: str) -> str | list[str]:
    """`wanted` (all-linear, or names with commas) as PEFT takes it. Raises `Refused` naming the layers there are."""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if names == ["all-linear"]:
        return "all-linear"
    real = linear_names(base)
    unknown = [name for name in names if name not in real]
    if unknown or not names:
        listed = ", ".join(real[:MOST_NAMES])
        raise Refused(
            f"This model has no linear layer called {(unknown or [wanted])[0][:60]!r}.",
            f"Its layers are: {listed}. Or take all-linear.",
            field="adapter.target_modules",
        )
    return names


def linear_names(base: PreTrainedModel) -> list[str]:
    """Last names of the model's linear layers in their order, without the head that makes the words."""
    head = base.get_output_embeddings()
    found = (
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return list(dict.fromkeys(found))
