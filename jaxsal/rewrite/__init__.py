"""Methods and speed as transformations of programs (jaxprs). Where to look, and where to add:

| I want to | open |
|---|---|
| add a faster form of an operation | a file in `rules/`, and a row of `optimize.REWRITES` |
| evaluate a program under rules of my own | `interpreter.rewritten` |
| give ReLU another derivative | `backward`; what counts as a ReLU: `activations/` |
| give each operation a rule for relevance (LRP, DeepLIFT) | `relevance/` |
| split a score at a layer | `split_at_layer`; how layers are named and found: `layers/` |
| average gradients along a path for less | `affine_prefix` |
| evaluate a score with one window replaced | `incremental_occlusion`; its rules: `occlusion/` |
| know which axes of an image are spatial | `axes.spatial`; how they are followed: `axes/` |
| prove that a batch's rows are independent | `row_independence` |
| bound a program's outputs | `interval_arithmetic` |

They share `program` (jaxprs and their equations), `dataflow` (what depends on what), `cost`
(FLOPs), `elementwise` and `notes` (what the rewrites did, for `explainer.describe`).
"""
