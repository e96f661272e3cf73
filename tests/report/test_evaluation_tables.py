import pytest

from museg.report.evaluation_tables import family_of, group_tables, section_tables, shown, term_table, tiles

METRICS = {
    "scores": {
        "field": {"mean_iou": 0.5},
        "official": {"Total": 3720, "m_iou": 0.4321, "f1_single_0.3": 0.7, "f1_single_0.1": 0.81234, "F1@0.5": None},
    },
    "headline": [{"section": "official", "name": "m_iou"}, {"section": "field", "name": "mean_iou"}, {"section": "x"}],
}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("f1_single_0.7", ("f1_single", "0.7")),
        ("recall@1@0.3", ("recall@1", "0.3")),
        ("MR-full-R1@0.95", ("MR-full-R1", "0.95")),
        ("Bleu_1", ("Bleu_1", "")),
        ("MR-full-mAP", ("MR-full-mAP", "")),
        ("mean_iou@1", ("mean_iou@1", "")),
    ],
)
def test_thresholds_in_names(name, family):
    assert family_of(name) == family


def test_a_section_has_a_row_for_each_family_and_a_column_for_each_threshold():
    official, field = section_tables(METRICS)
    assert (official.section, field.section) == ("official", "field")
    assert official.thresholds == ("0.1", "0.3", "0.5")
    assert [(row.label, row.value, row.by_threshold) for row in official.rows] == [
        ("samples", "3,720", ("", "", "")),
        ("mean IoU", "0.432", ("", "", "")),
        ("recall@1", "", ("0.812", "0.700", "")),
        ("F1", "", ("", "", "–")),
    ]
    assert official.rows[2].meaning == "answers whose first segment meets the first true one at the IoU of the column"


def test_groups_with_the_same_metrics_share_a_table():
    groups = {
        "tvg/a": {"official": {"Total": 2, "F1@0.1": 1.0}},
        "rar/b": {"official": {"Total": 1, "Acc": 0.0}, "field": {"mean_iou": 1.0}},
        "tvg/c": {"official": {"Total": 4, "F1@0.1": 0.25}},
    }
    ((section, (ranges, choices)),) = group_tables({"groups": groups})  # only one group has field scores
    assert section == "official"
    assert [(name, [cell.text for cell in cells]) for name, cells in ranges.rows] == [
        ("tvg/a", ["2", "1.000"]),
        ("tvg/c", ["4", "0.250"]),
    ]
    assert [column.label for column in choices.columns] == ["samples", "accuracy"]
    assert "answers whose first range meets the true one (IoU 0.1)" in ranges.columns[1].meaning  # F1 as tvg has it


def test_the_headline():
    assert [(tile.label, tile.value) for tile in tiles(METRICS)] == [
        ("mean IoU", "0.432"),
        ("mean IoU (field)", "0.500"),
    ]


def test_rewards_by_term():
    table = term_table({"total": {"mean": 2.0, "std": 0.5}, "terms": {"format": {"mean": 1.0}}})
    assert [(name, [cell.text for cell in cells]) for name, cells in table.rows] == [
        ("total", ["2", "0.500"]),
        ("format", ["1.000", "–"]),
    ]
    assert term_table({}) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.5, "0.500"), (1.0, "1.000"), (0.0, "0.000"), (45.678, "45.7"), (7289.0, "7,289")],
)
def test_numbers_as_shown(value, text):
    assert shown(value) == text
