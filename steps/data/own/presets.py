"""Public data sets by name: which of their columns is what, and how their answers are judged.

Each is in its own published layout, unpacked into a local folder. What differs from how the papers
use them is told beside each.
"""

from typing import NamedTuple


class Preset(NamedTuple):
    """columns: our names to theirs, as `data.columns`. reward: as `data.reward`, the first that
    fits an answer. roots: a file that names the image folder of each annotation file.
    """

    columns: dict[str, str | list[str]]
    reward: tuple[str, ...]
    roots: str = ""


_TURNS = {"prompt": "conversations.0.value", "answer": "conversations.1.value"}

PRESETS = {
    # Hub: liuhaotian/LLaVA-Pretrain, blip_laion_cc_sbu_558k.json (Liu et al. 2023, 2304.08485).
    # PIVOT's stage 1a trains the projector on all 558K. A caption is neither right nor wrong.
    "llava_pretrain": Preset({"id": "id", "image": "image", **_TURNS}, ("open",)),
    # Hub: lmms-lab/LLaVA-OneVision-Data, Parquet (Li et al. 2024, 2408.03326). Deviations: the
    # first question of a conversation alone (later turns are counted), all rows of a file (the
    # published mixture samples fractions), rows without an image left out. Ids repeat between
    # its parts, so that a row goes by file and number.
    "llava_onevision": Preset(
        {"image": "image", "kind": "data_source", **_TURNS}, ("choice", "numeric", "exact", "open")
    ),
    # Hub: OpenGVLab/MMPR-v1.2, annotations/*.jsonl beside meta.json (Wang et al. 2024, 2411.10442).
    # As PIVOT: SFT learns the chosen answer, `repeat_time` is ignored, items of several images and
    # answers with an image's tag are left out. Deviations: PIVOT drops a whole file at its first
    # item of several images and what is longer than 1,500 tokens; here such items go one by one,
    # and length is in characters. An answer to judge by is read off the chosen one.
    "mmpr": Preset(
        {"image": "image", "prompt": "question", "chosen": "chosen", "rejected": "rejected"},
        ("choice", "numeric", "exact", "open"),
        roots="meta.json",
    ),
    # Hub: TIGER-Lab/ViRL39K, 39Krelease.parquet and images/ (Wang et al. 2025, 2504.08837).
    # VPPO rewards right answers alone (2510.09285). Deviations: questions of several images are
    # left out; an answer that is no letter and no number is compared as text, not as mathematics.
    "virl39k": Preset(
        {
            "id": "qid",
            "image": "image",
            "prompt": "{question}\nPut the answer into \\boxed{{}}.",
            "answer": "answer",
            "kind": "category",
        },
        ("choice", "numeric", "exact"),
    ),
    # Hub: cambridgeltl/vsr_random, train.jsonl; dev and test as `test_path` (Liu et al. 2023,
    # 2205.00363); images are COCO's, side by side. The paper scores a classifier; the question is
    # put in words here.
    "vsr": Preset(
        {
            "image": "image",
            "prompt": 'Is it true of the image that "{caption}"? Answer yes or no.',
            "answer": "label",
            "choices": ["no", "yes"],
            "kind": "relation",
        },
        ("choice",),
    ),
}
