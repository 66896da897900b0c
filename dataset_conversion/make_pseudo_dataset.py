"""The command `clisc_make_pseudo_dataset`: unlabelled scans in, nnU-Net raw dataset out."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from clisc_nnunet.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_SOME_CASES_FAILED,
    UserError,
)

EPILOG = """\
exit status: 0 done; 2 bad input or call; 3 done, but some cases failed (see clisc/cases.csv);
4 no tumour anywhere; 130 interrupted (go on with --continue)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = make_parser().parse_args(argv)
    command = "clisc_make_pseudo_dataset " + " ".join(sys.argv[1:] if argv is None else argv)
    # open_clip still uses a part of torch that warns at import; a user can do nothing about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
    from clisc_nnunet.dataset_conversion.conversion import Request, convert

    try:
        result = convert(
            Request(
                scans=arguments.i,
                dataset_id=arguments.d,
                name=arguments.name,
                root=arguments.o,
                models=arguments.models,
                clip=arguments.clip,
                sam=arguments.sam,
                classifier=arguments.classifier,
                preset=arguments.preset,
                settings_file=arguments.settings,
                options=tuple(arguments.set),
                slice_labels=arguments.slice_labels,
                device=arguments.device,
                processes=arguments.np,
                copy=arguments.copy,
                keep_empty=arguments.empty_cases == "background",
                resume=arguments.resume,
                command=command,
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; the same command with --continue goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(result.text)
    return EXIT_SOME_CASES_FAILED if result.failed else EXIT_DONE


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command, in nnU-Net's grammar."""
    parser = argparse.ArgumentParser(
        prog="clisc_make_pseudo_dataset",
        description="Turn a folder of unlabelled FLAIR scans into an nnU-Net raw dataset whose "
        "labels are drawn by CLIP, class activation maps and SAM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-i", type=Path, required=True, metavar="SCANS", help="folder of scans")
    parser.add_argument("-d", type=int, required=True, metavar="ID", help="dataset id, 1 to 999")
    parser.add_argument("--name", default="CLISC", help="name of the dataset (default: CLISC)")
    parser.add_argument("-o", type=Path, metavar="ROOT", help="default: $nnUNet_raw")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--models",
        choices=("bundled", "paper"),
        default="bundled",
        help="the small models of this package (default), or the paper's (downloaded on first use)",
    )
    models.add_argument("--clip", metavar="NAME|FILE", help="another CLIP")
    models.add_argument("--sam", metavar="NAME|FILE", help="another SAM")
    models.add_argument("--classifier", metavar="NAME|FILE", help="another backbone")
    method = parser.add_argument_group("method")
    method.add_argument("--preset", choices=("default", "paper"), default="default")
    method.add_argument("--settings", type=Path, metavar="JSON", help="a settings.json to repeat")
    method.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.NAME=VALUE",
        help="one setting, such as roi.threshold=0.3 (may be given again)",
    )
    method.add_argument(
        "--slice-labels",
        type=Path,
        metavar="CSV",
        help="slice labels to use in place of CLIP's; as in clisc/slice_labels.csv",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--copy", action="store_true", help="copy the scans; default: link them")
    output.add_argument(
        "--empty-cases",
        choices=("leave-out", "background"),
        default="leave-out",
        help="cases without a tumour: leave them out (default), or label them background",
    )
    output.add_argument(
        "--continue", dest="resume", action="store_true", help="go on with a run that was stopped"
    )
    parser.add_argument(
        "-device",
        choices=("cpu", "cuda", "mps"),
        default=None,
        help="default: cuda if there is one",
    )
    parser.add_argument(
        "-np",
        type=int,
        default=2,
        metavar="N",
        help="processes that read and write scans (default: 2)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
