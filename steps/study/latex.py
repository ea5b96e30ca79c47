"""Tables in LaTeX, for a paper: booktabs, every sign that LaTeX reads escaped."""

from collections.abc import Sequence

SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "°": r"$^\circ$",
    "’": "'",
    "…": r"\ldots{}",
    **{sign: f"$^{n}$" for n, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """Text that LaTeX takes for nothing but text: models' answers are not to be trusted."""
    return "".join(SIGNS.get(sign, sign) for sign in " ".join(text.split()))


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, columns: str = ""
) -> str:
    """A table that may go on over pages; needs the packages booktabs and longtable.

    columns: as LaTeX's tabular has them; without, the first is text and the others numbers.
    """
    columns = columns or "l" + "r" * (len(head) - 1)
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    top = [r"\toprule", " & ".join(map(escaped, head)) + r" \\", r"\midrule"]
    return "\n".join(
        [
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{escaped(caption)}}} \\",
            *top,
            r"\endfirsthead",
            *top,
            r"\endhead",
            *lines,
            r"\bottomrule",
            r"\end{longtable}",
            "",
        ]
    )
