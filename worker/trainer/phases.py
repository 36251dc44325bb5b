"""One attempt from its job to its result, phase by phase."""

import math
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from transformers import set_seed

from studio.core.alarms import no_end
from studio.core.artifacts import write_json
from studio.core.config import RunConfig, parse_config
from studio.core.examples import Example
from studio.core.states import State
from studio.core.stores.claims import ClaimLost
from studio.core.tokenizer import Chat, load_chat
from worker.trainer.answers import Answerer, Question, Untuned, compare, prompts, questions
from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.effort import work_of
from worker.trainer.job import Job, Reporter, StopAsked, TrainingFailed, Yielded
from worker.trainer.load import load
from worker.trainer.loss import held_out_loss
from worker.trainer.peak import peak_bytes, used
from worker.trainer.publish import Proof, publish, snapshot
from worker.trainer.samples import Sampler, chosen
from worker.trainer.saving import Kept, Resume, Saver
from worker.trainer.spec import spec_of
from worker.trainer.template_match import check_template
from worker.trainer.tokenised import tokenised
from worker.trainer.trainers import build
from worker.trainer.tuner import Desk, Tuner
from worker.trainer.vocabulary import settle, text_rules

MOST_LOOKED_AT = 200  # held-out examples among which the prompts are chosen that are answered on the way


def train(job: Job, reporter: Reporter, yielding: Callable[[], bool] = bool) -> dict[str, Any]:
    """Run all phases; gives the result, written to `result.json` last. `{"stopped": True, "steps": 0}` is not written.

    Raises StudioError where the run can not go on, ClaimLost where another attempt owns it, Yielded with a checkpoint
    saved as soon as `yielding` says so.
    """
    parse_config(job.config.model_dump())  # once more: a row may hold what no form would take
    attempt = Attempt(job, reporter, yielding)
    try:
        attempt.begin()
        attempt.learn()
    except StopAsked:
        attempt.stopped = True
        attempt.save()
    except Yielded:
        attempt.save()
        raise
    try:
        return attempt.finish()
    except Yielded:
        attempt.save()
        raise


