"""Every metric name an evaluation reports, defined once: label, unit and meaning.

Names are those of the published scripts where there is one, so some are short and mean another thing for another task
of E.T. Bench; `describe` takes the task for these.
"""

import re
from collections.abc import Mapping

from museg.dialogue.et_bench_answers import TASKS
from museg.metrics.highlights import LEVELS
from museg.metrics.keys import MetricKey

_FAMILIES: Mapping[str, Mapping[str, MetricKey]] = {  # a name, or a pattern whose groups fill in label and meaning
    "counts": {
        "Total": MetricKey("samples", "samples", "number of samples"),
        "Failed": MetricKey("failed", "samples", "answers that the published script counts as failed, or stops at"),
    },
    "released grounding": {
        "m_iou": MetricKey("mean IoU", "", "IoU of the first predicted with the first true segment"),
        r"f1_single_(?P<t>[\d.]+)": MetricKey(
            "recall@1 at {t}", "share", "answers whose first segment meets the first true one at IoU {t}"
        ),
        "mean_f1_single": MetricKey("mean recall@1", "share", "recall@1, mean over the IoU thresholds"),
        r"f1_multi_(?P<t>[\d.]+)": MetricKey(
            "F1@{t}", "", "segment F1 at IoU {t}, several predictions may meet one true segment"
        ),
        "mean_f1_multi": MetricKey("mean F1", "", "many-to-one segment F1, mean over the IoU thresholds"),
    },
    "E.T. Bench": {
        "mIoU": MetricKey("mean IoU", "", "IoU of the first range of the answer with the truth it meets best"),
        r"R@(?P<t>[\d.]+)": MetricKey(
            "recall@1 at {t}", "share", "answers whose first range meets the truth at IoU {t}"
        ),
        "mRec": MetricKey("mean recall", "share", "recall@1, mean over the IoU thresholds"),
        r"F1@(?P<t>[\d.]+)": MetricKey("F1@{t}", "", "F1 at IoU {t}, counted as the task's script counts it"),
        "F1": MetricKey("F1", "", "F1 as the task's script counts it, mean over the IoU thresholds where it has any"),
        "Acc": MetricKey("accuracy", "share", "answers that choose the right option"),
    },
    "E.T. Bench captions": {
        r"Bleu_(?P<n>[1-4])": MetricKey("BLEU-{n}", "", "BLEU up to {n} words of the captions of matched moments"),
        "METEOR": MetricKey("METEOR", "", "METEOR of the captions of matched moments"),
        "ROUGE_L": MetricKey("ROUGE-L", "", "ROUGE-L of the captions of matched moments"),
        "CIDEr": MetricKey("CIDEr", "", "CIDEr of the captions of matched moments, each video its own collection"),
        "SentSim": MetricKey("sentence similarity", "", "mean cosine of the sentence embeddings of matched captions"),
    },
    "E.T. Bench summary": {
        "Acc (ref)": MetricKey("accuracy, referring", "%", "mean accuracy of rar, eca and rvq"),
        "F1 (gnd)": MetricKey("F1, grounding", "%", "mean F1 of tvg, epm, tal, evs and vhd"),
        "F1 (cap)": MetricKey("F1, dense captioning", "%", "mean F1 of dvc and slc"),
        "Sim (cap)": MetricKey("similarity, dense captioning", "%", "mean sentence similarity of dvc and slc"),
        "Rec (com)": MetricKey("recall, complex", "%", "mean recall of tem and gvq"),
        r"(?P<column>[A-Z]{3}) \((?P<score>Acc|F1|Sim|Rec)\)": MetricKey(
            "{column} {score}", "", "{score} of {column}{alias}, mean over its sources"
        ),
        r"Mean (?P<score>.+)": MetricKey("mean {score}", "", "{score}, mean over all pairs of task and source"),
        r"(?P<task>TEM|GVQ) Mean Rec": MetricKey("{task} mean recall", "", "mean recall of {task} over its sources"),
    },
    "E.T. Bench, corrected": {
        "exact_mIoU": MetricKey("mean IoU (exact)", "", "mean IoU of the first range in float64, undefined ones are 0"),
        r"exact_R@(?P<t>[\d.]+)": MetricKey(
            "recall@1 at {t} (exact)", "share", "answers whose first range meets the truth at IoU {t}, exact ties hit"
        ),
        "exact_mRec": MetricKey("mean recall (exact)", "share", "recall@1 with exact ties, mean over the thresholds"),
        r"one_to_one_F1@(?P<t>[\d.]+)": MetricKey(
            "F1@{t} (one to one)", "", "segment F1 at IoU {t}, each segment in one pair at most"
        ),
        "one_to_one_F1": MetricKey("F1 (one to one)", "", "one-to-one segment F1, mean over the IoU thresholds"),
        "Acc_letter_decides": MetricKey(
            "accuracy (letter decides)", "share", "right options when the first letter that names one decides"
        ),
    },
    "moment retrieval": {
        r"MR-(?P<range>\w+)-mIoU": MetricKey(
            "mean IoU ({range})", "%", "IoU of the first window with the true one it meets best{windows}"
        ),
        r"MR-(?P<range>\w+)-R1@(?P<t>[\d.]+)": MetricKey(
            "R1@{t} ({range})", "%", "queries whose first window meets a true one at IoU {t}{windows}"
        ),
        r"MR-(?P<range>\w+)-R5@(?P<t>[\d.]+)": MetricKey(
            "R5@{t} ({range})", "%", "queries where one of the first five windows meets a true one at IoU {t}{windows}"
        ),
        r"MR-(?P<range>\w+)-mAP": MetricKey(
            "mAP ({range})", "%", "average precision of the first ten windows, mean over IoU 0.5 to 0.95{windows}"
        ),
        r"MR-(?P<range>\w+)-mAP@(?P<t>[\d.]+)": MetricKey(
            "mAP@{t} ({range})", "%", "average precision of the first ten windows at IoU {t}{windows}"
        ),
    },
    "highlights": {
        r"HL-min-(?P<level>\w+)-mAP": MetricKey(
            "highlight mAP ({level})",
            "%",
            "average precision of the ranked clips; a highlight is marked {mark} or more",
        ),
        r"HL-min-(?P<level>\w+)-Hit1": MetricKey(
            "Hit@1 ({level})", "%", "queries whose highest clip some annotator marked {mark} or more (of 4)"
        ),
    },
    "field": {
        "mean_iou": MetricKey("mean IoU", "", "IoU in seconds of everything predicted and everything true"),
        "mean_iou@1": MetricKey("mean IoU, first", "", "IoU of the first segment with the true one it meets best"),
        r"recall@1@(?P<t>[\d.]+)": MetricKey(
            "recall@1 at {t}", "share", "answers whose first segment meets a true one at IoU {t}"
        ),
        r"recall@5@(?P<t>[\d.]+)": MetricKey(
            "recall@5 at {t}", "share", "answers where one of the first five segments meets a true one at IoU {t}"
        ),
        r"f1@(?P<t>[\d.]+)": MetricKey("F1@{t}", "", "segment F1 at IoU {t}, matched one to one"),
        r"precision@(?P<t>[\d.]+)": MetricKey(
            "precision@{t}", "share", "predicted segments matched at IoU {t}, one to one, mean over answers"
        ),
        r"recall@(?P<t>[\d.]+)": MetricKey(
            "recall@{t}", "share", "true segments matched at IoU {t}, one to one, mean over answers"
        ),
        r"mean_(?P<score>f1|precision|recall)": MetricKey(
            "mean {score}", "", "one-to-one segment {score}, mean over the IoU thresholds"
        ),
        "mAP": MetricKey("mAP", "", "average precision of the segments as ordered, mean over IoU 0.5 to 0.95"),
        r"mAP@(?P<t>[\d.]+)": MetricKey("mAP@{t}", "", "average precision of the segments as ordered, at IoU {t}"),
        "count_accuracy": MetricKey("count accuracy", "share", "answers with the right number of segments"),
        "count_f1": MetricKey("count F1", "", "2 min(p, t) / (p + t) of the numbers of segments, mean over answers"),
        "too_few": MetricKey("too few", "share", "answers with fewer segments than there are"),
        "too_many": MetricKey("too many", "share", "answers with more segments than there are"),
    },
}

