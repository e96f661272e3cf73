import re

import pytest
import yaml

from museg.data.sources import Pin, preparations, read_preparations
from tests.shared import ANNOTATIONS, require

SOURCES = {
    source.name: source
    for named in preparations().values()
    for preparation in named.values()
    for source in (*preparation.annotations, *preparation.videos)
}


def test_everything_that_can_be_prepared_is_described():
    assert {kind: set(named) for kind, named in preparations().items()} == {
        "benchmark": {
            *("charades_sta", "thumos14", "thumos15", "perception_test", "et_bench", "et_bench_subset"),
            *("qvhighlights", "activitynet_captions", "synthetic", "jsonl"),
        },
        "dataset": {"museg", "synthetic", "jsonl"},
    }
    for named in preparations().values():
        for preparation in named.values():
            assert bool(preparation.annotations) == (preparation.nothing_to_fetch is None)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_has_an_address_a_place_and_terms(source):
    assert source.by_hand or re.fullmatch(r"https?://[\w.-]+/\S+", source.url)
    assert source.to.split("/")[0] in ("annotations", "videos")
    assert ".." not in source.to
    assert source.licence
    assert source.origin.startswith("http")


def test_no_two_sources_share_an_address_or_a_place():
    addresses = [source.url for source in SOURCES.values() if source.url]
    places = [(source.to, source.only) for source in SOURCES.values()]
    assert len(set(addresses)) == len(addresses)
    assert len(set(places)) == len(places)


def test_layout_is_that_of_the_released_annotations():
    folders = {source.to for source in SOURCES.values() if source.to.startswith("videos")}
    assert {"videos/charades", "videos/perception_test", "videos/thumos14", "videos/thumos15"} <= folders
    assert {f"videos/et_instruct_164k/{name}" for name in ("activitynet", "didemo", "hacs", "tacos")} <= folders
    assert len([folder for folder in folders if folder.startswith("videos/et_bench/")]) == 15


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("museg_stage_1", "train/stage_1.jsonl"),
        ("museg_stage_2", "train/stage_2.jsonl"),
        ("museg_charades_sta", "eval/charades_sta.json"),
        ("museg_thumos14", "eval/thumos14.json"),
        ("museg_thumos15", "eval/thumos15.json"),
        ("museg_et_bench_subset", "eval/et_bench_subset.json"),
    ],
)
def test_pinned_sizes_and_digests_are_those_of_the_published_files(name, file):
    from museg.data.download import describe

    assert describe(require(ANNOTATIONS / file)) == SOURCES[name].pin


def described(source: str, preparation: str = "annotations: [a]") -> dict:
    return yaml.safe_load(
        f"sources: {{a: {{to: annotations/a.json, licence: none, origin: http://x, {source}}}}}\n"
        f"preparations: {{benchmark: {{b: {{{preparation}}}}}}}"
    )


def test_reads_what_a_file_describes():
    read = read_preparations(described("url: http://x/a, num_bytes: 3, sha256: abc"))["benchmark"]["b"]
    assert read.label == "benchmark_b"
    assert read.annotations[0].pin == Pin(3, "abc")


@pytest.mark.parametrize(
    ("source", "preparation", "message"),
    [
        ("url: http://x/a, by_hand: ask them", "annotations: [a]", "either url or by_hand"),
        ("only: [x]", "annotations: [a]", "either url or by_hand"),
        ("url: http://x/a, unpack: everywhere", "annotations: [a]", "flat or tree"),
        ("url: http://x/a, colour: red", "annotations: [a]", "colour"),
        ("url: http://x/a", "annotations: [z]", "unknown source 'z'"),
        ("url: http://x/a", "colour: red", "colour"),
    ],
)
def test_description_that_means_nothing_is_refused(source, preparation, message):
    with pytest.raises(ValueError, match=message):
        read_preparations(described(source, preparation))
