"""How far an arm moved: nothing for the base, and the textbook's divergence for the rest."""

import pandas as pd
import pytest
import torch

from steps.models import load
from steps.posttrain import budget, dose


@pytest.fixture
def parts(base):
    folder = base / "instruct"
    return load.vlm(folder), load.vlm(folder), load.processor(folder)


def test_the_base_has_no_dose(parts, items):
    model, base, processor = parts
    found = dose.dose(model, base, processor, items)
    assert set(found) == set(dose.nothing())
    assert set(found.values()) == {0.0} == set(dose.nothing().values())


def test_change_is_relative_and_by_part(parts):
    model, base, _ = parts
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if budget.part(name) == "projector":
                weights.mul_(1.5)
    found = dose.moved(model, base)
    assert found["dose/projector"] == pytest.approx(0.5)
    assert found["dose/tower"] == found["dose/language"] == 0.0


def test_divergence_is_over_response_tokens_alone(parts, items):
    """Against one item at a time, by torch's own divergence."""
    model, base, processor = parts
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=torch.manual_seed(0)))
    table = pd.read_parquet(items / "tune.parquet")
    import numpy as np
    from PIL import Image

    images = np.load(items / "tune_images.npy")
    total, count = 0.0, 0
    for row in table.itertuples():
        picture = Image.fromarray(images[row.image])
        talk = [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": picture},
                    {"type": "text", "text": row.prompt},
                ],
            }
        ]
        talk.append({"role": "assistant", "content": [{"type": "text", "text": row.response}]})
        batch = processor.apply_chat_template(
            [talk], tokenize=True, return_dict=True, return_tensors="pt"
        )
        words = len(row.response.split()) + 1  # and the end
        with torch.no_grad():
            new, old = (
                m(**batch).logits[0, -words - 1 : -1].log_softmax(-1) for m in (model, base)
            )
        total += torch.nn.functional.kl_div(old, new, reduction="sum", log_target=True).item()
        count += words
    found = dose.Frozen(base, processor, items).divergence(model)
    assert found == pytest.approx(total / count, rel=1e-4)
    assert found > 0.01


def test_words_are_foretold_where_they_are_said_alone(parts, items):
    """With a vocabulary of 150,000 and images of 600 tokens the rest is most of a GPU."""
    model, _, processor = parts
    rows = []
    hook = model.lm_head.register_forward_hook(lambda _, __, out: rows.append(out.shape[1]))
    frozen = dose.Frozen(model, processor, items)
    hook.remove()
    longest = [int((batch["labels"] != -100).sum(1).max()) for batch in frozen.batches]
    widths = [batch["labels"].shape[1] for batch in frozen.batches]
    for kept, said, whole in zip(rows, longest, widths, strict=True):
        assert said <= kept < whole - model.config.image_seq_length
