"""The arm that was trained elsewhere: a model folder or a LoRA adapter, in the place of training.

What leaves is a folder that differs from its base's in nothing but the weights, so the base's own
tokenizer, image processor and settings are used; where the checkpoint's say something else, the
figures would be of another model, and it is refused. What its training cost is not known: there is
no `budget/...` among the metrics.
"""

import json
from pathlib import Path
from typing import Any

from steps import outside
from steps.posttrain import alike, save
from steps.stage import Missing, StageError
from steps.track import log

ADAPTER = "adapter_config.json"
AGAIN = "save it again as safetensors (`save_pretrained` does) and give that folder"
FOREIGN = {
    "model_world_size_*_rank_*.pt": "holds verl's shards: join them by `python -m verl.model_merger"
    " merge --backend fsdp --local_dir ... --target_dir ...` and give that folder",
    "*.distcp": "holds FSDP's shards: join them by `accelerate merge-weights <folder> <out>`"
    " (verl's by `python -m verl.model_merger merge`) and give that folder",
    "global_step*": "holds DeepSpeed's shards: join them by `python zero_to_fp32.py . <out>"
    " --safe_serialization` and give that folder",
    "*mp_rank_*_model_states.pt": "holds DeepSpeed's shards: join them by `python zero_to_fp32.py"
    " . <out> --safe_serialization` and give that folder",
    "*.bin": f"holds pickled weights, which are not opened: {AGAIN}",
    "*.pt": f"holds pickled weights, which are not opened: {AGAIN}",
    "*.pth": f"holds pickled weights, which are not opened: {AGAIN}",
}
"""Files of folders that cannot be read as they are, and what is to be done with them."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Put the weights that params.arms.<arm>.path names into the base's form.

    inputs: base, items (the seed's: on them the divergence from the base is measured) and weights,
    the file that says where the checkpoint is and what is in it (`steps.outside`). Returns
    `dose/...`. Raises StageError or Missing with one sentence for what cannot be used.
    """
    from steps.models import load
    from steps.posttrain.dose import dose

    told = json.loads(inputs["weights"].read_text())
    if told != outside.told(told["path"], told["revision"]):
        where = inputs["weights"]
        raise StageError(f"{told['path']} is not what {where} says: run the study again")
    base = inputs["base"] / "instruct"
    log.text(f"{told['path']} ({kind(put(told['path'], told['revision'], inputs['base'], out))})")
    log.model(out)
    new, old = (load.vlm(folder).to(load.device()) for folder in (out, base))
    return dose(new, old, load.processor(base), inputs["items"])


def put(path: str, revision: str | None, base: Path, out: Path) -> Path:
    """Write the checkpoint at `path` into `out` as a model folder of `base`; returns its folder.

    path: a local folder, or a hub's name, there at `revision`. base: a folder with `instruct`.
    """
    folder = Path(path) if Path(path).is_dir() else _fetched(path, revision)
    readable(folder)
    alike.files(folder, base / "instruct")
    read = _adapted if kind(folder) == "adapter" else _whole
    trained = read(folder, base / "instruct")
    for name, weights in trained.named_parameters():
        if not weights.isfinite().all():
            raise StageError(f"{path}: {name} is not finite: give a checkpoint from before that")
    save.model(trained, base, out)
    return folder


def kind(folder: Path) -> str:
    """What a folder holds: `adapter` or `model`."""
    return "adapter" if (folder / ADAPTER).is_file() else "model"


def readable(folder: Path) -> None:
    """Raise StageError or Missing unless the folder's layout is one that is read, all files whole.

    A tool's own state beside safetensors (to go on training from) does no harm.
    """
    from safetensors import SafetensorError, safe_open

    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        for pattern, why in FOREIGN.items():
            if any(folder.glob(pattern)):
                raise StageError(f"{folder} {why}")
        raise Missing(f"{folder} has no *.safetensors: give a folder that `save_pretrained` wrote")
    config = ADAPTER if kind(folder) == "adapter" else "config.json"
    if not (folder / config).is_file():
        raise Missing(f"{folder} has no {config}: give a folder that `save_pretrained` wrote")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
            if not (folder / name).is_file():
                raise Missing(f"{folder} has no {name}, which {index.name} names: copy it there")
    for file in weights:
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise StageError(f"{file} is cut short or damaged ({error}): copy it again") from None


def _fetched(path: str, revision: str | None) -> Path:
    """A hub's files in its cache: weights and settings, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = [f"*{end}" for end in outside.READ]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        why = str(error).strip().splitlines()[0]
        raise Missing(f"{path} is no folder and could not be had from the hub: {why}") from None


def _whole(folder: Path, base: Path) -> Any:
    """A whole model, in float32, of the base's class, with each of its weights."""
    import torch

    from steps.models import load

    plain = load.vlm(base)
    read: Any = type(plain).from_pretrained(
        folder,
        config=plain.config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # told below, with both shapes
        output_loading_info=True,
    )
    model, loaded = read  # a pair, which its type does not say
    for name, theirs, ours in sorted(loaded["mismatched_keys"]):
        raise StageError(
            f"{folder}: {name} is {list(theirs)}, the base's is {list(ours)}: give a checkpoint of "
            "this base"
        )
    for what, names in (("lacks", loaded["missing_keys"]), ("adds", loaded["unexpected_keys"])):
        if names:
            raise StageError(
                f"{folder} {what} {len(names)} weights, among them {min(names)}: give a "
                "checkpoint of this base"
            )
    return model.eval()


def _adapted(folder: Path, base: Path) -> Any:
    """The base with an adapter's change added to its weights."""
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    from steps.models import load

    config = PeftConfig.from_pretrained(str(folder))
    if str(getattr(config.peft_type, "value", config.peft_type)) != "LORA":
        raise StageError(f"{folder}: peft_type is {config.peft_type}: give a LoRA adapter")
    config.inference_mode = True
    try:
        model = get_peft_model(load.vlm(base), config)
        weights = load_file(folder / "adapter_model.safetensors")
        loaded = set_peft_model_state_dict(model, weights)
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise StageError(f"{folder} does not fit the base ({why}): give its adapter") from None
    lacking = [n for n in loaded.missing_keys if "lora_" in n or "modules_to_save" in n]
    if lacking or loaded.unexpected_keys:
        name = min([*lacking, *loaded.unexpected_keys])
        what = "lacks" if lacking else "adds"
        raise StageError(f"{folder} {what} weights, among them {name}: give its own adapter")
    return model.merge_and_unload().eval()