_TASK_F1 = {
    "tvg": "answers whose first range meets the true one",
    "epm": "answers whose first range meets the true one",
    "tal": "segment F1 of each answer, several predictions may meet one true segment",
    "evs": "F1 of the seconds that answer and true summary cover, mean over the answers that can be read",
    "vhd": "answers whose moment lies in a true highlight",
    "dvc": "F1 of the mean precision and the mean recall of the moments, scaled by the share of readable answers",
    "slc": "F1 of the mean precision and the mean recall of the moments, scaled by the share of readable answers",
}
_LENGTHS = {
    "full": "",
    "short": "; true windows of up to 10 s",
    "middle": "; true windows of 10 to 30 s",
    "long": "; true windows of more than 30 s",
}
_OF_A_TASK = re.compile(rf"(?P<task>{'|'.join(TASKS).upper()}) (?P<name>[^ (]+)")
_NO_FALLBACK = "no_fallback_"
_ALL_SAMPLES = "_all_samples"
_CAPTIONED = "videos that occur twice count twice, exact ties hit"
_DIFFERS = {"dvc": _CAPTIONED, "slc": _CAPTIONED}
"""Task -> what the scores over all samples do differently, besides counting unreadable answers."""
_PATTERNS = {re.compile(name): key for family in _FAMILIES.values() for name, key in family.items() if "(?P<" in name}
_NAMES = {name: key for family in _FAMILIES.values() for name, key in family.items() if "(?P<" not in name}


