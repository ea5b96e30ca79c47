# The study's page, from everything before it.

SHOWN = {
    "index": "the whole study",
    "differences": "differences to the base",
    "curves": "learning curves",
    "maps": "segmentation maps",
    "drift": "change of the tower by layer",
    "gallery": "where losses look",
    "rotation": "rotation of features",
}

OWN_SEEDS = {"gaze": P.gaze.seeds}
READ = {
    stage: expand(
        f"<results>/{stage}/{{base}}/{{arm}}/seed{{seed}}",
        zip,
        **PLAN.runs(OWN_SEEDS.get(stage)),
    )
    for stage in ("model", *P.instruments)
    if stage not in ("compare", "reuse")
}
if PLAN.probed():
    READ["baselines"] = expand("<results>/baselines/{base}/seed{seed}", base=P.bases, seed=P.seeds)
if PLAN.reused():
    READ["reuse"] = expand(
        "<results>/reuse/{base}/{arm}/seed{seed}", zip, **PLAN.runs(bases=PLAN.reused())
    )
    READ["newcomers"] = expand(
        "<results>/newcomers/{base}/seed{seed}", base=PLAN.reused(), seed=P.seeds
    )
    READ["cost"] = expand("<results>/cost/{base}", base=PLAN.reused())
if PLAN.diffed():
    READ["compare"] = expand(
        "<results>/compare/{base}/seed{seed}", base=PLAN.diffed(), seed=P.diff.seeds
    )


def report_labels(wildcards):
    """What `snakemake --report` calls a picture, instead of its file's name."""
    kind, _, where = wildcards.name.partition("-")
    return {"shows": SHOWN.get(kind, kind), "of": where.replace("-", ", ") or "all bases"}


rule report:
    """Put every arm's figures on one page, with what they may and may not be taken to say."""
    input:
        **READ,
        base=expand("<results>/base/{base}", base=P.bases),
        questions=expand("<results>/items/seed{seed}", seed=P.seeds),
        pairs=expand("<results>/pairs/{base}/seed{seed}", base=P.bases, seed=P.seeds),
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
        **PLAN.reads("study", "seeds", "bases", "arms", "instruments", "gaze.seeds", "report"),
    message:
        "report: {RESULTS}/report/index.html"
    shell:
        "python -m steps report --params {PARAMS} --keys {params.reads}"
        " --input base={RESULTS}/base --input items={RESULTS}/items"
        " --input pairs={RESULTS}/pairs --input photos={input.photos}"
        + "".join(f" --input {stage}={RESULTS}/{stage}" for stage in READ)
        + " --out {output} > {log} 2>&1"
