"""Gradients of losses in image tokens: against finite differences, autograd, captum on the model
itself, and models that are known to look at one patch, or at all of them alike."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.data.language import vocabulary
from steps.encoder import pointing, saliency
from steps.encoder.saliency import Said
from steps.models import build

PROMPTS = ["what color is the circle ? one word .", "is there a red star ? answer only ."]
ANSWERS = {
    "chosen": ["red", "answer : no"],
    "rejected": ["answer : green", "yes"],
    "description": ["a small red circle at the top left", "a large blue ring"],
}


@pytest.fixture(scope="module")
def vlm():
    """A tiny random model, loud enough to look, its processor, and images."""
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    model = build.vlm(build.config(sizes, 32, 8, vocabulary()), 0).eval().requires_grad_(False)
    for part in (model.model.language_model.layers, model.model.multi_modal_projector):
        for weights in part.parameters():
            weights.mul_(4.0)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return model, build.processor(32, 8, vocabulary()), pixels


@pytest.fixture(scope="module")
def words(vlm):
    _, processor, _ = vlm
    return {n: saliency.text(processor, 16, PROMPTS, told) for n, told in ANSWERS.items()}


@pytest.fixture(scope="module")
def slopes(vlm, words):
    model, _, pixels = vlm
    return saliency.gradients(model, saliency.read(model, pixels), words)


def losses(model, seen, words):
    """Every loss as one graph from the encoder's output on: {name: [B]}, and the projector's."""
    given = model.model.multi_modal_projector(seen)
    held = {name: saliency.said(model, given, one) for name, one in words.items()}
    return {name: of(held) for name, of in saliency.LOSSES.items()}, given


def test_answers_are_what_the_template_puts_behind_the_question(vlm):
    _, processor, _ = vlm
    asked = saliency.text(processor, 16, PROMPTS, ANSWERS["chosen"])
    told = processor.tokenizer
    behind = [told.decode(ids[-n:]) for ids, n in zip(asked.ids, asked.tokens, strict=True)]
    assert behind == ["red <eos>", "answer : no <eos>"] and asked.tokens.tolist() == [2, 4]
    open_ended = saliency.text(processor, 16, PROMPTS, ANSWERS["chosen"], ends=False)
    assert open_ended.tokens.tolist() == [1, 3]
    talk = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPTS[1]}]},
        {"role": "assistant", "content": [{"type": "text", "text": ANSWERS["chosen"][1]}]},
    ]
    whole = told.apply_chat_template(talk, tokenize=False).replace("<image>", "<image>" * 16)
    ids = told(whole, add_special_tokens=False)["input_ids"]
    assert asked.ids[1][asked.mask[1].bool()].tolist() == ids


def test_log_probabilities_are_the_whole_models(vlm, words):
    """Against the model's own loss on pixels, one answer at a time and without padding."""
    model, _, pixels = vlm
    given = model.model.multi_modal_projector(saliency.read(model, pixels))
    for one in words.values():
        found = saliency.said(model, given, one)
        for i in range(2):
            ids = one.ids[i][one.mask[i].bool()][None]
            labels = ids.clone()
            labels[:, : -int(one.tokens[i])] = -100
            with torch.no_grad():
                peer = model(input_ids=ids, pixel_values=pixels[i : i + 1], labels=labels).loss
            assert saliency.sft(found)[i].item() == pytest.approx(peer.item(), rel=1e-4)


def test_losses_worked_by_hand():
    right, wrong = Said(torch.tensor([-2.0]), torch.tensor([2])), Said(torch.tensor([-9.0]), 3)
    assert saliency.sft(right).item() == 1
    wanted = np.log1p(np.exp(-0.5 * (7 - 3)))
    assert saliency.dpo(right, wrong, torch.tensor([3.0]), 0.5).item() == pytest.approx(wanted)
    assert saliency.grpo(right, wrong).item() == pytest.approx(-(-1 + 3) / 2)


