"""Loading CLIP and SAM: bundled ones, from files, and rejected files."""

import os
import pickle
import shutil

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor

from clisc_nnunet.errors import UserError, WeightsError
from clisc_nnunet.models import weights
from clisc_nnunet.models.clip import ClosedVocabulary, load_clip
from clisc_nnunet.models.registry import ENTRIES
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.models.weights import read_state
from clisc_nnunet.stages.clip_labels import PAPER_TEXT_PROMPTS

CPU = torch.device("cpu")


def test_bundled_models_are_small():
    sizes = [path.stat().st_size for path in weights.BUNDLED.glob("*.safetensors")]
    assert len(sizes) == 5
    assert sum(sizes) < 20e6


def test_sam_predictor_works_with_the_bundled_sam():
    """A bright disc in a dark brain, prompted by its box."""
    row, column = np.indices((128, 128))
    brain = (row - 64) ** 2 + (column - 64) ** 2 < 50**2
    disc = (row - 70) ** 2 + (column - 50) ** 2 < 14**2
    image = np.where(disc, 230, np.where(brain, 110, 0)).astype(np.uint8)
    predictor = SamPredictor(load_sam("bundled", CPU).sam)
    predictor.set_image(np.repeat(image[:, :, None], 3, axis=2))
    mask, iou, _ = predictor.predict(box=np.array([36, 56, 64, 84]), multimask_output=False)
    assert 2 * (mask[0] & disc).sum() / (mask[0].sum() + disc.sum()) > 0.8
    assert 0.3 < iou[0] <= 1.1


def test_identity_depends_on_the_file_and_the_normalisation(sam_file):
    plain, like, medsam = (
        load_sam(f"{like}{sam_file}", CPU) for like in ("", "sam_vit_b=", "medsam=")
    )
    assert plain.sha256 == like.sha256 == medsam.sha256
    # With the default normalisation, results cached under the hash stay valid.
    assert plain.identity == like.identity == plain.sha256
    assert medsam.identity != plain.identity
    for model in (load_sam("bundled", CPU), load_clip("bundled", CPU)):
        assert model.identity == model.sha256


@pytest.mark.parametrize("load", [load_clip, load_sam])
def test_weights_of_another_model_are_rejected(tmp_path, load):
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(3)}, str(path))
    with pytest.raises(WeightsError, match="an unknown model"):
        load(str(path), CPU)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_training_checkpoints_are_read(tmp_path, prefix):
    path, state = tmp_path / "epoch_3.pth", {"a.weight": torch.ones(3), "b.bias": torch.zeros(1)}
    named = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({"model": named, "epoch": 3, "optimizer": {"param_groups": [{"lr": 0.1}]}}, path)
    found = read_state(path)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_folder_is_not_a_weight_file(tmp_path):
    with pytest.raises(WeightsError, match="found a folder; expected a weight file"):
        load_sam(str(tmp_path), CPU)


def test_biomedclip_needs_its_configuration(tmp_path):
    path = tmp_path / "mine.bin"
    torch.save({"visual.trunk.patch_embed.proj.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"no open_clip_config\.json"):
        load_clip(f"BiomedCLIP={path}", CPU)


@pytest.mark.parametrize(("name", "load"), [("ViT-B-32", load_clip), ("sam_vit_b", load_sam)])
def test_missing_published_weights_name_the_url_and_the_file(tmp_path, monkeypatch, name, load):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("CLISC_OFFLINE", "1")
    with pytest.raises(WeightsError, match=ENTRIES[name].file) as caught:
        load(name, CPU)
    assert ENTRIES[name].source.address in caught.value.hint


def test_pickled_code_is_not_executed(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    for name, dump in (("a.pth", torch.save), ("b.pth", _plain_pickle)):
        dump({"weight": Malicious()}, tmp_path / name)
        with pytest.raises(WeightsError, match="an unreadable weight file"):
            read_state(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_an_archive_of_unknown_origin_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))

    def opened(*_, **__):
        raise AssertionError("its code was executed")

    monkeypatch.setattr(torch.jit, "load", opened)
    for load in (load_clip, load_sam):
        with pytest.raises(WeightsError, match="TorchScript archive of unknown origin"):
            load(str(path), CPU)


def _plain_pickle(value, path):
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_truncated_weights_are_rejected(tmp_path, keep):
    path = tmp_path / "sam.safetensors"
    path.write_bytes((weights.BUNDLED / "sam.safetensors").read_bytes()[:keep])
    with pytest.raises(WeightsError, match="an unreadable weight file"):
        read_state(path)


def test_modified_bundled_weights_are_rejected(tmp_path, monkeypatch):
    shutil.copytree(weights.BUNDLED, tmp_path / "weights")
    path = tmp_path / "weights" / "sam.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "weights")
    with pytest.raises(WeightsError, match="as in its model card"):
        load_sam("bundled", CPU)


def test_bundled_clip_accepts_the_papers_text_prompts_and_rejects_unknown_words():
    clip = load_clip("bundled", CPU)
    texts = [*PAPER_TEXT_PROMPTS["normal"], *PAPER_TEXT_PROMPTS["tumour"]]
    tokens = clip.tokenize(texts)
    assert (tokens.argmax(dim=1) > 10).all()  # the end of the text comes after its words
    with pytest.raises(UserError, match=r"does not know \(.*harbour.*--models paper"):
        clip.embed_texts(["a sailing boat in the harbour"])


def test_closed_vocabulary_keeps_the_order_of_open_clip():
    whole = open_clip.tokenizer.SimpleTokenizer(context_length=8)("a brain tumor")[0].tolist()
    used = tuple(sorted({token for token in whole if token}))
    tokens = ClosedVocabulary(used, 8)(["a brain tumor"])[0].tolist()
    assert [used[t - 1] if t else 0 for t in tokens] == whole
    assert max(tokens) == len(used)