def describe(name: str, task: str | None = None) -> MetricKey:
    """Label, unit and meaning of a reported metric, for one task of E.T. Bench where that matters.

    A name nobody defined describes itself.
    """
    if found := _OF_A_TASK.fullmatch(name):
        of_task = describe(found["name"], found["task"].lower())
        return of_task._replace(
            label=f"{found['task']} {of_task.label}", meaning=f"{of_task.meaning}; over its sources"
        )
    if name.startswith(_NO_FALLBACK):
        return _but(describe(name.removeprefix(_NO_FALLBACK), task), "no fallback", "an answer without a window is 0")
    if name.endswith(_ALL_SAMPLES):
        meaning = "; ".join(["an unreadable answer is 0", *([_DIFFERS[task]] if task in _DIFFERS else [])])
        return _but(describe(name.removesuffix(_ALL_SAMPLES)), "all samples", meaning)
    if name in _NAMES:
        return _for_task(_NAMES[name], name, task)
    for pattern, key in _PATTERNS.items():
        if found := pattern.fullmatch(name):
            return _for_task(_filled_in(key, found.groupdict()), name, task)
    return MetricKey(name, "", name)


def _but(key: MetricKey, label: str, meaning: str) -> MetricKey:
    return key._replace(label=f"{key.label} ({label})", meaning=f"{key.meaning}; {meaning}")


def _for_task(key: MetricKey, name: str, task: str | None) -> MetricKey:
    """The meaning that F1 has for one task."""
    if task not in _TASK_F1 or not re.fullmatch(r"F1(@[\d.]+)?", name):
        return key
    _, _, threshold = name.partition("@")
    meets = f" (IoU {threshold})" if threshold else "" if task in ("evs", "vhd") else ", mean over the IoU thresholds"
    return key._replace(meaning=_TASK_F1[task] + meets)


def _filled_in(key: MetricKey, groups: Mapping[str, str]) -> MetricKey:
    """Label and meaning with the groups of the name, and with what a range or a level stands for."""
    known = {
        "windows": _LENGTHS.get(groups.get("range", ""), ""),
        "mark": LEVELS.get(groups.get("level", ""), ""),
        "alias": " (the task eca)" if groups.get("column") == "EVC" else "",
        **{name: group.upper() if group == "f1" else group for name, group in groups.items()},
    }
    return MetricKey(key.label.format(**known), key.unit, key.meaning.format(**known))


def with_unit(key: MetricKey) -> str:
    """The label of a metric, with its unit where numbers would mislead without it."""
    return f"{key.label}, %" if key.unit == "%" else key.label
