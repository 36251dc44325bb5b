"""Another server in the playground's place: OpenAI-shaped, with LoRA loaded at run time as vLLM has it.

Its base model is the one it was started with; adapters are read from the same disk. It may run on this machine or share
the data directory.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import httpx

from studio.core.catalog import STARTER_REPO
from studio.core.engine_client import (
    SILENCE_S,
    ChatOptions,
    EngineClient,
    Message,
    checked_answer,
    translated,
)
from studio.core.errors import Conflict, NotFound, Refused, Unavailable

OURS = ("columns", "num_beams", "continue_final")
"""Words of our own engine."""
USUAL = ChatOptions()


class OtherEngine(EngineClient):
    """A server at a URL, asked as the engine is."""

    def __init__(self, url: str) -> None:
        """`url` is without the `/v1`."""
        super().__init__(Path())
        self._url = url.rstrip("/").removesuffix("/v1")

    def _http(self, wait_s: float) -> httpx.Client:
        return httpx.Client(base_url=self._url, timeout=httpx.Timeout(wait_s, connect=2.0), trust_env=False)

    def async_http(self, wait_s: float) -> httpx.AsyncClient:
        """As the engine's."""
        return httpx.AsyncClient(base_url=self._url, timeout=httpx.Timeout(wait_s, connect=2.0), trust_env=False)

    def health(self, wait_s: float = 5.0) -> dict[str, Any] | None:
        """What it serves; none where it does not answer."""
        try:
            base, adapters = self._models(wait_s)
        except (Unavailable, Refused, NotFound):
            return None
        return {"ready": True, "base": base["id"], "adapters": adapters}

    def checked(self, repo: str) -> "OtherEngine":
        """Itself, where it serves this base model. Raises `Unavailable`, or `Conflict` where it serves another."""
        base, _adapters = self._models()
        served = {PurePath(str(base.get(word) or "")).name.lower() for word in ("id", "root")}
        wanted = {PurePath(repo).name.lower()} | ({"starter"} if repo == STARTER_REPO else set())
        if not served & wanted:
            raise Conflict(
                f"The server that answers here has the base model {base['id']}, not this one.",
                "Choose a run of that model, or let the studio's own engine answer.",
            )
        return self

    def _models(self, wait_s: float = 5.0) -> tuple[Mapping[str, Any], list[str]]:
        with translated(), self._http(wait_s) as http:
            answer = http.get("/v1/models")
            checked_answer(answer)
            listed = answer.json()["data"]
            bases = [one for one in listed if not one.get("parent")]
            if not bases:
                raise Unavailable("The server that answers here has no base model.", "Start it with one.")
            return bases[0], [str(one["id"]) for one in listed if one.get("parent")]

    def attach(
        self, name: str, folder: Path, quantization: str = "none", double: bool = True, template: str | None = None
    ) -> None:
        """Have it load the adapter of `folder`; its base model and chat template are the server's own matter."""
        if not (folder / "adapter_model.safetensors").is_file():
            raise Refused("The server that answers here takes adapters only, and this run trained the whole model.")
        if name in self._models()[1]:
            return
        with translated(), self._http(300.0) as http:
            checked_answer(
                http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(folder.resolve())})
            )

    def detach(self, name: str) -> None:
        """Have it forget an adapter."""
        with translated(), self._http(300.0) as http:
            checked_answer(http.post("/v1/unload_lora_adapter", json={"lora_name": name}))

    def told(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A question in its words. Raises `Refused` for what it does not do."""
        if int(body.get("num_beams", 1)) > 1:
            raise Refused("The server that answers here has no beam search.", "Set num_beams to 1.", field="num_beams")
        told = {name: value for name, value in body.items() if name not in OURS}
        told["model"] = self._name(str(body["model"]))
        told["messages"] = [_with_json(message) for message in body["messages"]]
        if not told.get("logprobs"):
            told.pop("top_logprobs", None)
        if body.get("stream"):
            told["stream_options"] = {"include_usage": True}
        if body.get("continue_final"):
            told |= {"continue_final_message": True, "add_generation_prompt": False}
        return told

    def _name(self, model: str) -> str:
        return str(self._models()[0]["id"]) if model == "base" else model

    def prompt(self, model: str, messages: Sequence[Message], options: ChatOptions = USUAL) -> dict[str, Any]:
        """The prompt as it tokenises and reads it back."""
        body: dict[str, Any] = {"model": self._name(model), "messages": list(messages)}
        if options.tools:
            body["tools"] = [dict(tool) for tool in options.tools]
        if options.continue_final:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        with translated(), self._http(SILENCE_S) as http:
            answer = http.post("/tokenize", json=body)
            checked_answer(answer)
            ids = [int(one) for one in answer.json()["tokens"]]
            text = http.post("/detokenize", json={"model": body["model"], "tokens": ids})
            checked_answer(text)
            mark = hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()
            return {"text": str(text.json()["prompt"]), "tokens": len(ids), "prompt_hash": mark}


def _with_json(message: Message) -> dict[str, Any]:
    """A message whose calls of tools have their arguments as JSON, as such servers take them; ours takes objects."""
    calls = [
        {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
        if isinstance(call["function"].get("arguments"), dict)
        else call
        for call in message.get("tool_calls") or ()
    ]
    return {**message, "tool_calls": calls} if calls else dict(message)
