"""MeCo: a model writes events and transitions instead of times, and two heads find the steps that each belongs to.

Shapes: B prompts of the step; C completion tokens; K structural tokens and T steps of a sample.

**Source:** arXiv 2503.09027; pangzss/MeCo d3ed11b.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from museg.data.clips import StepBatch
from museg.meco.alignment import AlignmentHeads
from museg.meco.alignment_loss import AlignedSample, alignment_metrics, structural_loss
from museg.meco.exported import AlignmentFacts, load_heads, save_heads
from museg.meco.localization import LocalizationSettings
from museg.meco.sample_states import sample_states, similarity_rows
from museg.meco.structure import Structure
from museg.meco.tokens import add_structural_tokens, structural_ids
from museg.metrics.keys import STRUCTURE_KEYS
from museg.objectives.supervised import supervised_loss
from museg.phases.batches import derive_seed
from museg.policy.loading import Policy, special_ids
from museg.policy.processing import PromptBatch, encode_completions
from museg.policy.recorded_layers import RecordedLayers, video_grids
from museg.policy.recorded_log_probs import recorded_log_probs
from museg.training import processes
from museg.training.job import TrainingJob
from museg.training.located_times import LocatedTimes
from museg.training.phased_module import PhasedModule, example_ids_of
from museg.training.step_metrics import whole_step
from museg.training.stopwatch import Stopwatch
from museg.training.structure_targets import StructureRules


class MecoModule(PhasedModule):
    """Likelihood of the target text, and alignment of its structural tokens with the steps they stand for.

    Args:
        heads: those of `prepared`, which made them with `start_heads` and `temperature` (`new_heads`).
        token_layer, frame_layer: whose states the heads read, counted from the end (`RecordedLayers`).
        weight: of the structural loss beside that of the text.
        loss: "separate" or "joint" (`museg.meco.alignment_loss.structural_loss`).
        head_gap_s, gap_s, inclusive_end: of the targets (`StructureRules`).
        localization: fields of `LocalizationSettings`, by which answers are read.
    """

    metric_keys = tuple(STRUCTURE_KEYS)
    asks_for_events = True

    def __init__(
        self,
        policy: Policy,
        job: TrainingJob,
        *,
        heads: AlignmentHeads,
        start_heads: str | None,
        token_layer: int,
        frame_layer: int,
        weight: float,
        loss: str,
        temperature: float,
        head_gap_s: float,
        gap_s: float,
        inclusive_end: bool,
        localization: Mapping[str, Any],
    ) -> None:
        super().__init__(policy, job)
        self.heads, self.layers = heads, RecordedLayers(token_layer, frame_layer)
        self.weight, self.loss = weight, loss
        self.ids = structural_ids(policy.tokenizer)
        self.rules = StructureRules(head_gap_s, gap_s, inclusive_end)
        self.reader = LocatedTimes(self.heads, self.layers, LocalizationSettings(**localization))

    @staticmethod
    def needs_reference(job: TrainingJob) -> bool:
        """Likelihood and alignment need none."""
        return False

    @staticmethod
    def prepared(policy: Policy, seed: int, **options: Any) -> tuple[Policy, AlignmentHeads]:
        """The policy with the structural tokens, and the heads (`new_heads`)."""
        add_structural_tokens(policy.tokenizer, policy.model)
        vocab_size = policy.model.config.text_config.vocab_size
        policy = replace(policy, ids=special_ids(policy.tokenizer, vocab_size))  # the tokens may be written now
        return policy, new_heads(policy, seed, options["start_heads"], options["temperature"])

    @staticmethod
    def write_beside(folder: Path, weights: Mapping[str, Tensor], **options: Any) -> None:
        """The heads, and how they are to be asked: `museg.meco.exported.load_heads` reads both."""
        named = {name: options[name] for name in ("token_layer", "frame_layer", "inclusive_end")}
        save_heads(
            folder, weights, AlignmentFacts(**named, localization=LocalizationSettings(**options["localization"]))
        )

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Learn the texts and structures of this step's examples."""
        step, watch = batch.global_step, Stopwatch()
        phase, _ = self.job.schedule.locate(step)
        self.steps_done = step + 1
        metrics = {"data/num_prompts": float(len(batch.clips))}
        loss, measured = self.learn(batch, phase.prompt)
        if loss is not None:
            with self.parts("optimizer"):
                metrics |= {"loss/total": loss} | measured | self.step_optimizer(step, example_ids_of(batch))
            metrics |= {"time/update_s": watch.lap_s()}
        return whole_step(metrics, [])

    def learn(self, batch: StepBatch, wording: str) -> tuple[float | None, dict[str, float]]:
        """Backward over the step's examples; returns the loss, None when no clip can be read, and what was measured."""
        with self.parts("building prompts"), self.gathered_tower():
            prompts = self.prompts_of(batch, wording) if batch.clips else None
        structures = [self.rules.structure_of(clip) for clip in batch.clips]
        num_aligned = max(sum(processes.gather(_num_aligned(structures))), 1)
        if prompts is None:
            return self.stand_by(batch.global_step), {}
        ids, mask = (part.to(self.device) for part in encode_completions(self.policy, [one.text for one in structures]))
        weight = self.weight if any(one.requires_grad for one in self.heads.parameters()) else 0.0
        texts, aligned, samples, scale = 0.0, 0.0, [], None

        def loss_of(part: range, num_tokens: float) -> Tensor:
            nonlocal texts, aligned, scale
            rows = slice(part.start, part.stop)
            inputs = (prompts.select(list(part)), ids[rows], mask[rows], structures[rows])
            with self.parts("policy forward"):
                text, found, scale = self.weights.run(lambda: self.aligned(*inputs))
            of_text = text * (float(mask[rows].sum()) / num_tokens)
            of_structure = structural_loss(found, scale, self.loss) * (_num_aligned(structures[rows]) / num_aligned)
            texts, aligned = texts + float(of_text.detach()), aligned + float(of_structure.detach())
            samples.extend(replace(one, cosines=one.cosines.detach()) for one in found)
            return of_text + weight * of_structure

        loss = self.accumulate(batch.global_step, example_ids_of(batch), float(mask.sum()), loss_of)
        described = alignment_metrics(samples, scale.detach(), self.loss)
        measured = {f"structure/{name}": value for name, value in described.items()}
        return loss, {"loss/text": texts, "loss/structure": aligned} | measured

    def aligned(
        self, prompts: PromptBatch, ids: Tensor, mask: Tensor, structures: Sequence[Structure]
    ) -> tuple[Tensor, list[AlignedSample], Tensor]:
        """The loss of the texts, every sample's tokens beside its steps, and the scale: one pass through the model."""
        found = recorded_log_probs(self.policy, prompts, ids, mask, self.layers)
        states = sample_states(
            self.ids, ids, mask, found.token_states, found.frame_states, video_grids(prompts), self.merge
        )
        rows, scale = similarity_rows(self.heads, states)
        samples = [
            AlignedSample(row, self.rules.targets_of(structure, row.shape[1], seconds).to(row), one.kinds)
            for row, structure, seconds, one in zip(
                rows, structures, prompts.second_per_grid_ts.tolist(), states, strict=True
            )
        ]
        return supervised_loss(found.log_probs, mask), samples, scale

    @property
    def merge(self) -> int:
        """Patches in height, and in width, of one video token."""
        return self.policy.model.config.vision_config.spatial_merge_size

    def idle_loss(self) -> Tensor:
        """Zero, with a gradient of zero for every trained weight, the heads' included."""
        nothing = [Structure("", ())]
        inputs = self.blank_inputs(self.policy)
        text, samples, scale = self.weights.run(lambda: self.aligned(*inputs, nothing))
        return 0.0 * text + structural_loss(samples, scale, self.loss)


def new_heads(policy: Policy, seed: int, start_heads: str | None, temperature: float) -> AlignmentHeads:
    """Heads for a policy: those of an exported model in the folder `start_heads`, or new ones by the run's seed, which
    divide cosines by `temperature` at first.

    Raises ValueError where they are for a model of another width.
    """
    width = policy.model.config.text_config.hidden_size
    heads = AlignmentHeads(width, temperature=temperature, seed=derive_seed(seed, "alignment_heads"))
    if start_heads is not None:
        weights = load_heads(Path(start_heads)).heads.state_dict()
        if {name: weight.shape for name, weight in weights.items()} != {
            name: weight.shape for name, weight in heads.state_dict().items()
        }:
            raise ValueError(f"method.start_heads={start_heads} holds heads for a model that is not {width} wide")
        heads.load_state_dict(weights)
    return heads.to(policy.device)


def _num_aligned(structures: Sequence[Structure]) -> int:
    return sum(bool(structure.spans) for structure in structures)
