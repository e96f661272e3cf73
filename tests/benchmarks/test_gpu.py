"""The whole command on a processor: every part is there, what fails is told, and wrong results are noticed."""

import json
import time
import warnings

import pytest
import torch

from museg.policy import shared_prefix
from tests.benchmarks import gpu, gpu_checks, gpu_parts
from tests.benchmarks.gpu_checks import Checks
from tests.benchmarks.gpu_floor import Peaks, Work
from tests.benchmarks.gpu_shapes import (
    MODELS,
    QUICK,
    RELEASED,
    STORAGES,
    chosen_storage,
    config_of,
    made_prompts,
    memory_table,
    needed_gib,
    random_policy,
    size_of,
    working_gib,
)
from tests.benchmarks.gpu_timing import timed_s
from tests.benchmarks.gpu_training import Trained

pytestmark = pytest.mark.thorough

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Rows of the quick run by measure, from its file."""
    out = tmp_path_factory.mktemp("gpu") / "found.json"
    gpu.main(["--quick", "--out", str(out)])
    return {row["measure"]: row for row in json.loads(out.read_text())["rows"]}


def test_every_part_is_measured(found):
    assert not [row["error"] for row in found.values() if "error" in row]
    assert {row["shape"] for row in found.values()} == {"40x6x3"}  # 27 video tokens and 13 of text
    device = found["device"]["values"]
    assert device["matrix_tflop_per_s"] > 0 and device["copy_gb_per_s"] > 0 and device["storage"] == "float32"
    parts = [row for row in found.values() if "seconds" in row]
    assert len(parts) == 17 and all(len(row["seconds"]) == 1 and row["first_s"] > 0 for row in parts)


def test_what_was_counted_stands_beside_what_was_measured(tmp_path, capsys):
    report = gpu.Report("gpu made", "made", tmp_path / "found.json")
    gpu.add_memory(report, 48.93)
    assert not report.rows  # a processor's memory is not measured
    for part, peak_gib in (("policy forward", 31.0), ("whole step", 45.26)):
        report.add(part, values={"median_s": 1.0, "peak_gib": peak_gib}, is_warm=True, notes=[])
    gpu.add_memory(report, 48.93)
    assert capsys.readouterr().out.splitlines()[-1].split()[1:] == ["estimated_gib", "48.9,", "measured_gib", "45.3"]


def test_values_belong_together(found):
    peaks = found["device"]["values"]
    for name, row in found.items():
        if "mfu" not in row.get("values", {}):
            continue
        values = row["values"]
        done = values["tflop"] / peaks["matrix_tflop_per_s"]  # seconds at the peak
        assert values["mfu"] == pytest.approx(done / values["median_s"], rel=0.05, abs=1e-3), name
        assert values["floor_share"] == pytest.approx(values["floor_s"] / values["median_s"], rel=0.05, abs=1e-3), name


def test_arithmetic_of_the_parts_adds_up(found):
    flops = {name: row["values"].get("tflop") for name, row in found.items() if "seconds" in row}
    # backward is twice forward; an update is both, and the reference's forward
    assert flops["policy backward"] == pytest.approx(2 * flops["policy forward"], abs=3e-7)
    assert flops["update of a prompt"] == pytest.approx(4 * flops["policy forward"], abs=6e-7)
    # nothing is counted twice, however it is done
    assert flops["update, activations kept"] == flops["update of a prompt"]
    assert flops["update, prompt repeated"] > flops["update of a prompt"]


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Trained, "see", lambda self: torch.zeros(2) @ torch.zeros(3))
    parts = gpu_parts.parts_of
    monkeypatch.setattr(gpu, "parts_of", lambda trained: parts(trained)[:2])
    gpu.main(["--quick", "--out", str(tmp_path / "found.json")])
    failed, done = json.loads((tmp_path / "found.json").read_text())["rows"][-2:]
    assert failed["measure"] == "vision forward" and failed["error"].startswith(
        "RuntimeError: inconsistent tensor size"
    )
    assert done["measure"] == "prefill" and done["values"]["median_s"] > 0
    assert "vision forward" in capsys.readouterr().out


def test_a_rest_without_its_beginning_is_not_measured(tmp_path):
    report = gpu.Report("gpu tiny", "40x6x3", tmp_path / "found.json")
    report.add("reading", error="RuntimeError: out of memory")
    with pytest.raises(ValueError, match="'reading' was not measured"):
        report.median_s("reading")


def test_without_time_the_parts_are_named(tmp_path):
    out = tmp_path / "found.json"
    gpu.main(["--model", "tiny", "--minutes", "0", "--out", str(out)])
    rows = [row for row in json.loads(out.read_text())["rows"] if "error" in row]
    assert len(rows) == 17 and {row["error"] for row in rows} == {"not measured: no time was left"}


def test_wrong_results_are_noticed(tmp_path, monkeypatch):
    """Attention that lets completions see each other; the parts are measured, and the exit tells."""
    monkeypatch.setattr(
        shared_prefix.PackedRow, "sees", lambda self, query, key: (query >= key) & (self.prompt_of[query] >= 0)
    )
    monkeypatch.setattr(gpu, "parts_of", lambda trained: [])
    with pytest.raises(SystemExit, match=r"should: log-probabilities, attend_by_mask$"):
        gpu.main(["--quick", "--out", str(tmp_path / "found.json")])
    rows = {row["measure"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    wrong = rows["log-probabilities, attend_by_mask"]
    assert "not equal within 0.0001" in wrong["error"] and wrong["values"]["log_prob_gap"] > 1e-3


def test_a_rollout_of_other_weights_is_noticed(monkeypatch):
    checks, sample = Checks(CPU), gpu_checks.sample_rollouts

    def before_a_change(policy, *inputs):
        rollouts = sample(policy, *inputs)
        policy.model.lm_head.weight.mul_(1.5)
        return rollouts

    assert checks.sampled_log_probs()["log_prob_gap"] < 1e-4
    monkeypatch.setattr(gpu_checks, "sample_rollouts", before_a_change)
    assert checks.sampled_log_probs()["log_prob_gap"] > 1e-3


def test_a_kernel_that_is_wrong_for_the_measured_model_is_noticed():
    trained = Trained("tiny", QUICK, STORAGES[0], CPU)
    assert trained.agreement()["relative_gap"] < 1e-4
    with gpu_checks.attending(lambda row, module, query, key, value: torch.zeros_like(query).transpose(1, 2)):
        assert trained.agreement()["relative_gap"] > gpu_checks.MODEL_TOLERANCE


def test_what_a_part_warns_of_stands_in_its_row(tmp_path):
    report, trained = (
        gpu.Report("gpu tiny", "40x6x3", tmp_path / "found.json"),
        Trained("tiny", QUICK, STORAGES[0], CPU),
    )
    part = gpu_parts.Part("rollouts", lambda: lambda: warnings.warn("without graphs", stacklevel=1), lambda: ([], 0))
    gpu.measure(part, trained, report, Peaks(1, 1), left_s=1, limit_s=1, num_runs=1)
    assert report.rows[0]["notes"] == ["without graphs"] and "without graphs" in gpu.line_of(report.rows[0])


def test_runs_are_fewer_where_time_is_short():
    def work():
        time.sleep(0.01)

    def runs(left_s, limit_s):
        return len(timed_s(lambda: work, CPU, left_s=left_s, limit_s=limit_s, num_runs=3))

    # one to warm up and three; none beyond the limit; the first alone where a second would not end in time
    assert [runs(9, 9), runs(9, 0.001), runs(0.001, 0.001)] == [4, 2, 1]


def test_what_is_prepared_is_not_timed():
    seconds = timed_s(lambda: time.sleep(0.2) or (lambda: None), CPU, left_s=9, limit_s=9, num_runs=2)
    assert max(seconds) < 0.2


def test_shares_of_the_peaks():
    # 6 operations, 2 of them repeated, in 2 s of a device that does 4 a second; its floor is 1.5 s
    values = gpu.values_of([3.0, 2.0, 1.0], [Work(flops=6, repeated_flops=2)], 10, Peaks(4, 1))
    assert (values["median_s"], values["mfu"], values["floor_s"], values["floor_share"]) == (2.0, 0.5, 1.5, 0.75)
    assert values["tokens_per_s"] == 5


def test_memory_decides_the_storage():
    """140 GiB: 3B as training has it, 22 bytes of each of 3.75 billion; of 7B that would be 170 GiB."""
    sizes = {model: size_of(config_of(model)) for model in MODELS}
    assert round(sizes["3b"] / 1e9, 2) == 3.75 and round(sizes["7b"] / 1e9, 2) == 8.29
    # reading 14 x 14,336 patches of 53,760 bytes, their 0.9 GiB of pixels, and 3 to spare
    assert working_gib("7b") == pytest.approx(14 * 14_336 * 53_760 / 2**30 + 0.88 + 3, abs=0.3)
    assert needed_gib("7b", STORAGES[0], 10**9) == pytest.approx(22 * 10**9 / 2**30 + working_gib("7b"))
    chosen = {model: chosen_storage(model, size, 139.8).name for model, size in sizes.items()}
    assert chosen == {"tiny": "float32", "3b": "float32", "7b": "all in bfloat16"}
    assert chosen_storage("3b", sizes["3b"], 85).name == "float32, reference in bfloat16"
    assert chosen_storage("3b", sizes["3b"], 79).name == "all in bfloat16"
    with pytest.raises(ValueError, match=r"--model 7b needs 91 GiB with all in bfloat16, and the device has 79"):
        chosen_storage("7b", sizes["7b"], 79)
    table = memory_table("7b", sizes["7b"], 139.8)
    assert "184.1 GiB  22 bytes a parameter  float32: does not fit\n" in table
    assert "all in bfloat16: fits" in table.splitlines()[-1]


def test_prompts_have_the_released_size():
    # 448 frames are 224 pairs of 4 x 4 tokens
    assert (RELEASED.video_tokens, RELEASED.prompt_tokens, str(RELEASED)) == (3584, 3700, "3700x300x8")


def test_a_policy_in_bfloat16_keeps_its_frequencies():
    """Rounded, they would turn late tokens by whole radians."""
    policy = random_policy(config_of("tiny"), CPU, torch.bfloat16)
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in policy.model.buffers()} == {torch.float32}
    batch = made_prompts(policy, QUICK, 2)
    assert int((batch.input_ids == policy.ids.video_id).sum()) == 2 * QUICK.video_tokens
    assert batch.pixel_values.shape == (2 * 3 * 6 * 6, 1176)
