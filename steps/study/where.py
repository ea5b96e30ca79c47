"""Where a reader of the page finds the rest: in MLflow, on disk, and what all was made with."""

from typing import Any

from steps.study import markup
from steps.study.markup import text


def look(summary: dict[str, Any]) -> str:
    """The section as HTML: searches in MLflow, folders, and what the results were made with."""
    told = summary["provenance"]
    searches = [
        [what, f"<code>{text(query)}</code>"] for what, query in summary["mlflow"]["searches"]
    ]
    keys = "".join(f"<li><code>{text(q)}</code></li>" for q in summary["mlflow"]["runs"])
    folders = [[f"<code>{text(folder)}</code>", text(what)] for folder, what in summary["folders"]]
    facts = [
        ["parameters", f"<code>{text(told['params_sha256'])}</code>"],
        ["photographs", _photographs(told.get("photographs") or {"folder": None})],
        *[[text(name), text(", ".join(v))] for name, v in told["versions"].items()],
    ]
    code = [
        [text(stage), "<br>".join(f"<code>{text(c)}</code>" for c in hashes)]
        for stage, hashes in told["code"].items()
    ]
    return (
        f"<h3>In MLflow</h3><p><code>make ui</code> opens it; the experiment is "
        f"<code>{text(summary['study']['name'])}</code>. In the search box:</p>"
        + markup.table(["", "search"], searches, "text")
        + f"<details><summary>Every arm and seed</summary><ul>{keys}</ul></details>"
        + "<h3>On disk</h3>"
        + markup.table(["folder", "what is in it"], folders, "text")
        + "<h3>Made with</h3>"
        + markup.table(["", ""], facts, "text")
        + f"<details><summary>Code of each stage</summary>"
        f"{markup.table(['stage', 'SHA-256'], code, 'text')}</details>"
        '<p class="caption">All as the manifests record it. Parameters: SHA-256 of everything that '
        "the stages shown here read from params.yaml; code: of the files that a stage uses. The "
        "commit is not on this page, which is the same whenever these are: each stage’s run in "
        "MLflow has it as the tag <code>mlflow.source.git.commit</code>.</p>"
    )


def _photographs(told: dict[str, Any]) -> str:
    """Which photographs the probes show besides drawn scenes."""
    if told["folder"] is None:
        return "none"
    digest = f"<code>{text(told['sha256'])}</code>"
    return f"{told['files']} files in <code>{text(told['folder'])}</code>, {digest}"
