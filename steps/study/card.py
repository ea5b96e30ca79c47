"""The bundled base's model card: its gates, measured by a study's own instruments.

A base is worth studying if it sees, has room to rise and to fall, and is not simply unfinished.
`python -m steps card <study>` reads a finished study's results and writes models/<base>/README.md
and gates.json beside the weights. A gate that is not met is shown as such.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from steps.data.speech import DRAWN, Speech, of
from steps.params import STUDIES, read_yaml
from steps.stage import StageError

HEAD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---

# {base}: a small multimodal model that sees {sees}

{parameters:,} parameters: a SigLIP vision tower, a two-layer MLP projector and a Qwen2-type
decoder, joined as LLaVA; `LlavaForConditionalGeneration.from_pretrained` loads both folders.

- `aligned/`: the tower after region captions, the language model after text-only stories of the
  same world, and the projector that was aligned between them while both were frozen. Its language
  model was never changed by an image.
- `instruct/`: after instruct tuning of all parts. Every arm of a study starts here.

Both were made by the recipe in `steps/models` (`tower`, `language`, `align`, `instruct`);
`workflow/studies/{maker}.yaml` makes them anew.

Meant for studying post-training, and for nothing else: it knows {words} words and {things}.

## Gates

Measured by the study `{study}` on {seeds} evaluation draws of {items} questions (means), with the
untouched base. A gate that is not met says so: read results with it in mind. What blind answers may
reach is what each kind's commonest answer would get on the same questions, and 3 points. The
plateau is the arm `continue` against the base: the recipe's mixture on fresh items for as many
steps as `sft` gets, by the arms' own trainer and rate.

| gate | wanted | measured | met |
| --- | --- | --- | --- |
"""


def gates(
    results: Path, base: str, seeds: list[int], speech: Speech = DRAWN
) -> list[dict[str, Any]]:
    """Each gate of a base: name, low, high, value, met. Values are shares, means over seeds.

    speech: of the world that the base sees. Raises FileNotFoundError naming the result that is
    missing.
    """

    def mean(stage: str, metric: str, arm: str | None = "none") -> float:
        values = []
        for seed in seeds:
            parts = [results, stage, base, arm, f"seed{seed}", "metrics.json"]
            values.append(json.loads(Path(*(p for p in parts if p)).read_text())[metric])
        return sum(values) / len(values)

    found = [_gate("VQA, lenient, all kinds", mean("vqa", "vqa/lenient"), 0.55, 0.80)]
    for kind, words in speech.choices.items():
        low = 1 / len(words) + 0.10
        found.append(_gate(f"VQA, {kind}", mean("vqa", f"vqa/kind/{kind}/lenient"), low, 0.85))
    found.append(_gate("ill-formed answers", mean("vqa", "vqa/ill_formed"), 0, 0.03))
    for blind in ("grey", "swapped"):
        known, prior = _blind(results, base, seeds, f"vqa_{blind}")
        found.append(_gate(f"image kinds with a {blind} image", known, 0, prior + 0.03))
    found.append(
        _gate("right in some draw minus greedy", _room(results, base, seeds, mean), 0.10, 1)
    )
    miou = f"segment/{speech.mapped}/miou"
    gain = mean("segment", miou) - mean("baselines", f"random/{miou}", None)
    name = f"{speech.mapped} mIoU of linear patch probe, above a random tower's"
    found.append(_gate(name, gain, 0.15, 1))
    more = mean("vqa", "vqa/lenient", "continue") - mean("vqa", "vqa/lenient")
    found.append(_gate("plateau: change by going on with stage 1 (`continue`)", more, -0.02, 0.02))
    return found


def _gate(name: str, value: float, low: float, high: float) -> dict[str, Any]:
    met = bool(low <= value <= high)
    return {"gate": name, "low": low, "high": high, "value": round(value, 4), "met": met}


def _answers(results: Path, base: str, seed: int, instrument: str) -> pd.DataFrame:
    items = pd.read_parquet(results / "vqa" / base / "none" / f"seed{seed}" / "items.parquet")
    return items[items["instrument"] == instrument]


