from collections import Counter

import pytest

from museg.evaluation.published import all_published, published
from museg.metrics.evaluation_keys import describe

BENCHMARKS = {
    "charades_sta",
    "thumos14",
    "thumos15",
    "perception_test",
    "et_bench",
    "et_bench_subset",
    "activitynet_captions",
    "qvhighlights",
}


def value(model: str, benchmark: str, name: str, differs: bool) -> float:
    (found,) = (
        number.value
        for number in published([model], [benchmark])
        if (number.name, bool(number.differs)) == (name, differs)
    )
    return found


def test_numbers_are_in_the_unit_of_our_metric():
    # Printed 29.7 % beside a share, 37.5 beside a percentage, 70.2 % beside a percentage.
    assert value("MUSEG-7B", "thumos14", "mean_f1_multi", differs=False) == pytest.approx(0.297)
    assert value("MUSEG-7B", "et_bench", "F1 (gnd)", differs=False) == 37.5
    assert value("TimeLens2-8B", "qvhighlights", "MR-full-mIoU", differs=True) == 70.2


def test_another_annotation_is_told_apart():
    assert value("Time-R1-7B", "charades_sta", "f1_single_0.5", differs=False) == pytest.approx(0.608)
    assert value("Time-R1-7B", "charades_sta", "m_iou", differs=True) == pytest.approx(0.366)


def test_columns_without_a_metric_of_ours_are_kept_but_not_shown_beside_one():
    assert {number.column for number in all_published() if number.name is None} == {
        "et_bench_cap",
        "et_bench_avg",
        "et_bench_subset_avg",
    }
    assert published(["MUSEG-7B"], ["et_bench_subset"]) == ()


def test_an_unknown_model_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"nothing published is known of MUSEG-9B; known models: museg_7b, museg_3b,"):
        published(["MUSEG-7B", "MUSEG-9B"], ["thumos14"])


def test_models_may_be_named_as_on_a_command_line():
    assert published(["museg_7b"], ["thumos14"]) == published(["MUSEG-7B"], ["thumos14"]) != ()
    assert {number.model for number in published(["qwen2_5_vl_3b"], BENCHMARKS)} == {"Qwen2.5-VL-3B"}


def test_every_column_belongs_to_a_metric_that_is_reported_in_its_unit():
    for number in all_published():
        if number.name is not None:
            key = describe(number.name)
            assert key.meaning != number.name, number  # an unknown name describes itself
            assert (number.value > 1) == (key.unit == "%"), number


def test_the_file_is_whole():
    numbers = all_published()
    # 5 models with 10 numbers, Time-R1 with 6, VideoChat-R1.5 with 1, 5 models with 3 on TimeLens-Bench.
    assert len(numbers) == 5 * 10 + 6 + 1 + 5 * 3
    assert {number.benchmark for number in numbers} == BENCHMARKS
    assert {number.section for number in numbers} <= {"official", "corrected", "field"}
    assert all(number.source for number in numbers)
    assert max(Counter((n.model, n.column, n.source) for n in numbers).values()) == 1
