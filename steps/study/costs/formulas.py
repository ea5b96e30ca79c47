"""FLOPs and bytes of transformers, as counted by hand; tests hold them against PyTorch's counts.

Those of matrices with parameters are `steps.posttrain.budget`'s (Kaplan et al. 2020, 2001.08361:
2 N a token forward, 6 N with gradients); here is the rest.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Blocks:
    """A stack of transformer layers: width, heads' width in all (`inner`) and of keys (`keys`).

    feed_forward: hidden width of the MLP. gated: whether a second matrix gates it (SwiGLU).
    """

    layers: int
    width: int
    inner: int
    keys: int
    feed_forward: int
    gated: bool


def attention(blocks: Blocks, tokens: float, seen: float) -> float:
    """FLOPs of scores and of their weighted sums, forward, of `tokens` that see `seen` others each.

    Two products of 2 x seen x inner each, in every layer (Kaplan et al. 2020, table 1, has the
    first). Counted whole, as kernels do that get a mask; a causal kernel does half.
    """
    return 4.0 * blocks.layers * blocks.inner * tokens * seen


def activations(blocks: Blocks, tokens: float, size: int, recompute: bool = False) -> float:
    """Bytes that a backward pass over `tokens` needs kept, at `size` bytes a number.

    Korthikanti et al. 2022 (2205.05198, equation 1: 34 s b h a layer at 16 bits), term by term and
    without dropout's masks: inputs of two norms, of the query matrix, of the output matrix and of
    the MLP, queries, keys and values, and twice the MLP's hidden width (four times where it is
    gated). Scores are left out: the kernels in use make them again. With `recompute` a layer keeps
    its input alone, and one layer at a time has all.
    """
    each = 4 * blocks.width + 2 * blocks.inner + 2 * blocks.keys
    each += (4 if blocks.gated else 2) * blocks.feed_forward
    if recompute:
        return tokens * size * (blocks.layers * blocks.width + each)
    return tokens * size * blocks.layers * each


def cache(blocks: Blocks, tokens: float, size: int = 4) -> float:
    """Bytes of the keys and values of `tokens` tokens: two of `keys` numbers a layer."""
    return 2.0 * blocks.layers * blocks.keys * tokens * size


def states(trained: float, frozen: float, low: bool) -> dict[str, float]:
    """Bytes of weights, gradients and optimiser of so many trained and frozen parameters.

    All of them are in float32: 4 bytes of weight, 4 of gradient and 8 of Adam's two moments, 16 a
    trained parameter in all (Rajbhandari et al. 2019, 1910.02054, section 3.1, have 16 too, in
    another division). low: autocast keeps a bfloat16 copy of each weight beside them.
    """
    weights = (4.0 + 2.0 * low) * (trained + frozen)
    return {"weights": weights, "gradients": 4.0 * trained, "optimiser": 8.0 * trained}


def dictionary(width: int, features: int, tokens: float, passes: int = 3) -> float:
    """FLOPs of a sparse dictionary on `tokens`: encoder and decoder, 2 d f each, forward.

    passes: 3 with gradients, 1 to read.
    """
    return 4.0 * passes * width * features * tokens
