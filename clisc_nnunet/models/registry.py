"""Registry of published models: architecture, input normalisation, source, hash and licence.

URLs are those given by the publishers. A hash comes from the publisher, or from another project
that downloads the same URL and verifies it; `Digest.stated` names the source. For an entry without
a hash, the download prints the one it computed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clisc_nnunet.io.hashing import file_hash

Role = Literal["clip", "sam", "classifier"]
Channels = tuple[float, float, float]

BUNDLED_NAME = "bundled"

OPENAI_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
HALF: Channels = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Web:
    """A file at a plain URL."""

    url: str

    @property
    def address(self) -> str:
        """URL of the file."""
        return self.url


@dataclass(frozen=True)
class Hub:
    """Files of a Hugging Face repository at a commit, or at `main` if none is pinned."""

    repo: str
    revision: str
    file: str
    companions: tuple[str, ...] = ()
    """Further files that the model needs next to its weights."""

    @property
    def address(self) -> str:
        """URL of the weights."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.file}"


@dataclass(frozen=True)
class Digest:
    """Full or abbreviated hash of a file, stated by its publisher or by another project."""

    algorithm: Literal["sha256", "md5"]
    begins: str
    """All hex digits, or the first ones."""
    stated: str
    """Source of the hash, for messages."""

    def fits(self, path: Path) -> tuple[bool, str]:
        """Whether a file has this hash, and the hash that was computed."""
        found = file_hash(path, self.algorithm)
        return found.startswith(self.begins), f"{self.algorithm} {found}"

    def __str__(self) -> str:
        complete = len(self.begins) == hashlib.new(self.algorithm).digest_size * 2
        return f"{self.algorithm} {self.begins}{'' if complete else '...'}"


@dataclass(frozen=True)
class Entry:
    """One published model.

    Parameters
    ----------
    name : str
        Argument of `--clip`, `--sam`, `--classifier` and `clisc_download_weights`.
    role : {'clip', 'sam', 'classifier'}
    what : str
        Description for users.
    architecture : str
        Name in open_clip (CLIP) or in segment_anything's registry (SAM); empty if the model comes
        with its own open_clip configuration.
    input_size : int
        Side of the square input in pixels.
    mean, std : tuple of 3 float
        Normalisation of pixels, in 0..1 for CLIP and classifiers and in 0..255 for SAM, as in the
        libraries.
    file : str
        Path of the weights relative to the weights folder.
    source : Web or Hub
    megabytes : int
        Approximate size.
    digest : Digest or None
        None if no one states a hash.
    licence, citation : str
    quick_gelu : bool
        Whether the CLIP was trained with QuickGELU.
    """

    name: str
    role: Role
    what: str
    architecture: str
    input_size: int
    mean: Channels
    std: Channels
    file: str
    source: Web | Hub
    megabytes: int
    digest: Digest | None
    licence: str
    citation: str
    quick_gelu: bool = False


_CLIP = "Radford et al., ICML 2021, arXiv:2103.00020"
_OPENAI = "https://openaipublic.azureedge.net/clip/models"
_IN_URL = "the URL itself; openai/CLIP, clip/clip.py"
# The hub identifies a large file by its sha256. The model pages were not accessible; several
# projects pin these revisions and hashes, e.g. LeiWang1027/FedProRef
# (scripts/download_checkpoints.py) those of B/16.
_ON_HUB = "projects that pin this revision on the hub"


def _clip(name: str, letter: str, hub: str, revision: str, sha256: str, megabytes: int) -> Entry:
    """OpenAI's weights in open_clip's safetensors format; revisions are commits on the hub."""
    source = Hub(f"timm/{hub}.openai", revision, "open_clip_model.safetensors")
    what = f"CLIP {letter} of OpenAI, as safetensors of open_clip"
    file = f"{hub}_openai.safetensors"
    digest = Digest("sha256", sha256, _ON_HUB)
    return Entry(
        name, "clip", what, name, 224, OPENAI_MEAN, OPENAI_STD, file, source, megabytes, digest,
        "MIT", _CLIP, quick_gelu=True,
    )  # fmt: skip


def _archive(name: str, letter: str, sha256: str, megabytes: int) -> Entry:
    """OpenAI's original TorchScript archive in half precision; the URL contains the hash."""
    what = f"CLIP {letter} of OpenAI, the original archive"
    source = Web(f"{_OPENAI}/{sha256}/{name}.pt")
    digest = Digest("sha256", sha256, _IN_URL)
    return Entry(
        f"{name}.pt", "clip", what, name, 224, OPENAI_MEAN, OPENAI_STD, f"{name}.pt", source,
        megabytes, digest, "MIT", _CLIP, quick_gelu=True,
    )  # fmt: skip