def _blind(results: Path, base: str, seeds: list[int], instrument: str) -> tuple[float, float]:
    """Share right without seeing, and what each kind's commonest answer gets on the same items.

    A fact needs no image, so facts are left out.
    """
    found = []
    for seed in seeds:
        rows = _answers(results, base, seed, instrument)
        rows = rows[rows["kind"] != "fact"]
        best = rows.groupby("kind")["value"].agg(lambda v: v.value_counts().iloc[0])
        found.append((rows["lenient"].mean(), best.sum() / len(rows)))
    known, prior = (float(sum(column) / len(found)) for column in zip(*found, strict=True))
    return known, prior


def _room(results: Path, base: str, seeds: list[int], mean: Any) -> float:
    """pass@k minus greedy: by training questions, or judged ones where all of these are new."""
    rows = {seed: _answers(results, base, seed, "vqa") for seed in seeds}
    known = {seed: of[~of["novel"].astype(bool)] for seed, of in rows.items()}
    if not all(map(len, known.values())):
        drawn = {
            seed: of[of["item"].isin(_drawn(results, base, seed))] for seed, of in rows.items()
        }
        return mean("sharpen", "sharpen/any") - _right(drawn)
    told = json.loads((results / "pairs" / base / f"seed{seeds[0]}" / "metrics.json").read_text())
    at = "pairs/pass_at_"
    most = max(int(name.removeprefix(at)) for name in told if name.startswith(at))
    return mean("pairs", f"{at}{most}", None) - _right(known)


def _drawn(results: Path, base: str, seed: int) -> pd.Series:
    """The judged questions that answers were drawn to."""
    folder = results / "sharpen" / base / "none" / f"seed{seed}"
    return pd.read_parquet(folder / "items.parquet", columns=["item"])["item"]


def _right(rows: dict[int, pd.DataFrame]) -> float:
    """Greedy share right, the mean over seeds."""
    return float(sum(of["lenient"].mean() for of in rows.values()) / len(rows))


def _maker(base: str) -> str:
    """The study whose overlay trains a base; that of the bundled one, if none does."""
    for path in sorted(STUDIES.glob("*.yaml")):
        told = (read_yaml(path).get("bases") or {}).get(base) or {}
        if told.get("source") == "train":
            return path.stem
    return "base"


def write(params: Any, results: Path, base: str, folder: Path) -> list[dict[str, Any]]:
    """Write the card and gates.json of a base into its folder; returns the gates.

    Raises StageError where there is no such folder.
    """
    from steps.data.language import vocabulary

    if not folder.is_dir():
        raise StageError(f"there is no {folder}: run python -m steps bundle first")
    speech = of(params.world)
    found = gates(results, base, list(params.seeds), speech)
    size = json.loads((results / "base" / base / "metrics.json").read_text())["parameters"]
    text = HEAD.format(
        base=base,
        parameters=int(size),
        words=len(vocabulary(speech)),
        sees="the embedded world" if speech is DRAWN else "scenes of cut-out photographs",
        things=f"{len(speech.maps)} {'shapes' if speech is DRAWN else 'kinds of photographs'}",
        maker=_maker(base),
        study=params.study.name,
        seeds=len(params.seeds),
        items=params.items.vqa,
    )
    for gate in found:
        wanted = f"{gate['low']:.3f} to {gate['high']:.3f}"
        met = "yes" if gate["met"] else "**no**"
        text += f"| {gate['gate']} | {wanted} | {gate['value']:.3f} | {met} |\n"
    (folder / "README.md").write_text(text)
    (folder / "gates.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def show(results: Path, base: str, folder: Path, figure: str, table: str) -> None:
    """Copy a figure and a table of a study's report into a folder that the README links to.

    Raises FileNotFoundError where the report does not have them.
    """
    folder.mkdir(exist_ok=True)
    for name in (f"figures/{figure}-{base}.png", f"tables/{table}-{base}.md"):
        shutil.copyfile(results / "report" / name, folder / Path(name).name)
