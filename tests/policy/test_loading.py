import json
import shutil
import sys
import types
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from museg.policy.export import export
from museg.policy.fallback import FellBack
from museg.policy.loading import check_attention, chosen_attention, load_checkpoint, load_pretrained, special_ids
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from tests.policy.drawn_clips import drawn_batch


@pytest.fixture(scope="module")
def folder(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export(policy, folder)
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_processes_the_first_shows_that_it_loads(folder, rank, monkeypatch, capsys):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    transformers.utils.logging.enable_progress_bar()  # which an earlier test may have switched off
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a name that the library is to drop
        load_pretrained(path=str(folder), gradient_checkpointing=True)
    assert ("Loading weights" in capsys.readouterr().err) == (rank == 0)


def test_an_exported_folder_is_an_ordinary_checkpoint(policy, folder):
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    assert tokenizer.chat_template == policy.tokenizer.chat_template
    generation = GenerationConfig.from_pretrained(folder)
    assert generation.eos_token_id == [policy.ids.eos_id, policy.ids.pad_id]
    assert generation.pad_token_id == policy.ids.pad_id
    pixels = json.loads((folder / "preprocessor_config.json").read_text())
    assert (pixels["patch_size"], pixels["merge_size"], pixels["temporal_patch_size"]) == (14, 2, 2)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118  # tied to the embeddings, stored once


def test_a_loaded_policy_answers_as_the_saved_one(policy, folder):
    loaded = load_pretrained(path=str(folder))
    assert loaded.ids == policy.ids
    settings, batch = RolloutSettings(max_new_tokens=12), drawn_batch(policy, 3)
    expected, actual = (greedy_rollouts(one, batch, settings) for one in (policy, loaded))
    assert torch.equal(actual.completion_ids, expected.completion_ids)
    assert torch.equal(actual.log_probs, expected.log_probs)
    assert loaded.model.config.vision_config.tokens_per_second == 2


def test_the_library_generates_the_same_text_from_the_folder(policy, folder):
    """Other software that loads the folder gets our answers when it is given our positions (here: by a short video)."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    batch = drawn_batch(policy, 1, num_frames=2)  # one step in time: the library's own positions agree with ours
    generated = model.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        pixel_values_videos=batch.pixel_values,
        video_grid_thw=batch.grid_thw,
        second_per_grid_ts=batch.second_per_grid_ts,
        mm_token_type_ids=2 * batch.input_ids.eq(policy.ids.video_id).int(),
        max_new_tokens=12,
        do_sample=False,
    )
    ours = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=12))
    assert generated[0, batch.input_ids.shape[1] :].tolist() == ours.completion_ids[0].tolist()


def test_dtype_and_frozen_parts(folder):
    loaded = load_pretrained(path=str(folder), dtype="bfloat16", frozen={"vision": True, "language": True})
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    trained = {name for name, parameter in loaded.model.named_parameters() if parameter.requires_grad}
    assert trained and all(name.startswith("model.visual.merger.") for name in trained)


def test_bfloat16_weights_answer_and_learn(folder):
    loaded = load_pretrained(path=str(folder), dtype="bfloat16")
    batch = drawn_batch(loaded, 2)
    rollouts = greedy_rollouts(loaded, batch, RolloutSettings(max_new_tokens=6))
    log_probs = completion_log_probs(loaded, batch, rollouts.completion_ids, rollouts.completion_mask, 1)
    log_probs.sum().backward()
    assert rollouts.log_probs.dtype == log_probs.dtype == torch.float32
    torch.testing.assert_close(rollouts.log_probs, log_probs.detach(), rtol=0.05, atol=0.2)
    assert all(parameter.grad.isfinite().all() for parameter in loaded.model.parameters())


def test_gradient_checkpointing_computes_layers_twice_and_changes_no_numbers(policy, folder):
    plain, checkpointed = (load_pretrained(path=str(folder), gradient_checkpointing=on) for on in (False, True))
    batch = drawn_batch(policy, 2)
    ids, mask = encode_completions(policy, ["<answer>2.0-5.0</answer>"] * 2)
    gradients, num_calls = [], []
    for one in (plain, checkpointed):
        calls = count_layer_calls(one)
        one.model.train()
        log_probs = completion_log_probs(one, batch, ids, mask, 1)
        parameters = list(one.model.parameters())
        gradients.append(torch.autograd.grad(log_probs.sum(), parameters, allow_unused=True))
        num_calls.append(set(calls.values()))
    assert num_calls == [{1}, {2}]  # every layer: forward, and again on the way back
    for kept, recomputed in zip(*gradients, strict=True):
        assert (kept is None) == (recomputed is None)
        if kept is not None:
            torch.testing.assert_close(kept, recomputed, rtol=1e-5, atol=1e-5)
    # a rollout switches checkpointing off while it reads from its cache, and back on
    expected, actual = (greedy_rollouts(one, batch, RolloutSettings(max_new_tokens=8)) for one in (plain, checkpointed))
    assert torch.equal(actual.completion_ids, expected.completion_ids)
    assert checkpointed.model.training


def count_layer_calls(policy):
    """How often each decoder layer and vision block computes from now on; filled while it does."""
    calls = Counter()
    layers = [*policy.model.model.language_model.layers, *policy.model.model.visual.blocks]
    for number, layer in enumerate(layers):
        # the attention inside: a layer that is recomputed may be called in a way that passes its own hooks by
        attention = layer.self_attn if hasattr(layer, "self_attn") else layer.attn
        attention.register_forward_hook(lambda *_, number=number: calls.update([number]))
    return calls


def test_what_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"model\.path='nobody/nothing-here'.*local folder"):
        load_pretrained(path="nobody/nothing-here")
    with pytest.raises(ValueError, match=r"holds no Qwen2\.5-VL checkpoint.*not None"):
        load_pretrained(path=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ValueError, match=r"holds no Qwen2\.5-VL checkpoint.*not 'qwen2'"):
        load_pretrained(path=str(tmp_path))
    with pytest.raises(ValueError, match=r"^checkpoint='.*' holds no Qwen2\.5-VL checkpoint"):
        load_checkpoint(str(tmp_path), named="checkpoint")
    with pytest.raises(ValueError, match=r"dtype='float16' is unknown: choose one of float32, bfloat16"):
        load_pretrained(path=str(tmp_path), dtype="float16")
    with pytest.raises(ValueError, match=r"attention='eager' is unknown"):
        load_pretrained(path=str(tmp_path), attention="eager")


def with_weights(folder: Path, copy: Path, change: Callable[[dict], object]) -> str:
    """A copy of the checkpoint whose weights went through `change`."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    change(weights)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return str(copy)


EMBEDDINGS, NORM = "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(NORM), r"it lacks 1: model\.language_model\.layers\.0\.input_layernorm\.weight\."),
        # the head is tied to the embeddings, and lacks with them
        (lambda weights: weights.pop(EMBEDDINGS), r"it lacks 2: lm_head\.weight, model\.language_model\.embed_tokens"),
        (
            lambda weights: [weights.pop(name) for name in list(weights) if ".mlp." in name],
            r"it lacks \d+: ([\w.]+\.mlp\.[\w.]+, ){3}\.\.\.\. Copy the checkpoint again",
        ),
        (
            lambda weights: weights.update({NORM: torch.ones(7)}),
            r"it has in other shapes 1: \S+norm.weight \[7\] for \[96\]",
        ),
        (
            lambda weights: (weights.pop(NORM), weights.update({"value_head.weight": torch.ones(1)})),
            r"it lacks 1: .*; it has, but the model has not, 1: value_head\.weight\. Copy",
        ),
    ],
)
def test_weights_are_never_left_random_or_unused(folder, tmp_path, change, message):
    path = with_weights(folder, tmp_path / "changed", change)
    with pytest.raises(ValueError, match=rf"^model\.path='.*' holds other weights than the model of .*{message}"):
        load_pretrained(path=path)
    with pytest.raises(ValueError, match=rf"^checkpoint='.*' holds other weights than the model of .*{message}"):
        load_checkpoint(path, named="checkpoint")


