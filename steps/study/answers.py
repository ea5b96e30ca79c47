"""The tables of what models answer, of their words and of where they look."""

from steps.study.rows import PRIMARY, Group, Row, family
from steps.study.wording import COHERENCE, FAR, GAZE


def behaviour(names: set[str]) -> list[Group]:
    """The tables for the metrics at hand, empty ones among them."""
    answers = [
        Row(PRIMARY, "right answers, read leniently"),
        Row("vqa/strict-lenient", "strict minus lenient", minus=PRIMARY, mean_of=("vqa/strict",)),
        Row("vqa/ill_formed", "ill-formed answers"),
        Row("vqa/novel/lenient", "right on what no training shows"),
    ]
    for blind, word in (("grey", "a grey image"), ("swapped", "another question's image")):
        answers.append(Row(f"vqa/{blind}/lenient", f"right with {word}, facts left out"))
        answers += [
            Row(name, kind, inner=True)
            for name, kind in family(names, rf"vqa/{blind}/kind/([^/]+)/lenient")
        ]
    parts = [
        Row(name, part if axis == "kind" else f"{axis}: {part}")
        for axis in ("kind", "form", "style")
        for name, part in family(names, rf"vqa/{axis}/([^/]+)/lenient")
    ]
    return [
        Group(
            "Answers",
            "Share of questions answered rightly, in points. Lenient asks whether the answer is "
            "right, strict also for the form that was asked for; the difference between them is "
            "format, not sight. With a grey or swapped image only guessing is left.",
            "points",
            answers,
        ),
        Group(
            "Answers, question by question",
            "The same lenient share for each kind of question, each form in which the answer was "
            "asked for and each style of text (style b is rarer in stage 1: recipe.style_b).",
            "points",
            parts,
        ),
        Group(
            "Away from training",
            "Lenient share, facts left out, in points, on a ladder after SEED-Bench-R1 "
            "(2503.24376): questions like those trained on, on what no training set shows (a "
            "combination of shape, colour and texture; a photograph), and on that among more "
            "objects than training shows, in a wording that no training text has. Facts in that "
            "wording need no image: they tell what the wording does by itself.",
            "points",
            [
                Row("vqa/ladder/1/lenient", "as in training"),
                Row("vqa/ladder/2/lenient", "what no training shows"),
                Row("vqa/ladder/3/lenient", "and more objects, in a new wording"),
                *(
                    Row(name, kind, inner=True)
                    for name, kind in family(names, r"vqa/far/kind/([^/]+)/lenient")
                ),
                Row(
                    "vqa/ladder/loss",
                    "from the first step to the third",
                    mean_of=("vqa/ladder/3/lenient",),
                    minus="vqa/ladder/1/lenient",
                ),
            ],
        ),
        Group(
            "Coherence of rationales",
            "Answers that explain first, facts left out, in points. A statement is true or false "
            "of the scene; an answer follows if its rationale, true or not, allows it (two places "
            "may allow more than one relation). Wholly true: every statement is, and a count's "
            "list is complete. Right answers out of rationales that are not wholly true were not "
            "reached by what was said. Open: the rationale does not tell, or no answer is there.",
            "points",
            [Row(f"vqa/coherence/{name}", label) for name, label in COHERENCE.items()]
            + [Row(f"vqa/far/coherence/{n}", f"far questions: {COHERENCE[n]}") for n in FAR],
        ),
        Group(
            "Answers drawn by chance",
            "Draws at temperature sharpen.temperature, in points. A model that is only surer of "
            "what it could already say draws more right answers, but its base's majority reaches "
            "as many, and it has no more questions with a right one among its draws.",
            "points",
            [
                Row("sharpen/draw", "right draws"),
                Row("sharpen/majority", "questions whose commonest draw is right"),
                Row("sharpen/any", "questions with a right draw"),
            ],
        ),
        Group(
            "Words tied to the image",
            "On reference answers: how well a measure tells the words that are known to depend on "
            "the image from the others, in points (chance: 50). Attention is what AT-RL picks its "
            "anchors by, a spoilt image what VPPO picks its pivots by; entropy looks at no image. "
            "Untrained: a model of the same shape with random weights. Told in words: no image, "
            "attention is that on the words that tell the scene.",
            "points",
            [
                Row("tokens/density/auroc", "attention on the image, AUROC"),
                Row(
                    "tokens/untrained/density/auroc",
                    "the same, untrained (measured once)",
                    inner=True,
                ),
                Row("tokens/text/density/auroc", "the same, scene told in words", inner=True),
                Row("tokens/drift/auroc", "change under a spoilt image, AUROC"),
                Row("tokens/entropy/auroc", "entropy, AUROC"),
                Row("tokens/density/precision", "attention: picked words that depend on it"),
                Row("tokens/drift/precision", "spoilt image: picked words that depend on it"),
                Row("tokens/entropy/precision", "entropy: picked words that depend on it"),
                Row("tokens/overlap/density_drift", "picked by attention and by a spoilt image"),
                Row("tokens/two/share", "share of the more tied of two kinds of words"),
                Row(
                    "tokens/untrained/two/share", "the same, untrained (measured once)", inner=True
                ),
                Row("tokens/text/two/share", "the same, scene told in words", inner=True),
            ],
        ),
        Group(
            "Where the language model looks",
            "On reference answers, attention of all heads and layers, in points of a row's whole. "
            "The object's box is that of what the question is about. VAS (2603.03825) is the ratio "
            "of the next two rows: it rises also where the second falls. A visual head's score "
            "(SparseMM, 2506.05344) counts how often its first look lies in the box; five per cent "
            "of the heads would hold as much by chance. On gaze.seeds alone.",
            "points",
            [
                Row("gaze/box/share", "attention on the image that falls in the object's box"),
                Row("gaze/vas/image", "the question's words: attention on the image"),
                Row("gaze/vas/system", "the question's words: attention on what stands before it"),
                Row("gaze/heads/top", "visual-head score held by the top 5 % of heads"),
                Row("gaze/untrained/heads/top", "the same, untrained (measured once)", inner=True),
                Row("gaze/lost/anchors", "anchors blind: words no longer likeliest"),
                Row("gaze/lost/heads", "visual heads silenced: words no longer likeliest"),
                *(
                    Row(name, f"right with a share of image tokens: {way}", inner=True)
                    for name, way in family(names, r"gaze/kept/((?:\w+)/[\d.]+)")
                ),
            ],
        ),
        Group(
            "What looking is worth",
            "Enrichment is attention in the box over the box's share of the image: 1 is no "
            "preference. Log-probability that image-dependent words of reference answers lose "
            "where the attention to the image of some words is blocked, or heads are silenced, in "
            "nats an answer: anchors by attention, as many words by chance, as many of the lowest; "
            "heads are chosen on one half of the answers and silenced on the other.",
            "nats",
            [Row(f"gaze/{n}", label, scale=1, inner=inner) for n, (label, inner) in GAZE.items()],
        ),
        Group(
            "Margin",
            "Mean log-odds of the true answer over the closed set of answers, in nats: it moves "
            "before accuracy does, and above 0 the true answer leads all others together.",
            "nats",
            [Row("vqa/margin", "margin of the true answer", scale=1)],
        ),
    ]
