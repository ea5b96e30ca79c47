"""The sections that describe the bundled base's recipe and the ways to post-train."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steps.schema.section import Count, Rate, Section, Share, Whole


class Model(Section):
    """Sizes of the bundled base."""

    tower_width: Count
    tower_layers: Count
    tower_heads: Count
    width: Count
    layers: Count
    heads: Count
    feed_forward: Count


class Part(Section):
    """One part of the recipe: how long, on how much, how fast."""

    steps: Count
    batch: Count
    learning_rate: Rate
    matrix_rate: Annotated[float, Field(ge=0, le=1)]
    warmup: Whole
    weight_decay: Annotated[float, Field(ge=0)]
    precision: Literal["float32", "bfloat16"]
    save_every: Count


class Clear(Section):
    """What of the world is easier to see while the tower is pre-trained."""

    contrast: Rate
    ink: Rate


class Practise(Section):
    """The second cycle of instruct tuning."""

    steps: Whole
    text_every: Whole


class Recipe(Section):
    """How the bundled base is trained, for bases with `source: train`."""

    model: Model
    seed: Whole
    clear: Clear
    grow: Share
    style_b: Share
    captions: Share
    story_questions: Count
    image_questions: Count
    text_every: Whole
    tower_share: Share
    tower: Part
    language: Part
    align: Part
    instruct: Part
    practise: Practise


class Lora(Section):
    """Low-rank adapters in the place of whole matrices."""

    rank: Whole
    alpha: Annotated[float, Field(gt=0)]


class Rates(Section):
    """What a learning rate is multiplied by for each part of a model."""

    tower: Annotated[float, Field(ge=0, le=1000)]
    projector: Annotated[float, Field(ge=0, le=1000)]
    language: Annotated[float, Field(ge=0, le=1000)]


class Train(Section):
    """What all arms share, so that they are compared on equal terms."""

    batch: Count
    micro_batch: Count
    warmup: Share
    schedule: Literal["cosine", "constant", "linear"]
    rates: Rates
    clip: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    log_every: Count
    checkpoint_every: Count
    precision: Literal["float32", "bfloat16"]
    recompute: bool
    lora: Lora
    processes: Count
    shard: bool

    @model_validator(mode="after")
    def _divides(self) -> "Train":
        if self.batch % self.micro_batch:
            raise ValueError(f"micro_batch ({self.micro_batch}) must divide batch ({self.batch})")
        if self.batch % self.processes:
            raise ValueError(f"processes ({self.processes}) must divide batch ({self.batch})")
        return self


Parts = Annotated[list[Literal["tower", "projector", "language"]], Field(min_length=1)]
"""Parts of a model that an arm trains."""


class Joining(Section):
    """One part of joining a base: how long, how fast."""

    steps: Whole
    learning_rate: Rate


class Join(Section):
    """How an encoder and a language model are joined, for bases with `source: joined`."""

    align: Joining
    tune: Joining
    rates: Rates
    parts: Parts

    @model_validator(mode="after")
    def _aligns(self) -> "Join":
        if not self.align.steps:
            raise ValueError("align.steps (0) must be at least 1: a new projector knows nothing")
        return self


class Sft(Section):
    """Supervised fine-tuning on reference answers."""

    parts: Parts
    items: Literal["train", "stage1"]
    targets: Literal["reference", "sampled"]
    images: Literal["own", "shuffled"]
    patch_loss: Annotated[float, Field(ge=0)]
    epochs: Annotated[float, Field(gt=0)]
    learning_rate: Rate

    @model_validator(mode="after")
    def _sampled(self) -> "Sft":
        if self.items != "train" and (self.targets == "sampled" or self.patch_loss):
            raise ValueError(
                f"items ({self.items}) must be train for targets: sampled and for a patch_loss"
            )
        return self


class Dpo(Section):
    """Direct preference optimisation on the pairs."""

    parts: Parts
    loss: Literal["dpo", "mpo"]
    rejected: Literal["sampled", "shuffled", "random"]
    sft_epochs: Annotated[float, Field(ge=0)]
    sft_rate: Rate
    epochs: Annotated[float, Field(gt=0)]
    learning_rate: Rate
    beta: Annotated[float, Field(gt=0)]


Credit = Literal[
    "uniform",
    "anchor",
    "low_connectivity",
    "lowest",
    "inverse",
    "shuffled",
    "random",
    "entropy",
    "vppo",
    "pgpo",
    "oracle",
]
"""Ways to spread an answer's credit over its tokens, each a module of `steps.posttrain.credit`."""


class Grpo(Section):
    """Group-relative policy optimisation: reinforcement learning on the same prompts."""

    parts: Parts
    steps: Count
    prompts: Count
    generations: Annotated[int, Field(ge=2)]
    micro_batch: Count
    refill: Whole
    learning_rate: Rate
    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo"]
    scale: Literal["group", "batch", "none"]
    beta: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0, le=5)]
    max_tokens: Count
    sampler: Literal["own", "vllm"]
    vllm_memory: Rate
    agree: Annotated[float, Field(gt=0)]
    reward: Literal["correct", "random"]
    credit: Credit
    share: Rate
    select: Literal["topk", "metis", "kmeans"]
    weight: Literal["hard", "two_level", "density"]
    boost: Annotated[float, Field(gt=0)]
    equal_scale: bool
    layers: Annotated[list[Whole], Field(min_length=1)]
    heads: list[Whole]
    density: Literal["mass", "enrichment"]
    sinks: Literal["keep", "first", "image"]
    spoil: Rate
    pivots: Rate
    divergence: Literal["exact", "sampled"]
    floor: Share
    measure_every: Whole

    @model_validator(mode="after")
    def _boosts(self) -> "Grpo":
        most = (1 - self.share) / self.share
        if self.weight == "two_level" and self.boost > most:
            raise ValueError(
                f"boost ({self.boost}) must be at most {most:.2f} with share {self.share}: the "
                "other tokens' weight would be below 0"
            )
        return self


class Checkpoint(Section):
    """Weights that were trained elsewhere; all of it stands at the arm."""

    path: Annotated[str, Field(min_length=1)]
    revision: str | None = None


METHODS: dict[str, type[Section] | None] = {
    "none": None,
    "sft": Sft,
    "dpo": Dpo,
    "grpo": Grpo,
    "checkpoint": Checkpoint,
}
"""Every method that an arm may name, with the section whose keys it may override."""
