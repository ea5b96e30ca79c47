"""The bundled models' word-level tokenizer and chat template, and names of any model's tokens."""

from typing import Any

PAD, BOS, EOS, UNK, IMAGE = "<pad>", "<bos>", "<eos>", "<unk>", "<image>"
SPECIAL = (PAD, BOS, EOS, UNK, IMAGE)

CHAT = (
    "{% for m in messages %}{{ m['role'] }} : "
    "{% if m['content'] is string %}{{ m['content'] }} {% else %}"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}"
    "{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
"""`user : <image> what color ... ? assistant : red <eos>`"""


def tokenizer(words: list[str]) -> Any:
    """A fast tokenizer in which each of `words` is one token; specials come first."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    ids = {w: i for i, w in enumerate([*SPECIAL, *words])}
    raw = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        extra_special_tokens=[IMAGE],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = CHAT
    return fast


def named(tokenizer: Any, ids: list[int]) -> list[str]:
    """Each token as the vocabulary has it. A model can have rows for more: those are `<number>`."""
    found = zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    return [f"<{i}>" if token is None else token for i, token in found]


class Lexicon(dict):
    """Word to id, as in the tokenizer (a test holds the two together)."""

    def __init__(self, words: list[str]):
        super().__init__({w: i for i, w in enumerate([*SPECIAL, *words])})

    def encode(self, text: str) -> list[int]:
        """Ids of a text's words; KeyError for a word that the world does not have."""
        return [self[w] for w in text.split()]