def _sam(letter: str, begins: str, sha256: str, megabytes: int) -> Entry:
    """A SAM of Meta, which states only the first digits of the MD5, in the file name."""
    architecture = f"vit_{letter}"
    file = f"sam_{architecture}_{begins}.pth"
    return Entry(
        f"sam_{architecture}",
        "sam",
        f"SAM ViT-{letter.upper()} of Meta",
        architecture,
        1024,
        (123.675, 116.28, 103.53),
        (58.395, 57.12, 57.375),
        file,
        Web(f"https://dl.fbaipublicfiles.com/segment_anything/{file}"),
        megabytes,
        Digest("sha256", sha256, "micro-sam, which downloads the same URL (micro_sam/util.py)"),
        "Apache-2.0",
        "Kirillov et al., ICCV 2023, arXiv:2304.02643",
    )


_LISTED = (
    _clip("ViT-B-32", "ViT-B/32", "vit_base_patch32_clip_224",
          "a6f597a30f7b82c51704746581f9a4e41421e878",
          "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31", 605),
    _clip("ViT-B-16", "ViT-B/16", "vit_base_patch16_clip_224",
          "977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d",
          "4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f", 599),
    _clip("ViT-L-14", "ViT-L/14", "vit_large_patch14_clip_224",
          "18d0535469bb561bf468d76c1d73aa35156c922b",
          "9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e", 1711),
    _archive("ViT-B-32", "ViT-B/32",
             "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 354),
    _archive("ViT-B-16", "ViT-B/16",
             "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 351),
    _archive("ViT-L-14", "ViT-L/14",
             "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 933),
    Entry(
        "BiomedCLIP",
        "clip",
        "CLIP ViT-B/16 and PubMedBERT, trained on figures of biomedical articles",
        "",  # an open_clip folder with its own configuration
        224,
        OPENAI_MEAN,
        OPENAI_STD,
        "BiomedCLIP/open_clip_pytorch_model.bin",
        Hub(
            "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "9f341de24bfb00180f1b847274256e9b65a3a32e",
            "open_clip_pytorch_model.bin",
            ("open_clip_config.json", "tokenizer.json", "tokenizer_config.json",
             "special_tokens_map.json", "vocab.txt"),
        ),
        784,
        Digest(
            "sha256",
            "52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be",
            "the page of the file on the hub",
        ),
        "MIT",
        "Zhang et al., arXiv:2303.00915",
    ),
    _sam("b", "01ec64", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375),
    _sam("l", "0b3195", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1250),
    _sam("h", "4b8939", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2565),
    Entry(
        "medsam",
        "sam",
        "MedSAM: SAM ViT-B fine-tuned on medical images with box prompts",
        "vit_b",
        1024,
        # Its authors scale images to 0..1, without further normalisation.
        (0.0, 0.0, 0.0),
        (255.0, 255.0, 255.0),
        "medsam_vit_b.pth",
        Web("https://zenodo.org/records/10689643/files/medsam_vit_b.pth"),
        375,
        Digest(
            "md5",
            "3bb6db55bd0c9ca30b61248bca72f8d6",
            "MIC-DKFZ/agent-sam, which downloads the same URL (samrunner/medsam_runner.py)",
        ),
        # Licence of the Zenodo record as quoted by its users; the code is Apache-2.0.
        "CC-BY-4.0",
        "Ma et al., Nature Communications 2024, arXiv:2304.12306",
    ),
    Entry(
        "resnet50",
        "classifier",
        "ResNet-50 of torchvision (IMAGENET1K_V1), as in the paper",
        "resnet50",
        224,
        IMAGENET_MEAN,
        IMAGENET_STD,
        "resnet50-0676ba61.pth",
        Web("https://download.pytorch.org/models/resnet50-0676ba61.pth"),
        103,
        Digest("sha256", "0676ba61", "the file name in torchvision, which torch.hub verifies"),
        "BSD-3-Clause",
        "He et al., CVPR 2016, arXiv:1512.03385",
    ),
)  # fmt: skip
ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _LISTED}


def weights_folder() -> Path:
    """Folder of downloaded weights: CLISC_WEIGHTS, or the platform's cache folder."""
    chosen = os.environ.get("CLISC_WEIGHTS")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("clisc_nnunet"))


def names_of(role: Role) -> list[str]:
    """Valid names for a role, the bundled model first."""
    return [BUNDLED_NAME, *(entry.name for entry in ENTRIES.values() if entry.role == role)]


def entry_of_file(path: Path, role: Role) -> Entry | None:
    """Entry whose weight file has the same name, whose normalisation therefore applies; or None."""
    named = [e for e in ENTRIES.values() if e.role == role and e.file == path.name]
    return named[0] if named else None
