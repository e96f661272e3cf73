import hashlib
from dataclasses import asdict

import pytest

from museg.config import evaluation_schema
from museg.data.dataset import resolve_video
from museg.evaluation import benchmarks
from museg.evaluation.benchmarks import read_benchmark
from museg.evaluation.rules import make_rule
from museg.video.synthetic_layout import SyntheticSettings
from tests.evaluation.annotation_files import ET_BENCH, GROUNDING, lines_file, list_file, settings


def test_distributed_file_is_read_and_counted(tmp_path):
    file = list_file(tmp_path / "annotations", GROUNDING, GROUNDING, name="thumos14.json")
    benchmark = read_benchmark(settings(), tmp_path)
    assert [sample.row for sample in benchmark.samples] == [0, 1]
    assert {sample.task for sample in benchmark.samples} == {"tal"}
    assert benchmark.file == file and benchmark.video_root == tmp_path / "videos"
    assert benchmark.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_another_number_of_rows_is_refused(tmp_path):
    list_file(tmp_path / "annotations", GROUNDING, name="thumos14.json")
    with pytest.raises(ValueError, match=r"gives 1 samples, but thumos14 has 2[\s\S]*prepare benchmark=thumos14"):
        read_benchmark(settings(), tmp_path)
    assert len(read_benchmark(settings(num_rows=None), tmp_path).samples) == 1


def test_a_file_of_ones_own_is_not_counted(tmp_path):
    own = list_file(tmp_path, GROUNDING, name="own.json")
    benchmark = read_benchmark(settings(annotations=str(own), video_root="my_videos"), tmp_path)
    assert (benchmark.file, len(benchmark.samples), str(benchmark.video_root)) == (own, 1, "my_videos")


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"thumos14\.json .*python -m museg\.commands\.prepare benchmark=thumos14"):
        read_benchmark(settings(), tmp_path)
    with pytest.raises(ValueError, match=r"benchmark\.annotations names none\.json, which is not a file"):
        read_benchmark(settings(annotations="none.json"), tmp_path)


def test_empty_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no rows"):
        read_benchmark(settings(annotations=str(list_file(tmp_path))), tmp_path)


def test_subset_reads_both_files(tmp_path):
    base = list_file(tmp_path / "annotations", ET_BENCH["tvg"], ET_BENCH["epm"], name="et_bench.json")
    chooser = tmp_path / "annotations" / "subset.json"
    described = settings(
        format="et_bench_subset",
        rule="et_bench",
        distributed="et_bench.json",
        distributed_subset="subset.json",
        num_rows=1,
    )
    with pytest.raises(ValueError, match=r"subset\.json .* does not exist"):
        read_benchmark(described, tmp_path)
    chooser.write_text('{"epm": {"ego4d_nlq": [0]}}', encoding="utf-8")
    benchmark = read_benchmark(described, tmp_path)
    assert [(sample.sample_id, sample.row) for sample in benchmark.samples] == [("epm/ego4d_nlq/0", 1)]
    assert [(sample.sample_id, sample.row) for sample in benchmark.unasked] == [("tvg/qvhighlights/0", 0)]
    assert benchmark.sha256 == hashlib.sha256(base.read_bytes() + chooser.read_bytes()).hexdigest()
    own = tmp_path / "own.json"
    own.write_text('{"epm": {"ego4d_nlq": [0]}, "tvg": {"qvhighlights": [0]}}', encoding="utf-8")
    chosen = read_benchmark(settings(**{**asdict(described), "subset": str(own)}), tmp_path)
    assert len(chosen.samples) == 2 and chosen.unasked == ()  # counted 1 when distributed, but this file is one's own


def test_clips_are_drawn_where_they_are_not_there(tmp_path):
    clips = {"_target_": "museg.data.dataset.synthetic_data", "root": str(tmp_path / "clips"), "order": "by_step"}
    clips |= asdict(SyntheticSettings(num_train_clips=1, num_held_out_clips=3))
    described = settings(
        name="synthetic", format="synthetic", rule="released_by_task", distributed=None, num_rows=None, clips=clips
    )
    drawn = []
    benchmark = read_benchmark(described, tmp_path, progress=lambda done, every: drawn.append((done, every)))
    assert drawn[-1] == (4, 4) and len(benchmark.samples) == 3  # a held-out clip carries one question
    assert benchmark.file.name == "held_out.jsonl" and benchmark.file.parent == benchmark.video_root
    for sample in benchmark.samples:
        assert resolve_video(benchmark.video_root, sample.video).is_file() and sample.targets
    again = read_benchmark(described, tmp_path, progress=lambda done, every: pytest.fail("drawn twice"))
    assert again.samples == benchmark.samples and again.sha256 == benchmark.sha256


def test_rows_of_ones_own(tmp_path):
    row = {"idx": 3, "problem": "When?", "solution": [[1, 2]], "video": "a.mp4", "task": "tvg"}
    own = lines_file(tmp_path, row)
    described = settings(format="museg_jsonl", rule="released_by_task", distributed=None, annotations=str(own))
    assert read_benchmark(described, tmp_path).samples[0].sample_id == "3"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"format": "csv"}, "benchmark.format must be one of"),
        ({"rule": "best"}, "benchmark.rule must be one of"),
        ({"question": "When?"}, r"must contain \{query\}"),
        ({"distributed": None}, "set benchmark.annotations=FILE"),
    ],
)
def test_settings_are_checked(changes, rule):
    with pytest.raises(ValueError, match=rule):
        settings(**changes)


def test_schema_knows_the_same_formats_and_rules():
    assert tuple(benchmarks.FORMATS) == evaluation_schema.FORMATS
    assert benchmarks.RULES == evaluation_schema.RULES
    assert [make_rule(name, captions=False).name for name in benchmarks.RULES] == list(benchmarks.RULES)
