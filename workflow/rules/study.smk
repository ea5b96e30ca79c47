# The study's page, from everything before it.

SHOWN = {
    "index": "the whole study",
    "differences": "differences to the base",
    "curves": "learning curves",
    "maps": "segmentation maps",
    "rotation": "rotation of features",
}

COMPARED = {
    "compare": expand("<results>/compare/{base}/seed{seed}", base=PLAN.diffed(), seed=P.diff.seeds)
}
COMPARED = COMPARED if PLAN.diffed() else {}


def report_labels(wildcards):
    """What `snakemake --report` calls a picture, instead of its file's name."""
    kind, _, where = wildcards.name.partition("-")
    return {"shows": SHOWN.get(kind, kind), "of": where.replace("-", ", ") or "all bases"}


rule answers:
    """Question answering of every arm and nothing else: what learning rates are chosen on."""
    input:
        expand("<results>/vqa/{base}/{arm}/seed{seed}", base=P.bases, arm=P.arms, seed=P.seeds),
    localrule: True


rule report:
    """Put every arm's figures on one page, with what they may and may not be taken to say."""
    input:
        **{
            stage: expand(
                f"<results>/{stage}/{{base}}/{{arm}}/seed{{seed}}",
                base=P.bases,
                arm=P.arms,
                seed=P.seeds,
            )
            for stage in ("model", "classify", "segment", "vqa", "sharpen", "tokens")
        },
        **COMPARED,
        base=expand("<results>/base/{base}", base=P.bases),
        questions=expand("<results>/items/seed{seed}", seed=P.seeds),
        pairs=expand("<results>/pairs/{base}/seed{seed}", base=P.bases, seed=P.seeds),
        baselines=expand("<results>/baselines/{base}/seed{seed}", base=P.bases, seed=P.seeds),
        photos=PLAN.photographs,
        code=code("report"),
    output:
        report(
            directory("<results>/report"),
            patterns=["{name}.html", "figures/{name}.png"],
            caption="../report/page.rst",
            category="Study",
            labels=report_labels,
        ),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        **PLAN.reads("study", "seeds", "bases", "arms", "report"),
    message:
        "report: {RESULTS}/report/index.html"
    shell:
        "python -m steps report --params {PARAMS} --keys {params.reads}"
        " --input base={RESULTS}/base --input items={RESULTS}/items"
        " --input pairs={RESULTS}/pairs --input model={RESULTS}/model"
        " --input classify={RESULTS}/classify --input segment={RESULTS}/segment"
        " --input vqa={RESULTS}/vqa --input sharpen={RESULTS}/sharpen"
        " --input tokens={RESULTS}/tokens --input baselines={RESULTS}/baselines"
        " --input photos={input.photos}"
        + (" --input compare={RESULTS}/compare" if COMPARED else "")
        + " --out {output} > {log} 2>&1"
