# The study's page, from everything before it.

OWN_SEEDS = {"gaze": P.gaze.seeds, "turned": P.diff.seeds}
LOCAL = ("reuse", "turned")  # for bases that keep a model from before images
TRAINED = ("turned",)  # the untouched base is what these hold arms against
DIFFING = ("compare", "quality", "controls", "spatial", "heads", "intervene", "atlas")
READ = {
    stage: expand(
        f"<results>/{stage}/{{base}}/{{arm}}/seed{{seed}}",
        zip,
        **PLAN.runs(
            OWN_SEEDS.get(stage),
            PLAN.diffed(stage) if stage in LOCAL else None,
            PLAN.trained() if stage in TRAINED else None,
        ),
    )
    for stage in ("model", *P.instruments)
    if stage not in (*DIFFING, "stability")
}
if PLAN.evaluated:
    READ["logged"] = expand("<results>/logged/{base}/{arm}/seed{seed}", zip, **PLAN.runs())
if PLAN.probed():
    READ["baselines"] = expand("<results>/baselines/{base}/seed{seed}", base=P.bases, seed=P.seeds)
if PLAN.diffed("reuse"):
    READ["newcomers"] = expand(
        "<results>/newcomers/{base}/seed{seed}", base=PLAN.diffed("reuse"), seed=P.seeds
    )
    READ["cost"] = expand("<results>/cost/{base}", base=PLAN.diffed("reuse"))
for stage in filter(PLAN.diffed, DIFFING):
    READ[stage] = expand(
        f"<results>/{stage}/{{base}}/seed{{seed}}", base=PLAN.diffed(stage), seed=P.diff.seeds
    )
if PLAN.diffed("stability"):
    READ["stability"] = expand("<results>/stability/{base}", base=PLAN.diffed("stability"))
if PLAN.diffed():
    READ["planted"] = expand("<results>/planted/seed{seed}", seed=P.diff.seeds)


def report_labels(wildcards):
    """What `snakemake --report` calls a picture, instead of its file's name."""
    shows, of = captions.title(wildcards.name)
    return {"shows": shows, "of": of or "all bases"}


rule report:
    """Put every arm's figures on one page, with what they may and may not be taken to say."""
    input:
        **READ,
        base=expand("<results>/base/{base}", base=P.bases),
        questions=expand("<results>/items/seed{seed}", seed=P.seeds),
        pairs=expand("<results>/pairs/{base}/seed{seed}", base=P.bases, seed=P.seeds),
        photos=PLAN.photographs,
        claims=registry.files(),
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
        **PLAN.reads(
            "study",
            "seeds",
            "bases",
            "arms",
            "contrasts",
            "instruments",
            "data.source",
            "world.sprites",
            "gaze.seeds",
            "diff.seeds",
            "diff.sites",
            "diff.layers",
            "report",
        ),
    message:
        "report: {RESULTS}/report/index.html"
    shell:
        "python -m steps report --params {PARAMS} --keys {params.reads}"
        " --input base={RESULTS}/base --input items={RESULTS}/items"
        " --input pairs={RESULTS}/pairs --input photos={input.photos}"
        " --input claims=workflow/claims"
        + "".join(f" --input {stage}={RESULTS}/{stage}" for stage in READ if READ[stage])
        + " --out {output} > {log} 2>&1"
