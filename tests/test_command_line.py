import argparse

import pytest

from clisc_nnunet.cli.check_prompts import make_parser as parser_of_check
from clisc_nnunet.cli.estimate_quality import make_parser as parser_of_estimate
from clisc_nnunet.cli.evaluate import make_parser as parser_of_evaluation
from clisc_nnunet.command_line import add_channel_options
from clisc_nnunet.dataset_conversion.make_pseudo_dataset import make_parser as parser_of_converter


def test_defaults_and_grammar():
    parser = argparse.ArgumentParser()
    add_channel_options(parser)
    assert vars(parser.parse_args([])) == {"channels": (), "label_channel": "flair"}
    given = parser.parse_args(["--channels", "flair=0003", "t1", "--prompt-channel", "T1"])
    assert given.channels == ["flair=0003", "t1"]
    assert given.label_channel == "t1"


@pytest.mark.parametrize(
    ("parser", "needed"),
    [
        (parser_of_converter(), ["-i", "x", "-d", "1"]),
        (parser_of_check(), ["-i", "x", "-o", "y"]),
        (parser_of_estimate(), ["-i", "x", "-p", "y"]),
        (parser_of_evaluation(), ["-p", "x", "-r", "y"]),
    ],
)
def test_what_messages_advise_is_there_in_every_command_that_finds_scans(parser, needed):
    assert parser.parse_args([*needed, "--channels", "flair=0003"]).channels == ["flair=0003"]
