# What changed in an arm, and where: compared with the untouched base, or with its own eye.


rule drift:
    """Compare the tower, layer by layer, with the base's."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        reference=f"<results>/model/{{base}}/{P.drift.reference}/seed{{seed}}",
        base="<results>/base/{base}",
        probes="<results>/probes/seed{seed}",
        code=code("drift"),
    output:
        out=directory("<results>/drift/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/drift/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/drift/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
        gpu=1,
    params:
        **PLAN.reads("drift"),
    message:
        "drift: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps drift --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input reference={input.reference}"
        " --input base={input.base} --input probes={input.probes}"
        " --out {output} > {log} 2>&1"


rule localise:
    """Score where gradients and Grad-CAM point against the true masks."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        pairs="<results>/pairs/{base}/seed{seed}",
        questions="<results>/items/seed{seed}",
        code=code("localise"),
    output:
        out=directory("<results>/localise/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/localise/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/localise/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("localise"),
    message:
        "localise: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps localise --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input pairs={input.pairs}"
        " --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule swap:
    """Put the base's parts and the arm's together in every way, and ask."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        base="<results>/base/{base}",
        questions="<results>/items/seed{seed}",
        code=code("swap"),
    output:
        out=directory("<results>/swap/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/swap/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/swap/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
        gpu=1,
    params:
        **PLAN.reads("swap"),
    message:
        "swap: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps swap --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input base={input.base}"
        " --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule forget:
    """Ask for the labels that the encoder's probes tell, on the same images."""
    input:
        model="<results>/model/{base}/{arm}/seed{seed}",
        probes="<results>/probes/seed{seed}",
        classify="<results>/classify/{base}/{arm}/seed{seed}",
        code=code("forget"),
    output:
        out=directory("<results>/forget/{base}/{arm}/seed{seed}"),
    log:
        "<logs>/forget/{base}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/forget/{base}/{arm}/seed{seed}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
        gpu=1,
    params:
        **PLAN.reads("forget"),
    message:
        "forget: {wildcards.base}, arm {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "python -m steps forget --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --arm {wildcards.arm} --seed {wildcards.seed}"
        " --input model={input.model} --input probes={input.probes}"
        " --input classify={input.classify}"
        " --out {output} > {log} 2>&1"
