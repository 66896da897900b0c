"""Configuration of a run and cached results of a case, for tests of single steps."""

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.models.model_set import ModelNames
from clisc_nnunet.pipeline.config import CaseInput, RunConfig
from clisc_nnunet.pipeline.slice_step import extract_slices
from clisc_nnunet.settings import Settings


def make_config(cache, slices=None, **changes):
    """Configuration whose dataset lies beside the cache."""
    settings = Settings(**({"slices": slices} if slices else {}), **changes)
    dataset = DatasetLayout(cache.root.parent / "dataset")
    return RunConfig(settings, ModelNames(), "cpu", cache, dataset)


def extract_into(cache, name, scan, slices, fingerprint, brain=None):
    """Stage 1 of a case, into a cache."""
    case = CaseInput(name, scan, brain_mask=brain)
    extracted = extract_slices(make_config(cache, slices), case)
    cache.save(name, "slices", fingerprint, extracted.arrays)
