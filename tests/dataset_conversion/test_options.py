from pathlib import Path

import pytest

from clisc_nnunet.dataset_conversion.options import ConversionOptions, check, chosen_models
from clisc_nnunet.errors import UserError
from clisc_nnunet.models.model_set import ModelNames


def request(**options):
    return ConversionOptions(Path("scans"), 501, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "-np: found 0"),
        ({"parts": 2, "part": 2, "only_stage": True, "last": "slices"}, "-part_id: found 2 of 2"),
        ({"parts": 2}, "-num_parts: found no --stage"),
        ({"parts": 2, "only_stage": True, "last": "classifier"}, "learns from all cases"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        check(request(**options))


def test_parts_and_retries_go_on_with_what_is_there():
    assert not request().goes_on
    assert request(resume=True).goes_on
    assert request(retry_failed=True).goes_on
    assert request(only_stage=True, last="slices").goes_on


def test_files_of_models_are_absolute_for_other_processes(tmp_path, monkeypatch):
    (tmp_path / "my_sam.pth").touch()
    monkeypatch.chdir(tmp_path)
    names = chosen_models(request(sam="my_sam.pth"))
    assert names == ModelNames("bundled", str(tmp_path / "my_sam.pth"), "bundled")
    names = chosen_models(request(models="paper", sam="medsam=my_sam.pth", clip="medsam=no.pth"))
    assert names == ModelNames("medsam=no.pth", f"medsam={tmp_path / 'my_sam.pth'}", "resnet50")
