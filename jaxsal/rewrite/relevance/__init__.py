"""Relevance rules: a backward pass over a score's program in which each operation has a rule.

| I want to | open |
|---|---|
| see the pass itself, or make another method of it | `walk` |
| know what counts as one operation, and of which kind | `operations`, `read_operations` |
| know how a batch norm becomes a part of the layer before it | `folding` |
| change what a layer does with relevance (zplus, gamma, z-box) | `layer_rules` |
| change which layer gets which rule | `composites` |
| change what other operations do with relevance | `lrp_rules` |
| change the multipliers of DeepLIFT or AttnLRP | `deep_lift_rules`, `attn_lrp_rules` |
| find the biases that FullGrad adds up | `biases` |

The score is read once as one straight list of equations (`flat_score`), its values are computed
once, and then its operations are gone through from the score to the image. A rule takes an
operation and what its output has (relevance, or a multiplier), and says what each input gets.
"""
