# What each model answers.


rule vqa:
    """Ask every question, with and without the image, and score the answers."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("vqa"),
    output:
        out=directory("<results>/vqa/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/vqa/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/vqa/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("vqa"),
    message:
        "vqa: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps vqa --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input items={input.questions}"
        " --out {output} > {log} 2>&1"
