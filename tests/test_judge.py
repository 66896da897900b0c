import pytest
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.trainers.judge import drew_the_labels, load_judge, pipeline_settings

CPU = torch.device("cpu")


def test_sam_sees_the_slices_that_the_labels_were_drawn_on():
    content = {"clisc": {"settings": {"slices": {"plane_mm": 7.0}, "prompts": {"margin": 9}}}}
    judge = load_judge(content, "", "all", CPU)
    assert judge.slices.plane_mm == 7.0
    assert judge.draughtsman.prompts.margin == 0
    assert judge.sam.name == "bundled"


def test_a_dataset_of_others_gets_the_default():
    assert pipeline_settings({}).preset == "default"
    assert pipeline_settings({"settings": {"preset": "paper"}}).sam.equalise


def test_the_sam_that_drew_the_labels_is_known_by_its_hash():
    judge = load_judge({}, "bundled", "axial", CPU)
    content = {"clisc": {"sam": {"name": "bundled", "sha256": judge.sam.sha256}}}
    assert drew_the_labels(judge.sam, content)
    assert not drew_the_labels(judge.sam, {"clisc": {"sam": {"sha256": "0"}}})
    assert not drew_the_labels(judge.sam, {})


def test_an_unknown_sam_is_told():
    with pytest.raises(UserError, match="neither a known sam nor a file"):
        load_judge({"clisc": {"sam": {"name": "nothing.pth"}}}, "", "all", CPU)
