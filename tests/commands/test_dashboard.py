"""The W&B workspace: every documented key has a place, building it needs no network, the command says what it lacks."""

import json
import os
import re
import subprocess
import sys

import pytest

from museg.commands import dashboard
from museg.commands.workspace import planned, workspace
from museg.metrics.keys import COLD_START_STEP_KEY, COMPLETIONS_KEY, DASHBOARD_KEYS, STEP_KEY, TIMELINES_KEY, columns

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")

NO_CURVES = {STEP_KEY, COLD_START_STEP_KEY, COMPLETIONS_KEY, TIMELINES_KEY}


def saved_form() -> dict:
    """What would be sent to W&B."""
    return json.loads(workspace("team", "museg", "MUSEG")._to_model().model_dump_json(by_alias=True))


def panels_of(form: dict) -> list[dict]:
    return [panel for part in form["spec"]["section"]["panelBankConfig"]["sections"] for panel in part["panels"]]


def test_every_documented_number_has_a_curve():
    panels = [panel for section in planned() for panel in section.panels]
    shown = [key for panel in panels for key in panel.keys]
    numbers = set(columns([])) | (DASHBOARD_KEYS.keys() - NO_CURVES)
    assert set(shown) == numbers and len(shown) == len(set(shown))
    [terms] = [panel.pattern for panel in panels if panel.pattern]
    assert re.search(terms, "reward/my_own_term") and not re.search(terms, "train/reward/x")


def test_the_saved_form_has_the_curves_over_our_step():
    lines = [panel["config"] for panel in panels_of(saved_form()) if panel["viewType"] == "Run History Line Plot"]
    by_title = {config["chartTitle"]: config for config in lines}
    assert by_title["Mean IoU"]["metrics"] == [
        "train/mean_iou",
        "held_out/greedy/mean_iou",
        "held_out/sampled/mean_iou",
    ]
    axes = {config["xAxis"] for title, config in by_title.items() if not title.startswith("cold start")}
    assert axes == {STEP_KEY}
    assert by_title["cold start loss"]["xAxis"] == COLD_START_STEP_KEY
    assert by_title["Reward and its terms"]["metricRegex"] == "^reward/.+$"


def test_the_saved_form_has_completions_and_timelines():
    others = [panel for panel in panels_of(saved_form()) if panel["viewType"] != "Run History Line Plot"]
    assert [panel["viewType"] for panel in others] == ["Media Browser", "Weave"]
    assert others[0]["config"]["mediaKeys"] == [TIMELINES_KEY]
    assert f'"{COMPLETIONS_KEY}"' in json.dumps(others[1]["config"])


def test_what_it_would_show_needs_no_account(capsys):
    assert dashboard.main(["dry_run=true"]) == 0
    told = capsys.readouterr().out
    assert "Mean IoU" in told and "cold_start/mean_iou" in told
    assert told.endswith("Completions: the pictures `timelines` by step, and the last table `completions`\n")


@pytest.mark.parametrize(
    ("word", "told"),
    [("entiy=team", "did you mean"), ("team", "key=value"), ("dry_run=yes", "true or false")],
)
def test_a_command_that_cannot_be_understood(word, told, capsys):
    assert dashboard.main([word]) == 2
    assert told in capsys.readouterr().err.lower()


def test_a_missing_package_is_named_with_the_remedy(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert dashboard.main(["entity=team"]) == 2
    assert "pip install -e '.[dashboard]'" in capsys.readouterr().err


def test_without_an_api_key_nothing_is_asked(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-m", "museg.commands.dashboard", "entity=team"],
        env=environment | {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no API key: run `wandb login`" in done.stderr
