"""A page for eyes: answers of the trained model, each word coloured by the weight of its credit.

Made after training from questions and random numbers of its own, so that a run that was killed and
gone on with ends in the same page.
"""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from trl.trainer.utils import pad

from steps import ranks
from steps.data.judge.judge import Judge
from steps.models.tokenizer import named
from steps.posttrain import rollouts

FILE = "credit.html"
QUESTIONS = 12

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Credit: {rule}</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #222 }}
section {{ display: flex; gap: 1rem; margin: 1.2rem 0 }}
img {{ width: 96px; height: 96px; image-rendering: pixelated }}
p {{ margin: 0 }} .word {{ padding: 0 .2em; border-radius: .2em }} .not {{ color: #a33 }}
</style>
<h1>Credit: {rule}</h1>
<p>One answer drawn to each of {count} training questions after training. The darker a word, the
larger its share of the answer's credit; point at it for the weight (1: an even share). A wrong
answer's credit is blame.</p>
{answers}</html>
"""


@torch.no_grad()
def page(trainer: Any, items: pd.DataFrame, pictures: Path, out: Path) -> Path:
    """Write `out/credit.html` for a trained CreditTrainer; returns its path.

    items: the questions that it trained on. pictures: the array that their images are in. Of
    several processes all call it, because each may hold a share of the weights.
    """
    some = items.iloc[:QUESTIONS]
    images = np.load(pictures, mmap_mode="r", allow_pickle=False)
    shown = [Image.fromarray(np.array(images[i])) for i in some["image"]]
    drawn = _rollouts(trainer, list(some["prompt"]), shown)
    model = trainer.accelerator.unwrap_model(trainer.model)
    batch = {name: part.to(model.device) for name, part in drawn.items()}
    trainer._compute_loss(model, batch | {"num_images": [1] * len(some)})
    tokenizer, judge = trainer.processing_class.tokenizer, Judge(pictures.parent)
    rows = zip(some.itertuples(), shown, drawn["completion_ids"], drawn["completion_mask"].bool(),
               trainer.last.cpu(), strict=True)  # fmt: skip
    answers = "\n".join(
        _answer(item, image, tokenizer, ids[mask].tolist(), weights[mask].tolist(), judge)
        for item, image, ids, mask, weights in rows
    )
    text = PAGE.format(rule=escape(trainer.told.credit), count=len(some), answers=answers)
    if ranks.main():
        (out / FILE).write_text(text)
    return out / FILE


def _rollouts(trainer: Any, texts: list[str], images: list[Any]) -> dict[str, torch.Tensor]:
    """One answer to each question, as the trainer has its batches."""
    asked = [
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": image}, {"type": "text", "text": text}],
            }
        ]
        for image, text in zip(images, texts, strict=True)
        for _ in range(trainer.num_generations)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trainer.args.seed)
        found = rollouts.rollouts(asked, trainer)
    once = slice(None, None, trainer.num_generations)
    batch = {}
    for name, side in (("prompt", "left"), ("completion", "right")):
        ids = [torch.tensor(row) for row in found[f"{name}_ids"][once]]
        batch[f"{name}_ids"] = pad(ids, trainer._tokenizer.pad_token_id, side)
        batch[f"{name}_mask"] = pad([torch.ones_like(row) for row in ids], 0, side)
    pixels = trainer.processing_class.image_processor(images=images, return_tensors="pt")
    return batch | {
        "pixel_values": pixels["pixel_values"],
        "advantages": torch.ones(len(texts)),
        "ref_per_token_logps": torch.zeros(batch["completion_ids"].shape),
        "num_items_in_batch": batch["completion_mask"].sum(),
    }


def _answer(
    item: Any, image: Any, tokenizer: Any, ids: list[int], weights: list[float], judge: Judge
) -> str:
    said = tokenizer.decode(ids, skip_special_tokens=True)
    hit = judge.right(item, said)
    most = max([*weights, 1e-9])
    words = "".join(
        f'<span class="word" title="{weight:.2f}" '
        f'style="background: rgba(47, 119, 194, {0.75 * max(weight, 0) / most:.3f})">'
        f"{escape(token)}</span> "
        for token, weight in zip(named(tokenizer, ids), weights, strict=True)
    )
    picture = io.BytesIO()
    image.save(picture, "PNG")
    source = base64.b64encode(picture.getvalue()).decode()
    verdict = "right" if hit else f'<span class="not">wrong: {escape(item.value)}</span>'
    return (
        f'<section><img alt="" src="data:image/png;base64,{source}"><div>'
        f"<p>{escape(item.prompt)}</p><p>{words}</p><p>{verdict}</p></div></section>"
    )
