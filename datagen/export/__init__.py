"""The export stage: what was accepted becomes a data set.

A candidate's way: `dataset` takes it from the run, `admission` prepares its trace (`prepared`,
`scrub`), `rows` makes its rows (`sft_rows`, `conversations`) and has them proved (`proofs`),
`files` writes them; `card` tells of all. `verify` proves a data set again (`row_checks`).
"""