class Attempt:
    """The phases of one attempt; they share what they found."""

    def __init__(self, job: Job, reporter: Reporter, yielding: Callable[[], bool]) -> None:
        """Nothing is loaded yet."""
        self.job, self.reporter = job, reporter
        self.began = time.monotonic()
        self.look, self.meter, self.saver = StopLook(reporter, yielding), Meter(), Saver(job, reporter)
        self.watch = Watch(reporter, self.meter, self.look, self.saver, self.began)
        self.resume: Resume | None = None
        self.tuner: Tuner | None = None
        self.stopped = False
        self.steps = 0
        self.base_loss: float | None = None
        self.tuned_loss: float | None = None
        self.compared: dict[str, Any] | None = None
        self.best_step: int | None = None
        self.seconds: dict[str, float] = {}

    def begin(self) -> None:
        """Read the data, load the model, keep the spec."""
        self.look()
        self.resume = self.saver.find()
        self.reporter.resumed(self.resume.checkpoint.step if self.resume else 0)
        set_seed(self.job.config.training.seed)
        self.chat = load_chat(self.job.model_folder, self.job.config.base.chat_template)
        if self.job.continue_folder is not None:
            check_template(self.job.continue_folder, self.chat)
        with Timed(self.seconds, "prepare"):
            self.data = tokenised(self.job, self.chat, within(self.job, self.chat))
        self.tell_data()
        self.look()
        kept = self.resume.kept if self.resume else None
        self.unloaded_bytes = peak_bytes()
        self.loaded = load(self.job, kept)
        self.seconds["load"] = round(self.loaded.seconds, 2)
        detail = f"In {self.loaded.seconds:.1f} s, {self.loaded.dtype} on {self.loaded.device.title}"
        self.reporter.event("note", "Base model loaded", detail)
        settle(self.loaded.tokenizer, self.chat, self.data)
        self.reporter.spec(spec_of(self.job, self.loaded, self.data) | text_rules(self.chat))
        self.before = snapshot(self.loaded.model)
        if kept is not None:
            self.base_loss = kept.base_loss
        if not base_can_wait(self.job.config):
            self.check_base()

    def tell_data(self) -> None:
        """What became of the examples, in the timeline."""
        data, length = self.data, within(self.job, self.chat).max_length
        examples = f"{len(data.train):,} to learn, {len(data.held_out):,} held out"
        detail = f"{examples}, {data.train.learnt:,} tokens learnt an epoch"
        self.reporter.event("note", "Examples prepared", detail)
        if not data.stops:
            found = no_end(len(data.train))
            self.reporter.alarm(found.kind, found.title, found.text)
        if data.cut:
            self.reporter.event("warning", f"{data.cut} examples were cut", f"They are longer than {length} tokens.")
        if data.too_long:
            detail = f"They are longer than {length} tokens."
            self.reporter.event("warning", f"{data.too_long} examples were left out", detail)
        if data.left_out:
            self.reporter.event("warning", f"{data.left_out} examples were left out", "Nothing in them can be learnt.")
        if data.refused:
            self.reporter.event("warning", f"{data.refused} examples do not fit the chat template", data.refusal)

    def check_base(self) -> None:
        """Measure the base model on the held-out examples, where that was not done yet and can be.

        By the method's own loss: comparing methods need their trainer for it, before its first step.
        """
        own = self.job.config.method.name != "sft"
        if self.base_loss is not None or not len(self.data.held_out):
            return
        if own and (self.tuner is None or self.resume is not None or self.tuner.state.global_step):
            return
        with Timed(self.seconds, "base_loss"):
            if self.tuner is not None and own:
                loss = self.tuner.held_out_loss()
            else:
                with self.loaded.untuned():
                    loss = self.check_loss()
        self.base_loss = finite(loss, "model_unusable", "Choose another model, or another number format.")
        if self.tuner is not None:
            self.tuner.kept = replace(self.tuner.kept, base_loss=self.base_loss)
        self.watch.base_checked(self.base_loss)

    def learn(self) -> None:
        """Train. The steps that were made count, however it ends."""
        self.enter("running", "Training", f"{len(self.data.train)} examples")
        self.set_watch()
        tuner = self.tuner = build(self.job, self.loaded, self.data, self.desk())
        if self.job.config.method.name != "sft":
            self.check_base()
        self.watch.after_first_step = self.check_base
        try:
            with Timed(self.seconds, "train"):
                tuner.train(resume_from_checkpoint=str(self.resume.checkpoint.folder) if self.resume else None)
        except TrainingFailed:
            if not tuner.state.global_step:
                self.check_base()  # a base model that gives no number is to blame, not the learning rate
            raise
        finally:
            self.steps = int(tuner.state.global_step)
            self.watch.points.flush()
        self.tuned_loss = self.known_loss(tuner)

    def set_watch(self) -> None:
        """What the run's speed is measured against, and who answers a few prompts at each check."""
        loaded, config = self.loaded, self.job.config
        full = config.adapter.tuner == "full"
        if config.method.name == "sft":  # others read each example twice, or by two models
            self.meter.work = work_of(loaded.model, self.data.train.data["length"], full)
        self.meter.gflops = loaded.speeds.get(loaded.dtype, 0.0)
        answerer = Answerer(loaded, self.data.stops, self.look)
        asked = chosen(self.asked(self.data.held_out.examples[:MOST_LOOKED_AT]))
        self.watch.sampler = Sampler(self.reporter.samples, answerer, Untuned(loaded, answerer), asked)
        if full:  # later the base model would have to be read from disk once more, beside this one
            self.watch.sampler.ask_base(None if self.resume else answerer)

    def asked(self, examples: list[Example]) -> list[Question]:
        """The questions in these held-out examples."""
        return questions(examples, self.chat, self.chat.context or self.job.config.training.max_length)

    def desk(self) -> Desk:
        """Counters and what is known: from the checkpoint, or from the start."""
        kept = Kept(self.loaded.dtype, self.loaded.threads, 0, self.base_loss)
        if self.resume is not None:
            kept = self.resume.kept
            self.meter.learnt_in_all = kept.learnt
        return Desk(self.meter, self.watch, self.look, self.saver, kept)

    def save(self) -> None:
        """A checkpoint of what was learnt, where the loop had begun."""
        if self.tuner is not None:
            self.tuner.save_now()

    def known_loss(self, tuner: Tuner) -> float | None:
        """The last check's loss where it was made after the last step."""
        checked = tuner.last_check
        return checked[1] if checked and checked[0] == self.steps else None

    def finish(self) -> dict[str, Any]:
        """Publish what was learnt, measure it, write the result."""
        if self.stopped and not self.steps:
            return {"stopped": True, "steps": 0}
        if not self.steps or not self.meter.learnt_in_all:
            raise TrainingFailed("nothing_learnt", "Training ended before its first step.", "Take more epochs.")
        if not self.stopped:
            self.leave_loop()
        self.best_step = self.tuner.publish_best() if self.wants_best() and self.tuner is not None else None
        if self.best_step and self.best_step != self.steps and self.tuner is not None:
            self.tuned_loss = self.tuner.kept.best
        with Timed(self.seconds, "publish"):
            self.proof = publish(self.job, self.loaded, self.before, self.chat.template.source)
        if not self.stopped:
            try:
                self.measure()
            except StopAsked:
                self.stopped = True
        result = self.result()
        write_json(self.job.run_dir / "result.json", result)
        return result

    def wants_best(self) -> bool:
        """Whether the best check's weights are to be published: the config says so, or the person who stopped it."""
        return self.job.config.training.load_best_model_at_end or (self.stopped and self.reporter.best_wanted())

    def leave_loop(self) -> None:
        """Say that the adapter is being written; a stop that was asked meanwhile is heard."""
        try:
            self.enter("finalizing", "Writing the adapter", f"After {self.steps} steps")
        except StopAsked:
            self.stopped = True

    def enter(self, state: State, title: str, detail: str) -> None:
        """Move on. Raises `StopAsked` where a stop was asked before, ClaimLost where the run is no longer ours."""
        try:
            self.reporter.move(state, title, detail)
        except ClaimLost:
            if self.reporter.stop_wanted():  # raises ClaimLost itself where it is
                raise StopAsked from None
            raise

    def measure(self) -> None:
        """The tuned model's held-out loss and, where it is asked for, both models' answers."""
        self.check_base()
        if self.tuned_loss is None and len(self.data.held_out):
            with Timed(self.seconds, "tuned_loss"):
                assert self.tuner is not None
                self.tuned_loss = finite(self.tuner.held_out_loss(), "diverged", "Take a lower learning rate.")
        if self.watch.sampler is not None:
            self.watch.sampler.last(self.best_step or self.steps)
        if self.job.config.training.predict_with_generate and len(self.data.held_out):
            with Timed(self.seconds, "answers"):
                self.compared = self.answer()

    def answer(self) -> dict[str, Any]:
        """Both models answer every held-out example."""
        asked = self.asked(self.data.held_out.examples)
        answerer = Answerer(self.loaded, self.data.stops, self.look)
        start = time.monotonic()
        tuned = answerer.answer(asked)
        with self.loaded.untuned():
            base = answerer.answer(asked)
        found = compare(asked, base, tuned)
        detail = f"Exact: base {found['base']:.0%}, tuned {found['tuned']:.0%} of {len(asked)}, "
        self.reporter.event("eval", "Held-out examples answered", detail + f"in {time.monotonic() - start:.1f} s")
        return found

    def check_loss(self) -> float:
        """The held-out loss of whichever model is switched on."""
        data = self.data.held_out.data
        return held_out_loss(self.loaded.model, data, int(self.loaded.tokenizer.pad_token_id), self.look)

    def result(self) -> dict[str, Any]:
        """What stands in `result.json`."""
        compared = self.compared or {}
        proof: Proof = self.proof
        return {
            "claim": self.job.claim,
            "run_id": self.job.run_id,
            "steps": self.steps,
            "supervised_tokens": self.meter.learnt_in_all,
            "changed_tensors": proof.changed,
            "tensors": proof.tensors,
            "files": proof.files,
            "base": {"loss": self.base_loss, "exact_match": compared.get("base")},
            "tuned": {"loss": self.tuned_loss, "exact_match": compared.get("tuned")},
            "answers": compared.get("answers", []),
            "prompts": prompts(self.data.held_out.examples),
            "examples": len(self.data.train),
            "held_out": len(self.data.held_out),
            "seconds": round(time.monotonic() - self.began, 2),
            "phases": self.seconds,
            "peak_rss_mb": peak_rss_mb(),
            "memory": used(self.unloaded_bytes, self.loaded.device.name),
            "dtype": self.loaded.dtype,
            "method": self.job.config.method.name,
            "tuner": self.job.config.adapter.tuner,
            "quantization": self.job.config.base.quantization,
            "best_step": self.best_step,
        } | ({"stopped": True} if self.stopped else {})


def finite(loss: float, reason: str, remedy: str) -> float:
    """`loss`. Raises `TrainingFailed` where it is no number."""
    if not math.isfinite(loss):
        raise TrainingFailed(reason, f"The loss on the held-out examples is {loss}.", remedy)
    return loss


class Timed:
    """Notes the seconds of its block under `name`."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        """`seconds` takes the entry at the end of the block."""
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = round(time.monotonic() - self._start, 2)


def base_can_wait(config: RunConfig) -> bool:
    """Whether switching the adapter off gives the base model back at any time, so that no step need wait for its check.

    A plain LoRA adapter stands beside the base; PiSSA, biases and full training change the base itself.
    """
    adapter = config.adapter
    beside = adapter.tuner == "lora" and adapter.init_lora_weights == "default" and adapter.bias == "none"
    return beside and config.method.name == "sft"


def within(job: Job, chat: Chat) -> Any:
    """The training config with the longest example brought down to what the model can read."""
    training = job.config.training
    if not chat.context or chat.context >= training.max_length:
        return training
    return training.model_copy(update={"max_length": chat.context})


def peak_rss_mb() -> float:
    """The most resident memory that this process ever had, in MB (10^6 bytes). It has no children."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1)
