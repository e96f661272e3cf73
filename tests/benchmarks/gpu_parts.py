"""The parts of a step, and the work that none of them can do without, for `tests.benchmarks.gpu`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from museg.policy.compiled_parts import compile_parts
from museg.policy.log_probs import completion_log_probs
from museg.policy.shared_prefix import attention_for
from tests.benchmarks.gpu_checks import Way, attending, attention_ways
from tests.benchmarks.gpu_floor import (
    Work,
    causal_pairs,
    decoding_step,
    optimizer_step,
    repeated_reading,
    shared_reading,
)
from tests.benchmarks.gpu_training import Trained

LARGE_CHUNK_TOKENS = 1024

Run = Callable[[], object]


@dataclass(frozen=True)
class Part:
    """Something to time.

    Attributes:
        prepare: does what is not timed, and returns what is.
        describe: asked afterwards, what had to be done, one after the other, and how many tokens that were.
        minus: the part whose seconds are not meant, although they are in these.
    """

    name: str
    prepare: Callable[[], Run]
    describe: Callable[[], tuple[list[Work], int]]
    minus: str = ""


class Floors:
    """The work of every part, from the sizes of the model and of what it reads."""

    def __init__(self, trained: Trained) -> None:
        setting, decoder = trained.setting, trained.decoder
        self.trained, self.setting, self.decoder = trained, setting, decoder
        row = (decoder, setting.prompt_tokens, setting.completion_tokens - 1, setting.generations)
        self.vision = trained.tower.forward(setting.grid)
        self.prompt = decoder.read(setting.prompt_tokens, causal_pairs(setting.prompt_tokens))
        self.shared, self.repeated = shared_reading(*row), repeated_reading(*row)
        self.head = decoder.head(setting.generations * setting.completion_tokens)
        self.value_bytes = 4 if trained.device.type == "cpu" else 2  # of weights and caches while decoding

    def forward(self, *, is_shared: bool = True) -> list[Work]:
        """Log-probabilities of a group."""
        return [self.vision, self.shared if is_shared else self.repeated, self.head]

    def backward(self, *, is_shared: bool = True, is_kept: bool = False) -> list[Work]:
        """Twice the arithmetic of the forward pass, and that once more where it was not kept, as in the head always."""
        vision, row, head = self.forward(is_shared=is_shared)
        again = int(not is_kept)
        return [vision.times(2 + again, again), row.times(2 + again, again), head.times(3, 1)]

    def update(self, *, is_shared: bool = True, is_kept: bool = False) -> list[Work]:
        """Policy and reference forward, policy backward."""
        forward = self.forward(is_shared=is_shared)
        return [*forward, *forward, *self.backward(is_shared=is_shared, is_kept=is_kept)]

    def rollouts(self, num_prompts: int, num_tokens: int) -> list[Work]:
        """Seeing, reading, and the first token; then token by token."""
        first = replace(self.decoder.head(num_prompts), moved_bytes=self.value_bytes * self.decoder.head_weights)
        return [
            self.vision.times(num_prompts),
            self.prompt.times(num_prompts),
            first,
            *self.decoding(num_prompts, num_tokens),
        ]

    def decoding(self, num_prompts: int, num_tokens: int) -> list[Work]:
        """The tokens after the first."""
        sizes = (self.decoder, num_prompts, self.setting.generations, self.setting.prompt_tokens)
        return [decoding_step(*sizes, own, self.value_bytes) for own in range(1, num_tokens)]

    def optimizer(self) -> Work:
        """Clipping and AdamW."""
        num_parameters = sum(parameter.numel() for parameter in self.trained.parameters)
        return optimizer_step(num_parameters, self.trained.storage.weights)

    def step(self) -> list[Work]:
        """Rollouts of all prompts, their updates, the optimizer's step."""
        written = self.rollouts(self.setting.prompts, self.setting.completion_tokens)
        return [*written, *self.setting.prompts * self.update(), self.optimizer()]


