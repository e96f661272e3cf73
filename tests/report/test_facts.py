import json

from museg.report.facts import duration, key_facts, outcome, phase_spans, signed, stages, unfinished_because
from museg.report.run_folder import read_run


def write_summary(run_dir, **content):
    (run_dir / "summary.json").write_text(json.dumps(content), encoding="utf-8")


def held_out(**greedy_mean_iou):
    return {stage: {"mean_iou": value} for stage, value in greedy_mean_iou.items()}


def test_the_outcome_names_both_modes_and_the_steps(tmp_path):
    scores = {
        "cold_start": {"mean_iou": 0.66, "sampled": {"mean_iou": 0.524}},
        "plain": {"mean_iou": 0.64, "sampled": {"mean_iou": 0.69}},
    }
    write_summary(tmp_path, held_out=scores, phases=[{"name": "plain", "start_step": 0, "end_step": 900}])
    assert outcome(read_run(tmp_path)) == (
        "On held-out clips: sampled mIoU 0.524 → 0.690 (+0.166), greedy mIoU 0.660 → 0.640 (−0.020) over 900 steps."
    )


def test_one_stage_has_nothing_to_compare(tmp_path):
    write_summary(tmp_path, held_out=held_out(start=0.3))
    assert outcome(read_run(tmp_path)) == "On held-out clips: greedy mIoU 0.300."


def test_no_summary_means_no_outcome_even_with_a_log(copy_of_run):
    run_dir = copy_of_run()
    (run_dir / "summary.json").unlink()
    run = read_run(run_dir)
    assert outcome(run).startswith("No held-out result yet")
    assert "summary.json is missing" in unfinished_because(run)
    # The phases are then those of the rows: steps count from 1, so the first row of a phase ends its first step.
    assert [(s.name, s.start_step, s.end_step) for s in phase_spans(run)] == [
        ("timestamp", 0, 400),
        ("plain", 400, 900),
    ]


def test_a_cut_short_log_is_unfinished(copy_of_run):
    run_dir = copy_of_run()
    lines = (run_dir / "metrics.csv").read_text(encoding="utf-8").splitlines()
    (run_dir / "metrics.csv").write_text("\n".join(lines[:300]), encoding="utf-8")
    # 300 lines: header, 9 of the cold start, 1 validation before step 1, then 50 steps and 1 validation in turn:
    # 289 lines = 5 x 51 + 34, which is 284 steps.
    assert unfinished_because(read_run(run_dir)) == "the run log holds 284 of 900 steps"


def test_a_finished_run_is_finished(finished_run):
    assert unfinished_because(read_run(finished_run)) is None


def test_a_phase_without_scores_is_unfinished(tmp_path):
    phases = [{"name": "a", "start_step": 0, "end_step": 2}, {"name": "last_one", "start_step": 2, "end_step": 4}]
    write_summary(tmp_path, held_out=held_out(a=0.5), phases=phases)
    assert unfinished_because(read_run(tmp_path)) == "held-out scores are missing for last one"


def test_stages_follow_the_run_not_the_alphabet(finished_run):
    assert stages(read_run(finished_run)) == ["cold_start", "timestamp", "plain"]


def test_key_facts_of_a_finished_run(finished_run):
    facts = {fact.label: fact.value for fact in key_facts(read_run(finished_run))}
    assert facts["Phases"] == "timestamp (400 steps) → plain (500 steps)"
    assert facts["Cold start"] == "450 supervised steps, stopped because held-out mean IoU 0.602 reached 0.6"
    assert facts["Rollouts"] == "14 prompts × 8 per step, temperature 0.9"
    assert "0.5 × local" in facts["Reward"]
    assert facts["Duration"] == "prepare 9.0 s · cold start 1.6 min · training 9.0 min · total 10.9 min"


def test_facts_nobody_recorded_are_left_out(tmp_path):
    assert key_facts(read_run(tmp_path)) == []


def test_a_summary_of_wrong_types_is_survived(tmp_path):
    write_summary(tmp_path, held_out=[1], phases=7, cold_start="x", timings_s=None, versions=[None], seed={"a": []})
    run = read_run(tmp_path)
    assert phase_spans(run) == []
    assert stages(run) == []
    assert outcome(run).startswith("No held-out result yet")
    assert [fact.label for fact in key_facts(run)] == ["Seed"]


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert [signed(value) for value in (0.1236, -0.1236, -0.0004, 0.0)] == ["+0.124", "−0.124", "+0.000", "+0.000"]


def test_durations():
    # 90 s is still said in seconds no more: 90 / 60 = 1.5 min; 5400 s = 1.5 h.
    assert [duration(s) for s in (3.14, 90, 5400)] == ["3.1 s", "1.5 min", "1.5 h"]
