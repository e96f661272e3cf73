"""A GRPO step by TRL's trainer on a text prompt, for `tests.benchmarks.step`. Needs the extra `bench`.

The text model alone, as `Qwen2ForCausalLM`, with the weights of ours. Its first step is `GRPOTrainer.train()`; every
later one calls the trainer's own parts in the order of `transformers.Trainer._run_epoch`, without the loop around them.

"compact" scores completion tokens alone, as TRL does wherever triton runs. On a processor it scores all positions; no
option changes that, so the one function that tells the devices apart is replaced while such a step runs. "row by row"
besides is TRL at its smallest: one completion a pass, gradients accumulated. Its paged engine for rollouts is left off:
on a processor it made the whole step 2.8 times as long.
"""

import tempfile
import warnings
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from tests.benchmarks.grpo_setup import Setup, move, text_of, text_reward
from tests.policy.sized_policy import sized_policy

COPIED = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("vocab_size", "initializer_range", "rms_norm_eps", "max_position_embeddings"),
)
"""Settings of the text model that both libraries name alike."""


class TrlStep:
    """A trainer with its reference model, one prompt and the reward of `grpo_setup`."""

    def __init__(self, setup: Setup, *, is_compact: bool = False, rows_at_once: int | None = None) -> None:
        from datasets import Dataset
        from trl import GRPOTrainer

        quiet_transformers()
        policy = sized_policy(**setup.sizes)
        self.is_compact, self.num_generations = is_compact, setup.shape.generations
        self.folder = tempfile.TemporaryDirectory()
        _text_model(policy.model).save_pretrained(f"{self.folder.name}/model")
        self.trainer = GRPOTrainer(
            model=f"{self.folder.name}/model",
            reward_funcs=_rewards,
            args=_config(setup, self.folder.name, rows_at_once or setup.shape.generations, policy.ids),
            train_dataset=Dataset.from_dict({"prompt": [text_of(setup.shape.prompt)]}),
            processing_class=policy.tokenizer,
        )
        self.trainer.remove_callback(PrinterCallback)
        move(self.compared)
        self.batches = iter(self.trainer.get_train_dataloader())

    @property
    def compared(self) -> nn.Module:
        """The decoder, whose gradients must be ours."""
        return self.trainer.model.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer below that of accelerate."""
        return self.trainer.optimizer.optimizer

    def start(self) -> None:
        """The first step, which sets everything up."""
        with self._scoring():
            self.trainer.train()

    def run(self) -> float:
        """A whole step on completions of its own; returns the loss."""
        trainer, rows = self.trainer, next(self.batches, None)
        if rows is None:
            self.batches = iter(trainer.get_train_dataloader())
            rows = next(self.batches)
        num_passes, loss = trainer.args.gradient_accumulation_steps, 0.0
        trainer.current_gradient_accumulation_steps = num_passes
        with self._scoring():
            for number in range(num_passes):
                trainer.accelerator.gradient_state._set_sync_gradients(number == num_passes - 1)
                loss += float(trainer.training_step(trainer.model_wrapped, rows, None))
        trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.model_wrapped.zero_grad()
        return loss

    def follow(self, completion_ids: Tensor) -> float:
        """The same on given completions [G, C] instead of sampled ones."""
        with patch.object(self.trainer, "_generate_single_turn", lambda *_, **__: (completion_ids.tolist(), None)):
            return self.run()

    def _scoring(self) -> AbstractContextManager:
        return patch("trl.trainer.utils._use_triton", lambda device: True) if self.is_compact else nullcontext()


def quiet_transformers() -> None:
    """Silence progress, and what is said of options that version 6 will rename."""
    disable_progress_bar()
    set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _text_model(model: nn.Module) -> Qwen2ForCausalLM:
    """The decoder and head of a Qwen2.5-VL as a text model."""
    ours = model.config.text_config
    rope = {"rope_type": "default", "rope_theta": ours.rope_parameters["rope_theta"]}
    config = Qwen2Config(
        **{name: getattr(ours, name) for name in COPIED},
        rope_parameters=rope,
        tie_word_embeddings=model.config.tie_word_embeddings,
        bos_token_id=None,
        eos_token_id=None,
    )
    text = Qwen2ForCausalLM(config)
    text.model.load_state_dict(model.model.language_model.state_dict())
    text.tie_weights()
    return text


def _rewards(completions: list[str], **_: object) -> list[float]:
    return [text_reward(text) for text in completions]


def _config(setup: Setup, folder: str, rows_at_once: int, ids: object) -> object:
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        max_steps=1,
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=setup.shape.generations // rows_at_once,
        num_generations=setup.shape.generations,
        max_completion_length=setup.shape.completion,
        generation_kwargs={"suppress_tokens": setup.never_sampled(ids)},
        temperature=1.0,
        learning_rate=setup.lr,
        lr_scheduler_type="constant",
        adam_beta1=setup.betas[0],
        adam_beta2=setup.betas[1],
        adam_epsilon=setup.eps,
        weight_decay=0.0,
        max_grad_norm=setup.max_grad_norm,
        beta=setup.beta,
        epsilon=setup.clip,
        loss_type="grpo",
        scale_rewards="group",
        use_bias_correction_kl=False,
        gradient_checkpointing=setup.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
