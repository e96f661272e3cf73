"""Metrics of a step shared out over processes: sums, maxima, and means over prompts."""

from museg.training import processes
from museg.training.step_metrics import combined, whole_step


def test_every_kind_of_metric():
    first = {"data/num_prompts": 3.0, "reward/total": 1.0, "loss/kl": 0.25, "time/update_s": 2.0, "loss/total": 0.5}
    second = {"data/num_prompts": 1.0, "reward/total": 0.0, "loss/kl": 0.5, "time/update_s": 3.0, "loss/total": 0.5}
    assert combined([first, second]) == {
        "data/num_prompts": 4.0,
        "reward/total": 0.75,  # three prompts that earn 1 and one that earns 0
        "loss/kl": 0.75,  # each is a share of the whole already
        "time/update_s": 3.0,
        "loss/total": 0.5,
    }


def test_the_gap_between_sampling_and_training():
    first = {"data/num_prompts": 3.0, "train/log_prob_gap": 0.5, "train/log_prob_gap_mean": 0.25}
    second = {"data/num_prompts": 1.0, "train/log_prob_gap": 2.0, "train/log_prob_gap_mean": 0.125}
    together = combined([first | {"loss/importance_fraction": 0.0}, second | {"loss/importance_fraction": 0.125}])
    assert together["train/log_prob_gap"] == 2.0  # the largest of all tokens
    assert together["train/log_prob_gap_mean"] == 0.375  # each is a share of the whole already
    assert together["loss/importance_fraction"] == 0.125


def test_a_process_without_prompts_does_not_count():
    measured = {"data/num_prompts": 2.0, "reward/total": 0.4, "reward/format": 0.2}
    assert combined([{"data/num_prompts": 0.0}, measured]) == measured


def test_one_process_keeps_its_numbers():
    metrics = {"data/num_prompts": 3.0, "reward/total": 0.1 + 0.2}
    assert whole_step(metrics, []) == {"metrics": metrics, "completions": []}


def test_completions_stand_in_the_order_of_the_step():
    first, second = [(0, "a"), (0, "b"), (2, "e")], [(1, "c"), (1, "d"), (3, "f")]
    assert processes.in_order([first, second]) == list("abcdef")


def test_one_process_meets_nobody(tmp_path):
    assert (processes.rank(), processes.world_size(), processes.is_first()) == (0, 1, True)
    assert processes.gather("x") == ["x"]
    assert processes.shared_folder(tmp_path) == tmp_path and tmp_path.exists()
    calls = []
    assert processes.first_alone(lambda: calls.append(1) or 5) == 5
    assert calls == [1]
