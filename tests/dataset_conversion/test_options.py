from pathlib import Path

import pytest

from clisc_nnunet.dataset_conversion.make_pseudo_dataset import make_parser
from clisc_nnunet.dataset_conversion.options import ConversionOptions, check, chosen_models
from clisc_nnunet.errors import UserError
from clisc_nnunet.models.model_set import ModelNames
from clisc_nnunet.pipeline.pseudo_label_pipeline import STEPS


def call(**given):
    return ConversionOptions(Path("scans"), 501, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"processes": 0}, "-np: found 0"),
        ({"parts": 2, "part": 2, "stage": "slices"}, "-part_id: found 2 of 2"),
        ({"parts": 2}, "-num_parts: found no --stage"),
        ({"parts": 2, "stage": "classifier"}, "needs all cases"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        check(call(**given))


def test_parts_and_retries_go_on_with_what_is_there():
    assert not call().resumes
    assert call(resume=True).resumes
    assert call(retry_failed=True).resumes
    assert call(stage="slices").resumes


def test_files_of_models_are_absolute_for_other_processes(tmp_path, monkeypatch):
    (tmp_path / "my_sam.pth").touch()
    monkeypatch.chdir(tmp_path)
    names = chosen_models(call(sam="my_sam.pth"))
    assert names == ModelNames("bundled", str(tmp_path / "my_sam.pth"), "bundled")
    names = chosen_models(call(models="paper", sam="medsam=my_sam.pth", clip="medsam=no.pth"))
    assert names == ModelNames("medsam=no.pth", f"medsam={tmp_path / 'my_sam.pth'}", "resnet50")


def test_a_run_may_stop_after_every_step():
    # Listed twice, as --help must not load the pipeline.
    (stage,) = (a for a in make_parser()._actions if "--stage" in a.option_strings)
    assert tuple(stage.choices) == STEPS
