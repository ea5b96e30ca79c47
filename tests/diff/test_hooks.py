import pytest
import torch

from steps.diff import hooks
from steps.models import build, load
from steps.stage import StageError

EVERY = hooks.sites([0, 1, 2], hooks.KINDS)


def batch(model):
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [6, 7, 5, 10, 0, 0]])
    ids = torch.cat([torch.full((2, 16), model.config.image_token_id), ids], 1)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "pixel_values": pixels}


def hooked(model):
    language = model.get_decoder()  # transformers keeps hooks of its own on the tower
    return [m for m in language.modules() if m._forward_hooks or m._forward_pre_hooks]


@pytest.fixture
def model(base):
    return load.vlm(base / "instruct")


@pytest.fixture
def grouped():
    """Four query heads that share two of keys and values, each head 6 wide in a stream of 20."""
    from types import SimpleNamespace

    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=20, layers=2, heads=4, feed_forward=40
    )
    config = build.config(sizes, 32, 8, ["red", "green", "blue", "what", "is", "it"])
    config.text_config.num_key_value_heads = 2
    config.text_config.head_dim = 6
    return build.vlm(config, 0).eval()


def test_capture_is_what_the_model_calls_hidden_states_bit_for_bit(model):
    given = batch(model)
    with torch.no_grad(), hooks.capture(model, [f"residual.{i}" for i in range(3)]) as seen:
        output = model(**given, output_hidden_states=True)
    states = output.hidden_states  # embeddings, then layers; the last one behind the final norm
    assert torch.equal(seen["residual.0"], states[1])
    assert torch.equal(seen["residual.1"], states[2])
    assert torch.equal(model.get_decoder().norm(seen["residual.2"]), states[3])
    assert not torch.equal(seen["residual.0"], seen["residual.1"])


def test_the_sites_of_a_layer_add_up_to_its_output_bit_for_bit(model):
    given = batch(model)
    with torch.no_grad(), hooks.capture(model, EVERY) as seen:
        model(**given)
        project = hooks.decoder_layers(model)[1].self_attn.o_proj
        middle = seen["residual.0"] + project(seen["heads.1"])
        assert torch.equal(middle + seen["mlp.1"], seen["residual.1"])
    assert seen["heads.1"].std() > 0.01 and seen["mlp.1"].std() > 0.01


def test_every_query_head_of_grouped_attention_has_its_own_columns(grouped):
    given = batch(grouped)
    assert hooks.width(grouped, "heads.0") == 24
    assert hooks.width(grouped, "mlp.0") == hooks.width(grouped, "residual.0") == 20
    with torch.no_grad(), hooks.capture(grouped, ["heads.0"]) as seen:
        grouped(**given)
        before = seen["heads.0"].unflatten(-1, (4, 6))
        query = hooks.decoder_layers(grouped)[0].self_attn.q_proj
        query.weight[6:12] *= -30  # head 1 looks elsewhere; head 0 has the same keys and values
        grouped(**given)
        after = seen["heads.0"].unflatten(-1, (4, 6))
    moved = (before - after).abs().amax((0, 1, 3))
    assert moved[1] > 1e-3
    assert moved[[0, 2, 3]].max() < 1e-3 * moved[1]


def test_capture_changes_nothing_and_leaves_nothing_behind(model):
    given = batch(model)
    with torch.no_grad():
        plain = model(**given).logits
        with hooks.capture(model, EVERY) as seen:
            watched = model(**given).logits
        first = seen["mlp.1"]
        model(**{**given, "pixel_values": -given["pixel_values"]})
    assert torch.equal(plain, watched)
    assert seen["mlp.1"] is first
    assert hooked(model) == []


@pytest.mark.parametrize("site", ["residual.1", "heads.1", "mlp.1"])
def test_an_edit_of_zero_changes_no_bit_and_a_real_one_does(model, site):
    given = batch(model)
    with torch.no_grad():
        plain = model(**given).logits
        with hooks.edit(model, {site: lambda x: x + 0}):
            same = model(**given).logits
        with hooks.edit(model, {site: lambda x: x * 1.5}):
            other = model(**given).logits
        again = model(**given).logits
    assert torch.equal(same, plain) and torch.equal(again, plain)
    assert (other - plain).abs().max() > 1e-3
    assert hooked(model) == []


def test_an_edit_puts_its_tensor_where_the_site_was(model):
    """Zeroed, heads leave the projection's bias alone, and an MLP adds nothing."""
    given = batch(model)
    nothing = torch.zeros_like
    with torch.no_grad(), hooks.edit(model, {"heads.1": nothing, "mlp.1": nothing}):
        with hooks.capture(model, ["residual.0", "heads.1", "residual.1"]) as seen:
            model(**given)
    assert torch.equal(seen["residual.1"], seen["residual.0"])
    assert not seen["heads.1"].any()  # opened later, so it sees the edit


def test_several_edits_hold_at_once_and_only_on_the_tokens_they_name(model):
    given = batch(model)

    def last(x):
        return torch.cat([x[:, :-1], x[:, -1:] + 1], 1)

    with torch.no_grad(), hooks.capture(model, EVERY) as seen:
        model(**given)
        plain = dict(seen)
        with hooks.edit(model, {"heads.0": last, "residual.1": last}):
            model(**given)
    assert torch.equal(seen["residual.2"][:, :-1], plain["residual.2"][:, :-1])  # causal
    one = (seen["residual.0"] - plain["residual.0"])[:, -1].abs().mean()
    both = (seen["residual.2"] - plain["residual.2"])[:, -1].abs().mean()
    assert 0 < one < both


