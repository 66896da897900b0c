"""Published architectures at full size with random weights, in their publishers' formats.

With `CLISC_TEST_LARGE=1`, also ViT-L and ViT-H.
"""

import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from helpers.publisher import publishing
from safetensors.torch import save_file
from segment_anything import sam_model_registry

from clisc_nnunet.errors import UserError, WeightsError
from clisc_nnunet.models import open_clip_loading, registry
from clisc_nnunet.models.clip import load_clip
from clisc_nnunet.models.registry import ENTRIES, Digest, Web
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.settings import PromptSettings, SamSettings
from clisc_nnunet.stages.clip_labels import PAPER_TEXT_PROMPTS, class_embeddings, tumour_probability
from clisc_nnunet.stages.sam.batched_predictor import embed, segment
from clisc_nnunet.stages.sam.prompts import make_prompts

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
LARGE = pytest.mark.skipif(not os.environ.get("CLISC_TEST_LARGE"), reason="CLISC_TEST_LARGE")
SLICES = np.random.default_rng(0).integers(0, 255, (2, 128, 128)).astype(np.uint8)


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory):
    """SAM ViT-B in the format of its publisher, a state dict."""
    path = tmp_path_factory.mktemp("sam") / "vit_b.pth"
    torch.manual_seed(0)
    torch.save(sam_model_registry["vit_b"]().state_dict(), path)
    return path


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    monkeypatch.setenv("CLISC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with publishing() as server:
        yield server


def test_sam_comes_by_name_from_its_publisher_and_draws(sam_file, publisher, monkeypatch):
    content = sam_file.read_bytes()
    publisher.files["/sam.pth"] = content
    digest = Digest("sha256", hashlib.sha256(content).hexdigest(), "the test")
    entry = replace(ENTRIES["sam_vit_b"], source=Web(f"{publisher.url}/sam.pth"), digest=digest)
    monkeypatch.setitem(registry.ENTRIES, "sam_vit_b", entry)
    model = load_sam("sam_vit_b", CPU)
    assert (model.name, model.sha256) == ("sam_vit_b", digest.begins)
    assert model.sam.pixel_mean.flatten().tolist() == pytest.approx(entry.mean)
    region = np.zeros((1, 128, 128), bool)
    region[0, 40:80, 50:90] = True
    prompts = make_prompts(SLICES[:1], region, PromptSettings())
    masks = segment(
        model.sam, embed(model.sam, SLICES[:1], SamSettings()), prompts, 128, SamSettings()
    )
    assert masks.logits.shape == (1, 128, 128)
    assert np.isfinite(masks.logits).all() and masks.logits.std() > 0


def test_a_file_of_ones_own_brings_the_normalisation_of_what_it_is_like(sam_file):
    plain, like = load_sam(str(sam_file), CPU), load_sam(f"medsam={sam_file}", CPU)
    assert plain.sam.pixel_std.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])
    assert like.sam.pixel_mean.flatten().tolist() == [0, 0, 0]
    assert like.sam.pixel_std.flatten().tolist() == [255, 255, 255]
    assert like.name == f"medsam={sam_file}"
    assert plain.identity == plain.sha256 == like.sha256 != like.identity


def test_another_architecture_than_named_is_one_line(sam_file, tmp_path):
    with pytest.raises(WeightsError, match="SAM ViT-B; expected a checkpoint of SAM ViT-L"):
        load_sam(f"sam_vit_l={sam_file}", CPU)
    with pytest.raises(WeightsError, match=r"SAM ViT-B; expected a CLIP of open_clip") as caught:
        load_clip(str(sam_file), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", [pytest.param(a, marks=LARGE) for a in ("vit_l", "vit_h")])
def test_large_sams_load(tmp_path, architecture):
    path = tmp_path / "sam.pth"
    torch.save(sam_model_registry[architecture]().state_dict(), path)
    assert load_sam(f"sam_{architecture}={path}", CPU).sam.image_encoder.img_size == 1024


@pytest.mark.parametrize(
    ("architecture", "ending"),
    [
        ("ViT-B-32", "safetensors"),
        ("ViT-B-16", "bin"),
        pytest.param("ViT-L-14", "bin", marks=LARGE),
    ],
)
def test_clip_loads_in_both_formats_of_open_clip(tmp_path, architecture, ending):
    module = open_clip.create_model(architecture, pretrained=None)
    path, state = tmp_path / f"clip.{ending}", module.state_dict()
    if ending == "bin":
        torch.save(state, path)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, str(path))
    clip = load_clip(str(path), CPU)
    assert clip.image_size == 224
    assert clip.identity == clip.sha256
    probability = tumour_probability(clip, class_embeddings(clip, PAPER_TEXT_PROMPTS), SLICES)
    assert probability.shape == (2,) and ((probability > 0) & (probability < 1)).all()
    wrong = {"ViT-B-32": "ViT-B-16"}.get(architecture, "ViT-B-32")
    with pytest.raises(WeightsError, match=f"CLIP {architecture[:5]}/.*{wrong}"):
        load_clip(f"{wrong}={path}", CPU)