@pytest.mark.parametrize("loss", list(saliency.LOSSES))
def test_gradients_equal_autograd_through_the_whole_loss(vlm, words, slopes, loss):
    model, _, pixels = vlm
    seen = saliency.read(model, pixels).requires_grad_()
    found, given = losses(model, seen, words)
    peers = torch.autograd.grad(found[loss].sum(), [seen, given])
    for place, peer in zip(saliency.PLACES, peers, strict=True):
        assert peer.abs().max() > 1e-5
        torch.testing.assert_close(slopes[loss][place], peer, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("loss", ["answer", "reward", "describe"])
def test_gradients_equal_finite_differences(vlm, words, slopes, loss):
    """Not of `preference`, whose reference is held while the policy moves."""
    model, _, pixels = vlm
    seen, rng = saliency.read(model, pixels), torch.Generator().manual_seed(2)
    way = torch.randn(seen.shape, generator=rng)
    step = 2e-3
    with torch.no_grad():
        up, down = (losses(model, seen + s * way, words)[0][loss] for s in (step, -step))
    told = (slopes[loss]["encoder"] * way).flatten(1).sum(1)
    torch.testing.assert_close(told, (up - down) / (2 * step), rtol=0.02, atol=2e-4)


def test_a_reference_only_scales_each_pairs_map(vlm, words, slopes):
    """So no score needs the reference model."""
    model, _, pixels = vlm
    seen = saliency.read(model, pixels).requires_grad_()
    given = model.model.multi_modal_projector(seen)
    pair = [saliency.said(model, given, words[name]) for name in ("chosen", "rejected")]
    loss = saliency.dpo(*pair, torch.tensor([4.0, -7.0]), 0.3).sum()
    (peer,) = torch.autograd.grad(loss, seen)
    one, other = (saliency.gradient(s) for s in (slopes["preference"]["encoder"], peer))
    factor = (other / one).mean(1, keepdim=True)
    assert factor[0] != pytest.approx(factor[1].item(), rel=0.1)
    torch.testing.assert_close(other, factor * one, rtol=1e-3, atol=1e-7)


def test_on_answers_of_equal_length_grpo_looks_where_dpo_looks(vlm):
    model, processor, pixels = vlm
    same = ANSWERS | {"chosen": ["red", "no"], "rejected": ["green", "yes"]}
    words = {name: saliency.text(processor, 16, PROMPTS, told) for name, told in same.items()}
    found = saliency.gradients(model, saliency.read(model, pixels), words)
    one, other = (saliency.gradient(found[n]["encoder"]) for n in ("preference", "reward"))
    torch.testing.assert_close(one / one.sum(1, keepdim=True), other / other.sum(1, keepdim=True))


def test_gradient_is_the_l1_norm_over_channels():
    slope = torch.tensor([[[1.0, -2.0], [0.0, 0.5]]])
    assert saliency.gradient(slope).tolist() == [[3.0, 0.5]]


def test_gradcam_equals_the_formula():
    tokens, slope = torch.randn(2, 3, 9, 5, generator=torch.Generator().manual_seed(3))
    weights = -slope.numpy().mean(1)  # of each channel: the score's slope, mean over patches
    wanted = np.maximum((weights[:, None] * tokens.numpy()).sum(2), 0)
    assert saliency.gradcam(tokens, slope).numpy() == pytest.approx(wanted, abs=1e-6)
    assert (wanted > 0).any() and (wanted == 0).any()


class Turned(torch.nn.Module):
    """A projector whose channels come second, as captum wants them."""

    def __init__(self, projector):
        super().__init__()
        self.projector = projector

    def forward(self, seen):
        return self.projector(seen).transpose(1, 2)


def test_gradcam_equals_captum_on_the_whole_model(vlm, words, slopes):
    from captum.attr import LayerGradCam

    model, _, pixels = vlm
    layer = Turned(model.model.multi_modal_projector)
    for loss, of in saliency.LOSSES.items():

        def score(seen, of=of):
            given = layer(seen).transpose(1, 2)
            return -of({name: saliency.said(model, given, one) for name, one in words.items()})

        seen = saliency.read(model, pixels).requires_grad_()
        peer = LayerGradCam(score, layer).attribute(seen, relu_attributions=True)[:, 0]
        found = saliency.gradcam(slopes["tokens"]["projector"], slopes[loss]["projector"])
        assert peer.max() > 0
        torch.testing.assert_close(found, peer.detach(), rtol=1e-3, atol=1e-7)


class Planted(torch.nn.Module):
    """A model whose answers hang on its image tokens [B, P, D] by a rule that is known."""

    def __init__(self, rule, width=6, words=7):
        super().__init__()
        self.words, self.rule = torch.nn.Embedding(words, width), rule
        self.head = torch.nn.Linear(width, words, bias=False)
        self.model = SimpleNamespace(multi_modal_projector=torch.nn.Linear(width, width))
        self.config = SimpleNamespace(image_token_id=0)
        self.requires_grad_(False)
        self.model.multi_modal_projector.requires_grad_(False)

    def get_input_embeddings(self):
        return self.words

    def forward(self, inputs_embeds, attention_mask, logits_to_keep, use_cache):
        state = self.rule(inputs_embeds[:, :16])[:, None] + inputs_embeds[:, -logits_to_keep:]
        return SimpleNamespace(logits=self.head(state))


def planted(rule, tokens):
    """Scores of both maps at both places for each loss, masks: one patch, another for each image.

    rule: image tokens [B, 16, D] to what the answers hang on [B, D].
    """
    torch.manual_seed(0)
    ids = torch.tensor([[0] * 16 + [1, 2, 3], [0] * 16 + [1, 4, 5]])
    mask, two = torch.ones_like(ids), torch.tensor([2, 2])
    one, other = (saliency.Text(rows, mask, two) for rows in (ids, ids.flip(0)))
    words = dict(zip(saliency.TEXTS, (one, other, one), strict=True))
    found = saliency.gradients(Planted(rule), tokens, words)
    place = found.pop("tokens")
    inside = torch.nn.functional.one_hot(torch.tensor([5, 11]), 16).bool().numpy()
    for of in found.values():
        for name, slope in of.items():
            maps = saliency.gradient(slope), saliency.gradcam(place[name], slope)
            yield tuple(pointing.scores(one.numpy(), inside) for one in maps)


def test_a_model_that_reads_one_patch_is_found_out():
    tokens = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(4))
    rows = torch.tensor([0, 1]), torch.tensor([5, 11])
    for gradient, _ in planted(lambda image: image[rows], tokens):
        for name in ("pointing", "energy", "iou"):
            assert gradient[name] == pytest.approx(1)
        assert gradient["elsewhere"] == pytest.approx(0)


def test_a_model_that_reads_all_patches_alike_scores_the_area():
    tokens = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(4))
    for gradient, _ in planted(lambda image: image.mean(1), tokens):
        assert gradient["energy"] == pytest.approx(1 / 16)
        assert gradient["enrichment"] == pytest.approx(1)
        assert gradient["entropy"] == pytest.approx(1)


def test_gradcam_finds_what_stands_out_not_what_is_read():
    """Its weights are means over patches: it points at patches that are like what is wanted."""
    tokens = torch.zeros(2, 16, 6)
    tokens[torch.tensor([0, 1]), torch.tensor([5, 11]), :] = 1.0
    found = [cam for _, cam in planted(lambda image: image.mean(1), tokens)]
    # At the encoder's output all other patches are zero, so the map is on the object or nowhere.
    assert all(set(cam["energy"]) <= {1.0, 1 / 16} for cam in found[::2])
    assert any(cam["energy"].max() == 1 for cam in found)
    even = torch.ones(2, 16, 6)
    rows = torch.tensor([0, 1]), torch.tensor([5, 11])
    for _, cam in planted(lambda image: image[rows], even):
        assert cam["energy"] == pytest.approx(1 / 16)
