"""What the stages of this wing measure; see `steps.study.glossary` for how it is written."""

ITEMS = {
    "{train,tune,vqa,far}/prior": "share: right by saying each kind's commonest answer, unseen",
    "{train,stage1,tune,vqa,far}/items": "count: questions of a set",
    "data/rows": "count: rows of one's own files",
    "data/broken": "count: rows whose image, mask or box cannot be used",
    "data/left_out": "count: rows that are in no set, for other reasons",
}
PROBES = {
    "{classify,segment,digits,photos}/images": "count: images of a drawn probe set, all splits",
    "<set>/images": "count: images used of a set of probes.images",
    "<set>/broken": "count: its images that could not be read",
    "<set>/tried": "count: its images that were opened",
    "photos/files": "count: cut-out photographs that were found",
}
METRICS = {"items": ITEMS, "probes": PROBES}
"""By stage, each metric's pattern, its unit and what it means."""