def test_gradients_at_a_site_flow_through_edits(model):
    """To first order, what an edit adds changes the score by its product with the gradient."""
    given = batch(model)
    model.double()
    given["pixel_values"] = given["pixel_values"].double()
    push = torch.randn(24, generator=torch.Generator().manual_seed(0)).double() * 1e-5

    def score():
        return model(**given).logits[:, -1].logsumexp(-1).sum()

    with hooks.capture(model, ["mlp.1", "residual.1"], grad=True) as seen:
        plain = score()
        (slope,) = torch.autograd.grad(plain, seen["mlp.1"])
    with torch.no_grad(), hooks.edit(model, {"mlp.1": lambda x: x + push}):
        moved = score() - plain
    torch.testing.assert_close(moved, (slope * push).sum(), rtol=1e-3, atol=0)
    with hooks.capture(model, ["mlp.1"]) as seen:
        score()
    assert not seen["mlp.1"].requires_grad


def test_an_edit_that_changes_the_shape_is_refused(model):
    with (
        hooks.edit(model, {"mlp.1": lambda x: x[:, :1]}),
        pytest.raises(ValueError, match=r"edit of mlp.1: \(2, 22, 24\) became \(2, 1, 24\)"),
    ):
        model(**batch(model))


def test_stopping_early_gives_the_same_bit_for_bit(model):
    given = batch(model)
    some = hooks.sites([1], hooks.KINDS)
    with torch.no_grad(), hooks.capture(model, some) as seen:
        model(**given)
        whole = dict(seen)
        hooks.stop_after(model, 1)
        model(**given, use_cache=False, logits_to_keep=1)
    assert len(hooks.decoder_layers(model)) == 2
    for site in some:
        assert seen[site] is not whole[site] and torch.equal(seen[site], whole[site])
    for layer in (-1, 2):
        with pytest.raises(StageError, match=f"diff.layers = {layer}.*0 to 1"):
            hooks.stop_after(model, layer)


def test_sites_that_are_not_there_are_named(model):
    assert hooks.sites([2, 0, 2], ["mlp", "residual"]) == [
        "mlp.2",
        "residual.2",
        "mlp.0",
        "residual.0",
    ]
    with pytest.raises(StageError, match="diff.sites = 'attention'.*residual, heads, mlp"):
        hooks.sites([2], ["residual", "attention"])
    for name in ("residual", "residual.x", "layer.2", "heads.-1"):
        with pytest.raises(StageError, match="diff.sites.*names no site"):
            hooks.layer_of(name)
    for use in (lambda s: hooks.capture(model, [s]), lambda s: hooks.edit(model, {s: torch.abs})):
        with pytest.raises(StageError, match="diff.layers = 3.*0 to 2"), use("heads.3"):
            pass
    del hooks.decoder_layers(model)[0].self_attn.o_proj
    with (
        pytest.raises(StageError, match="diff.sites = 'heads': layer 0.*no self_attn.o_proj"),
        hooks.capture(model, ["residual.0", "heads.0"]),
    ):
        pass
    assert hooked(model) == []


def test_tuples_of_older_model_classes_are_unwrapped():
    class Layer(torch.nn.Module):
        def forward(self, x):
            return (x + 1, "cache")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Layer()])

        def get_decoder(self):
            return self

        def forward(self, x):
            return self.layers[0](x)

    model = Model()
    with hooks.edit(model, {"residual.0": lambda x: 2 * x}):
        with hooks.capture(model, ["residual.0"]) as seen:
            output = model(torch.zeros(2, 3, 4))
    assert torch.equal(seen["residual.0"], torch.full((2, 3, 4), 2.0))
    assert torch.equal(output[0], seen["residual.0"]) and output[1] == "cache"


@pytest.mark.parametrize("shared", [False, True])
def test_transformer_lens_sees_the_same_bit_for_bit(base, grouped, shared, tmp_path):
    """hook_resid_post, hook_z and hook_mlp_out of its bridge on an image with words.

    The bridge forces eager attention, and works out the tower's layer norms in another order: the
    language model is given the very image tokens that the bridge's has.
    """
    bridge = pytest.importorskip("transformer_lens.model_bridge").TransformerBridge
    folder = base / "instruct"
    if shared:
        folder = tmp_path
        grouped.save_pretrained(folder)
        load.processor(base / "instruct").save_pretrained(folder)
    mine, other = load.vlm(folder), load.vlm(folder)
    for model in (mine, other):
        model.set_attn_implementation("eager")
    words = load.processor(folder).tokenizer
    theirs = bridge.boot_transformers(str(folder), hf_model=other, tokenizer=words, device="cpu")
    every = hooks.sites(range(len(hooks.decoder_layers(mine))), hooks.KINDS)
    given = batch(mine)
    names = {"residual": "hook_resid_post", "heads": "attn.hook_z", "mlp": "hook_mlp_out"}
    with torch.no_grad(), hooks.capture(mine, every) as seen:
        _, cache = theirs.run_with_cache(
            given["input_ids"], **{k: given[k] for k in list(given)[1:]}
        )
        mine(**given)
        whole = dict(seen)
        embeddings = cache["blocks.0.hook_resid_pre"]
        mine(inputs_embeds=embeddings, attention_mask=given["attention_mask"])
    for site in every:
        kind, _, layer = site.partition(".")
        known = cache[f"blocks.{layer}.{names[kind]}"].flatten(2)
        assert torch.equal(seen[site], known), site
        torch.testing.assert_close(whole[site], known, rtol=1e-4, atol=1e-5)