def test_a_tied_head_may_be_stored_too(policy, folder, tmp_path):
    path = with_weights(folder, tmp_path / "both", lambda weights: weights.update(head_of(weights)))
    loaded = load_pretrained(path=path).model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in policy.model.state_dict().items())


def head_of(weights: dict) -> dict:
    return {"lm_head.weight": weights[EMBEDDINGS].clone()}


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_file_copied_half_is_told(folder, tmp_path, file, share):
    broken = shutil.copytree(folder, tmp_path / "half") / file
    content = broken.read_bytes()
    broken.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.path='.*half' is incomplete or damaged: copy the checkpoint again"):
        load_pretrained(path=str(broken.parent))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"\0" * 100])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_file_of_something_else_is_told(folder, tmp_path, file, content):
    broken = shutil.copytree(folder, tmp_path / "other") / file
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=r"is incomplete or damaged: copy the checkpoint again\. \("):
        load_pretrained(path=str(broken.parent))


@pytest.mark.parametrize("absent", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_was_not_copied_is_told(folder, tmp_path, absent):
    part = shutil.copytree(folder, tmp_path / "part")
    (part / absent).unlink()
    with pytest.raises(ValueError, match=r"^checkpoint='.*' is incomplete or damaged: copy the checkpoint again"):
        load_checkpoint(str(part), named="checkpoint")


def test_of_weights_in_several_files_none_may_be_absent_or_half(policy, folder, tmp_path):
    parts = tmp_path / "parts"
    export(policy, parts)
    (parts / "model.safetensors").unlink()
    policy.model.save_pretrained(parts, max_shard_size="1MB")
    first, *_ = sorted(parts.glob("model-*.safetensors"))
    assert load_pretrained(path=str(parts)).ids == policy.ids
    content = first.read_bytes()
    first.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"damaged: copy the checkpoint again\. \(SafetensorError: "):
        load_pretrained(path=str(parts))
    first.unlink()
    with pytest.raises(ValueError, match=r"damaged: copy the checkpoint again\. .*model-00001-of"):
        load_pretrained(path=str(parts))
    first.write_bytes(content)
    index = parts / "model.safetensors.index.json"
    index.write_bytes(index.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"damaged: copy the checkpoint again"):
        load_pretrained(path=str(parts))


