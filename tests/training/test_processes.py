"""What processes tell each other; here each plays its part alone."""

import pytest

from museg.error_files import FolderTaken
from museg.training import processes


@pytest.mark.parametrize(("error", "kind"), [(FolderTaken("no"), FolderTaken), (KeyError("no"), ValueError)])
def test_that_a_folder_is_taken_every_process_learns(error, kind, monkeypatch):
    told = []

    def fail():
        raise error

    monkeypatch.setattr(processes, "gather", lambda value: told.append(value) or [value])
    with pytest.raises(type(error)):
        processes.on_first(fail)
    monkeypatch.setattr(processes, "gather", lambda value: told)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    with pytest.raises(kind, match="no") as caught:
        processes.on_first(fail)
    assert caught.type is kind
