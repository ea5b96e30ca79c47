# Where every arm starts: a base model's folder, whatever its source.


rule base:
    """Take the committed weights of a bundled base."""
    input:
        instruct="models/{base}/instruct",
        align="models/{base}/aligned",
        code=code("base"),
    output:
        out=directory("<results>/base/{base}"),
    log:
        "<logs>/base/{base}.log",
    benchmark:
        "<benchmarks>/base/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("bundled")),
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        **PLAN.reads("bases.{base}"),
    message:
        "base: {wildcards.base}"
    shell:
        "python -m steps base --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base}"
        " --input align={input.align} --input instruct={input.instruct}"
        " --out {output} > {log} 2>&1"


rule hub:
    """Fetch a base from the hub or from a folder of one's own."""
    input:
        code=code("hub"),
    output:
        out=directory("<results>/base/{base}"),
    log:
        "<logs>/hub/{base}.log",
    benchmark:
        "<benchmarks>/hub/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("hub")),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        **PLAN.reads("bases.{base}"),
    message:
        "hub: {wildcards.base}"
    shell:
        "python -m steps hub --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base}"
        " --out {output} > {log} 2>&1"


rule joined:
    """Join an encoder and a language model by a projector that learns here."""
    input:
        questions=f"<results>/items/seed{P.seeds[0]}",
        code=code("joined"),
    output:
        out=directory("<results>/base/{base}"),
    log:
        "<logs>/joined/{base}.log",
    benchmark:
        "<benchmarks>/joined/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("joined")),
    threads: P.train.processes
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=P.train.processes,
    params:
        **PLAN.reads("train", "join", "bases.{base}"),
    message:
        "joined: {wildcards.base}"
    shell:
        "python -m steps joined --params {PARAMS} --keys {params.reads}"
        " --base {wildcards.base} --input items={input.questions}"
        " --out {output} > {log} 2>&1"


rule trained:
    """Put the recipe's stages together as a base."""
    input:
        align="<results>/align/{base}",
        instruct="<results>/instruct/{base}",
        code=code("trained"),
    output:
        out=directory("<results>/base/{base}"),
    log:
        "<logs>/trained/{base}.log",
    benchmark:
        "<benchmarks>/trained/{base}.tsv"
    wildcard_constraints:
        base=one_of(PLAN.bases("train")),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        **PLAN.reads("bases.{base}"),
    message:
        "trained: {wildcards.base}"
    shell:
        "python -m steps trained --params {PARAMS} --keys {params.reads} --base {wildcards.base}"
        " --input align={input.align} --input instruct={input.instruct} --out {output} > {log} 2>&1"
