"""What the playground's bench runs beside the engine: the plain loop, and an adapter for the model."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

from worker.gpu import use_threads


class Watch(BaseStreamer):
    """Notes when the first token came."""

    def __init__(self) -> None:
        self.began, self.first, self.count = time.perf_counter(), 0.0, -1  # the prompt is put first

    def put(self, value: Any) -> None:
        self.count += 1
        if self.count == 1:
            self.first = time.perf_counter() - self.began

    def end(self) -> None:
        pass


def loop(folder: Path, dtype: str) -> None:
    """Answer each line of standard input."""
    use_threads()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        text, most = json.loads(line)
        watch = Watch()
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        model.generate(**prompt, max_new_tokens=most, do_sample=False, streamer=watch)
        sys.stdout.write(json.dumps([watch.first, time.perf_counter() - watch.began, watch.count]) + "\n")
        sys.stdout.flush()


def adapter(folder: Path, out: Path) -> None:
    """LoRA r = 16 on all linear layers that changes nothing: it costs what any costs."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, use_safetensors=True)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(out, safe_serialization=True)


if __name__ == "__main__":
    if sys.argv[2] == "adapter":
        adapter(Path(sys.argv[1]), Path(sys.argv[3]))
    else:
        loop(Path(sys.argv[1]), sys.argv[2])
