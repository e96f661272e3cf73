"""Whether a run is uploaded, and what W&B holds of it: decided without ever asking at the terminal."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import wandb
from wandb.errors import AuthenticationError, CommError

from museg.training import wandb_run
from museg.training.wandb_run import num_rows_on_disk, open_run, run_id

ASK = """
import json, sys
from pathlib import Path
from museg.training.wandb_run import mode_of, open_run
told = {}
for offline in (None, True, False):
    try:
        told[str(offline)] = mode_of(offline)
    except ValueError as error:
        told[str(offline)] = str(error)
folder = sys.argv[1]
if told["None"][0] == "offline":
    open_run(Path(folder), None, project="museg").finish()
print(json.dumps(told))
"""


def asked(folder, **environment: str) -> tuple[dict, str]:
    """The answers of `mode_of` in a process that has nothing to ask, and what was printed before them."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    bare |= {"WANDB_BASE_URL": "http://127.0.0.1:9"}  # nobody listens there: no key leaves this machine
    bare |= {"HOME": str(folder), "NETRC": str(folder / "netrc"), "WANDB_DATA_DIR": str(folder / "data")}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder)],
        env=bare | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    *printed, answers = done.stdout.splitlines()
    return json.loads(answers), "\n".join(printed)


def test_without_an_api_key_a_run_is_offline_and_says_so_in_one_line(tmp_path):
    told, printed = asked(tmp_path)
    why = "no API key (wandb login, or WANDB_API_KEY), so this run is logged offline"
    assert told["None"] == ["offline", why]
    assert printed == f"W&B: {why}; upload it with: wandb sync {tmp_path / 'wandb'}"
    assert told["True"] == ["offline", "logged offline"]
    assert "there is no API key: run `wandb login`" in told["False"]


def test_with_an_api_key_it_is_online(tmp_path):
    (tmp_path / "netrc").touch(mode=0o600)
    told, _ = asked(tmp_path, WANDB_API_KEY="0" * 40)
    assert told == {"None": ["online", ""], "True": ["offline", "logged offline"], "False": ["online", ""]}


def test_the_environment_decides_where_the_setting_does_not(tmp_path):
    told, printed = asked(tmp_path, WANDB_MODE="disabled", WANDB_API_KEY="0" * 40)
    assert told["None"] == ["disabled", "disabled, as WANDB_MODE or `wandb offline` asks for"]
    assert "WANDB_MODE (or `wandb offline`) asks for disabled" in told["False"]
    assert printed == ""


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"project": "a/b"}, "Invalid project name 'a/b'"),
        ({"project": "museg", "tags": ["x" * 65]}, "Tags must be between 1 and 64 characters"),
    ],
)
def test_what_wandb_refuses_is_told_with_the_remedy(wrong, reason, tmp_path):
    with pytest.raises(ValueError, match="W&B did not start") as caught:
        open_run(tmp_path, True, **wrong)
    message = str(caught.value)
    assert reason in message and "leave logger=wandb out" in message and "\n" not in message


POST = "Failed to get resume status for run a: context deadline exceeded\nwhile retrying:"
NO_ANSWER = {
    "no name": f"{POST} Post: dial tcp: lookup api.wandb.ai: no such host",
    "no route": "Post: dial tcp:\nno route to host",
    "nobody listens": f"{POST} Post: dial tcp 127.0.0.1:9: connect: connection refused",
    "silence": "POST https://a/graphql giving up after 3 attempt(s): context deadline exceeded",
    "overloaded": f"{POST} HTTP 503: <html>later</html>",
    "proxy without CONNECT": f"{POST} Post: Unsupported method ('CONNECT')",
    "proxy forbids": 'returned error 403: {"data":null,"errors":[{"message":"\\u003cb\\u003eno\\u003c/b\\u003e"}]}',
}
REFUSED = {
    "key": AuthenticationError("API key: too short"),
    "nobody": CommError("user is not logged in"),
    "forbidden": CommError('returned error 403 Forbidden: {"errors":[{"message":"permission denied","path":["a"]}]}'),
    "no team": CommError('returned error 404: {"errors":[{"message":"entity a not found","path":["a"]}]}'),
}


@pytest.fixture
def refusing(monkeypatch):
    """A W&B that fails online as told; gives the modes that were tried."""

    def refuse(error: Exception) -> list[str]:
        tried: list[str] = []

        def init(folder, mode, about):
            tried.append(mode)
            if mode == "online":
                raise error
            return SimpleNamespace(offline=True)

        monkeypatch.setattr(wandb_run, "init", init)
        return tried

    monkeypatch.setattr(wandb_run, "mode_of", lambda offline: ("online", ""))
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    return refuse


@pytest.mark.parametrize("error", NO_ANSWER.values(), ids=NO_ANSWER)
def test_where_wandb_is_not_reached_a_run_is_offline(error, tmp_path, capsys, refusing):
    """On a compute node that cannot reach W&B, with the API key that `wandb login` left in the home folder."""
    tried = refusing(CommError(error))
    assert open_run(tmp_path, None, project="museg").offline
    why = f"cannot be reached ({' '.join(error.split())}), so this run is logged offline"
    assert capsys.readouterr().out == f"W&B: {why}; upload it with: wandb sync {tmp_path / 'wandb'}\n"
    assert tried == ["online", "offline"]


def test_a_run_that_is_to_be_online_fails_where_wandb_is_not_reached(tmp_path, refusing):
    tried = refusing(CommError(NO_ANSWER["no route"]))
    with pytest.raises(ValueError, match=r"no route to host Change logger\.wandb"):
        open_run(tmp_path, False, project="museg")
    assert tried == ["online"]


@pytest.mark.parametrize("refusal", REFUSED.values(), ids=REFUSED)
def test_what_wandb_answers_is_told_and_not_taken_for_a_missing_network(refusal, tmp_path, refusing):
    tried = refusing(refusal)
    with pytest.raises(ValueError, match=rf"W&B did not start: {re.escape(str(refusal))} Change logger\.wandb"):
        open_run(tmp_path, None, project="museg")
    assert tried == ["online"]


def test_a_run_folder_has_one_id(tmp_path):
    assert run_id(tmp_path) == run_id(tmp_path) != ""


def test_rows_on_disk_are_counted_over_all_files(tmp_path):
    assert num_rows_on_disk(tmp_path) == 0
    for rows in (range(3), range(3, 5)):
        run = open_run(tmp_path, True, project="museg")
        for number in rows:
            run.log({"loss/total": 1.0}, step=number, commit=True)
        run.finish()
    assert num_rows_on_disk(tmp_path) == 5
    (tmp_path / "wandb" / "offline-run-x").mkdir()
    (tmp_path / "wandb" / "offline-run-x" / "run-x.wandb").touch()  # of a process that was killed at once
    assert num_rows_on_disk(tmp_path) == 5