def test_flash_attention_is_asked_for_clearly(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"flash-attn, which is not installed.*choose sdpa"):
        check_attention("flash_attention_2")
    check_attention("sdpa")


def test_special_ids_ban_pixels_and_unnamed_ids(policy):
    size = len(policy.tokenizer)
    ids = special_ids(policy.tokenizer, size + 2)
    named = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    assert set(ids.banned_ids) == {*policy.tokenizer.convert_tokens_to_ids(named), size, size + 1}
    assert ids.stop_ids == (ids.eos_id, ids.pad_id)
    assert replace(ids, banned_ids=policy.ids.banned_ids) == policy.ids


def test_a_foreign_tokenizer_is_refused():
    from tokenizers import Tokenizer, models

    foreign = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))
    with pytest.raises(ValueError, match=r"no <\|im_end\|>, .*Qwen2\.5-VL tokenizer"):
        special_ids(foreign, 1)


@pytest.fixture
def modern_gpu(monkeypatch):
    """As far as choosing a kernel asks: a GPU is here, and flash-attn too."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setitem(sys.modules, "flash_attn", types.ModuleType("flash_attn"))
    return monkeypatch


def test_auto_is_flash_attention_where_it_works(modern_gpu):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_attention("auto") == "flash_attention_2"


def without_half(_):
    return {"in_half": False}, "it needs half precision on a GPU"


def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return {}, "there is no GPU"


def with_an_old_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    return {}, "the GPU's compute capability is below 8.0"


def without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)  # what Python takes for "cannot be imported"
    return {}, "flash-attn cannot be loaded (ModuleNotFoundError: import of flash_attn halted; None in sys.modules)"


@pytest.mark.parametrize("lacking", [without_half, without_gpu, with_an_old_gpu, without_the_package])
def test_auto_is_sdpa_elsewhere_and_says_why_in_one_line(modern_gpu, lacking):
    options, why = lacking(modern_gpu)
    with pytest.warns(FellBack) as told:
        assert chosen_attention("auto", **options) == "sdpa"
    assert [str(one.message) for one in told] == [f"attention is sdpa and not flash_attention_2: {why}"]


def test_what_is_asked_for_by_name_is_insisted_on(monkeypatch):
    assert chosen_attention("sdpa", in_half=False) == "sdpa"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package flash-attn"):
        chosen_attention("flash_attention_2")


def test_auto_loads_what_sdpa_loads(folder):
    with pytest.warns(FellBack, match="attention is sdpa"):
        loaded = load_checkpoint(str(folder), attention="auto")
    assert loaded.model.config._attn_implementation == "sdpa"
