"""Every metric key the run log knows, defined once: label, unit and meaning.

Keys of reward terms (`reward/<term>`) and of held-out scores (`held_out/<mode>/<score>`) are made here too, so that the
writer, the dashboards and the report agree on them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from museg.metrics.grounding_scores import IOU_THRESHOLDS

MODES = ("greedy", "sampled")
"""How held-out answers are made: the most likely tokens, or one sample at the rollout temperature."""


class MetricKey(NamedTuple):
    """Short label for a chart, unit (empty for pure numbers), and one sentence of meaning."""

    label: str
    unit: str
    meaning: str


TRAIN_KEYS: dict[str, MetricKey] = {
    "reward/total": MetricKey("reward", "", "weighted sum of the phase's reward terms, mean over the step's rollouts"),
    "reward/group_std": MetricKey("reward spread", "", "standard deviation of the reward in a group, mean over groups"),
    "reward/zero_std_share": MetricKey("groups without signal", "share", "groups whose rollouts all earn the same"),
    "train/mean_iou": MetricKey("mean IoU (rollouts)", "", "set IoU of the rollouts as the rewards read them"),
    "train/well_formed_share": MetricKey("well formed (rollouts)", "share", "rollouts without any fault of form"),
    "train/num_predicted_segments": MetricKey("segments per rollout", "segments", "mean number of predicted segments"),
    "train/num_true_segments": MetricKey(
        "true segments", "segments", "mean number of true segments of the step's prompts"
    ),
    "train/completion_tokens": MetricKey("completion length", "tokens", "mean length of a rollout, end token included"),
    "train/truncated_share": MetricKey(
        "cut off", "share", "rollouts that reached the token limit without an end token"
    ),
    "train/learning_rate": MetricKey("learning rate", "", "learning rate of this step"),
    "train/log_prob_gap": MetricKey(
        "rollout/training gap", "nats", "largest difference between a token's log-prob at rollout and at training"
    ),
    "train/log_prob_gap_mean": MetricKey(
        "mean rollout/training gap", "nats", "mean difference of a token's log-probs at rollout and at training"
    ),
    "loss/total": MetricKey("loss", "", "objective averaged over the step's sequences"),
    "loss/kl": MetricKey("KL to reference", "nats", "k3 estimate of the KL divergence to the reference, per token"),
    "loss/clip_fraction": MetricKey("clipped", "share", "tokens whose probability ratio left the clip range"),
    "loss/importance_fraction": MetricKey(
        "truncated or masked", "share", "tokens whose weight for the rollout/training gap left the range of its cap"
    ),
    "loss/grad_norm": MetricKey("gradient norm", "", "norm of the gradient before clipping"),
    "data/num_prompts": MetricKey("prompts", "prompts", "prompts of this step whose clip could be read"),
    "data/num_quarantined": MetricKey("quarantined clips", "clips", "distinct unreadable clips of the run so far"),
    "time/step_s": MetricKey("step time", "s", "wall clock of the step, waiting for clips included"),
    "time/wait_s": MetricKey("waiting for clips", "s", "time the step waited for decoded clips"),
    "time/rollout_s": MetricKey("rollout time", "s", "time of sampling the step's rollouts"),
    "time/validation_s": MetricKey("validation time", "s", "time of one look at the held-out clips"),
    "time/checkpoint_s": MetricKey("checkpoint time", "s", "time of writing the checkpoint after the step before this"),
    "time/update_s": MetricKey("update time", "s", "time of log-probs, backward passes and the optimizer"),
}

STRUCTURE_KEYS: dict[str, MetricKey] = {
    "loss/text": MetricKey("loss of the text", "nats", "mean negative log-probability of a token of the target texts"),
    "loss/structure": MetricKey("loss of the structure", "nats", "cross-entropy of structural tokens over video steps"),
    "structure/kl": MetricKey("structure above its least", "nats", "that loss less what no weights could remove"),
    "structure/event": MetricKey("loss of events", "nats", "cross-entropy of the tokens that close events"),
    "structure/transition": MetricKey("loss of transitions", "nats", "cross-entropy of the tokens of transitions"),
    "structure/hit_at_1": MetricKey("hit@1", "share", "structural tokens whose likeliest step lies in their target"),
    "structure/cosine_in": MetricKey("cosine inside", "", "similarity of tokens and steps of their target"),
    "structure/cosine_out": MetricKey("cosine outside", "", "similarity of tokens and all other steps"),
    "structure/scale": MetricKey("scale", "", "what cosines are multiplied by before the softmax over steps"),
}
"""What method=meco measures besides `TRAIN_KEYS`: on the target texts of a step, before its update."""

HELD_OUT_SCORES: dict[str, MetricKey] = {
    "mean_iou": MetricKey("mean IoU", "", "intersection over union in seconds of all predicted and all true segments"),
    **{
        f"f1@{t}": MetricKey(f"F1@{t}", "", f"segment F1 at IoU {t}, many-to-one as in the released evaluation")
        for t in IOU_THRESHOLDS
    },
    **{f"recall@{t}": MetricKey(f"recall@{t}", "", f"true segments found at IoU {t}") for t in IOU_THRESHOLDS},
    "well_formed_share": MetricKey("well formed", "share", "answers the strict reader finds no fault in"),
    "timestamps_cited_share": MetricKey("timestamps cited", "share", "well formed, all times cited in the reasoning"),
    "matching_reward": MetricKey("matching reward", "", "mean of coverage and sequential matching reward"),
    "num_predicted_segments": MetricKey("predicted segments", "segments", "mean number of predicted segments"),
    "num_true_segments": MetricKey("true segments", "segments", "mean number of true segments"),
    "count_accuracy": MetricKey("count accuracy", "share", "answers with the right number of segments"),
    "completion_tokens": MetricKey("completion length", "tokens", "mean length of an answer, end token included"),
}

STEP_KEY, PHASE_KEY = "step", "phase"
COLD_START_STEP_KEY = "cold_start/step"
COMPLETIONS_KEY, TIMELINES_KEY = "completions", "timelines"

DASHBOARD_KEYS: dict[str, MetricKey] = {
    STEP_KEY: MetricKey("step", "steps", "finished reinforcement steps: the x-axis of all but the cold start"),
    PHASE_KEY: MetricKey("phase", "", "number of the step's phase, from 0 in the order of phase.phases"),
    COLD_START_STEP_KEY: MetricKey("cold start step", "steps", "finished supervised steps: the cold start's x-axis"),
    "cold_start/loss": MetricKey("cold start loss", "", "loss of the supervised step"),
    "cold_start/mean_iou": MetricKey("cold start mean IoU", "", "mean IoU of greedy answers to held-out clips"),
    COMPLETIONS_KEY: MetricKey("completions", "", "table of a step's sampled completions with what they earned"),
    TIMELINES_KEY: MetricKey("timelines", "", "pictures of true and answered segments of some of these prompts"),
}
"""What a dashboard gets besides the columns of the run log, whose index columns and files say the same."""

COLD_START_COLUMNS = {"cold_start/loss": "loss/total", "cold_start/mean_iou": "held_out/greedy/mean_iou"}
"""Key of a dashboard -> the column of the run log that a row of the cold start has it in."""


def reward_key(term: str) -> str:
    """Key of one unweighted reward term."""
    return f"reward/{term}"


def held_out_key(mode: str, score: str) -> str:
    """Key of one held-out score under one mode of `MODES`."""
    return f"held_out/{mode}/{score}"


def columns(reward_terms: Iterable[str], of_method: Iterable[str] = ()) -> list[str]:
    """All metric columns of a run whose reward mix has these terms, in the order of the run log.

    `of_method`: keys that only its method has.
    """
    held_out = [held_out_key(mode, score) for mode in MODES for score in HELD_OUT_SCORES]
    return [*TRAIN_KEYS, *of_method, *(reward_key(term) for term in reward_terms), *held_out]


def describe(key: str) -> MetricKey:
    """Label, unit and meaning of a key; a key nobody defined describes itself."""
    defined = TRAIN_KEYS | STRUCTURE_KEYS | DASHBOARD_KEYS
    if key in defined:
        return defined[key]
    kind, _, rest = key.partition("/")
    if kind == "reward":
        return MetricKey(rest, "", f"unweighted reward term {rest}, mean over the step's rollouts")
    mode, _, score = rest.partition("/")
    if kind == "held_out" and score in HELD_OUT_SCORES:
        label, unit, meaning = HELD_OUT_SCORES[score]
        return MetricKey(f"{label} ({mode})", unit, f"{meaning}; held-out clips, {mode} decoding")
    return MetricKey(key, "", key)
