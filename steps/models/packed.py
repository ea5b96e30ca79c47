"""The forward pass over packed rows: one prefix, several questions that do not see each other."""

from typing import Any

from steps.models.batches import Packed


def mask(segments: Any) -> Any:
    """Additive attention mask float32 [B, 1, T, T] from segment numbers int64 [B, T].

    A token sees earlier tokens of its own segment and of the prefix (segment 0). Padding sees
    itself only, so that no row of the softmax is empty.
    """
    import torch

    t = segments.shape[1]
    row, column = segments[:, :, None], segments[:, None, :]
    earlier = torch.ones(t, t, dtype=torch.bool, device=segments.device).tril()
    seen = earlier & ((column == 0) | (column == row)) & (column >= 0)
    seen = seen | torch.eye(t, dtype=torch.bool, device=segments.device)
    nothing = torch.zeros(seen.shape, device=segments.device)
    return nothing.masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


def loss(model, batch: Packed, by: str = "response") -> Any:
    """Cross-entropy of a packed batch's responses, end of text included.

    by: `response`, the mean over a response's tokens, then over responses, so that the word that
    answers is not drowned by those of captions; or `token`, the mean over all tokens at once.
    """
    import torch

    from steps.models.load import pixels

    arrays = batch.ids, batch.positions, batch.segments, batch.labels
    ids, positions, segments, labels = (torch.from_numpy(one).to(model.device) for one in arrays)
    hidden = model.model(
        input_ids=ids,
        pixel_values=None if batch.images is None else pixels(batch.images, model.device),
        attention_mask=mask(segments),
        position_ids=positions,
        use_cache=False,
    ).last_hidden_state
    wanted = labels[:, 1:] != -100  # the token before says the next
    logits = model.lm_head(hidden[:, :-1][wanted])
    each = torch.nn.functional.cross_entropy(
        logits.float(), labels[:, 1:][wanted], reduction="none"
    )
    if by == "token":
        return each.mean()
    row = torch.arange(len(ids), device=ids.device)[:, None]
    response = (row * (segments.max() + 1) + segments)[:, 1:][wanted]
    length = torch.bincount(response)
    return (each / length[response]).sum() / (length > 0).sum()
