"""What heads look at and write, against plain attention matrices."""

import numpy as np
import pytest
import torch

from steps.diff import reading, relations
from steps.diff.drivers import sights
from steps.diff.drivers.pairs import LEVEL, pairs
from steps.diff.drivers.targets import MARGIN, Target
from steps.diff.hooks import decoder_layers
from steps.models import load
from steps.models.look import overlap


@pytest.fixture(scope="module")
def found(vlm, world):
    model, processor = vlm
    some = pairs(processor, 64, relations.draw(world, 9, 16), upright=True)
    row = torch.arange(24.0)
    aims = [
        MARGIN,
        Target("chosen", "residual.0", 3, "right", row, row),
        Target("chosen", "mlp.1", 3, "right", row, row),
    ]
    return some, aims, sights.looks(model, processor, some, aims, 3)


def test_attention_is_that_of_eager_matrices(vlm, found):
    model, processor = vlm
    some, _, (paid, area, _) = found
    model.set_attn_implementation("eager")
    pixels = load.reader(processor.image_processor)(some.clean.images)
    places = (some.clean.mask.cumsum(1) - 1).clamp_min(0)
    given = {"input_ids": some.clean.ids, "attention_mask": some.clean.mask, "position_ids": places}
    with torch.no_grad():
        seen = model(**given, pixel_values=pixels, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    last = torch.stack(seen, 1)[:, :, :, -1].double().numpy()
    for i, row in enumerate(some.table.itertuples()):
        image = last[i][..., (some.clean.types[i] == reading.IMAGE).numpy()]
        one, two = (overlap(b, 8, 64) for b in (row.first_box, row.second_box))
        both = overlap([*row.first_box, *row.second_box], 8, 64)
        for k, share in enumerate((one, two, 1 - both)):
            np.testing.assert_allclose(paid[i, ..., k], image @ share, atol=1e-5)
        assert area[i] == pytest.approx(both.mean(), abs=1e-6)


def test_writes_are_what_a_head_adds_along_the_row(vlm, found):
    model, processor = vlm
    some, aims, (*_, wrote) = found
    level = some.table["relation"].isin(LEVEL).to_numpy()
    assert np.isnan(wrote[0]).all() and np.isnan(wrote[2]).all()
    assert (np.isnan(wrote[1]) == (~level[:, None, None] | np.array([False, True])[:, None])).all()
    ends = [
        next(reading.read(model, processor, asked, ["heads.0"], 99)).seen["heads.0"][:, -1]
        for asked in (some.clean, some.twin)
    ]
    added = decoder_layers(model)[0].self_attn.o_proj(ends[0] - ends[1]).detach()
    along = (added @ torch.nn.functional.normalize(aims[1].write, dim=0)).numpy()
    way = np.where(some.table["relation"] == "right", 1, -1)
    whole = wrote[1, level, 0].sum(-1)
    np.testing.assert_allclose(whole, (along * way)[level], atol=1e-5)
    assert np.abs(whole).max() > 1e-3