def parts_of(trained: Trained) -> list[Part]:
    """The parts of a step, the step, and then what training does in another way, for comparison."""
    floors, setting = Floors(trained), trained.setting
    tokens = setting.prompt_tokens + setting.generations * setting.completion_tokens
    step_tokens = setting.prompts * tokens
    compiled = Part("update, trainer.compile", partial(_compiling, trained), lambda: (floors.update(), tokens))
    return [
        Part("vision forward", trained.seeing, lambda: ([floors.vision], setting.video_tokens)),
        Part(
            "prefill", lambda: partial(trained.read, trained.embed()), lambda: ([floors.prompt], setting.prompt_tokens)
        ),
        _part("policy forward", trained.log_probs, floors.forward(), tokens),
        Part("policy backward", lambda: trained.own_loss().backward, lambda: (floors.backward(), tokens)),
        _part("reference forward", trained.reference_log_probs, floors.forward(), tokens),
        _head("head, forward and backward", trained, floors, None),
        Part("optimizer step", partial(_stepping, trained), lambda: ([floors.optimizer()], 0)),
        _part("update of a prompt", trained.update, floors.update(), tokens),
        *_rollouts(trained, floors, 1),
        *_rollouts(trained, floors, setting.prompts),
        _part("step", trained.step, floors.step(), step_tokens),
        _head(f"head, chunks of {LARGE_CHUNK_TOKENS}", trained, floors, LARGE_CHUNK_TOKENS),
        Part("update, activations kept", partial(_keeping, trained), lambda: (floors.update(is_kept=True), tokens)),
        *(
            _part(f"update, {name}", partial(_attending, way, trained), floors.update(), tokens)
            for name, way in attention_ways(trained.device).items()
            if name != attention_for(trained.device).__name__
        ),
        _part(
            "update, prompt repeated",
            partial(trained.update, completion_log_probs),
            floors.update(is_shared=False),
            setting.generations * (setting.prompt_tokens + setting.completion_tokens),
        ),
        *([compiled] if trained.device.type == "cuda" else []),  # last: it stays compiled
    ]


def _part(name: str, run: Run, works: list[Work], num_tokens: int) -> Part:
    """A part without preparation."""
    return Part(name, lambda: run, lambda: (works, num_tokens))


def _head(name: str, trained: Trained, floors: Floors, chunk_tokens: int | None) -> Part:
    """Log-probabilities of hidden states, forward and backward: four times the arithmetic, one of them a repetition."""
    num_tokens = trained.setting.generations * trained.setting.completion_tokens
    works = [floors.head.times(4, 1)]
    return Part(name, lambda: partial(trained.score, trained.hidden(), chunk_tokens), lambda: (works, num_tokens))


def _rollouts(trained: Trained, floors: Floors, num_prompts: int) -> Iterator[Part]:
    """Prompts up to the first token of their completions; the other tokens."""
    setting, what = trained.setting, "a prompt" if num_prompts == 1 else f"{num_prompts} prompts"
    rows, reading = num_prompts * setting.generations, f"rollouts of {what}, first token"
    begin, whole = (partial(trained.rollouts, num_prompts, count) for count in (1, setting.completion_tokens))
    yield _part(reading, begin, floors.rollouts(num_prompts, 1), num_prompts * setting.prompt_tokens)

    def written() -> tuple[list[Work], int]:
        return floors.decoding(num_prompts, trained.num_written), rows * (trained.num_written - 1)

    yield Part(f"rollouts of {what}, the rest", lambda: whole, written, minus=reading)


def _stepping(trained: Trained) -> Run:
    trained.make_gradients()
    return trained.step_optimizer


def _compiling(trained: Trained) -> Run:
    for policy in (trained.policy, trained.reference.policy):
        compile_parts(policy.model)
    return trained.update


def _keeping(trained: Trained) -> Run:
    trained.policy.model.gradient_checkpointing_disable()
    return trained.update


def _attending(way: Way, trained: Trained) -> None:
    with attending(way):
        trained.update()
