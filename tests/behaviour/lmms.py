"""Logged samples as lmms-eval writes them, version by version, after its evaluator and loggers.

An example is what its evaluator gathers of a question; `write` does to it what the version's
`save_results_samples` (in 0.2 `cli_evaluate_single`) does.
"""

import json

KWARGS = {"max_new_tokens": 16, "temperature": 0, "until": ["\n\n"]}
NULL = "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"
"""The hash of `null`: since 0.3 `doc_hash` is that of a request's `doc`, which is never set."""


def example(doc_id, prompt, said, target, doc=None, filtered=None, **metrics):
    """One question with one answer; filtered: what a task's filter made of it."""
    return {
        "doc_id": doc_id,
        "doc": doc or {},
        "target": target,
        "arguments": [prompt, KWARGS, doc_id, "task", "test"],
        "resps": [[said]],
        "filtered_resps": [said if filtered is None else filtered],
        "doc_hash": NULL,
    } | metrics


def v02(one):
    """0.2: as it was gathered, arguments in tuples, without hashes."""
    line = {key: value for key, value in one.items() if key != "doc_hash"}
    prompt, _, *rest = one["arguments"]
    return line | {"arguments": [[prompt, *rest]]}


def v03(one):
    """0.3: with doc, and arguments by number of what stands second."""
    line = one | {"input": one["arguments"][0], "target": str(one["target"])}
    line["arguments"] = dict(enumerate(one["arguments"][1]))
    return line | {"prompt_hash": NULL, "target_hash": NULL}


def v04(one):
    """0.4 to 0.6: without doc; without resps where they are what the filters left."""
    line = one | {"input": one["arguments"][0], "target": str(one["target"])}
    if line["filtered_resps"] in (line["resps"][0], line["resps"]):
        del line["resps"]
    return {key: value for key, value in line.items() if key not in ("arguments", "doc")}


def v07(one):
    """Since 0.7: the same with what stands alone in a list taken out of it, and tokens counted."""
    line = v04(one) | {"resps": one["resps"][0], "filtered_resps": one["filtered_resps"][0]}
    if line["resps"] in (line["filtered_resps"], [line["filtered_resps"]]):
        del line["resps"]
    return line | {"token_counts": [None]}


WRITERS = {"0.2": v02, "0.3": v03, "0.4": v04, "0.7": v07}


def write(path, examples, version="0.7"):
    """Write a task's file as a version does; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [WRITERS[version](one) for one in examples]
    if version == "0.2":
        told = {"args": {}, "model_configs": {}, "logs": lines, "time": "0101_0101"}
        path.write_text(json.dumps(told, indent=4, ensure_ascii=False))
    else:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return path


def pope(answers, true=("yes", "no", "yes", "no"), start=0):
    """POPE's questions with these answers, scored as its task does: the same word, case aside."""
    found = []
    for number, (said, answer) in enumerate(zip(answers, true, strict=True), start):
        pred = said.lower().strip()
        told = {"question_id": str(number), "score": float(pred == answer), "prediction": pred,
                "ground_truth": answer}  # fmt: skip
        prompt = f"Is there a dog {number}?\nAnswer the question using a single word or phrase."
        scores = dict.fromkeys(("pope_accuracy", "pope_f1_score"), told)
        found.append(example(number, prompt, said, answer, {"answer": answer}, **scores))
    return found
