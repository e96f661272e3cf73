"""The benchmark's own parts: the generated E.T. Bench, and the agreement that every measurement demands."""

from dataclasses import replace

from museg.evaluation.benchmarks import read_benchmark
from museg.evaluation.rules import make_rule
from tests.benchmarks import scoring
from tests.benchmarks.made_et_bench import SIZES, made_completions, made_rows


class WordOverlap:
    """Stands in for the sentence encoder, on either side: share of common words."""

    def prime(self, texts):
        pass

    def __call__(self, text, options):
        return [self.between(text, option) for option in options]

    @staticmethod
    def between(one, other):
        words, others = set(one.lower().split()), set(other.lower().split())
        return len(words & others) / len(words | others) if words | others else 0.0


def files_of(folder, name, rows, completions):
    """Settings that expect so many rows, and the file of answers; both files are written."""
    settings = replace(scoring.settings_of(name), num_rows=len(rows))
    return settings, scoring.write_files(settings, folder, rows, completions)


def et_bench_share():
    """Every eleventh row, all groups among them, and its completion."""
    rows = made_rows()
    pairs = list(zip(rows, made_completions(rows), strict=True))[::11]
    return [row for row, _ in pairs], [completion for _, completion in pairs]


def without_encoder(name="et_bench"):
    rule = make_rule(scoring.settings_of(name).rule, captions=False)
    rule.similarity = WordOverlap()
    return rule


def test_whole_et_bench_is_valid(tmp_path):
    settings, rows = scoring.settings_of("et_bench"), made_rows()
    scoring.write_files(settings, tmp_path, rows, made_completions(rows))
    samples = read_benchmark(settings, tmp_path).samples  # refuses another number of rows than 7,289
    assert len(samples) == settings.num_rows == 7289
    assert len({sample.task for sample in samples}) == 12
    assert len({sample.source for sample in samples}) == 15
    assert rows == made_rows()


def test_all_sides_agree_on_et_bench(tmp_path):
    settings, answers = files_of(tmp_path, "et_bench", *et_bench_share())
    theirs = scoring.released(settings, tmp_path, answers, WordOverlap.between)
    assert set(theirs) == {f"{task}/{source}" for task, source in SIZES}
    assert scoring.differences(scoring.official(settings, tmp_path, answers, without_encoder()), theirs) == []
    assert scoring.differences(scoring.ours(settings, tmp_path, answers, without_encoder()), theirs) == []
    # answers of every kind: no group is all right or all wrong, and most have failures
    assert all(0 < numbers.get("F1", numbers.get("Acc", numbers.get("mRec"))) < 1 for numbers in theirs.values())
    assert sum(numbers["Failed"] > 0 for numbers in theirs.values()) > len(theirs) / 2


def test_one_other_answer_is_noticed(tmp_path):
    rows, completions = et_bench_share()
    place = next(index for index, row in enumerate(rows) if row["task"] == "tvg")
    start_s, end_s = rows[place]["tgt"]
    found = []
    for answer in (f"{start_s} - {end_s}", "none"):
        completions[place] = f"<answer>{answer}</answer>"
        settings, answers = files_of(tmp_path, "et_bench", rows, completions)
        found.append(scoring.official(settings, tmp_path, answers, without_encoder()))
    apart = scoring.differences(*found)
    # Failed, mIoU, a hit at each of four thresholds, and their mean
    assert len(apart) == 7
    assert all(line.startswith(f"tvg/{rows[place]['source']} ") for line in apart)


def test_all_sides_agree_on_charades(tmp_path):
    rows = scoring.charades_rows()[::10]
    settings, answers = files_of(tmp_path, "charades_sta", rows, map(scoring.charades_completion, rows))
    theirs = scoring.released(settings, tmp_path, answers, None)
    assert 0.2 < theirs["tvg"]["m_iou"] < 0.8
    for side in (scoring.official, scoring.ours):
        assert scoring.differences(side(settings, tmp_path, answers, without_encoder("charades_sta")), theirs) == []


def test_made_charades_rows_are_valid(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "RELEASED_CHARADES", tmp_path / "none.json")
    settings, rows = scoring.settings_of("charades_sta"), scoring.charades_rows()
    scoring.write_files(settings, tmp_path, rows, map(scoring.charades_completion, rows))
    assert len(read_benchmark(settings, tmp_path).samples) == 3720


def test_differences_name_what_differs():
    one = {"tvg/a": {"F1": 0.5, "mIoU": 0.1}, "evs/b": {"F1": 0.0}}
    other = {"tvg/a": {"F1": 0.50001, "Acc": 0.1, "mIoU": 0.1}}
    assert scoring.differences(one, one) == []
    assert scoring.differences(one, other) == [
        "evs/b: only one side has it",
        "tvg/a Acc: None and 0.1",
        "tvg/a F1: 0.5 and 0.50001",
    ]
