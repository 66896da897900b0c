import argparse
from dataclasses import MISSING, dataclass, fields

import pytest

from clisc_nnunet.cli.check_prompts import make_parser as parser_of_check
from clisc_nnunet.cli.estimate_quality import make_parser as parser_of_estimate
from clisc_nnunet.cli.evaluate import make_parser as parser_of_evaluation
from clisc_nnunet.command_line import add_channel_options, add_input_arguments, options_of, run
from clisc_nnunet.dataset_conversion.make_pseudo_dataset import make_parser as parser_of_converter
from clisc_nnunet.dataset_conversion.options import ConversionOptions
from clisc_nnunet.errors import (
    EXIT_BAD_INPUT,
    EXIT_CANNOT_WRITE,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    StorageError,
    UserError,
)
from clisc_nnunet.evaluation.evaluate import EvaluationOptions
from clisc_nnunet.quality_control.prompt_comparison import PromptOptions
from clisc_nnunet.quality_control.score_predictions import QualityOptions


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


MISTAKE = UserError("file", "this", "that", "fix it")


def ends_with(raised=None, status=EXIT_DONE):
    def command(namespace):
        if raised is not None:
            raise raised
        return status

    return command


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (None, EXIT_DONE, ""),
        (MISTAKE, EXIT_BAD_INPUT, "error: file: found this; expected that; fix it\n"),
        (StorageError("a", "b", "c", "d"), EXIT_CANNOT_WRITE, "error: a: found b; expected c; d\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "interrupted; go on\n"),
    ],
)
def test_how_a_call_ends(capsys, raised, status, message):
    parser = argparse.ArgumentParser(prog="clisc_test")
    ended = []

    def finish(namespace, status, error):
        ended.append((namespace.command, status, error))
        return status

    command = ends_with(raised)
    assert run(parser, [], command, interrupted="interrupted; go on", finish=finish) == status
    assert capsys.readouterr().err == message
    error = raised if isinstance(raised, UserError) else None
    assert ended == [("clisc_test", status, error)]


def test_a_fault_of_ours_keeps_its_traceback_and_is_finished():
    ended = []
    fault = RuntimeError("ours")
    with pytest.raises(RuntimeError, match="ours"):
        run(
            argparse.ArgumentParser(),
            [],
            ends_with(fault),
            finish=lambda namespace, status, error: ended.append((status, error)) or status,
        )
    assert ended == [(1, fault)]


def test_the_text_of_a_call_can_be_typed_again():
    parser = argparse.ArgumentParser(prog="clisc_test")
    parser.add_argument("-i")
    texts = []
    run(parser, ["-i", "my scans"], lambda namespace: texts.append(namespace.command) or EXIT_DONE)
    assert texts == ["clisc_test -i 'my scans'"]


def test_input_arguments():
    parser = argparse.ArgumentParser()
    add_input_arguments(parser)
    given = parser.parse_args(["--cases", "a", "b", "--prompt-channel", "FLAIR"])
    assert vars(given) == {
        "channels": (),
        "label_channel": "flair",
        "cases": ["a", "b"],
        "leave_out": (),
    }


@dataclass(frozen=True)
class Options:
    names: tuple[str, ...]
    count: int


def test_options_are_filled_by_name():
    namespace = argparse.Namespace(names=["a"], report=None)
    assert options_of(Options, namespace, count=3) == Options(("a",), 3)
    with pytest.raises(KeyError, match="count"):
        options_of(Options, namespace)


@pytest.mark.parametrize(
    ("parser", "call", "kind", "others"),
    [
        (parser_of_converter(), ["-i", "x", "-d", "1"], ConversionOptions, {"settings": None}),
        (parser_of_check(), ["-i", "x", "-o", "y"], PromptOptions, {"prompts": ()}),
        (parser_of_estimate(), ["-i", "x", "-p", "y"], QualityOptions, {"jitter": None}),
        (parser_of_evaluation(), ["-p", "x", "-r", "y"], EvaluationOptions, {}),
    ],
)
def test_every_field_has_its_option(parser, call, kind, others):
    namespace = parser.parse_args(call)
    found = options_of(kind, namespace, command="text", **others)
    # Options that are not given have the defaults of the class.
    defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    given = {"command", "out", *others}
    assert {k: v for k, v in vars(found).items() if k in defaults.keys() - given} == {
        k: v for k, v in defaults.items() if k not in given
    }
