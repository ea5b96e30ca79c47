import json

import pytest
import torch

from steps.diff.sae import fit, saved, topk


def weights(width=64, d=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = topk.start(torch.randn(200, d, generator=g), width, g)
    made["b_enc"] = 0.3 * torch.randn(width, generator=g)
    made["W_enc"] += 0.1 * torch.randn(d, width, generator=g)
    return made


def inputs(n=256, d=24, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def lens():
    return pytest.importorskip("sae_lens")


@pytest.mark.parametrize("scale", [1.0, 0.037])
@pytest.mark.parametrize("threshold", [None, 0.8])
def test_saelens_loads_what_is_saved_here_and_gives_the_same(lens, tmp_path, scale, threshold):
    w, x = weights(), inputs() / scale  # x: as the model has them, w reads them scaled
    one = saved.scaled(fit.Fitted(w, 0.0, threshold), 6, scale)
    rate = (one.codes(x) > 0).float().mean(0)
    saved.save(tmp_path / "sae", one, "residual.2", {"cell": "D"}, rate)
    theirs = lens.SAE.load_from_disk(tmp_path / "sae")
    assert type(theirs).__name__ == ("JumpReLUSAE" if threshold else "TopKSAE")
    assert theirs.cfg.metadata.hook_name == "blocks.2.hook_resid_post"
    ours = saved.load(tmp_path / "sae")
    assert (ours.kind, ours.k) == ("batchtopk" if threshold else "topk", 6)
    z = ours.codes(x)
    with torch.no_grad():
        their_z = theirs.encode(x)
        again = theirs.decode(their_z)
    bound = 2e-6 / scale
    torch.testing.assert_close(z, their_z, rtol=1e-5, atol=bound)
    torch.testing.assert_close(ours.decode(z), again, rtol=1e-5, atol=2 * bound)
    # and the folded scale is the scale: the same latents, the same reconstruction
    plain = saved.scaled(fit.Fitted(w, 0.0, threshold), 6)
    assert torch.equal(plain.codes(scale * x) > 0, z > 0)
    torch.testing.assert_close(
        plain.decode(plain.codes(scale * x)) / scale, again, rtol=1e-4, atol=9 * bound
    )
    assert torch.equal(saved.alive(tmp_path / "sae"), rate > 0)


def theirs_of(lens, kind):
    """A dictionary of SAELens with random weights of uneven lengths, as it saves it."""
    torch.manual_seed(0)
    if kind == "batchtopk":
        made = lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(d_in=24, d_sae=64, k=6))
        made.topk_threshold = torch.tensor(0.05, dtype=torch.double)
    elif kind == "jumprelu":
        config = lens.JumpReLUSAEConfig(d_in=24, d_sae=64, apply_b_dec_to_input=False)
        made = lens.JumpReLUSAE(config)
        made.threshold.data = torch.rand(64)
    else:
        rescale = kind == "topk, rescaled"
        made = lens.TopKSAE(
            lens.TopKSAEConfig(d_in=24, d_sae=64, k=6, rescale_acts_by_decoder_norm=rescale)
        )
    made.b_dec.data = torch.randn(24)
    made.b_enc.data = 0.1 * torch.randn(64)
    made.W_dec.data *= 0.5 + torch.rand(64, 1)
    return made


@pytest.mark.parametrize("kind", ["topk", "topk, rescaled", "batchtopk", "jumprelu"])
def test_what_saelens_saves_loads_here_and_gives_the_same(lens, tmp_path, kind):
    made = theirs_of(lens, kind)
    if kind == "batchtopk":
        made.save_inference_model(tmp_path)
    else:
        made.save_model(tmp_path)
    theirs = lens.SAE.load_from_disk(tmp_path)
    ours, x = saved.load(tmp_path), inputs()
    assert (ours.kind, ours.k) == (kind.split(",")[0], None if kind == "jumprelu" else 6)
    z = ours.codes(x)
    with torch.no_grad():
        their_z, again = theirs.encode(x), theirs(x)
    assert torch.equal(z > 0, their_z > 0) and (z > 0).any()
    torch.testing.assert_close(ours.decode(z), again, rtol=0, atol=1e-5)
    if kind != "topk, rescaled":  # there a code is given in units of the decoder row's length
        torch.testing.assert_close(z, their_z, rtol=0, atol=1e-5)
    few = ours.codes(x[:5])
    torch.testing.assert_close(few, z[:5])


def test_a_fit_may_begin_from_a_jumprelu_dictionary(lens, tmp_path):
    made = theirs_of(lens, "jumprelu")
    made.cfg.metadata.hook_name = "blocks.3.hook_resid_post"
    made.save_model(tmp_path)
    w = saved.begin(tmp_path, "residual.3", 24, 64, 0.5)
    torch.testing.assert_close(w["W_dec"].norm(dim=1), torch.ones(64))
    x = inputs()
    pre = topk.preactivations(w, 0.5 * x)  # it reads scaled activations
    with torch.no_grad():
        expected = (x @ made.W_enc + made.b_enc) * made.W_dec.norm(dim=1) * 0.5
    torch.testing.assert_close(pre, expected, rtol=1e-4, atol=1e-4)
    row = made.W_dec[7] / made.W_dec[7].norm()
    torch.testing.assert_close(w["W_dec"][7], row.detach())
    for site, d, width, said in (
        ("residual.3", 32, 64, "reads 24 numbers, not the 32"),
        ("residual.3", 24, 48, "has 64 latents: set diff.width"),
        ("residual.2", 24, 64, "it is of blocks.3.hook_resid_post: give one .* residual.2"),
    ):
        with pytest.raises(ValueError, match=f"diff.start.{site} = .*{said}"):
            saved.begin(tmp_path, site, d, width, 1.0)


def test_what_goes_into_a_layer_came_out_of_the_one_before(tmp_path):
    one = saved.scaled(fit.Fitted(weights(), 0.0, None), 6)
    saved.save(tmp_path / "sae", one, None, {"hook_name": "blocks.3.hook_resid_pre"})
    saved.begin(tmp_path / "sae", "residual.2", 24, 64, 1.0)
    with pytest.raises(ValueError, match="hook_resid_pre"):
        saved.begin(tmp_path / "sae", "residual.3", 24, 64, 1.0)


def test_folders_that_cannot_be_read_are_named(tmp_path):
    one = saved.scaled(fit.Fitted(weights(), 0.0, None), 6)
    saved.save(tmp_path / "sae", one)
    path = tmp_path / "sae" / "cfg.json"
    config = json.loads(path.read_text())
    for change, said in (
        ({"architecture": "gated"}, "gated.*topk or jumprelu"),
        ({"architecture": "jumprelu"}, "without its threshold"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations = layer_norm"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=said):
            saved.load(tmp_path / "sae")
    (tmp_path / "sae" / "sae_weights.safetensors").rename(tmp_path / "sae" / "sae_weights.pt")
    with pytest.raises(FileNotFoundError, match="has no sae_weights.safetensors.*pickled"):
        saved.load(tmp_path / "sae")