def test_a_clip_is_known_by_its_file_and_by_what_it_is_taken_for(tmp_path):
    path = tmp_path / "clip.safetensors"
    module = open_clip.create_model("ViT-B-32", pretrained=None)
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, str(path))
    likes = ("", "ViT-B-32=", "ViT-B-32/laion2b_s34b_b79k=")
    plain, openai, laion = (load_clip(f"{like}{path}", CPU) for like in likes)
    assert plain.identity == openai.identity == plain.sha256 == laion.sha256
    assert laion.identity != plain.identity


def test_an_archive_of_openai_opens_once_its_hash_is_a_published_one(tmp_path, monkeypatch):
    module = open_clip.create_model("ViT-B-32", pretrained=None, force_quick_gelu=True)
    expected = module.visual.conv1.weight.half().float()
    holder = torch.nn.Module()
    for name, child in module.named_children():
        holder.add_module(name, child.half())
    holder.positional_embedding = module.positional_embedding
    holder.text_projection = module.text_projection
    holder.logit_scale = module.logit_scale
    for name in ("input_resolution", "context_length", "vocab_size"):
        holder.register_buffer(name, torch.tensor(224))
    path = tmp_path / "archive.pt"
    torch.jit.save(scripted(holder), str(path))
    with pytest.raises(WeightsError, match="unknown origin"):
        load_clip(f"ViT-B-32.pt={path}", CPU)
    digest = replace(
        ENTRIES["ViT-B-32.pt"].digest, begins=hashlib.sha256(path.read_bytes()).hexdigest()
    )
    entry = replace(ENTRIES["ViT-B-32.pt"], digest=digest)
    monkeypatch.setitem(registry.ENTRIES, "ViT-B-32.pt", entry)
    clip = load_clip(f"ViT-B-32.pt={path}", CPU)
    torch.testing.assert_close(clip.module.visual.conv1.weight, expected)


def scripted(holder):
    """TorchScript archive with the weights of a module, without compiled methods."""
    return torch.jit._recursive.create_script_module(
        holder, lambda module: [], share_types=False, is_tracing=False
    )


def biomedclip_folder(folder):
    """A folder with the configuration of BiomedCLIP, without weights."""
    text = {
        "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    }
    vision = {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    config = {
        "model_cfg": {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]},
    }
    (folder / open_clip_loading.CONFIG).write_text(json.dumps(config))
    (folder / "open_clip_pytorch_model.bin").touch()
    return folder


def test_biomedclip_without_transformers_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip_loading, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'clisc_nnunet\[biomedclip\]'"):
        load_clip(str(biomedclip_folder(tmp_path)), CPU)


def test_biomedclip_of_full_size(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    folder = biomedclip_folder(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "brain", "tumor", "normal"]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    text = transformers.BertConfig().to_dict()
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "config.json").write_text(json.dumps({**text, "model_type": "bert"}))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = json.loads((folder / open_clip_loading.CONFIG).read_text())["model_cfg"]
    text_cfg = config["text_cfg"] | {
        "hf_model_name": str(tmp_path / "tower"),
        "hf_model_pretrained": False,
    }
    module = open_clip.CustomTextCLIP(**{**config, "text_cfg": text_cfg})
    torch.save(module.state_dict(), folder / "open_clip_pytorch_model.bin")
    clip = load_clip(str(folder), CPU)
    assert clip.mean == (0.4, 0.5, 0.6)
    assert clip.embed_texts(["brain tumor", "normal brain"]).shape == (2, 512)
    assert clip.embed_images(SLICES).shape == (2, 512)
    expected = module.state_dict()["text.transformer.embeddings.word_embeddings.weight"]
    found = clip.module.state_dict()["text.transformer.embeddings.word_embeddings.weight"]
    torch.testing.assert_close(found, expected)


def test_a_folder_of_open_clip_brings_its_own_constants(tmp_path):
    module = open_clip.create_model("ViT-B-32", pretrained=None)
    config = open_clip.get_model_config("ViT-B-32")
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / open_clip_loading.CONFIG).write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    )
    with pytest.raises(WeightsError, match=r"no weights; expected open_clip_model.safetensors"):
        load_clip(str(tmp_path), CPU)
    file = tmp_path / "open_clip_model.safetensors"
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, str(file))
    identities = set()
    for name in (tmp_path, file):
        clip = load_clip(str(name), CPU)
        identities.add(clip.identity)
        assert (clip.mean, clip.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert clip.embed_texts(["a brain"]).shape == (1, 512)
    assert len(identities) == 1
    (tmp_path / open_clip_loading.CONFIG).write_text(
        json.dumps({"model_cfg": config | {"quick_gelu": True}, "preprocess_cfg": preprocessing})
    )
    assert load_clip(str(file), CPU).identity not in identities


def test_a_text_tower_of_transformers_is_not_looked_for_on_the_network(tmp_path):
    path = tmp_path / "weights.bin"
    torch.save({"logit_scale": torch.ones(())}, path)
    with pytest.raises(WeightsError, match="roberta-ViT-B-32, which takes its text tower"):
        load_clip(f"roberta-ViT-B-32/laion2b_s12b_b32k={path}", CPU)
