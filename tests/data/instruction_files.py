"""Small instruction data in the published formats and layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def conversation(question: str = "<image>\nWhat is it?", answer: str = "A dog.", **fields: Any) -> dict[str, Any]:
    """A row as LLaVA writes it; without `image` or `video` it is nothing but text."""
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    later = [{"from": "human", "value": "And then?"}, {"from": "gpt", "value": "Nothing."}]
    return {"id": "7", "conversations": turns + later, **fields}


def et_row(**fields: Any) -> dict[str, Any]:
    """A row of E.T. Instruct with times in plain text; fields given as None are left out."""
    row = {
        "task": "tvg",
        "source": "didemo",
        "video": "didemo/a.mp4",
        "duration": 30.0,
        "tgt": [5, 12.5],
        "conversations": conversation("<image>\nWhen does 'a dog barks' happen?", "In 5.0 - 12.5 seconds.")[
            "conversations"
        ][:2],
    }
    return {key: value for key, value in (row | fields).items() if value is not None}


def saying(answer: str, question: str = "<image>\nFind it.") -> list[dict[str, str]]:
    """The conversation of a row."""
    return conversation(question, answer)["conversations"][:2]


def written(path: Path, *rows: Any) -> Path:
    """Rows as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_stages(root: Path) -> None:
    """Three stages where `conf/dataset/meco.yaml` looks for them, and a file for every picture and clip."""
    names: Mapping[str, list[dict[str, Any]]] = {
        "llamavid/llava_558k_with_webvid.json": [
            *(conversation(image=f"00{number}/{number}.jpg") for number in range(3)),
            *(conversation(video=f"{number}.mp4") for number in range(2)),
        ],
        "llamavid/llava_v1_5_mix665k_with_video_chatgpt.json": [
            conversation(image="coco/train2017/5.jpg"),
            conversation(video="activitynet/6.mp4"),
            conversation("Write a poem."),
        ],
        "et_instruct_164k/et_instruct_164k_txt.json": [et_row(video=f"didemo/{number}.mp4") for number in range(4)],
    }
    folders = {
        "llava_558k_with_webvid": {"image": "llava_pretrain/images", "video": "webvid/videos"},
        "llava_v1_5_mix665k_with_video_chatgpt": {"image": "llava_instruct", "video": "video_chatgpt"},
        "et_instruct_164k_txt": {"video": "et_instruct_164k/videos"},
    }
    for file, rows in names.items():
        path = written(root / file, *rows)
        for row in rows:
            for media, folder in folders[path.stem].items():
                if media in row:
                    (root / folder / row[media]).parent.mkdir(parents=True, exist_ok=True)
                    (root / folder / row[media]).touch()
